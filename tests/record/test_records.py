"""Records that are not as they were written: one line that names the file, and nothing trained over it."""

from __future__ import annotations

import json
import os
import shutil
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra import initialize_config_dir
from omegaconf import OmegaConf

import analysis
from analysis.labels.record import read_record
from sanm.config.checks import CONF
from sanm.errors import InputError, StoppedError
from sanm.grids import multirun
from sanm.machine.device import choose_device
from sanm.pretraining.encoders import pretrained
from sanm.record import checkpoint
from sanm.record.directory import RunDirectory
from sanm.record.identity import difference, encoder_identity, encoder_name, identity, run_name
from sanm.record.reading import RecordError, failure_reason, read_metrics, settings_of
from sanm.run import MISSING, train_or_skip
from sweeps import launch
from sweeps.studies.study_runs import epochs_of, run_cell
from sweeps.studies.study_trials import TrialFailedError
from tests.conftest import SMALL, Command, config_of

WORDS = ("preset=demo", *SMALL, "trainer.last_window=1", "components=none", "noise.rate=0.2", "trainer.epochs=2",
         "quality.every=0", "seed=1", "device=cpu")  # fmt: skip

Damage = Callable[[Path], object]


def config_in(runs: Path, *more: str) -> dict[str, Any]:
    return config_of(*WORDS, *more, f"runs_dir={runs}")


def directory_of(config: dict[str, Any]) -> RunDirectory:
    record = identity(config)
    return RunDirectory(Path(config["runs_dir"]), run_name(record), record)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of which one is finished, with its checkpoint."""
    runs = tmp_path_factory.mktemp("made")
    assert train_or_skip(config_in(runs, "keep_checkpoint=true"), list(WORDS)) == 0
    return runs


@pytest.fixture
def runs(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def finished(runs: Path) -> RunDirectory:
    return directory_of(config_in(runs))


@pytest.fixture
def interrupted(finished: RunDirectory) -> RunDirectory:
    """Killed after its last checkpoint."""
    (finished.path / "result.json").unlink()
    return finished


def contents(folder: Path) -> dict[str, bytes]:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def changed(**fields: object) -> Damage:
    return lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def replaced_by(make: Damage) -> Damage:
    def damage(path: Path) -> None:
        path.unlink()
        make(path)

    return damage


RESULTS: dict[str, Damage] = {
    "cut": lambda path: os.truncate(path, 400),
    "empty": lambda path: path.write_bytes(b""),
    "no fields": lambda path: path.write_text("{}"),
    "null": lambda path: path.write_text("null"),
    "a list": lambda path: path.write_text("[1, 2]"),
    "deep": lambda path: path.write_text("[" * 100_000),
    "another encoding": lambda path: path.write_text(path.read_text(), encoding="utf-16"),
    "a word": changed(best_accuracy="high"),
    "true": changed(last_accuracy=True),
    "not a number": changed(seconds=float("nan")),
    "a huge number": changed(epochs=10**400),
    "too accurate": changed(best_accuracy=4600),
    "overrides": changed(overrides="seed=1"),
    "not done": changed(status="running"),
    "a folder": replaced_by(Path.mkdir),
    "a pipe": replaced_by(os.mkfifo),
}


@pytest.mark.parametrize("damage", RESULTS.values(), ids=RESULTS)
def test_a_result_that_is_none_is_one_line_everywhere(runs: Path, finished: RunDirectory, damage: Damage) -> None:
    damage(finished.path / "result.json")
    before = contents(runs)
    for retry in ("retry=false", "retry=true"):
        with pytest.raises(InputError) as refused:
            train_or_skip(config_in(runs, retry), list(WORDS))
        assert str(finished.path / "result.json") in str(refused.value)
        assert "\n" not in str(refused.value)
    assert finished.status() == "unreadable"
    (row,) = analysis.load(runs).to_dict("records")
    assert row["status"] == "unreadable"
    assert row["reason"].startswith("result.json ")
    assert row["noise.rate"] == 0.2, "which cell it is stays known"
    with pytest.raises(InputError, match=r"result\.json"):
        read_record(finished.path)
    assert contents(runs) == before


def looked_at(capsys: pytest.CaptureFixture[str], command: str, runs: Path) -> tuple[int, str, str]:
    """``sweeps.launch`` on the grid whose one cell is the finished run."""
    words = [word for word in WORDS if not word.startswith(("components", "noise.rate"))]
    part = ("--only", "components=none", "--only", "noise.rate=0.2")
    status = launch.main([command, "quick", *words, *part, f"runs_dir={runs}"])
    said = capsys.readouterr()
    return status, said.out, said.err


@pytest.mark.parametrize("name", ["result.json", "config.yaml"])
def test_a_grid_says_it_and_does_not_count_it_as_done(
    runs: Path, finished: RunDirectory, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert looked_at(capsys, "status", runs)[0] == 0
    os.truncate(finished.path / name, 40)
    before = contents(finished.path)
    for command in ("status", "run", "retry", "show"):
        status, out, err = looked_at(capsys, command, runs)
        assert (status, err) == (MISSING, "")
        assert "unreadable" in out if command == "show" else str(finished.path / name) in out
    assert contents(finished.path) == before


def test_a_multirun_goes_on_with_the_other_cells(
    within: Command, runs: Path, finished: RunDirectory, tmp_path: Path
) -> None:
    os.truncate(finished.path / "result.json", 400)
    words = [word for word in WORDS if not word.startswith("noise.rate")]
    done = within("-m", *words, "noise.rate=0.2,0.5", "trainer.save_model=false")
    assert done.returncode == 3, done.stderr
    (line,) = done.stderr.splitlines()
    assert str(finished.path / "result.json") in line
    assert "1 of 2 runs done" in done.stdout
    assert str(finished.path / "result.json") in done.stdout.splitlines()[-1]
    assert len(list(runs.glob("*/result.json"))) == 2
    assert (finished.path / "result.json").stat().st_size == 400


def test_hydra_never_goes_on_with_a_multirun_that_we_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(multirun, "_cells_of", broken)
    config = OmegaConf.create({"runs_dir": str(tmp_path), "hydra": {"launcher": {"_target_": multirun.HYDRAS_OWN}}})
    with pytest.raises(SystemExit) as left:
        multirun.Cells().on_multirun_start(config)
    assert left.value.code == 1
    assert "a mistake of ours" in capsys.readouterr().err


# ---- config.yaml


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("seed: 2\n", "seed"),
        ("seed: 2024-13-45\n", "config.yaml"),
        ("seed: 2024-12-24\n", "date"),
        ("trainer: &a [*a]\n", "itself"),
        ("\n".join(["a0: &a0 [1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]), "more"),
        ("[" * 200_000, "config.yaml"),
        ("a: " + "{a: " * 100_000, "config.yaml"),
        ("- " * 100_000, "config.yaml"),
        ("seed: [1\n", "config.yaml"),
        ("? [1, 2]\n: 3\n", "config.yaml"),
        ("a: !!python/object:os.system x\n", "config.yaml"),
        ("", "config.yaml"),
        (None, "missing"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_a_config_that_is_not_the_one_asked_for(
    runs: Path, finished: RunDirectory, text: str | None, named: str
) -> None:
    path = finished.path / "config.yaml"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    before = contents(runs)
    with pytest.raises(InputError) as refused:
        train_or_skip(config_in(runs), list(WORDS))
    assert str(refused.value).startswith(str(path))
    assert named in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1
    assert contents(runs) == before
    if named != "seed":
        assert analysis.load(runs)["status"].tolist() == ["unreadable"]
        with pytest.raises(InputError, match=r"config\.yaml"):
            read_record(finished.path)


@pytest.mark.parametrize("ending", ["result.json", "failure.txt", None], ids=["skip", "failed", "resume"])
def test_what_differs_is_named_whether_skipped_or_resumed(
    runs: Path, finished: RunDirectory, ending: str | None
) -> None:
    config = finished.path / "config.yaml"
    if ending != "result.json":
        (finished.path / "result.json").unlink()
    if ending == "failure.txt":
        finished.fail("it broke", "")
    config.write_text(config.read_text().replace("rate: 0.2", "rate: 0.25"))
    before = contents(runs)
    for retry in ("retry=false", "retry=true"):
        with pytest.raises(RecordError, match=r"config\.yaml .*noise\.rate=0\.25 .*0\.2 "):
            train_or_skip(config_in(runs, retry), list(WORDS))
    assert contents(runs) == before


def test_a_config_written_otherwise_is_the_same(runs: Path, finished: RunDirectory) -> None:
    config = finished.path / "config.yaml"
    text = config.read_text()
    assert "seed: 1\n" in text
    config.write_text("# mine\n" + text.replace("seed: 1\n", "seed: 1.0\n"))
    assert train_or_skip(config_in(runs), list(WORDS)) == 0


def test_the_first_difference_of_two_identities() -> None:
    one = {"a": {"b": 1, "c": [1, 2]}, "d": True}
    assert difference(one, {"d": True, "a": {"c": [1.0, 2], "b": 1.0}}) is None
    assert difference(one, one | {"d": 1}) == "d=True there, 1 here"
    assert difference(one, {"a": {"b": 1}, "d": True}) == "a.c=[1, 2] there, not set here"
    assert difference({"a": {"b": 1}, "d": True}, one) == "a.c=not set there, [1, 2] here"


def test_plain_settings_are_read() -> None:
    assert settings_of("a: &x [1, 2.5, yes]\nb: *x\nc: {0: null}\n") == {
        "a": [1, 2.5, True],
        "b": [1, 2.5, True],
        "c": {0: None},
    }
    assert settings_of("a:\n" + "- -1\n" * 1000) == {"a": [-1] * 1000}


# ---- checkpoint.pt

CHECKPOINTS: dict[str, Damage] = {
    "cut": lambda path: os.truncate(path, 20_000),
    "cut short": lambda path: os.truncate(path, 100),
    "empty": lambda path: os.truncate(path, 0),
    "a flipped bit": lambda path: path.write_bytes(
        path.read_bytes()[:9000] + bytes([path.read_bytes()[9000] ^ 64]) + path.read_bytes()[9001:]
    ),
    "text": lambda path: path.write_text("no checkpoint"),
    "other values": lambda path: checkpoint.save(path, {"weights": [1, 2]}),
    "other networks": lambda path: checkpoint.save(path, checkpoint.read(path) | {"trainer": {"epochs_done": 1}}),
    "another run": lambda path: checkpoint.save(
        path, checkpoint.read(path) | {"identity": checkpoint.read(path)["identity"] | {"seed": 7}}
    ),
    "a folder": replaced_by(Path.mkdir),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS)
@pytest.mark.parametrize("failed_before", [False, True])
def test_a_checkpoint_that_cannot_be_taken_fails_no_run(
    runs: Path, interrupted: RunDirectory, damage: Damage, failed_before: bool
) -> None:
    damage(interrupted.checkpoint)
    if failed_before:
        interrupted.fail("as earlier versions had it", "")
    for _ in range(2):
        with pytest.raises(InputError, match=rf"{interrupted.checkpoint} .*: delete it") as refused:
            train_or_skip(config_in(runs, f"retry={failed_before}"), list(WORDS))
        assert "\n" not in str(refused.value)
        assert not (interrupted.path / "failure.txt").exists()
        assert interrupted.status() == "interrupted"


def test_once_it_is_deleted_the_run_ends_with_its_own_numbers(
    runs: Path, interrupted: RunDirectory, made: Path
) -> None:
    interrupted.checkpoint.unlink()
    assert train_or_skip(config_in(runs), list(WORDS)) == 0
    expected = directory_of(config_in(made)).result()
    assert interrupted.result()["last_accuracy"] == expected["last_accuracy"]


def test_a_checkpoint_beside_a_finished_run_goes_at_the_next_visit(
    runs: Path, interrupted: RunDirectory, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(path: Path, missing_ok: bool = False) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            interrupted.finish({}, keep_checkpoint=False)
    assert interrupted.status() == "done"
    kept = interrupted.checkpoint.read_bytes()
    assert train_or_skip(config_in(runs), list(WORDS)) == 0
    assert not interrupted.checkpoint.exists()
    interrupted.checkpoint.write_bytes(kept)
    assert looked_at(capsys, "status", runs)[0] == 0
    assert interrupted.checkpoint.exists(), "a look changes nothing"
    assert looked_at(capsys, "run", runs)[0] == 0
    assert not interrupted.checkpoint.exists()


def test_one_that_was_kept_on_request_stays(runs: Path, finished: RunDirectory) -> None:
    assert train_or_skip(config_in(runs), list(WORDS)) == 0
    assert finished.checkpoint.exists()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def saves(epoch: float, cost: float, every: float, count: int = 100) -> list[int]:
    """The epochs after which a checkpoint is written."""
    clock = Clock()
    pace, found = checkpoint.Pace(every, clock), []
    for number in range(count):
        clock.now += epoch
        if pace.due():
            found.append(number)
            with pace.saving():
                clock.now += cost
    return found


def test_a_checkpoint_is_written_after_every_epoch_where_it_is_cheap_else_by_the_clock() -> None:
    every_epoch = list(range(100))
    assert saves(epoch=10, cost=0.1, every=60) == every_epoch
    assert saves(epoch=1, cost=0.5, every=60)[:3] == [0, 60, 120][:2]
    assert saves(epoch=25, cost=5, every=60)[:4] == [0, 3, 6, 9]
    assert saves(epoch=100, cost=50, every=60) == every_epoch, "no epoch more than the one is lost"
    assert saves(epoch=0.1, cost=1, every=0) == every_epoch


def test_a_run_writes_few_checkpoints_and_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Path) -> None:
    written: list[int] = []
    save = checkpoint.save

    def counted(path: Path, value: Any) -> None:
        if path.name == "checkpoint.pt":
            written.append(len(value["rows"]))
        save(path, value)

    monkeypatch.setattr(checkpoint, "save", counted)
    monkeypatch.setattr(checkpoint, "CHEAP", 0.0)
    config = config_in(tmp_path, "trainer.epochs=6", "trainer.checkpoint_every=3600")

    def seen_enough(rows: list[dict[str, Any]]) -> None:
        if len(rows) == 3:
            raise StoppedError

    with pytest.raises(StoppedError):
        train_or_skip(config, list(WORDS), watch=seen_enough)
    assert written == [1, 3], "what is left to be gone on with is saved"
    assert train_or_skip(config, list(WORDS)) == 0
    assert written == [1, 3, 4, 6]
    assert identity(config) == identity(config_in(tmp_path, "trainer.epochs=6")), "it is no part of what the run is"


# ---- metrics.csv, failure.txt, encoders


@pytest.mark.parametrize("damage", ['"', "x", "1e", "1;2", "\x00", "é"])
def test_epochs_that_are_none_are_left_out_by_name(runs: Path, finished: RunDirectory, damage: str) -> None:
    path = finished.path / "metrics.csv"
    text = path.read_text()
    assert len(analysis.load_epochs(runs)) == 2
    header, lines = read_metrics(path)
    assert (header, len(lines)) == (text.splitlines()[0], 2)
    path.write_text(text.replace("\n2,", f"\n2{damage},"))
    with pytest.warns(UserWarning, match=rf"{path}.* line 3"):
        assert analysis.load_epochs(runs).empty
    with pytest.raises(RecordError, match=rf"{path}.* line 3"):
        epochs_of(finished, "validation_accuracy")


def test_a_study_misses_epochs_that_are_gone(finished: RunDirectory) -> None:
    path = finished.path / "metrics.csv"
    assert len(epochs_of(finished, "validation_accuracy")[0]) == 2
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(RecordError, match=r"metrics\.csv"):
        epochs_of(finished, "validation_accuracy")


def test_a_trial_whose_run_is_damaged_fails_and_others_are_taken(runs: Path, finished: RunDirectory) -> None:
    study: Any = types.SimpleNamespace(selection="validation")
    words = [*WORDS, f"runs_dir={runs}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        assert run_cell(study, words, lambda rows, epochs: None).run == finished.name
        for damaged in ("metrics.csv", "result.json"):
            os.truncate(finished.path / damaged, 60)
            with pytest.raises(TrialFailedError, match=str(finished.path / damaged)):
                run_cell(study, words, lambda rows, epochs: None)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda path: path.write_bytes(b"caf\xe9 is full\nmore"), "is full"),
        (lambda path: path.write_bytes(b""), "failure.txt"),
        (Path.mkdir, "failure.txt"),
        (os.mkfifo, "failure.txt"),
    ],
    ids=["bytes", "empty", "folder", "pipe"],
)
def test_a_failure_is_told_as_far_as_it_can_be(
    runs: Path, interrupted: RunDirectory, damage: Damage, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    damage(interrupted.path / "failure.txt")
    assert train_or_skip(config_in(runs), list(WORDS)) == 1
    (line,) = capsys.readouterr().out.splitlines()
    assert told in line
    assert told in analysis.load(runs)["reason"].iloc[0] or analysis.load(runs)["status"].iloc[0] == "unreadable"
    assert failure_reason(interrupted.path / "failure.txt") in line


@pytest.mark.parametrize("name", ["result.json", "config.yaml"])
def test_an_encoder_that_is_not_as_it_was_written_is_not_taken(tmp_path: Path, name: str) -> None:
    config = config_in(tmp_path, "pretrain=simclr", "pretrain.epochs=1")
    record = encoder_identity(config)
    directory = RunDirectory(tmp_path / "encoders", encoder_name(record))
    directory.path.mkdir(parents=True)
    directory.begin(record if name == "result.json" else {**record, "model": {"name": "another"}})
    directory.finish({}, keep_checkpoint=False)
    if name == "result.json":
        os.truncate(directory.path / name, 5)
    before = contents(tmp_path)
    with pytest.raises(InputError, match=rf"{directory.path / name} "):
        pretrained(config, choose_device("cpu"), [])
    assert contents(tmp_path) == before
