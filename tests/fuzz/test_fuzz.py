"""Whatever a command is given, it ends with a known status and in one line, and nothing that was there is changed.

Every test draws the same inputs each time. All of them together take less than two minutes of a core.
"""

from __future__ import annotations

import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from PIL import Image

from analysis.__main__ import main as count
from analysis.figures.__main__ import main as figures
from analysis.labels.__main__ import main as labels
from analysis.report.__main__ import main as report
from analysis.tables.__main__ import main as tables
from sanm.predict.__main__ import main as predict
from sanm.record.directory import RunDirectory
from sanm.run import MISSING, REQUEUE, answered, train_or_skip
from sweeps.launch import main as launch
from sweeps.tune import main as tune
from tests.conftest import SMALL, config_of
from tests.fuzz.damage import damaged, damaged_words
from tests.fuzz.door import Answer, by_argv, check, run_of, sanm_run, whole_sanm_run
from tests.trained import run_in

pytestmark = pytest.mark.slow

TINY = (*SMALL, "base_method=ce", "components=none", "trainer.epochs=1", "trainer.milestones=[]", "device=cpu")
FORMS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
COLOURS = {"cat": (200, 40, 40), "dog": (40, 40, 200)}


def so_many(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The same so many inputs every time."""
    return settings(
        max_examples=examples, derandomize=True, deadline=None, database=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )  # fmt: skip


@contextmanager
def working_folder(copied: Path | None = None) -> Iterator[Path]:
    """A new folder, of whose files no cache can know, to work in; with a copy of what is below another."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        place = Path(name)
        if copied is not None:
            shutil.copytree(copied, place, dirs_exist_ok=True)
        os.chdir(place)
        try:
            yield place
        finally:
            os.chdir(before)


@pytest.fixture(scope="module", autouse=True)
def own_cache() -> Iterator[None]:
    """Nothing outside the test's folders is read or written."""
    with tempfile.TemporaryDirectory(prefix="fuzz-home-") as home, mock.patch.dict(os.environ, {"HOME": home}):
        yield


def picture(colour: tuple[int, int, int], form: str = "PNG") -> bytes:
    content = io.BytesIO()
    image = Image.new("RGB", (12, 10), colour)
    image.paste((255, 255, 0), (2, 2, 6, 5))
    image.save(content, form)
    return content.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two classes, and a table of them."""
    root = tmp_path_factory.mktemp("images")
    rows = ["file,label,split"]
    for name, colour in COLOURS.items():
        for part, amount in (("train", 6), ("test", 1)):
            (root / part / name).mkdir(parents=True)
            for number in range(amount):
                file = root / part / name / f"{number}.png"
                file.write_bytes(picture((colour[0] + number, colour[1] + number, colour[2])))
                rows.append(f"{file.relative_to(root)},{name},{part}")
    (root / "labels.csv").write_text("\n".join(rows) + "\n")
    return root


# ---- command lines

LINES = (
    ["base_method=ce", "components=amg", "tau.value=0.3", "noise.rate=0.5", "trainer.epochs=3", "seed=2"],
    ["data.subset=200", "data.validation=0.1", "trainer.lr=0.02", "trainer.milestones=[2]", "model.widths=[8,16]"],
    ["base_method=elr", "base_method.beta=0.7", "noise=asymmetric", "trainer.batch_size=16", "device=cpu"],
    ["variant=released", "mask_strategy=fixed", "quality.window=2", "runs_dir=runs", "retry=true", "save_labels=true"],
    ["-m", "components=none,full", "noise.rate=0.2,0.5", "seed=1,2"],
    ["data=csv", "data.path=labels.csv", "data.root=.", "data.image_size=8", "data.columns.label=label"],
    ["noise=file", "noise.path=labels.json", "noise.kind=symmetric", "pretrain=file", "pretrain.path=e.safetensors"],
)


@given(st.sampled_from(LINES).flatmap(damaged_words))
@so_many(30)
def test_command_lines_of_a_run(folder: Path, words: list[str]) -> None:
    with working_folder() as place:
        shutil.copy(folder / "labels.csv", place)
        (place / "labels.json").write_text("[0, 1, 2]")
        check(sanm_run, words, place)


GRID = ["components", "data=digits", "seed=1,2", "launch=parallel", "launch.slots=2", "runs_dir=runs"]
SOME = ["--only", "noise.rate=0.5"]
STUDY = [
    "study=tau",
    "study.n_trials=2",
    "study.seeds=[1]",
    "study.noise_rates=[0.5]",
    "runs_dir=runs",
    "trainer.epochs=2",
]


@given(damaged_words(GRID), st.sampled_from(("status", "show", "run")))
@so_many(10)
def test_command_lines_of_a_grid(words: list[str], command: str) -> None:
    with working_folder() as place:
        check(launch, [command, *words, *SOME, *(["--dry-run"] if command == "run" else [])], place)


@given(damaged_words([*STUDY, "study.storage=journal:mine.json"]), st.sampled_from((b"[1]", b"{", b"\0" * 40)))
@so_many(20)
def test_command_lines_of_a_study(words: list[str], mine: bytes) -> None:
    with working_folder() as place:
        (place / "mine.json").write_bytes(mine)
        check(by_argv(tune), ["report", *words], place)


# ---- data

DATA = ("data.image_size=8", "trainer.batch_size=4", "base_method=ce", "components=none", "device=cpu")


@cache
def plain_config(kind: str) -> dict[str, Any]:
    path = ["data.path=labels.csv"] if kind == "csv" else []
    return config_of(f"data={kind}", *path, "data.root=.", *DATA)


def run_in_folder(place: Path, kind: str, **data: object) -> Answer:
    """A run on the images of a folder, whose place no cache has seen before."""
    config = deepcopy(plain_config(kind))
    path = {"path": str(place / "labels.csv")} if kind == "csv" else {}
    config["data"] |= {"root": str(place), **path, **data}
    return check(run_of({**config, "runs_dir": str(place / "runs")}), ["data=" + kind], place)


@given(st.data())
@so_many(40)
def test_tables(folder: Path, data: st.DataObject) -> None:
    table = data.draw(damaged((folder / "labels.csv").read_bytes()))
    with working_folder(folder) as place:
        (place / "labels.csv").write_bytes(table)
        run_in_folder(place, "csv")


@given(st.data(), st.sampled_from(FORMS), st.booleans())
@so_many(40)
def test_images(folder: Path, data: st.DataObject, form: str, skip: bool) -> None:
    image = data.draw(damaged(picture((90, 90, 90), form)))
    with working_folder(folder) as place:
        (place / f"train/cat/x.{form.lower()}").write_bytes(image)
        run_in_folder(place, "image_folder", skip_bad=skip)


# ---- records


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two finished runs, of which one has kept its checkpoint."""
    place = tmp_path_factory.mktemp("records")
    run_in(place / "runs", *TINY, "keep_checkpoint=true")
    run_in(place / "runs", *TINY, "seed=2")
    return place


@pytest.fixture(scope="module")
def name(runs: Path) -> str:
    (checkpoint,) = (runs / "runs").glob("*/checkpoint.pt")
    return checkpoint.parent.name


AGAIN = [*TINY, "runs_dir=runs"]
READERS: dict[str, tuple[Callable[..., object], list[str]]] = {
    "run": (sanm_run, AGAIN),
    "multirun": (sanm_run, ["-m", "seed=1,2", *AGAIN]),
    "count": (count, ["runs"]),
    "tables": (tables, ["runs", "--list"]),
    "labels": (labels, ["NAME", "--out", "out"]),
    "figures": (figures, ["runs", "--figure", "curves", "--out", "out", "--format", "svg"]),
    "report": (report, ["runs", "--out", "page.html"]),
    "predict": (predict, ["NAME", "x.png", "--device", "cpu", "--out", "p.csv"]),
}
READ_BY = {
    "result.json": ("run", "multirun", "tables", "labels"),
    "config.yaml": ("run", "count", "tables", "labels"),
    "metrics.csv": ("run", "count", "figures"),
    "label_quality.csv": ("labels",),
    "probabilities.npz": ("labels",),
    "samples.npz": ("labels",),
    "model.pt": ("predict",),
}


@pytest.mark.parametrize(
    ("file", "reader"), [(file, reader) for file, readers in READ_BY.items() for reader in readers]
)
@given(st.data())
@so_many(10)
def test_records(runs: Path, name: str, file: str, reader: str, data: st.DataObject) -> None:
    content = data.draw(damaged((runs / "runs" / name / file).read_bytes()))
    door, words = READERS[reader]
    with working_folder(runs) as place:
        (place / "runs" / name / file).write_bytes(content)
        if reader == "run":
            door = again(place)
        (place / "x.png").write_bytes(picture((90, 90, 90)))
        check(door, [word.replace("NAME", f"runs/{name}") for word in words], place)


def again(place: Path) -> Callable[[Sequence[str]], object]:
    """``sanm.run`` of the recorded run behind the composing of its config, which takes most of its time."""
    config = {**config_of(*TINY), "runs_dir": str(place / "runs")}
    return lambda words: answered(lambda: train_or_skip(config, list(words)))


def resume(door: Callable[[Sequence[str]], object], place: Path, name: str, checkpoint: bytes) -> Answer:
    """What a run says that has only its record to write, with that checkpoint."""
    own = RunDirectory(place / "runs", name)
    (own.path / "result.json").unlink()
    own.checkpoint.write_bytes(checkpoint)
    return check(door, AGAIN, place, own=[own.path])


@given(st.data())
@so_many(20)
def test_checkpoints(runs: Path, name: str, data: st.DataObject) -> None:
    content = data.draw(damaged((runs / "runs" / name / "checkpoint.pt").read_bytes()))
    with working_folder(runs) as place:
        resume(again(place), place, name, content)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study, in a journal and in a database."""
    place = tmp_path_factory.mktemp("study")
    words = [*SEARCH, "study.storage=journal:study.log", "runs_dir=runs"]
    with working_folder() as made:
        assert check(by_argv(tune), words, made).status == 0
        journal = JournalStorage(JournalFileBackend("study.log"))
        optuna.copy_study(from_study_name="tau", from_storage=journal, to_storage="sqlite:///study.db")
        shutil.copytree(made, place, dirs_exist_ok=True)
    return place


STORAGES = ("journal:study.log", "sqlite:///study.db")
SEARCH = [
    "study=tau", "study.n_trials=1", "study.seeds=[1]", "study.noise_rates=[0.5]", *SMALL, "base_method=ce",
    "trainer.epochs=1", "trainer.milestones=[]", "device=cpu", "components.start=0",
]  # fmt: skip


@pytest.mark.parametrize("storage", STORAGES)
@given(st.data())
@so_many(8)
def test_studies(study: Path, storage: str, data: st.DataObject) -> None:
    file = Path(storage.rpartition(":")[2].removeprefix("///"))
    content = data.draw(damaged((study / file).read_bytes()))
    with working_folder(study) as place:
        (place / file).write_bytes(content)
        words = ["report", *SEARCH, f"study.storage={storage}", "runs_dir=runs"]
        check(by_argv(tune), words, place, own=[place / "runs/studies"])


# ---- undamaged input gets as far as the tests look


@pytest.mark.parametrize("words", LINES[:5], ids=str)
def test_whole_command_lines(words: list[str]) -> None:
    with working_folder() as place:
        assert check(sanm_run, words, place).status == REQUEUE


def test_whole_grids_and_studies(study: Path) -> None:
    with working_folder(study) as place:
        assert check(launch, ["status", *GRID, *SOME], place).status == MISSING
        for storage in STORAGES:
            words = ["report", *SEARCH, f"study.storage={storage}", "runs_dir=runs"]
            assert check(by_argv(tune), words, place, own=[place / "runs/studies"]).status == 0


def test_whole_data(folder: Path) -> None:
    with working_folder(folder) as place:
        for form in FORMS:
            (place / f"train/cat/x.{form.lower()}").write_bytes(picture((90, 90, 90), form))
        assert run_in_folder(place, "csv").status == run_in_folder(place, "image_folder").status == REQUEUE


@pytest.mark.parametrize("reader", sorted({reader for readers in READ_BY.values() for reader in readers}))
def test_whole_records(runs: Path, name: str, reader: str) -> None:
    door, words = READERS[reader]
    with working_folder(runs) as place:
        (place / "x.png").write_bytes(picture((90, 90, 90)))
        assert check(door, [word.replace("NAME", f"runs/{name}") for word in words], place).status == 0


def test_a_whole_checkpoint(runs: Path, name: str) -> None:
    with working_folder(runs) as place:
        assert resume(whole_sanm_run, place, name, (runs / "runs" / name / "checkpoint.pt").read_bytes()).status == 0
