"""Images on the disk, read ahead of their use: what comes, in which order, and what is said when it does not."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sanm.data import pixels, streaming
from sanm.data.pixels import mean_and_std
from sanm.data.stored import StoredImages
from sanm.data.streaming import Reader, told_of_lost_readers
from sanm.data.types import rows
from sanm.errors import InputError, ReadingError
from tests.conftest import ROOT


def pictures(count: int = 40) -> Tensor:
    return torch.randint(0, 256, (count, 3, 6, 5), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


@pytest.fixture
def stored(tmp_path: Path) -> StoredImages:
    np.save(tmp_path / "images.npy", pictures().numpy())
    return StoredImages(tmp_path / "images.npy")


Readers = Callable[[], list[int]]


def children() -> set[int]:
    return {int(pid) for pid in Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()}


@pytest.fixture
def readers() -> Readers:
    """Process ids of the readers that the test has started."""
    before = children()
    return lambda: sorted(children() - before)


def test_stored_images_answer_as_a_tensor_does(stored: StoredImages) -> None:
    images = pictures()
    assert (len(stored), stored.shape) == (40, images.shape)
    assert torch.equal(stored[:], images)
    assert torch.equal(stored[5:9], images[5:9])
    order = torch.tensor([7, 0, 39, 7])
    assert torch.equal(stored[order], images[order])
    assert all(map(torch.equal, stored.split(16), images.split(16)))
    assert mean_and_std(stored) == mean_and_std(images)


def test_a_selection_of_a_selection_stays_on_the_disk(stored: StoredImages) -> None:
    some = rows(rows(stored, np.arange(10, 30)), np.array([0, 5, 19]))
    assert isinstance(some, StoredImages)
    assert torch.equal(some[:], pictures()[[10, 15, 29]])
    assert rows(stored, np.arange(40)) is stored


@pytest.mark.parametrize(
    "array", [np.zeros((4, 3, 2, 2)), np.zeros((4, 2), np.uint8), np.asfortranarray(np.ones((4, 3, 2, 2), np.uint8))]
)
def test_other_arrays_are_no_images(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "other.npy", array)
    with pytest.raises(ValueError, match="uint8"):
        StoredImages(tmp_path / "other.npy")


def test_a_file_that_is_shorter_than_it_says_is_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", pictures().numpy())
    os.truncate(tmp_path / "images.npy", 1000)
    with pytest.raises(ValueError, match=r"mmap|size"):
        StoredImages(tmp_path / "images.npy")


def test_another_file_in_its_place_is_not_read(stored: StoredImages) -> None:
    other = stored.path.with_name("other.npy")
    np.save(other, np.zeros((40, 3, 6, 5), np.uint8))
    os.replace(other, stored.path)
    assert torch.equal(stored[:], pictures())


def test_statistics_are_counted_once_for_a_file_and_a_selection_of_it(
    stored: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []
    count = pixels._counted
    monkeypatch.setattr(pixels, "_counted", lambda images: counted.append(len(images)) or count(images))
    first, half = np.arange(10), np.arange(20) * 2
    for _ in range(2):
        for chosen in (np.arange(40), first, half):
            expected = count(pictures()[torch.from_numpy(chosen)])
            assert mean_and_std(rows(StoredImages(stored.path), chosen)) == expected
    assert counted == [40, 10, 20]
    beside = stored.path.with_suffix(".statistics.json")
    for damage in ("{", "[]", '{"array": null}', beside.read_text().replace("0.", "0.1", 1)):
        beside.write_text(damage)
        assert mean_and_std(stored) == count(pictures())
    assert counted[3:] == [40] * 4
    np.save(stored.path.with_name("other.npy"), 255 - pictures().numpy())
    os.replace(stored.path.with_name("other.npy"), stored.path)
    assert mean_and_std(StoredImages(stored.path)) == count(255 - pictures()), "another file, no longer and no shorter"
    assert mean_and_std(stored) == count(pictures()), "who has the old one open has its statistics"


def test_statistics_that_cannot_be_kept_are_counted_again(
    stored: StoredImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, write: object) -> None:
        raise InputError("no space left")

    monkeypatch.setattr(pixels, "write_json", full)
    assert mean_and_std(stored) == mean_and_std(pictures())
    assert not stored.path.with_suffix(".statistics.json").exists()


@pytest.mark.parametrize("workers", [0, 1, 2])
@pytest.mark.parametrize("on_disk", [True, False])
def test_batches_come_in_the_order_they_were_asked_for(
    stored: StoredImages, readers: Readers, workers: int, on_disk: bool
) -> None:
    images, chosen = pictures(), stored if on_disk else pictures()
    reader = Reader(workers, pin=False)
    for seed in (1, 2):
        order = torch.randperm(40, generator=torch.Generator().manual_seed(seed)).split(7)
        assert all(map(torch.equal, reader.read(chosen, order), [images[batch] for batch in order]))
    backwards = rows(stored, np.arange(39, 0, -1))
    assert torch.equal(torch.cat(list(reader.read(backwards, torch.arange(39).split(4)))), images[1:].flip(0))
    assert list(reader.read(chosen, [])) == []
    assert len(readers()) == workers


@pytest.mark.parametrize("workers", [0, 2])
def test_an_order_that_is_given_up_leaves_nothing_in_the_next(stored: StoredImages, workers: int) -> None:
    reader = Reader(workers, pin=False)
    first = reader.read(stored, torch.arange(40).split(2))
    next(first), next(first)
    second = reader.read(stored, torch.arange(39, -1, -1).split(5))
    assert torch.equal(torch.cat(list(second)), pictures().flip(0))
    if workers:
        with pytest.raises(RuntimeError, match="asked for before"):
            next(first)


def test_reading_draws_from_no_generator_of_the_process(stored: StoredImages) -> None:
    before = torch.get_rng_state()
    assert len(list(Reader(1, pin=False).read(stored, torch.arange(40).split(8)))) == 5
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_file_that_becomes_shorter_is_said_in_one_line(stored: StoredImages, workers: int) -> None:
    reader = Reader(workers, pin=False)
    assert len(list(reader.read(stored, torch.arange(40).split(8)))) == 5
    os.truncate(stored.path, stored.path.stat().st_size - 100)
    found = reader.read(stored, torch.arange(40).split(8))
    assert [len(next(found)) for _ in range(4)] == [8, 8, 8, 8]
    with pytest.raises(ReadingError, match=rf"^{stored.path} .*shorter.*$"):
        next(found)


@pytest.mark.parametrize("which", [0, 1])
def test_a_reader_that_is_killed_is_said_in_one_line(stored: StoredImages, readers: Readers, which: int) -> None:
    @told_of_lost_readers()
    def read_on() -> None:
        reader = Reader(2, pin=False)
        found = reader.read(stored, torch.arange(40).split(1))
        next(found)
        os.kill(readers()[which], signal.SIGKILL)
        list(found)

    with pytest.raises(ReadingError) as raised:
        read_on()
    line = str(raised.value)
    assert "a process that reads images has died (DataLoader worker" in line
    assert "image_workers=1, or 0 for none" in line
    assert "\n" not in line


def test_other_errors_are_passed_on() -> None:
    with pytest.raises(RuntimeError, match="CUDA out of memory"), told_of_lost_readers():
        raise RuntimeError("CUDA out of memory")


def test_readers_end_with_whom_they_read_for(stored: StoredImages, readers: Readers) -> None:
    reader = Reader(2, pin=False)
    found = reader.read(stored, torch.arange(40).split(1))
    next(found)
    assert len(readers()) == 2
    del reader, found
    gc.collect()
    assert not readers()


def test_readers_leave_signals_to_the_training_process(stored: StoredImages, readers: Readers) -> None:
    reader = Reader(2, pin=False)
    next(reader.read(stored, torch.arange(40).split(1)))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        subprocess.run(["kill", f"-{number}", *map(str, readers())], check=True)
    found = reader.read(stored, torch.arange(40).split(3))
    assert torch.equal(torch.cat(list(found)), pictures())


def test_readers_die_with_a_training_process_that_is_killed(stored: StoredImages) -> None:
    code = (
        "import sys, time, torch; from pathlib import Path; from sanm.data.stored import StoredImages; "
        "from sanm.data.streaming import Reader; reader = Reader(2, False); "
        "next(reader.read(StoredImages(Path(sys.argv[1])), torch.arange(40).split(1))); "
        "print('reading', flush=True); time.sleep(600)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, stored.path], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "reading\n"
    started = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(started) == 2
    process.kill()
    assert process.stdout.read() == "", "which ends once nobody holds the pipe any more"
    process.wait()


def test_readers_that_come_after_the_end_of_the_training_process_end() -> None:
    def late(trainer: int) -> None:
        streaming._begin_reading(trainer, 0)
        os._exit(5)

    for trainer, status in ((os.getpid(), 5), (1, 0)):
        process = multiprocessing.get_context("fork").Process(target=late, args=(trainer,))
        process.start()
        process.join(60)
        assert process.exitcode == status


def test_too_little_shared_memory_is_said_and_read_without(
    stored: StoredImages, readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streaming.os, "statvfs", lambda place: types.SimpleNamespace(f_bavail=1, f_frsize=4096))
    reader = Reader(2, pin=False)
    with pytest.warns(UserWarning, match=r"image_workers=2 .* /dev/shm, .*--shm-size"):
        found = reader.read(stored, torch.arange(40).split(20))
    assert torch.equal(torch.cat(list(found)), pictures())
    assert not readers()
    with warnings.catch_warnings(action="error"):
        assert len(list(reader.read(stored, torch.arange(40).split(1)))) == 40
    for name, value in {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "8",
        "LOCAL_WORLD_SIZE": "8",
        "TORCHELASTIC_RUN_ID": "none",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(UserWarning, match=r"0\.000512 MB"):
        reader.read(stored, torch.arange(40).split(1))
