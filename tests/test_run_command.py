"""The command line as a user types it: what it prints, what it leaves, how it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from PIL import Image

from analysis.records.samples import read
from sanm.grids import multirun
from sanm.machine import gpu
from sanm.record.directory import RunDirectory
from sanm.run import FAILED
from tests.conftest import ROOT, SMALL, Command, remount

pytestmark = pytest.mark.slow

QUICK = (*SMALL, "base_method=ce")


def records(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "runs").glob("*/result.json"))


def test_a_run_leaves_its_record_and_the_same_command_skips_it(
    command: Command, within: Command, tmp_path: Path
) -> None:
    first = command(*QUICK, "components=full", "save_labels=true")
    assert first.returncode == 0, first.stderr
    assert "epoch 3/3" in first.stdout
    assert "left 0:00" in first.stdout
    (result,) = records(tmp_path)
    folder = result.parent
    assert {file.name for file in folder.iterdir()} - {".lock"} == {
        "config.yaml", "metrics.csv", "label_quality.csv", "samples.npz", "probabilities.npz", "model.pt",
        "labels.json", "result.json",
    }  # fmt: skip
    found = json.loads(result.read_text())
    assert (found["status"], found["epochs"], found["seed"]) == ("done", 3, 1)
    assert 0 < found["realised_noise_rate"] < 0.6
    assert 0 <= found["best_accuracy"] <= 100
    assert found["label_errors"]["count"] == round(found["realised_noise_rate"] * (192 - 19))
    assert set(found["label_errors"]) == {"found_precision", "found_recall", "precision_at_count", "count"}
    metrics = (folder / "metrics.csv").read_text().splitlines()
    assert len(metrics) == 4
    labels = json.loads((folder / "labels.json").read_text())
    quality = (folder / "label_quality.csv").read_text().splitlines()
    assert quality[0] == "index,key,given_label,predicted_label,clean_probability,confidence"
    assert len(labels) == 192
    assert len(quality) - 1 == 192 - round(0.1 * 192), "a tenth is held out for validation"

    again = command(*QUICK, "components=full", "save_labels=true")
    assert again.returncode == 0
    assert again.stdout.startswith("skip ")
    assert len(again.stdout.splitlines()) == 1

    exported = within(
        *QUICK, "components=full", "noise=file", f"noise.path={folder / 'labels.json'}", "data.validation=0"
    )
    assert exported.returncode == 0, exported.stderr


def test_a_grid_trains_each_cell_once_and_counts(command: Command, within: Command, tmp_path: Path) -> None:
    grid = (*QUICK, "-m", "components=none,amg", "noise.rate=0.2,0.5")
    first = command(*grid)
    assert first.returncode == 0, first.stderr
    assert len(records(tmp_path)) == 4
    assert "grid     4 of 4 runs done" in first.stdout
    again = within(*grid)
    assert again.stdout.count("skip ") == 4
    assert "epoch" not in again.stdout


def test_a_run_that_diverges_is_recorded_and_the_grid_goes_on(within: Command, tmp_path: Path) -> None:
    grid = (*QUICK, "-m", "trainer.lr=1e30,0.02", "components=none", "quality.every=0")
    first = within(*grid)
    assert first.returncode == 3
    reason = "the loss is not finite at epoch 1, step"
    assert first.stdout.count(reason) == 2, "at once, and at the end"
    (failure,) = (tmp_path / "runs").glob("*/failure.txt")
    assert failure.read_text().startswith(reason)
    assert len(records(tmp_path)) == 1
    again = within(*grid)
    assert again.returncode == 3
    assert "retry=true takes it again" in again.stdout
    assert "run      " not in again.stdout
    retried = within(*grid, "retry=true")
    assert "run      " in retried.stdout


@pytest.mark.parametrize(
    ("initialised", "works", "lost"), [(True, False, True), (True, True, False), (False, False, False)]
)
def test_a_gpu_is_lost_to_a_process_when_nothing_works_on_it_any_more(
    initialised: bool, works: bool, lost: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def synchronize() -> None:
        if not works:
            raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: initialised)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert gpu.lost() == lost


@pytest.mark.parametrize(("lost", "taken"), [(True, 1), (False, 3)])
def test_a_grid_leaves_cells_that_would_fail_for_another_ones_error_alone(
    lost: bool, taken: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = []
    cells = [
        types.SimpleNamespace(config={"n": n}, overrides=(), run=RunDirectory(tmp_path, f"run-{n}")) for n in "abc"
    ]
    monkeypatch.setattr(multirun, "_cells_of", lambda *_: cells)
    monkeypatch.setattr(multirun, "train_or_skip", lambda config, _: trained.append(config) or FAILED)
    monkeypatch.setattr(gpu, "lost", lambda: lost)
    config = OmegaConf.create({"runs_dir": str(tmp_path), "hydra": {"launcher": {"_target_": multirun.HYDRAS_OWN}}})
    with pytest.raises(SystemExit) as left:
        multirun.Cells().on_multirun_start(config)
    assert (left.value.code, len(trained)) == (3, taken)
    assert ("can use its GPU no more: the same command goes on" in capsys.readouterr().err) == lost


def test_help_and_config_are_quick_and_import_nothing_heavy(command: Command) -> None:
    for argument in ("--help", "--cfg=job"):
        began = time.perf_counter()
        done = command(argument, runs=False)
        assert done.returncode == 0
        assert "components" in done.stdout
        assert time.perf_counter() - began < 30  # a hang, not a benchmark
    probe = "import sys, sanm.run; sys.exit(bool({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=False).returncode == 0


REFUSALS = [
    (
        ("components=everything",),
        "components/everything: no such option; choose one of amg, amg_nlr, amg_smr, full, none",
    ),
    (("base_method=sgd",), "base_method/sgd: no such option; choose one of "),
    (("tau.valeu=0.2",), "Did you mean tau.value?"),
    (("aspect=0.5",), "Did you mean mask_strategy.aspect?"),
    (("launch=slurm",), "It is for grids: python -m sweeps.launch run GRID"),
    (("noise.rate=1.5",), "noise.rate=1.5: must be a number in [0, 1]"),
    (("noise.rate=abc",), "noise.rate=abc: must be a number in [0, 1]"),
    (("tau.value=-1",), "tau.value=-1"),
    (("mask_strategy.aspect=0",), "mask_strategy.aspect=0"),
    (("components=none", "components.nlr=true"), "NLR and SMR need AMG"),
    (("data=cifar10", "data.root=/nowhere/at/all"), "data.root"),
    (("data=image_folder", "data.root=/nowhere/at/all"), "data.root"),
    (("data=image_folder",), "data.root"),
    (("noise=file",), "noise.path"),
    (("noise=file", "noise.path=/nowhere.json"), "noise.path=/nowhere.json cannot be read"),
    (("data=cifar10", "noise.rate=0.33"), "set base_method.lambda_u=VALUE"),
    (("data.subset=12",), "fewer than one batch: lower trainer.batch_size=32"),
    (("device=cuda:77",), "device=cuda:77 is not there"),
    (("device=gpu",), "device=gpu: choose one of auto, cpu, cuda, cuda:N"),
    (("base_method.lambda_u=abc",), "base_method.lambda_u=abc: must be a number"),
    (("base_method.lambda_u=null",), "base_method.lambda_u=null: must be a number"),
    (("base_method.temperature=0",), "base_method.temperature=0: must be a number above 0"),
    (("+base_method.typo=1",), "base_method.typo: no such key"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), REFUSALS, ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_bad_input_is_one_clear_line_before_any_training(
    within: Command, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = within(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert "run      " not in done.stdout
    assert not records(tmp_path)
    assert not list((tmp_path / "runs").glob("*/failure.txt")), "bad input is not a failed run"


def test_one_bad_cell_refuses_the_whole_grid_before_it_starts(command: Command, tmp_path: Path) -> None:
    done = command(*QUICK, "-m", "noise.rate=0.2,1.5")
    assert done.returncode == 2
    assert "noise.rate=1.5" in done.stderr
    assert not list((tmp_path / "runs").glob("ce-*"))


@pytest.mark.parametrize("multirun", [(), ("-m",)])
def test_a_runs_directory_that_cannot_be_written(within: Command, tmp_path: Path, multirun: tuple[str, ...]) -> None:
    (tmp_path / "file").write_text("")
    done = within(*QUICK, *multirun, f"runs_dir={tmp_path / 'file' / 'runs'}", runs=False)
    assert done.returncode == 2
    assert "runs_dir=" in done.stderr
    assert "cannot be written" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_no_failure_of_the_run(within: Command, small_disk: Path) -> None:
    model = ("model.widths=[24,48]", "components=none", "trainer.epochs=2")
    full = within(*QUICK, *model, f"runs_dir={small_disk}", runs=False)
    assert full.returncode == 2
    assert "no space left to write" in full.stderr
    assert "checkpoint.pt" in full.stderr
    assert len(full.stderr.strip().splitlines()) == 1
    remount(small_disk, "size=20m")
    again = within(*QUICK, *model, f"runs_dir={small_disk}", runs=False)
    assert again.returncode == 0, again.stderr
    assert "done " in again.stdout


@pytest.mark.parametrize(
    ("labels", "message"),
    [([0, 1, 2], "3"), ([99] * 1297, "99"), ("text", "labels.json")],
    ids=["wrong length", "out of range", "not JSON"],
)
def test_a_bad_noise_file_is_named(within: Command, tmp_path: Path, labels: object, message: str) -> None:
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(labels) if isinstance(labels, list) else "{")
    done = within("noise=file", f"noise.path={path}")
    assert done.returncode == 2
    assert "labels.json" in done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def write_images(root: Path, per_class: int = 40) -> None:
    stream = np.random.default_rng(0)
    for split, count in (("train", per_class), ("test", 10)):
        for label, name in enumerate(("ant", "bee")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = stream.integers(0, 100, (20, 24, 3), dtype=np.uint8) + np.uint8(120 * label)
                mode = ("RGB", "L", "RGBA")[number % 3]
                Image.fromarray(pixels).convert(mode).save(root / split / name / f"{number}.png")


FOLDER = ("data=image_folder", "base_method=ce", "trainer.batch_size=16", "trainer.epochs=3", "trainer.milestones=[]",
          "base_method.warm_up=1", "model.widths=[8,16]", "model.blocks=[1,1]", "data.image_size=16")  # fmt: skip


def test_an_image_folder_of_ones_own(command: Command, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    done = command(*FOLDER, f"data.root={tmp_path / 'images'}")
    assert done.returncode == 0, done.stderr
    (result,) = records(tmp_path)
    assert json.loads(result.read_text())["realised_noise_rate"] is None, "nobody knows the truth"
    assert json.loads(result.read_text())["label_errors"] is None
    assert "train/ant/0.png" in (result.parent / "label_quality.csv").read_text()
    samples = read(result.parent)
    assert samples.true is None
    assert samples.image.shape[1:] == (3, 16, 16)
    assert set(samples.class_names[samples.given]) <= {"ant", "bee"}


def test_a_corrupt_image_is_named(within: Command, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    broken = tmp_path / "images" / "train" / "bee" / "7.png"
    broken.write_bytes(broken.read_bytes()[:60])
    done = within(*FOLDER, "noise=none", f"data.root={tmp_path / 'images'}")
    assert done.returncode == 2
    assert "7.png" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_class_in_test_only_is_named(within: Command, tmp_path: Path) -> None:
    write_images(tmp_path / "images")
    (tmp_path / "images" / "test" / "wasp").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "images" / "test" / "wasp" / "0.png")
    done = within(*FOLDER, "noise=none", f"data.root={tmp_path / 'images'}")
    assert done.returncode == 2
    assert "wasp" in done.stderr
