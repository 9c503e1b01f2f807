"""SimCLR (Chen et al., ICML 2020): an encoder learned from images alone; no label, given or true, comes in here.

The recipe is that of SupContrast's code in its SimCLR mode, from which C2D's encoders come.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sanm import models
from sanm.data.augment import ImageBank, center_crop, normalise
from sanm.data.types import Images, Pixels
from sanm.errors import DivergedError
from sanm.machine.precision import autocast
from sanm.parts.batches import shuffled
from sanm.parts.contrast import nt_xent
from sanm.step import Random

STEPS_BETWEEN_CHECKS = 20
"""A finite loss is asked for this seldom: the question makes the host wait for the device."""
FINAL_RATE = 1e-3
FIRST_RATE = 0.02  # published: 0.01 of 0.5
CLASSIFIER = "classifier."


def learning_rate(settings: Mapping[str, Any], epoch: float) -> float:
    """The rate after ``epoch`` epochs: a cosine from ``lr`` to a thousandth, entered by a linear warm-up.

    ``epoch`` counts steps as parts of an epoch within the warm-up; after it, it is a whole number, from 1.
    """
    peak, epochs, warm_up = float(settings["lr"]), int(settings["epochs"]), int(settings["warm_up"])
    if epoch >= warm_up:
        return peak * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * epoch / epochs)) / 2)
    reached = learning_rate({**settings, "warm_up": 0}, warm_up)
    return FIRST_RATE * peak + (epoch / warm_up) * (reached - FIRST_RATE * peak)


class SimCLR(nn.Module):
    """A pre-training in memory. ``state()`` and ``load()`` are the whole checkpoint.

    ``config`` holds ``pretrain`` (``conf/pretrain/simclr.yaml``), ``model`` and ``data``.
    """

    def __init__(self, config: Mapping[str, Any], images: Images, num_classes: int, device: torch.device) -> None:
        super().__init__()
        self.settings, self.device = config["pretrain"], device
        self.random = Random(int(self.settings["seed"]), device)
        self.count = len(images.images)
        self.bank = ImageBank(images, config["data"]["augment"], device, config["images"], config["image_workers"])
        with torch.random.fork_rng(devices=[]):  # initial weights: drawn on the host, the same on every device
            torch.manual_seed(int(self.settings["seed"]))
            self.network = models.build(config["model"], images.images.shape[1], num_classes, self.bank.size)
            size = self.network.classifier.in_features
            projection = nn.Linear(size, int(self.settings["projection"]))
            self.projection = nn.Sequential(nn.Linear(size, size), nn.ReLU(inplace=True), projection)
        self.network.classifier.requires_grad_(False)
        self.to(device).to(memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(
            [parameter for parameter in self.parameters() if parameter.requires_grad],
            lr=self.settings["lr"],
            momentum=self.settings["momentum"],
            weight_decay=self.settings["weight_decay"],
        )
        self.epochs_done = 0

    def train_epoch(self, progress: Callable[[int, int], None]) -> dict[str, Any]:
        """Train for one epoch; ``progress(step, steps)`` is called now and then. Returns its row of the record.

        The loss is as it is minimised, so times loss_scale; the learning rate that of the last step. Raises
        DivergedError when a loss is not finite.
        """
        epoch, began = self.epochs_done, time.perf_counter()
        self.train()
        batches = shuffled(self.count, int(self.settings["batch_size"]), self.random)
        losses: list[Tensor] = []
        self.bank.announce(batches)
        for step, index in enumerate(batches):
            self._set_learning_rate(epoch, step / len(batches))
            losses.append(self._train_step(index))
            if step % STEPS_BETWEEN_CHECKS == 0 or step + 1 == len(batches):
                _check_finite(losses, epoch)
                progress(step + 1, len(batches))
        self.epochs_done += 1
        return {
            "epoch": epoch + 1,
            "loss": float(torch.stack(losses).mean()),
            "learning_rate": float(self.optimizer.param_groups[0]["lr"]),
            "seconds": round(time.perf_counter() - began, 3),
        }

    def _set_learning_rate(self, epoch: int, part: float) -> None:
        warming_up = epoch < int(self.settings["warm_up"])
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.settings, epoch + part if warming_up else epoch + 1)

    def _train_step(self, index: Tensor) -> Tensor:
        views = self.bank.views(self.settings["pool"], 2, self.bank.find(index), self.random)
        with autocast(self.device, self.settings["precision"]):
            features = self.network.features(views.flatten(0, 1)).mean((2, 3))
            projected = self.projection(features).float().unflatten(0, views.shape[:2])
        loss = float(self.settings["loss_scale"]) * nt_xent(projected, float(self.settings["temperature"]))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.detach()

    @torch.no_grad()
    def features(self, images: Pixels) -> Tensor:
        """What the encoder says of uint8 images ``[N, C, H, W]``, in eval mode: ``[N, D]`` on the host."""
        self.eval()
        parts = []
        for part in self.bank.parts(images):
            x = normalise(center_crop(part, self.bank.size).to(self.device), self.bank.mean, self.bank.std)
            with autocast(self.device, self.settings["precision"]):
                maps = self.network.features(x.contiguous(memory_format=torch.channels_last))
            parts.append(maps.float().mean((2, 3)).cpu())
        return torch.cat(parts)

    def encoder(self) -> dict[str, Tensor]:
        """The network's weights and statistics without its classifier, on the host."""
        return encoder_tensors(self.network)

    def state(self) -> dict[str, Any]:
        """Everything that the next epoch depends on."""
        return {
            "epochs_done": self.epochs_done,
            "modules": self.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": self.random.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state()`` of the same config."""
        self.epochs_done = state["epochs_done"]
        self.load_state_dict(state["modules"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.random.load(state["random"])


def encoder_tensors(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network's state that are not its classifier's, nor the state of a generator, on the host."""
    return {
        key: value.detach().cpu().contiguous()
        for key, value in network.state_dict().items()
        if isinstance(value, Tensor) and not key.startswith(CLASSIFIER) and not key.endswith("_extra_state")
    }


def _check_finite(losses: list[Tensor], epoch: int) -> None:
    finite = torch.stack(losses).isfinite()
    if not finite.all():
        step = int((~finite).nonzero()[0]) + 1
        raise DivergedError(f"the loss is not finite at epoch {epoch + 1}, step {step}")
