"""Weights & Biases: a run of a project for each run, its id made of its name.

Offline each time that brings something new adds a folder `wandb/offline-run-*`, which `wandb sync` uploads as a part of
the one run.
"""

import hashlib
import io
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import wandb
from PIL import Image

from analysis.export.own_folder import own_folder
from analysis.export.tracked_run import Epoch, TrackedRun
from analysis.export.tracker import Seen
from analysis.export.wandb_file import read_offline
from sanm.errors import InputError

IDENTITY, STATE = "identity", "state"
RESULT, TABLE, MASKS = "result.", "table.", "masks"
STOPPED = 255
"""Exit code of a run that is neither done nor failed: to W&B it is preempted."""
EXIT_CODES = {"done": 0, "failed": 1}
PATIENCE = 30
"""Seconds that the server has to answer."""


class WeightsAndBiases:
    """A project, on the server or in a folder."""

    def __init__(self, folder: Path, project: str, offline: bool) -> None:
        """Raises InputError for a folder of somebody else; without a key where it is not to be offline."""
        self._folder, self._project, self._offline = own_folder(folder), project, offline
        self._open: dict[str, wandb.Run] = {}
        self.place = f"wandb project {project!r}"
        if offline:
            self.place += f" in {folder}; upload it with: wandb sync {folder}/wandb/offline-run-*"
            return
        with self._answering():
            self._api = wandb.Api(timeout=PATIENCE)
            _ = self._api.viewer  # asks the server who this is

    def seen(self, run: TrackedRun) -> Seen:
        own = _id(run.name)
        if self._offline:
            return self._seen_offline(own)
        with self._answering():
            try:
                there = self._api.run(f"{self._project}/{own}")
            except ValueError:  # no such run, or no such project yet
                return Seen()
            epochs: dict[int, dict[str, float]] = {step: {} for step in range(1, there.lastHistoryStep + 1)}
            return Seen(there.config.get(IDENTITY), there.summary.get(STATE), epochs)

    def _seen_offline(self, own: str) -> Seen:
        files = sorted(self._folder.glob(f"wandb/offline-run-*-{own}/run-{own}.wandb"))
        found = read_offline(files)
        epochs = {int(row["_step"]): {k: float(v) for k, v in row.items() if k[0] != "_"} for row in found.history}
        return Seen(found.config.get(IDENTITY), found.summary.get(STATE), epochs)

    def add(self, run: TrackedRun, seen: Seen, epochs: Sequence[Epoch], masks: bytes | None) -> None:
        with self._answering():
            own = self._open.get(run.name) or self._begin(run)
            self._open[run.name] = own
            for epoch in epochs:
                own.log(epoch.values, step=epoch.number, commit=True)
            if run.ended and run.state_in_words != seen.state:
                own.summary.update(_ending(run, masks))
            own.summary[STATE] = run.state_in_words
            if run.state != "running":
                self._finish(run.name, EXIT_CODES.get(run.state))

    def close(self) -> None:
        with self._answering():
            for name in list(self._open):
                self._finish(name, None)

    def _begin(self, run: TrackedRun) -> wandb.Run:
        own = _id(run.name)
        while (self._folder / "wandb" / time.strftime(f"offline-run-%Y%m%d_%H%M%S-{own}")).exists():
            time.sleep(0.1)  # W&B would write into that folder again
        return wandb.init(
            project=self._project,
            id=own,
            name=run.name,
            dir=str(self._folder),
            config={**run.settings, IDENTITY: run.identity},
            mode="offline" if self._offline else "online",
            resume="allow",
            reinit="create_new",
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=PATIENCE,
                disable_git=True,
                save_code=False,
                x_disable_stats=True,
                x_disable_meta=True,
                x_save_requirements=False,
            ),
        )

    def _finish(self, name: str, exit_code: int | None) -> None:
        own = self._open.pop(name)
        if exit_code is None:
            own.mark_preempting()
        own.finish(exit_code=STOPPED if exit_code is None else exit_code)

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except (wandb.Error, OSError, ValueError) as error:
            reason = " ".join(str(error).split())[:300]
            place = f"wandb: project {self._project}"
            raise InputError(f"{place} does not take this ({reason}); --offline asks no server") from error


def _ending(run: TrackedRun, masks: bytes | None) -> dict[str, object]:
    found: dict[str, object] = {f"{RESULT}{key}": value for key, value in run.results.items()}
    found |= {f"{TABLE}{name}": wandb.Table(dataframe=table) for name, table in run.tables().items()}
    if masks is not None:
        found[MASKS] = wandb.Image(Image.open(io.BytesIO(masks)))
    return found


def _id(name: str) -> str:
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:12]
