"""Files for other programs: the same probabilities, for any number of images, and classes along with them."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from sanm import models
from sanm.export import onnx, torch_export
from sanm.export.__main__ import main
from sanm.export.graph import Graph
from sanm.record.directory import RunDirectory
from sanm.trained_model import FILE_NAME, TrainedModel, described, read_model, write_model
from tests.conftest import ROOT, config_of, small_training_set
from tests.trained import run_in

TESTED = ("preact_tiny", "resnet18")
"""Small here; cnn9, vgg19_bn, resnet50 and the ImageNet ResNets export likewise, each in a minute."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_in(tmp_path_factory.mktemp("runs"), "base_method=dividemix", "components=none", "data.subset=100")


def classes_of_pt2(path: Path) -> list[str]:
    extra: dict[str, Any] = {"classes": ""}
    torch.export.load(path, extra_files=extra)
    found: list[str] = json.loads(extra["classes"])
    return found


def check_any_batch(content: bytes, graph: Graph, written: Any) -> None:
    for count in (1, 2, 7):
        images = graph.random_images(count)
        found = written.probabilities(content, images)
        assert found.shape == (count, len(graph.model.class_names))
        assert torch.allclose(found, graph(images), atol=1e-5)


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_torch_export(finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str) -> None:
    out = tmp_path / "m.pt2"
    assert main([str(finished.path), "--format", "torch_export", "--out", str(out), "--input", kind]) == 0
    said = capsys.readouterr().out
    assert f"images {kind} [batch, 1, 8, 8]" in said
    assert "probabilities differ from torch's by at most" in said
    check_any_batch(out.read_bytes(), Graph(read_model(finished.path / FILE_NAME), kind), torch_export)
    assert classes_of_pt2(out) == [str(digit) for digit in range(10)]
    assert str(ROOT).encode() not in out.read_bytes()


def test_says_what_predict_says(finished: RunDirectory) -> None:
    """Pixels that were normalised by the trainer's arithmetic, and by the graph's."""
    model = read_model(finished.path / FILE_NAME)
    pixels = Graph(model, "uint8").random_images(50)
    assert torch.allclose(Graph(model, "uint8")(pixels), model.probabilities(pixels), atol=1e-5)
    assert torch.allclose(Graph(model, "float32")(pixels / 255), model.probabilities(pixels), atol=1e-5)


def test_onnx(finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    out = tmp_path / "m.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert main([str(finished.path), "--format", "onnx", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "probabilities differ from torch's by at most" in said.out
    assert said.err == ""
    check_any_batch(out.read_bytes(), Graph(read_model(finished.path / FILE_NAME), "float32"), onnx)
    session = runtime.InferenceSession(out.read_bytes(), providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    assert json.loads(facts["classes"]) == [str(digit) for digit in range(10)]
    assert json.loads(facts["run"])["name"] == finished.name
    assert [given.shape for given in session.get_inputs()] == [["batch", 1, 8, 8]]
    assert str(ROOT).encode() not in out.read_bytes()


def model_of(option: str, folder: Path, *overrides: str) -> TrainedModel:
    """Freshly initialised networks of a config's model, through a file."""
    config, images = config_of(f"model={option}", *overrides), small_training_set()
    network = models.build(config["model"], 3, 4)
    record = {"run": {"name": option, "epochs": 0}, "versions": {}, "accuracy": {}}
    write_model(folder / FILE_NAME, [network], described(config, images, (8, 8), images.class_names), record)
    return read_model(folder / FILE_NAME)


@pytest.mark.parametrize("option", TESTED)
def test_families_of_models(option: str, tmp_path: Path) -> None:
    small = ("model.widths=[8,16]", "model.blocks=[1,1]")
    graph = Graph(model_of(option, tmp_path, *small), "float32")
    content = torch_export.exported(graph, graph.random_images(2), {"classes": "[]"})
    check_any_batch(content, graph, torch_export)


def test_a_file_that_differs_is_not_written(
    finished: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch_export, "exported", lambda *_: b"")
    monkeypatch.setattr(torch_export, "probabilities", lambda file, images: torch.full((len(images), 10), float("nan")))
    assert main([str(finished.path), "--format", "torch_export", "--out", str(tmp_path / "m")]) == 1
    assert capsys.readouterr().err.startswith("failed   the file's probabilities differ")
    assert not (tmp_path / "m").exists()


def test_without_what_it_needs(
    finished: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnx, "find_spec", lambda package: None)
    words = [str(finished.path), "--format", "onnx", "--out", str(tmp_path / "m")]
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "error    --format onnx needs onnx and onnxscript: pip install -e '.[export]', or torch_export"
    monkeypatch.setattr(onnx, "exported", lambda *_: b"made")
    assert main(words) == 0  # made, but nothing is there that runs it
    assert "unchecked: onnxruntime is not installed" in capsys.readouterr().out


def test_the_model_and_its_run_are_never_replaced(
    finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the file is called as the default would call what is written."""
    moved, model = tmp_path / "m.pt2", finished.path / FILE_NAME
    moved.write_bytes(model.read_bytes())
    for words, place, message in (
        ([str(moved)], moved, "is read here, and nothing replaces what is read: give another --out"),
        ([str(moved), "--out", str(model)], model, "is part of the record of a run"),
        ([str(moved), "--out", str(finished.path / "result.json")], finished.path / "result.json", "is part of"),
    ):
        before = place.read_bytes()
        assert main([*words, "--format", "torch_export", "--overwrite"]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{place} {message}" in line
        assert place.read_bytes() == before


def test_bad_input_is_one_line(finished: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m").write_text("mine")
    for words, message in (
        (["--format", "torchscript"], "invalid choice: 'torchscript'"),
        ([], "--format"),
        (["--format", "torch_export", "--out", str(tmp_path / "m")], "is there already"),
    ):
        assert main([str(finished.path), *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert (tmp_path / "m").read_text() == "mine"
