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


def test_the_floor_counts_what_the_step_hands_to_its_networks(whole: dict[str, Any]) -> None:
    passes = [(each["of"], each["images"], each["kind"], each["mode"]) for each in whole["floor"]["passes"]]
    assert passes == [
        ("network", 32, "forward", "train"),  # two views of the batch
        ("network", 16, "forward", "eval"),  # the peer: of the unlabeled half
        ("network", 48, "forward and backward", "train"),  # and the masked view
        ("network", 16, "forward and backward", "train"),  # the masked view before mixup
        ("decoder", 16, "forward and backward", "train"),
    ]
    assert whole["floor"]["seconds"] > 0


def test_every_feature_is_switched(whole: dict[str, Any]) -> None:
    names = [each["name"] for each in whole["arrangements"]]
    assert names == [
        "components=none",
        "components=amg (masks alone)",
        "components=amg_nlr (no reconstruction)",
        "components=amg_smr (targets as they are)",
        "trainer.precision=bf16",
        "channels_last off",
        "optimizer over all tensors at once",
        "fused optimizer",
    ]
    assert all(each["step_seconds"] > 0 and each["of_the_step"] > 0 for each in whole["arrangements"])


def test_streamed_images_are_measured_beside_resident_ones(whole: dict[str, Any]) -> None:
    names = ["resident", *(f"streamed, readers: {count}" for count in (0, 1, 2))]
    assert [each["name"] for each in whole["sources"]] == names
    assert whole["sources"][0]["of_the_resident_step"] == 1
    assert all(each["images_per_second"] > 0 and 0 < each["share_of_the_step"] < 1 for each in whole["sources"])


def test_what_was_replaced_is_measured_beside_it(whole: dict[str, Any]) -> None:
    assert [each["name"].partition(",")[0] for each in whole["replaced"]] == [
        "masks and targets",
        "masks and targets of the released code",
        "weak",
        "autoaugment",
        "randaugment",
    ]
    assert all(each["seconds_per_image"] > 0 and each["reference_seconds_per_image"] > 0 for each in whole["replaced"])


def test_the_projection_is_of_the_configs_own_protocol(whole: dict[str, Any]) -> None:
    protocol = whole["protocol"]
    assert (protocol["epochs"], protocol["images"], protocol["networks"]) == (300, 50_000, 2)
    assert protocol["hours"] == pytest.approx(sum(protocol["hours_of"].values()))
    assert protocol["steps_per_epoch_in_warm_up"] == 2 * 50_000 // 16  # both networks, batches of twice the size
    assert protocol["steps_per_epoch"] == 2 * 25_000 // 8  # one pass over the labeled half
    assert whole["peak_memory_mb"] > 0


def test_the_table_says_what_the_json_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = measured(
        tmp_path,
        "base_method=ce",
        "components=none",
        "bench.features=false",
        "bench.replaced=false",
        "bench.streamed=false",
    )
    shown = capsys.readouterr().out
    assert f"{report['images_per_second']:.1f}" in shown
    assert "step / passes alone" in shown
    assert "network, train mode" in shown
    assert not {"arrangements", "replaced", "sources"} & set(report)
    assert [each["kind"] for each in report["floor"]["passes"]] == ["forward and backward"]
    assert report["shares"]["masks and targets"] < report["shares"]["backward"]


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
