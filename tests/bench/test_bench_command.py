"""``python -m sanm.bench``: its figures fit together, its table shows them, and bad input is one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sanm.bench.__main__ import main
from sanm.bench.report import known_card

TINY = ("model=preact_tiny", "trainer.batch_size=8", "device=cpu", "bench.steps=1")


def measured(tmp_path: Path, *words: str) -> dict[str, Any]:
    file = tmp_path / "bench.json"
    assert main([*TINY, f"bench.json={file}", *words]) == 0
    report: dict[str, Any] = json.loads(file.read_text())
    return report


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return measured(tmp_path_factory.mktemp("bench"), "base_method=dividemix", "components=full")


def test_shares_are_of_the_whole_step(whole: dict[str, Any]) -> None:
    assert sum(whole["shares"].values()) == pytest.approx(1)
    used = ("augmentation", "look", "masks and targets", "forward", "reconstruction", "backward", "optimizer")
    assert all(whole["shares"][part] > 0 for part in used)


def test_rate_and_step_are_the_same_measurement(whole: dict[str, Any]) -> None:
    assert whole["samples_per_step"] == 16  # as many unlabeled as labeled
    assert whole["images_per_second"] * whole["step_seconds"] == pytest.approx(16)
    assert whole["tflops"] * whole["step_seconds"] * 1e12 == pytest.approx(whole["flops_per_step"])


def test_passes_are_what_the_step_hands_to_its_networks(whole: dict[str, Any]) -> None:
    learns = "forward and backward, train mode"
    assert whole["passes"]["of_a_step"] == [
        *(["network, 8 images, forward, train mode"] * 4),  # two views of the unlabeled, two of the labeled rows
        "network, 16 images, forward, eval mode",  # the peer: of the unlabeled half
        f"network, 48 images, {learns}",  # and the masked view
        f"network, 16 images, {learns}",  # the masked view before mixup
        f"head, 16 images, {learns}",
    ]
    assert whole["shares"]["backward"] < whole["passes"]["share"] < 1
    assert whole["peak_memory_mb"] > 0


def test_the_text_says_what_the_json_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = measured(tmp_path, "base_method=ce", "components=none", f"bench.trace={tmp_path / 'trace.json'}")
    shown = capsys.readouterr().out
    assert f"{report['images_per_second']:.1f}" in shown
    assert report["passes"]["of_a_step"] == ["network, 8 images, forward and backward, train mode"]
    assert report["passes"]["of_a_step"][0] in shown
    assert report["shares"]["masks and targets"] < report["shares"]["backward"]
    assert json.loads((tmp_path / "trace.json").read_text())["traceEvents"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["bench.steps=0"], "bench.steps=0: must be a number at least 1"),
        (["bench.steps=many"], "many"),
        (["bench.stepz=1"], "stepz"),
        (["bench.clock=sun"], "bench.clock=sun: choose one of wall, cpu"),
        (["bench.json"], "bench.json: give a value"),
        (["base_method=nothing"], "no such option"),
        (["trainer.batch_size=1"], "trainer.batch_size=1"),
        (["device=cuda:99"], "device=cuda:99 is not there"),
        (["-m"], "leave out -m"),
        (["bench.clock="], "bench.clock=: give a value"),
        (["bench.steps=inf"], "bench.steps=inf"),
        (["bench.clock=null"], "bench.clock=null"),
        (["bench.json={"], "bench.json={"),
        (["bench.peak_tflops=nan"], "bench.peak_tflops=nan"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert said in errors[0]


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA A100-SXM4-40GB", "A100"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L40", ""),
        ("NVIDIA H100 PCIe", ""),
        ("NVIDIA A100-PCIE-40GB", ""),
        ("NVIDIA H100 NVL", ""),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", ""),
    ],
)
def test_the_peak_is_that_of_the_card_itself_or_unknown(name: str, card: str) -> None:
    assert known_card(name) == card


def test_help_says_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "python -m sanm.bench" in capsys.readouterr().out
