"""Encoders: trained once for all who need them, resumed, recorded, and what runs make of them."""

from __future__ import annotations

import csv
import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from analysis.records.load import load
from sanm.data import Data, TrainingSet, prepare
from sanm.errors import InputError, Interrupted
from sanm.models import build
from sanm.pretraining import encoders
from sanm.pretraining.encoders import PretrainingError, encoder_for, pretrained
from sanm.pretraining.probe import linear_probe
from sanm.pretraining.simclr import encoder_tensors
from sanm.record.directory import RunDirectory
from sanm.record.identity import encoder_identity, identity, run_name
from sanm.run import train_or_skip
from sanm.terminal.progress import Progress
from sanm.training import experiment
from sanm.training.trainer import Trainer
from tests.conftest import ROOT, SMALL, config_of
from tests.fuzz.door import ask, whole_pretrain

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
TINY = (*SMALL, "pretrain=simclr", "pretrain.epochs=3", "pretrain.batch_size=64", "device=cpu")
QUICK = (*TINY, "base_method=ce", "components=none", "trainer.epochs=1", "trainer.milestones=[]")


def config_in(folder: Path, *overrides: str) -> dict[str, Any]:
    return config_of(*QUICK, f"runs_dir={folder}", *overrides)


def run_in(folder: Path, *overrides: str) -> RunDirectory:
    config = config_in(folder, *overrides)
    assert train_or_skip(config, list(overrides)) == 0
    return RunDirectory(folder, run_name(identity(config)))


def rows(directory: RunDirectory) -> list[dict[str, str]]:
    with open(directory.path / "metrics.csv", newline="") as handle:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(handle)]


def weights(directory: RunDirectory) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(directory.path / "encoder.pt", weights_only=True)
    return found


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    return pretrained(config_in(tmp_path_factory.mktemp("undisturbed")), CPU, ["typed"])


def test_an_encoder_leaves_its_record(undisturbed: RunDirectory) -> None:
    names = {file.name for file in undisturbed.path.iterdir()} - {".lock"}
    assert names == {"config.yaml", "metrics.csv", "encoder.pt", "result.json"}
    result = undisturbed.result()
    assert (result["status"], result["epochs"], result["overrides"]) == ("done", 3, ["typed"])
    assert result["loss"] == pytest.approx(float(rows(undisturbed)[-1]["loss"]))
    assert {"torch", "numpy"} <= result["versions"].keys()
    assert "commit" in result
    assert 0 < result["linear_probe_accuracy"] <= 100
    assert [row["epoch"] for row in rows(undisturbed)] == ["1", "2", "3"]


def test_runs_of_all_seeds_and_noise_share_one_encoder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = run_in(tmp_path, "seed=1")
    other = run_in(tmp_path, "seed=2", "noise.rate=0.2", "data.validation=0")
    assert first.name != other.name
    (encoder,) = (tmp_path / "encoders").iterdir()
    out = capsys.readouterr().out
    assert out.count("pretrain ") == 1
    assert out.count(f"encoder  {encoder.name}") == 2
    assert first.result()["encoder"] == other.result()["encoder"] == encoder.name
    assert sorted(load(tmp_path)["run"]) == sorted([first.name, other.name]), "an encoder is no run"


def test_what_is_held_out_and_scored_has_no_part_in_it(undisturbed: RunDirectory, tmp_path: Path) -> None:
    other = pretrained(config_in(tmp_path, "noise.rate=0.9", "seed=7", "data.validation=0.4"), CPU, [])
    assert other.name == undisturbed.name
    assert rows(other) == rows(undisturbed)
    assert equal(weights(other), weights(undisturbed))
    assert other.result()["linear_probe_accuracy"] == undisturbed.result()["linear_probe_accuracy"]


def test_no_label_reaches_it(undisturbed: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With other labels in the data the same encoder comes out, and another probe."""

    def lying(*arguments: Any) -> Data:
        data = prepare(*arguments)
        assert data.true_labels is not None
        train = dataclasses.replace(data.train, given_labels=data.train.given_labels.flip(0))
        return dataclasses.replace(data, train=train, true_labels=data.true_labels.flip(0))

    monkeypatch.setattr(encoders, "prepare", lying)
    lied = pretrained(config_in(tmp_path), CPU, [])
    assert rows(lied) == rows(undisturbed)
    assert equal(weights(lied), weights(undisturbed))
    assert lied.result()["linear_probe_accuracy"] != undisturbed.result()["linear_probe_accuracy"]


def test_interrupted_goes_on_to_the_same_encoder(
    undisturbed: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = Progress.epoch

    def interrupted(self: Progress, row: dict[str, Any]) -> None:
        shown(self, row)
        if row["epoch"] == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pretrained(config_in(tmp_path), CPU, [])
    monkeypatch.setattr(Progress, "epoch", shown)
    capsys.readouterr()
    resumed = pretrained(config_in(tmp_path), CPU, [])
    assert f"\nresume   {resumed.name} at epoch 3\n" in capsys.readouterr().out
    assert rows(resumed) == rows(undisturbed)
    assert equal(weights(resumed), weights(undisturbed))
    assert not resumed.checkpoint.exists()


def test_asked_to_stop_it_goes_on_to_the_same_encoder(tmp_path: Path, undisturbed: RunDirectory) -> None:
    for epoch in ("epoch 1", "epoch 2"):
        with pytest.raises(Interrupted, match=f"at {epoch} of the encoder"):
            pretrained(config_in(tmp_path), CPU, [], stop=lambda: True)
    directory = pretrained(config_in(tmp_path), CPU, [])
    assert rows(directory) == rows(undisturbed)
    assert equal(weights(directory), weights(undisturbed))
    assert not list(directory.path.glob("failure.txt"))


def test_one_that_diverges_fails_its_runs_until_retried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wild = config_in(tmp_path, "pretrain.lr=1e30", "pretrain.epochs=1")
    assert train_or_skip(wild, []) == 1
    (encoder,) = (tmp_path / "encoders").iterdir()
    reason = (encoder / "failure.txt").read_text()
    assert reason.startswith("the loss is not finite at epoch 1")
    (run,) = load(tmp_path).to_dict("records")
    assert run["status"] == "failed"
    assert encoder.name in run["reason"]
    capsys.readouterr()
    with pytest.raises(PretrainingError, match=r"simclr-.* not finite .*retry=true"):
        pretrained(wild, CPU, [])
    assert "pretrain " not in capsys.readouterr().out, "not taken again unasked"
    with pytest.raises(PretrainingError):
        pretrained({**wild, "retry": True}, CPU, [])
    assert "pretrain " in capsys.readouterr().out


def test_weights_that_cannot_be_read_say_what_to_do(tmp_path: Path, training_set: TrainingSet) -> None:
    config = config_in(tmp_path, "pretrain.epochs=1")
    directory = pretrained(config, CPU, [])
    for break_it in (lambda path: path.write_bytes(b"half"), Path.unlink):
        break_it(directory.path / "encoder.pt")
        with pytest.raises(InputError, match=r"encoder\.pt .* delete .*simclr-"):
            encoder_for(config, training_set, CPU, [])


def test_waits_for_who_is_at_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undisturbed: RunDirectory) -> None:
    """Another process holds the claim at first, and is done at the second look."""
    config = config_in(tmp_path)
    theirs = RunDirectory(tmp_path / "encoders", undisturbed.name)
    looks = []
    with theirs.claim() as held:
        assert held

        def finish(seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
            if seconds != encoders.POLL:  # the lock's own, between its tries
                sleep(seconds)
                return
            looks.append(seconds)
            if len(looks) == 2:
                theirs.begin(encoder_identity(config))
                theirs.finish({}, keep_checkpoint=False)

        monkeypatch.setattr(encoders.time, "sleep", finish)
        assert pretrained(config, CPU, []).result()["status"] == "done"
    assert len(looks) == 2


def start(*arguments: str, module: str = "sanm.pretrain") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


COMMAND = tuple(word for word in TINY if word != "pretrain=simclr")


def test_command_killed_and_repeated_then_used_by_runs_at_once(tmp_path: Path, undisturbed: RunDirectory) -> None:
    command = (*COMMAND, f"runs_dir={tmp_path}", "base_method=ce", "components=none")
    killed = start(*command)
    assert killed.stdout
    next(line for line in killed.stdout if "epoch 1" in line)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.communicate()

    runs = ("pretrain=simclr", "trainer.epochs=1", "trainer.milestones=[]")
    together = [start(*command), start(*command, *runs, module="sanm.run")]
    outputs = [process.communicate(timeout=300) for process in together]
    assert [process.returncode for process in together] == [0, 0], outputs
    text = "".join(out for out, _ in outputs)
    trained = [line for line in text.splitlines() if line.startswith(("pretrain ", "resume ")) and "simclr-" in line]
    assert len(trained) <= 1, "one of them, if the killed one had not finished"
    (encoder,) = (tmp_path / "encoders").iterdir()
    assert encoder.name == undisturbed.name
    assert equal(weights(RunDirectory(encoder.parent, encoder.name)), weights(undisturbed))
    assert f"done     {encoder.name}: loss " in text
    assert "linear probe" in text
    (result,) = tmp_path.glob("ce-*/result.json")
    assert json.loads(result.read_text())["encoder"] == encoder.name


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("pretrain=none",), "pretrain=none: nothing is trained for it"),
        (("-m", "seed=1,2"), "-m is for sanm.run"),
        (("pretrain.epochs=0",), "pretrain.epochs=0: must be"),
        (("pretrain.epoch=3",), "Did you mean pretrain.epochs?"),
        (("data.subset=64",), "has 64 training images, fewer than one batch: lower pretrain.batch_size=256"),
        (("model=cnn9",), "model=cnn9 needs images of at least 28x28 pixels"),
    ],
)
def test_command_refuses_in_one_line(tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    answer = ask(whole_pretrain, [*arguments, f"runs_dir={tmp_path}"])
    assert (answer.status, answer.out) == (2, "")
    assert message in answer.err
    assert len(answer.err.strip().splitlines()) == 1, answer.err


# ---- what a run makes of it


def test_networks_start_from_the_encoder_with_classifiers_of_their_own(training_set: TrainingSet) -> None:
    config = config_of(*SMALL, "base_method=dividemix")
    torch.manual_seed(7)
    encoder = encoder_tensors(build(config["model"], 3, 4))
    started, plain = Trainer(config, training_set, CPU, lambda: encoder), Trainer(config, training_set, CPU)
    first, second = (network.state_dict() for network in started.networks)
    for key, value in encoder.items():
        assert torch.equal(first[key], value)
        assert torch.equal(second[key], value)
    assert not torch.equal(first["classifier.weight"], second["classifier.weight"])
    for with_encoder, without in zip(started.networks, plain.networks, strict=True):
        assert torch.equal(with_encoder.classifier.weight, without.classifier.weight)
        assert not torch.equal(with_encoder.stem.weight, without.stem.weight)


def test_a_resumed_run_needs_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = config_in(tmp_path, "trainer.epochs=2")
    shown = Progress.epoch

    def interrupted(self: Progress, row: dict[str, Any]) -> None:
        shown(self, row)
        if "test_accuracy" in row:
            raise KeyboardInterrupt

    monkeypatch.setattr(Progress, "epoch", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train_or_skip(config, [])
    monkeypatch.setattr(Progress, "epoch", shown)

    def unavailable(*arguments: Any) -> None:
        raise AssertionError("asked for an encoder")

    monkeypatch.setattr(experiment, "encoder_for", unavailable)
    assert train_or_skip(config, []) == 0


def test_an_encoder_from_a_file(undisturbed: RunDirectory, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = undisturbed.path / "encoder.pt"
    file = ("pretrain=file", f"pretrain.path={path}")
    plain = [override for override in QUICK if not override.startswith("pretrain")]
    config = config_of(*plain, *file, f"runs_dir={tmp_path}")
    assert train_or_skip(config, []) == 0
    count = sum(value.is_floating_point() for value in weights(undisturbed).values())
    assert f"encoder  {path}: {count} of {count} tensors loaded, 0 missing" in capsys.readouterr().out

    copy = tmp_path / "copy.pt"
    copy.write_bytes(path.read_bytes())
    record = identity(config)
    assert identity({**config, "pretrain": {"name": "file", "path": str(copy)}}) == record, "what it holds counts"
    torch.save({key: value + 1 for key, value in weights(undisturbed).items()}, tmp_path / "other.pt")
    other = identity({**config, "pretrain": {"name": "file", "path": str(tmp_path / "other.pt")}})
    assert run_name(other) != run_name(record)
    with pytest.raises(InputError, match=r"pretrain\.path=.*none\.pt"):
        identity({**config, "pretrain": {"name": "file", "path": str(tmp_path / "none.pt")}})


def test_a_file_of_another_network_is_no_failed_run(undisturbed: RunDirectory, tmp_path: Path) -> None:
    config = config_of(
        "pretrain=file",
        f"pretrain.path={undisturbed.path / 'encoder.pt'}",
        "model.widths=[6,12]",
        f"runs_dir={tmp_path}",
    )
    with pytest.raises(InputError, match="is not of this network"):
        train_or_skip(config, [])
    assert not list(tmp_path.glob("*/config.yaml"))


def test_imagenet_weights_from_a_file_or_fetched(
    tmp_path: Path, training_set: TrainingSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from torchvision.models import resnet18

    torch.manual_seed(3)
    state = resnet18(weights=None).state_dict()
    torch.save(state, tmp_path / "resnet18-f37072fd.pth")
    fits = ("model=imagenet_resnet18", "pretrain=imagenet")
    config = config_of(*fits, f"pretrain.path={tmp_path / 'resnet18-f37072fd.pth'}")
    found = encoder_for(config, training_set, CPU, [])
    assert found is not None
    assert {key for key in state if not key.startswith("fc.")} - set(found) == {
        key for key in state if key.endswith("num_batches_tracked")
    }
    assert torch.equal(found["layer4.1.conv2.weight"], state["layer4.1.conv2.weight"])
    assert "100 of 100 tensors loaded" in capsys.readouterr().out

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def offline(url: str, *_: Any, **__: Any) -> None:
        raise OSError(f"no way to {url}")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(InputError, match=r"pretrain=imagenet: .*resnet18-f37072fd\.pth .*pretrain\.path"):
        encoder_for(config_of(*fits), training_set, CPU, [])
    place = tmp_path / "torch" / "hub" / "checkpoints"
    (tmp_path / "resnet18-f37072fd.pth").rename(place / "resnet18-f37072fd.pth")
    again = encoder_for(config_of(*fits), training_set, CPU, [])
    assert again is not None
    assert again.keys() == found.keys()


def test_none_asks_for_nothing(training_set: TrainingSet) -> None:
    assert encoder_for(config_of(), training_set, CPU, []) is None


# ---- the probe


def digits(*overrides: str) -> Data:
    config = config_of(*overrides)
    return prepare(config["data"], config["noise"], Path())


def test_linear_probe_scores_what_features_say_of_true_labels() -> None:
    data = digits("noise.rate=0.8")
    pixels = linear_probe(lambda images: images.flatten(1).float() / 255, data)
    assert pixels is not None
    assert pixels > 85, "digits are all but linear in their pixels, and noise does not touch the probe"
    blind = linear_probe(lambda images: torch.ones(len(images), 3), data)
    assert blind is not None
    assert blind < 15
    assert linear_probe(lambda images: images, dataclasses.replace(data, true_labels=None)) is None


def test_pre_training_helps_the_probe(tmp_path: Path) -> None:
    """The default recipe on digits, a few epochs of it, against random features of the same network."""
    config = config_of("pretrain=simclr", "pretrain.epochs=8", f"runs_dir={tmp_path}")
    data = digits("data.validation=0", "noise=none")
    found = pretrained(config, CPU, []).result()["linear_probe_accuracy"]
    with torch.random.fork_rng():
        torch.manual_seed(1)
        network = build(config["model"], 1, 10).eval()
    with torch.no_grad():
        start = linear_probe(lambda images: network.features(images.float() / 128 - 1).mean((2, 3)), data)
    assert start is not None
    assert found > start
