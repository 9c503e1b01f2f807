"""Streamed images are the same run as resident ones, bit for bit, and a run that streams ends as any other."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sanm.data import TrainingSet
from sanm.data.augment import ImageBank, sources
from sanm.data.stored import StoredImages
from sanm.errors import InputError, Interrupted
from sanm.machine import memory
from sanm.pretraining.simclr import SimCLR
from sanm.training.trainer import Trainer
from tests.conftest import ROOT, Command, config_of
from tests.training.test_interruption import TIMES
from tests.training.test_trainer import TINY, same, train

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
STREAMED = ("images=streamed", "image_workers=1")


@pytest.fixture
def on_disk(training_set: TrainingSet, tmp_path: Path) -> TrainingSet:
    np.save(tmp_path / "images.npy", training_set.images.numpy())
    return dataclasses.replace(training_set, images=StoredImages(tmp_path / "images.npy"))


def made(data: TrainingSet, *overrides: str) -> Trainer:
    return Trainer(config_of(*TINY, *overrides), data, CPU)


@pytest.mark.parametrize(
    "choice",
    [
        ("base_method=dividemix", "components=full"),  # two pools of draws, scans, two networks in turn
        ("base_method=dividemix", "components=amg", "base_method.guess_on=autoaugment", "base_method.learn_from=weak"),
        ("base_method=ce", "components=none", "trainer.epoch_samples=64"),
        ("base_method=c2d", "pretrain=none", "components=none"),  # measures within the epoch
    ],
)
@pytest.mark.parametrize("workers", [0, 2])
def test_streamed_is_resident_bit_for_bit(
    training_set: TrainingSet, on_disk: TrainingSet, choice: tuple[str, ...], workers: int
) -> None:
    resident = made(training_set, *choice, "images=resident")
    streamed = made(on_disk, *choice, "images=streamed", f"image_workers={workers}")
    assert (resident.bank.source.streamed, streamed.bank.source.streamed) == (False, True)
    assert same(train(resident, 3).state(), train(streamed, 3).state())
    for expected, found in zip(resident.measure_and_predict(), streamed.measure_and_predict(), strict=True):
        assert torch.equal(expected, found)
    assert torch.equal(resident.predict(training_set.images), streamed.predict(on_disk.images))


@pytest.mark.parametrize(("method", "steps"), [("ce", 2), ("dividemix", 3)])
def test_left_in_the_middle_of_an_epoch_it_goes_on_bit_for_bit(
    training_set: TrainingSet, on_disk: TrainingSet, method: str, steps: int
) -> None:
    choice = (f"base_method={method}", "components=full")
    whole = train(made(training_set, *choice, "images=resident"), 3)
    first = train(made(on_disk, *choice, *STREAMED), 1)
    left = iter([False] * (steps - 1) + [True])
    with pytest.raises(Interrupted, match="epoch 2"):
        first.train_epoch(lambda step, steps: None, lambda: next(left))
    resumed = made(on_disk, *choice, *STREAMED)
    resumed.load(first.state())
    assert same(whole.state(), train(resumed, 2).state())


def test_every_announced_batch_is_read_ahead(on_disk: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = made(on_disk, "base_method=dividemix", "components=full", *STREAMED)
    read, here, unannounced = StoredImages.__getitem__, os.getpid(), list[int]()

    def noted(self: StoredImages, which: torch.Tensor) -> torch.Tensor:
        if os.getpid() == here:
            unannounced.append(len(which))
        return read(self, which)

    monkeypatch.setattr(StoredImages, "__getitem__", noted)
    train(trainer, 2)
    assert not unannounced, "read by the training process itself"
    trainer.bank.plain(torch.arange(3))
    assert unannounced == [3]


def test_pretraining_streams_too(training_set: TrainingSet, on_disk: TrainingSet) -> None:
    choice = (
        "pretrain=simclr",
        "pretrain.epochs=2",
        "pretrain.batch_size=64",
        "pretrain.warm_up=0",
        *(word for word in TINY if word.startswith("model.")),
    )
    states = []
    for data, how in ((training_set, ("images=resident",)), (on_disk, STREAMED)):
        encoder = SimCLR(config_of(*choice, *how), data, 4, CPU)
        for _ in range(2):
            encoder.train_epoch(lambda step, steps: None)
        states.append((encoder.state(), encoder.features(data.images)))
    assert same(*states)


@pytest.mark.parametrize(
    ("free", "wanted", "streamed"),
    [(40_000, "auto", True), (80_000, "auto", False), (None, "auto", False), (40_000, "resident", False)],
)
def test_images_are_resident_where_half_of_the_free_memory_takes_them(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch, free: int | None, wanted: str, streamed: bool
) -> None:
    monkeypatch.setattr(sources, "available_memory", lambda device: free)
    bank = ImageBank(training_set, {"crop_padding": 0, "flip": True}, CPU, wanted, 2)  # 160 x 3 x 8 x 8: 30,720 bytes
    assert bank.source.streamed == streamed
    words = r"160 of 3x8x8, streamed to cpu \(0\.0307 MB\); workers: 2" if streamed else "160 of 3x8x8, resident on cpu"
    assert str(bank.source).startswith(words.replace("\\", ""))


def test_resident_images_that_do_not_fit_are_refused(
    training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "available_memory", lambda device: 30_000)
    refused = r"images=resident: 160 of 3x8x8 are 0\.0307 MB, and 0\.03 MB of cpu are free: set images=streamed"
    with pytest.raises(InputError, match=refused):
        ImageBank(training_set, {"crop_padding": 0, "flip": True}, CPU, "resident", 2)


def test_limits_of_control_groups_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = next(
        line.partition("::")[2] for line in Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::")
    )
    group = tmp_path / own.lstrip("/")
    group.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(memory, "CONTROL_GROUPS", tmp_path)
    unlimited = memory.available_memory(CPU)
    (group / "memory.max").write_text("max\n")
    assert memory.available_memory(CPU) == pytest.approx(unlimited, rel=0.2)
    (group / "memory.max").write_text("5000000\n")
    (group / "memory.stat").write_text("anon 2000000\nfile 2900000\n")
    assert memory.available_memory(CPU) == 3_000_000
    for name, value in {
        "TORCHELASTIC_RUN_ID": "a",
        "RANK": "5",
        "LOCAL_RANK": "1",
        "WORLD_SIZE": "6",
        "LOCAL_WORLD_SIZE": "3",
    }.items():
        monkeypatch.setenv(name, value)
    assert memory.available_memory(CPU) == 1_000_000, "the processes of a run that are on this machine share it"


# ---- the command


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Two classes of 40 images each, and none to test on."""
    stream = np.random.RandomState(0)
    for label, name in enumerate(("dark", "light")):
        folder = tmp_path / "photos" / "train" / name
        folder.mkdir(parents=True)
        for position in range(40):
            pixels = stream.randint(120 * label, 120 * label + 130, (8, 8, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{position}.png")
    return tmp_path / "photos"


def arguments(photos: Path, *more: str) -> tuple[str, ...]:
    return (
        "data=image_folder", f"data.root={photos}", "data.image_size=8", "noise=none", "base_method=ce",
        "components=full", "model.widths=[8,16]", "model.blocks=[1,1]", "trainer.batch_size=16",
        "trainer.milestones=[]",
        "base_method.warm_up=1", *more,
    )  # fmt: skip


def test_runs_leave_the_same_record_and_are_the_same_run(photos: Path, tmp_path: Path, command: Command) -> None:
    """Without test images; the validation split, which has no place of its own on the disk, is streamed as well."""
    found = []
    for how in (("images=resident",), ("images=streamed", "image_workers=2")):
        runs = tmp_path / how[0].partition("=")[2]
        done = command(*arguments(photos, "trainer.epochs=2", *how), f"runs_dir={runs}", runs=False)
        assert done.returncode == 0, done.stderr
        found.append((done, *record(runs)))
    (resident, first, *first_files), (streamed, second, *second_files) = found
    assert "images   72 of 3x8x8, resident on cpu" in resident.stdout
    assert "images   72 of 3x8x8, streamed to cpu (0.0553 MB); workers: 2" in streamed.stdout
    assert (first.pop("images"), second.pop("images")) == ("resident", "streamed")
    assert first == second
    assert first_files == second_files


def record(runs: Path) -> tuple[Any, ...]:
    (folder,) = (path.parent for path in runs.glob("*/result.json"))
    result = {k: v for k, v in json.loads((folder / "result.json").read_text()).items() if k not in TIMES}
    with open(folder / "metrics.csv", newline="") as handle:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(handle)]
    return result, rows, (folder / "label_quality.csv").read_text(), (folder / "samples.npz").read_bytes()


def begun(photos: Path, runs: Path) -> subprocess.Popen[str]:
    """A long run, in a process group of its own, after an epoch."""
    long = arguments(photos, "trainer.epochs=500", "images=streamed", "image_workers=2", f"runs_dir={runs}")
    process = subprocess.Popen(
        [sys.executable, "-m", "sanm.run", *long],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout
    next(line for line in process.stdout if "/500  loss" in line)
    return process


def readers_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_whole_group_stops_the_run_and_its_readers(
    photos: Path, tmp_path: Path, number: signal.Signals
) -> None:
    process = begun(photos, tmp_path / "runs")
    assert len(readers_of(process)) == 2
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=120)  # which ends once nobody holds the pipes any more
    assert process.returncode == 75, out + err
    assert (out + err).count("stopped  ") == 1
    assert "Traceback" not in err


def test_a_reader_that_is_killed_fails_the_run_with_its_reason(photos: Path, tmp_path: Path) -> None:
    process = begun(photos, tmp_path / "runs")
    os.kill(readers_of(process)[0], signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 1, out + err
    assert "failed   ce-full" in out
    assert "Traceback" not in err
    (failure,) = (tmp_path / "runs").glob("*/failure.txt")
    assert failure.read_text().startswith("a process that reads images has died (DataLoader worker")


def test_readers_die_with_a_run_that_is_killed_and_its_claim_with_them(
    photos: Path, tmp_path: Path, command: Command
) -> None:
    process = begun(photos, tmp_path / "runs")
    process.kill()
    process.communicate(timeout=120)
    (checkpoint,) = (tmp_path / "runs").glob("*/checkpoint.pt")
    assert checkpoint.stat().st_size
    (cache,) = (photos / ".sanm_cache").glob("train*.npy")
    cache.write_bytes(cache.read_bytes()[:-7])
    again = begun(photos, tmp_path / "runs")  # which is at the run at once, and decodes again
    os.killpg(again.pid, signal.SIGTERM)
    out, err = again.communicate(timeout=120)
    assert again.returncode == 75, out + err
