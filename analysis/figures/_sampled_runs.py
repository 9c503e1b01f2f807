"""Which runs the figures of images and losses are drawn for, and what is said of each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.records import Records
from analysis.records.load import finished
from analysis.records.samples import FILE, Samples, read
from sanm.errors import InputError

MOST = 4
# Runs that differ in nothing of this are of one kind; the newest stands for them.
KIND = ("data.name", "base_method.name", "noise.name", "noise.rate", "components.name")


@dataclass(frozen=True)
class SampledRun:
    """A finished run with its samples."""

    name: str
    about: str
    standing: str  # a sentence: which run it is, and for which others it stands
    settings: dict[str, object]
    samples: Samples


def sampled_runs(
    records: Records, run: str | None, wanted: Callable[[Samples], bool] = lambda samples: True, what: str = FILE
) -> list[SampledRun]:
    """The run of that name or id; without one the newest run of each kind, at most MOST, those with SANM first.

    Only samples that are `wanted` count. Raises `InputError` when there are none, which says that `what` is lacking,
    and when the samples of a run that would be drawn are damaged.
    """
    done = finished(records.runs)
    if run is not None:
        chosen = [sampled(row) for row in _named(done, run)]
    else:
        chosen = [each for each, _ in zip(_newest(done, wanted), range(MOST), strict=False)]
    found = [each for each in chosen if wanted(each.samples)]
    if not found:
        runs = f"none of these {len(done)} finished runs has" if run is None else f"{run} does not have"
        raise InputError(f"{runs} {what}: runs write {FILE} when they end, with masks where they have SANM")
    return found


def _named(done: pd.DataFrame, run: str) -> list[dict[str, object]]:
    rows = done[(done["run"] == run) | (done["run_id"] == run)].to_dict("records")
    if not rows:
        raise InputError(f"no finished run is called {run}; for example: {done['run'].iloc[0]}")
    return [{str(key): value for key, value in row.items()} for row in rows]


def _newest(done: pd.DataFrame, wanted: Callable[[Samples], bool]) -> Iterator[SampledRun]:
    there = done[[(Path(path) / FILE).is_file() for path in done["path"]]]
    kind = [key for key in KIND if key in there.columns]
    plain = there.assign(plain=there.get("components.name") == "none")
    ordered = plain.sort_values(["plain", "finished"], ascending=[True, False], kind="stable")
    for _, members in ordered.groupby(kind, dropna=False, sort=False) if len(there) else []:
        newest = {str(key): value for key, value in members.iloc[0].items()}
        others = f", the newest of {len(members)} of its kind" if len(members) > 1 else ""
        each = sampled(newest, others)
        if wanted(each.samples):
            yield each


def sampled(row: dict[str, object], others: str = "") -> SampledRun:
    """A finished run by its row; ``others`` says for which it stands. Raises `InputError` as `samples.read` does."""
    settings = {str(key): value for key, value in pd.Series(row).dropna().items()}
    return SampledRun(
        name=str(row["run"]),
        about=_about(settings),
        standing=f"One run, {row['run']}{others}: {settings.get('epochs', 0):.0f} epochs, seed {settings.get('seed')}.",
        settings=settings,
        samples=read(str(row["path"])),
    )


def _about(settings: dict[str, object]) -> str:
    rate = settings.get("noise.rate")
    noise = f"{settings.get('noise.name')} noise" + (f" {100 * float(str(rate)):g} %" if rate is not None else "")
    parts = (settings.get("data.name"), settings.get("base_method.name"), noise, settings.get("components.name"))
    return " · ".join(str(part) for part in parts)
