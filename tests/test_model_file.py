"""model.pt: plain, of the networks that predict, the same however often a run was interrupted."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sanm.data import prepare
from sanm.errors import InputError
from sanm.record.directory import RunDirectory
from sanm.trained_model import FILE_NAME, model_path, read_model
from sanm.training import experiment
from sanm.training.trainer import Trainer
from tests.conftest import SMALL, config_of
from tests.trained import ALONE, run_in


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return run_in(tmp_path_factory.mktemp("runs"), *ALONE)


@pytest.mark.parametrize(
    ("overrides", "networks"),
    [
        (("base_method=dividemix",), 2),
        (("base_method=elr_plus", "trainer.precision=bf16"), 2),
        (("base_method=coteaching",), 1),
        (("base_method=coteaching", "base_method.ensemble=true"), 2),
    ],
)
def test_predicts_as_the_trainer_does(tmp_path: Path, overrides: tuple[str, ...], networks: int) -> None:
    words = (*overrides, "components=none", "keep_checkpoint=true")
    directory = run_in(tmp_path, *words)
    config = config_of(*SMALL, *words)
    data = prepare(config["data"], config["noise"], tmp_path)
    trainer = Trainer(config, data.train, torch.device("cpu"))
    trainer.load(torch.load(directory.checkpoint, weights_only=True)["trainer"])
    model = read_model(directory.path / FILE_NAME)
    assert len(model.networks) == networks
    assert data.test is not None
    found = model.probabilities(data.test.images)
    assert torch.equal(found.argmax(-1), trainer.predict(data.test.images))
    assert torch.allclose(found.sum(-1), torch.ones(len(found)))


def test_is_plain_and_says_what_it_is(finished: RunDirectory) -> None:
    content = torch.load(finished.path / FILE_NAME, weights_only=True)
    assert set(map(type, _leaves(content))) <= {str, int, float, bool, type(None), torch.Tensor}
    assert content["class_names"] == [str(digit) for digit in range(10)]
    assert content["input"]["image_size"] == content["input"]["crop_size"] == [8, 8]
    assert (content["input"]["channels"], content["input"]["precision"]) == (1, "fp32")
    assert content["run"]["name"] == finished.name
    assert (content["run"]["weights"], content["run"]["epochs"]) == ("of the last epoch", 3)
    result = finished.result()
    assert content["accuracy"]["test_accuracy"] == result["last_accuracy"]
    assert content["accuracy"]["of_the_run"]["best_accuracy"] == result["best_accuracy"]
    assert content["versions"] == result["versions"]


def _leaves(node: object) -> list[object]:
    if isinstance(node, dict):
        return [leaf for value in node.values() for leaf in _leaves(value)]
    if isinstance(node, list):
        return [leaf for value in node for leaf in _leaves(value)]
    return [node]


def test_is_the_same_after_a_kill_before_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run_in(tmp_path / "whole", *ALONE).path / FILE_NAME
    with monkeypatch.context() as patched:
        patched.setattr(RunDirectory, "finish", _killed)
        with pytest.raises(KeyboardInterrupt):
            run_in(tmp_path / "killed", *ALONE)
    (left,) = (tmp_path / "killed").glob(f"*/{FILE_NAME}")
    assert not (left.parent / "result.json").exists()
    left.write_bytes(b"cut short")
    again = run_in(tmp_path / "killed", *ALONE)
    assert again.status() == "done"
    assert left.read_bytes() == whole.read_bytes()


def _killed(*_: object) -> None:
    raise KeyboardInterrupt


def test_is_left_out_on_request_and_the_run_is_the_same(tmp_path: Path, finished: RunDirectory) -> None:
    without = run_in(tmp_path, *ALONE, "trainer.save_model=false")
    assert without.name == finished.name
    assert "save_model" not in (finished.path / "config.yaml").read_text()
    assert not (without.path / FILE_NAME).exists()
    assert without.result()["last_accuracy"] == finished.result()["last_accuracy"]
    with pytest.raises(InputError, match=r"model\.pt: .*trainer\.save_model=false"):
        model_path(str(without.path))


def test_bad_setting_is_one_line() -> None:
    with pytest.raises(InputError, match=r"^trainer\.save_model=maybe"):
        config_of("trainer.save_model=maybe")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "is no intact model.pt"),
        (lambda path: path.write_text("file,label\n"), "is no intact model.pt"),
        (lambda path: path.write_bytes(b""), "is no intact model.pt"),
        (lambda path: path.write_bytes(b"t"), "is no intact model.pt"),
        (lambda path: path.write_bytes(b"\x8a\xff"), "is no intact model.pt"),
        (lambda path: path.write_bytes(b"GIF89a"), "is no intact model.pt"),
        (lambda path: path.write_bytes(b"BM6"), "is no intact model.pt"),
        (lambda path: _changed(path, "versions", {}) or _changed(path, "version", 2), "is no intact model.pt"),
        (lambda path: torch.save({"weights": torch.zeros(3)}, path), "is no model.pt of a run"),
        (lambda path: torch.save([1, 2], path), "is no model.pt of a run"),
        (lambda path: torch.save(experiment.Progress, path), "is no intact model.pt"),
        (lambda path: _changed(path, "networks", [{}]), "is no intact model.pt"),
        (lambda path: _changed(path, "class_names", ["a", "b"]), "is no intact model.pt"),
        (lambda path: _changed(path, "model", {"name": "newer"}), "is no intact model.pt"),
        (lambda path: _changed(path, "model", {"name": 3}), "is no intact model.pt"),
        (lambda path: _changed(path, "input", None), "is no intact model.pt"),
        (lambda path: _changed(path, "version", 2), "was written by a newer version"),
    ],
)
def test_other_files_are_one_line(
    tmp_path: Path, finished: RunDirectory, spoil: Callable[[Path], object], message: str
) -> None:
    path = tmp_path / FILE_NAME
    shutil.copy(finished.path / FILE_NAME, path)
    spoil(path)
    with pytest.raises(InputError) as caught:
        read_model(path)
    assert str(caught.value).startswith(f"{path} {message}")
    assert "\n" not in str(caught.value)


def _changed(path: Path, key: str, value: object) -> None:
    torch.save(torch.load(path, weights_only=True) | {key: value}, path)


def test_names_what_is_not_there(tmp_path: Path, finished: RunDirectory) -> None:
    assert model_path(str(finished.path)) == finished.path / FILE_NAME
    with pytest.raises(InputError, match=r"give a model\.pt"):
        model_path(str(tmp_path / "none"))
    with pytest.raises(InputError, match="finished run"):
        model_path(str(tmp_path))
