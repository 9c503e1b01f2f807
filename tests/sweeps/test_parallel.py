"""Slots: how GPUs, threads and memory are shared out."""

from __future__ import annotations

from pathlib import Path

import pytest

from sanm.errors import InputError
from sanm.grids.cells import Cell
from sanm.record.directory import RunDirectory
from sweeps.grids.states import Progress
from sweeps.launchers import Job, machine, parallel
from sweeps.launchers.parallel import Settings, memory_warning
from sweeps.launchers.workers import Slot


def cell(device: str = "auto") -> Cell:
    return Cell((), {"device": device}, RunDirectory(Path("runs"), "a"))


def slots(tmp_path: Path, settings: Settings, gpus: list[str]) -> list[Slot]:
    return parallel._slots(settings, gpus, Job(Progress([], []), tmp_path))


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


def test_every_visible_gpu_has_as_many_slots_and_sees_itself_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1, 3")
    found = slots(tmp_path, Settings(slots=2), parallel._gpus_of([cell()]))
    assert [slot.environment["CUDA_VISIBLE_DEVICES"] for slot in found] == ["1", "3", "1", "3"]
    assert {slot.environment["OMP_NUM_THREADS"] for slot in found} == {"2"}
    assert len({slot.log for slot in found}) == 4
    assert len(slots(tmp_path, Settings(), ["0", "1"])) == 2


def test_without_gpus_slots_share_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert parallel._gpus_of([cell()]) == []
    found = slots(tmp_path, Settings(slots=3), [])
    assert [dict(slot.environment) for slot in found] == [{"OMP_NUM_THREADS": "2"}] * 3
    assert len(slots(tmp_path, Settings(), [])) == 8


def test_fewer_threads_that_were_asked_for_stay_and_more_do_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for asked, given in (("1", "1"), ("16", "4"), ("", "4"), ("many", "4")):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert slots(tmp_path, Settings(slots=2), [])[0].environment["OMP_NUM_THREADS"] == given
    assert slots(tmp_path, Settings(slots=2, threads=7), [])[0].environment["OMP_NUM_THREADS"] == "7"


def test_the_cpu_can_be_asked_for_and_one_gpu_for_all_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert parallel._gpus_of([cell("cpu")]) == []
    assert parallel._gpus_of([cell("cuda")]) == ["0", "1"]
    with pytest.raises(InputError, match="device=cuda:1: launch=parallel"):
        parallel._gpus_of([cell("cuda:1")])


def test_memory_that_does_not_suffice_is_said_with_its_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "memory_mb", lambda: 16 * 1024.0)
    monkeypatch.setattr(machine, "gpu_memory_mb", lambda: 80 * 1024.0)
    assert memory_warning(4096, 4, on_gpu=False) is None
    warning = memory_warning(4096, 5, on_gpu=False)
    assert warning
    assert "5 runs at once need 20.0 GiB" in warning
    assert "there are 16.0 GiB: lower launch.slots" in warning
    assert memory_warning(4096, 20, on_gpu=True) is None
    assert memory_warning(4097, 20, on_gpu=True)
    assert memory_warning(None, 1000, on_gpu=False) is None


def test_a_launch_with_more_slots_than_memory_says_so_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "memory_mb", lambda: 16 * 1024.0)
    done = cell("cpu")
    monkeypatch.setattr(Progress, "peak_memory_mb", lambda self: 1024.0)
    parallel.launch([], Settings(slots=17), Job(Progress([done], ["done"]), tmp_path))
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(
        "warning  17 runs at once need 17.0 GiB going by those that are done, and there are 16.0 GiB"
    )
    assert second.startswith("launch   17 at once")


def test_this_machine_has_cores_and_memory() -> None:
    assert machine.memory_mb() > 100
    assert machine.cores() == 8
