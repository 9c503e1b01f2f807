"""Checkpoints as others publish them."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from sanm.errors import InputError
from sanm.models import build
from sanm.pretraining.published import read_encoder
from sanm.pretraining.simclr import encoder_tensors

NARROW = {"name": "resnet", "block": "basic", "widths": [4, 8], "blocks": [1, 1]}
HEAD = {"head.0.weight": torch.zeros(8, 8), "head.2.bias": torch.zeros(128)}


def encoder(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return encoder_tensors(build({**NARROW, **changes}, 3, 10))


def floating(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in state.items() if value.is_floating_point()}


def saved(path: Path, value: object) -> str:
    torch.save(value, path)
    return str(path)


@pytest.mark.parametrize("prefix", ["", "module.", "encoder.", "module.encoder.", "encoder.module."])
@pytest.mark.parametrize("wrapping", [None, "model", "state_dict"])
def test_prefixes_wrappings_and_heads(tmp_path: Path, prefix: str, wrapping: str | None) -> None:
    state = {**{prefix + key: value for key, value in encoder().items()}, **HEAD, "module.fc.weight": torch.zeros(3)}
    options = {"opt": argparse.Namespace(batch_size=1024), "epoch": 1000}
    path = saved(tmp_path / "last.pth", {wrapping: state, **options} if wrapping else state)
    fit = read_encoder(path, encoder())
    assert fit.missing == fit.unexpected == fit.misshapen == []
    assert fit.loaded.keys() == floating(encoder()).keys()
    assert all(torch.equal(value, encoder()[key]) for key, value in fit.loaded.items())
    assert "0 missing" in str(fit)


def test_what_does_not_fit_is_counted_and_named(tmp_path: Path) -> None:
    state = encoder()
    state["conv1.weight"] = torch.zeros(4, 1, 3, 3)
    del state["layer1.0.bn2.bias"]
    state["layer9.0.conv1.weight"] = torch.zeros(2)
    fit = read_encoder(saved(tmp_path / "x.pt", state), encoder())
    assert (fit.missing, fit.unexpected) == (["layer1.0.bn2.bias"], ["layer9.0.conv1.weight"])
    assert fit.misshapen == ["conv1.weight"]
    count = len(floating(encoder()))
    assert str(fit) == (
        f"{count - 2} of {count} tensors loaded, 1 missing (layer1.0.bn2.bias), "
        "1 unexpected (layer9.0.conv1.weight), 1 of another shape (conv1.weight)"
    )


def test_half_precision_becomes_the_networks_type(tmp_path: Path) -> None:
    halves = {key: value.half() if value.is_floating_point() else value for key, value in encoder().items()}
    fit = read_encoder(saved(tmp_path / "x.pt", halves), encoder())
    assert {value.dtype for value in fit.loaded.values()} == {torch.float32}


class Harmful:
    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("executed",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"conv1.weight": torch.zeros(4, 3, 3, 3)}, r"is not of this network \(1 of \d+ tensors loaded, \d+ missing"),
        ({"model": [1, 2]}, "is not of this network"),
        ([1, 2], "holds no state dict"),
        (Harmful(), "no torch checkpoint of plain tensors"),
        (b"garbage", "no torch checkpoint of plain tensors"),
        (None, "cannot be read"),
    ],
    ids=["one tensor", "empty", "list", "code", "garbage", "no file"],
)
def test_files_that_are_none_are_refused_in_one_line(
    tmp_path: Path, content: object, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=message) as refused:
        read_encoder(str(path), encoder())
    assert str(refused.value).startswith(f"pretrain.path={path}")
    assert "\n" not in str(refused.value)
    assert "executed" not in capsys.readouterr().out


def test_another_network_and_broken_numbers_are_refused(tmp_path: Path) -> None:
    wider = saved(tmp_path / "wide.pt", encoder(widths=[6, 12]))
    with pytest.raises(InputError, match=r"0 of \d+ .* [1-9]\d* of another shape"):
        read_encoder(wider, encoder())
    broken = saved(tmp_path / "nan.pt", {key: value * float("nan") for key, value in floating(encoder()).items()})
    with pytest.raises(InputError, match="not finite"):
        read_encoder(broken, encoder())


@pytest.mark.parametrize("name", ["x.safetensors", "x.SafeTensors", "renamed.pt"])
@pytest.mark.parametrize("prefix", ["", "module.", "encoder."])
def test_safetensors_are_read(tmp_path: Path, name: str, prefix: str) -> None:
    state = {prefix + key: value for key, value in {**encoder(), **HEAD}.items()}
    save_file(state, tmp_path / name)
    fit = read_encoder(str(tmp_path / name), encoder())
    assert fit.missing == fit.unexpected == fit.misshapen == []
    assert all(torch.equal(value, encoder()[key]) for key, value in fit.loaded.items())


def test_safetensors_of_half_precision(tmp_path: Path) -> None:
    halves = {key: value.bfloat16() for key, value in floating(encoder()).items()}
    save_file(halves, tmp_path / "x.safetensors")
    fit = read_encoder(str(tmp_path / "x.safetensors"), encoder())
    assert all(torch.equal(value, halves[key].float()) for key, value in fit.loaded.items())


@pytest.mark.parametrize("kept", [0, 4, 8, 60, -1])
def test_damaged_safetensors_are_refused_in_one_line(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "x.safetensors"
    save_file(encoder(), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match="safetensors") as refused:
        read_encoder(str(path), encoder())
    assert str(refused.value).startswith(f"pretrain.path={path}")
    assert "\n" not in str(refused.value)


def test_torch_files_called_safetensors_and_the_other_network(tmp_path: Path) -> None:
    torch.save(encoder(), tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="safetensors"):
        read_encoder(str(tmp_path / "x.safetensors"), encoder())
    save_file(encoder(widths=[6, 12]), tmp_path / "wide.safetensors")
    with pytest.raises(InputError, match="of another shape"):
        read_encoder(str(tmp_path / "wide.safetensors"), encoder())
