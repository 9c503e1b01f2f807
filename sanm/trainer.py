"""The shared trainer: one loop for every method, with or without SANM.

The order of a step is the same for all: index -> views -> Look -> believe -> SANM adds views -> losses -> share ->
+ SANM's reconstruction -> backward -> after_backward -> step -> after_step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sanm import models
from sanm.compilation import check_compiler, compile_networks
from sanm.components import SANM
from sanm.data import TrainingSet
from sanm.data.augment import ImageBank, center_crop, normalise
from sanm.data.types import Pixels
from sanm.epoch import EpochSummary, EpochUnderway
from sanm.errors import DivergedError, Interrupted
from sanm.memory import keep_freed_memory
from sanm.methods import Method, method_class
from sanm.precision import autocast, set_matrix_precision
from sanm.quality import CleanProbability
from sanm.sampling import balanced_epoch
from sanm.schedule import optimizer_for, set_epoch
from sanm.several.passes import add_up_gradients, share_module, share_networks
from sanm.several.processes import joined_team
from sanm.several.sameness import check_same
from sanm.types import Answers, Batch, Draw, Forward, Look, Network, Predictions, Random, Remembered, Step

STEPS_BETWEEN_CHECKS = 20
"""A finite loss is asked for this seldom: the question makes the host wait for the device."""


class Trainer(nn.Module):
    """A run in memory. ``state()`` and ``load()`` are the whole checkpoint; no true label comes in here.

    ``config`` is the checked config of the run; see ``conf/``. Every network starts from the weights ``encoder``, if
    there are any; the classifiers' weights are their own in any case.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        train: TrainingSet,
        device: torch.device,
        encoder: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.config, self.settings, self.device = config, config["trainer"], device
        self.random = Random(int(config["seed"]), device)
        self.num_classes = train.num_classes
        keep_freed_memory()
        set_matrix_precision(device, self.settings["precision"])
        self.given = train.given_labels.to(device)
        self.classes = torch.arange(train.num_classes, device=device)
        self.bank = ImageBank(train, config["data"]["augment"], device, config["images"], config["image_workers"])
        with torch.random.fork_rng(devices=[]):  # initial weights: drawn on the host, the same on every device
            torch.manual_seed(int(config["seed"]))
            self._build(train)
        if encoder is not None:
            for network in self.networks:
                network.load_state_dict(encoder, strict=False)
        self.method.adopt(list(self._networks()))
        self.to(device).to(memory_format=torch.channels_last)
        if self.settings["compile"]:
            check_compiler(device)
            compile_networks(self._all_networks(), self.settings["batch_size"], self.bank.at_once)
        self.team = joined_team()
        if self.team is not None:
            self._share_passes()
        self.optimizers = [self._optimizer(k) for k in range(len(self.networks))]
        self.epochs_done = 0
        self._underway: EpochUnderway | None = None  # an epoch that was left in the middle

    def _build(self, train: TrainingSet) -> None:
        config, method = self.config, self.config["base_method"]
        made = method_class(method["name"])(method, len(self.given), self.num_classes, self.settings["batch_size"])
        self.method: Method = made
        made.epoch_samples = min(self.settings.get("epoch_samples") or len(self.given), len(self.given))
        count = 1 + max(k for turn in made.turns for k in turn)
        channels = train.images.shape[1]
        self.networks = nn.ModuleList(
            models.build(config["model"], channels, train.num_classes, self.bank.size) for _ in range(count)
        )
        window = int(config["quality"]["window"])
        self.quality = CleanProbability(
            count, len(self.given), window, int(config["seed"]), int(config["quality"]["iterations"])
        )
        example = self.bank.plain(torch.zeros(2, dtype=torch.int64, device=self.device)).cpu()
        self.sanm = SANM(config, list(self._networks()), example, self.bank.mean, self.bank.std)

    def _networks(self) -> Iterator[Network]:
        for network in self.networks:
            assert isinstance(network, Network)
            yield network

    def _all_networks(self) -> list[Network]:
        """Those that learn, the method's averages of them, and one that SANM looks with."""
        return [*(each for each in self.modules() if isinstance(each, Network)), *self.sanm.frozen_networks()]

    def _share_passes(self) -> None:
        """Let the processes of the run share out every pass: through networks, their averages, decoders."""
        share_networks(self._all_networks())
        for decoder in self.sanm.decoders:
            share_module(decoder)

    def _optimizer(self, k: int) -> torch.optim.Optimizer:
        parameters = list(self.networks[k].parameters())
        if self.sanm.decoders:
            parameters += self.sanm.decoders[k].parameters()
        return optimizer_for(parameters, self.settings)

    # ---- one epoch

    def train_epoch(
        self, progress: Callable[[int, int], None], stop: Callable[[], bool] = lambda: False
    ) -> EpochSummary:
        """Train every network for one epoch, or for what is left of one; ``progress(step, steps)`` is called now
        and then.

        Raises DivergedError when a loss is not finite, and Interrupted after the step in which ``stop()`` became
        true; ``state()`` then holds the part of the epoch that is done.
        """
        epoch, began = self.epochs_done, time.perf_counter()
        learning_rate = max(set_epoch(optimizer, epoch, self.settings) for optimizer in self.optimizers)
        underway = self._underway or self._begin_epoch(epoch)
        try:
            self._train_turns(underway, epoch, progress, stop)
        finally:
            underway.seconds += time.perf_counter() - began
        drawn = self._drawn(epoch)
        keeps = [self.method.keeps_label(self._clean(k, drawn), epoch) for k in range(len(self.networks))]
        self.epochs_done, self._underway = epoch + 1, None
        if self.team is not None:
            check_same({**self.state_dict(), **self.random.state()}, self.team, f"after epoch {epoch + 1}")
        return EpochSummary(
            epoch=epoch,
            loss=float(torch.stack(underway.losses).mean()),
            labeled_fraction=float(torch.stack(keeps).float().mean()),
            learning_rate=learning_rate,
            images=underway.images,
            seconds=underway.seconds,
            measured=underway.measured,
            drawn=drawn,
        )

    def _begin_epoch(self, epoch: int) -> EpochUnderway:
        self._underway = EpochUnderway(self._measuring_is_due(epoch))
        if self._underway.measured and not self.method.measures_each_turn:
            self.measure()
        return self._underway

    def _train_turns(
        self, underway: EpochUnderway, epoch: int, progress: Callable[[int, int], None], stop: Callable[[], bool]
    ) -> None:
        for turn in self.method.turns[underway.turns_over :]:
            if underway.draws is None:
                if underway.measured and self.method.measures_each_turn:
                    self.measure(self.quality.peer(k) for k in turn)
                begin = Step(turn[0], epoch, float(epoch), self.random)
                underway.begin_turn(self._draws(begin))
            self._train_turn(turn, underway, epoch, progress, stop)
            underway.end_turn()

    def _drawn(self, epoch: int) -> Tensor | None:
        """Positions of the samples that an epoch is of; None: all."""
        size = self.settings.get("epoch_samples")
        if size is None or size >= len(self.given):
            return None
        drawn = balanced_epoch(self.given, self.num_classes, int(size), int(self.config["seed"]), epoch)
        return drawn.to(self.device)

    def _clean(self, network: int, drawn: Tensor | None) -> Tensor:
        clean = self.quality.for_network(network)
        return clean if drawn is None else clean[drawn]

    def _draws(self, step: Step) -> Sequence[Draw]:
        """The method's batches; of an epoch's samples it sees no more than that there are so many of them."""
        drawn = self._drawn(step.epoch)
        draws = self.method.batches(self._clean(step.network, drawn), step)
        if drawn is None:
            return draws
        there = drawn.cpu()
        return [Draw(there[draw.positions], draw.num_labeled) for draw in draws]

    def _train_turn(
        self,
        turn: tuple[int, ...],
        underway: EpochUnderway,
        epoch: int,
        progress: Callable[[int, int], None],
        stop: Callable[[], bool],
    ) -> None:
        for k, network in enumerate(self.networks):
            network.train(k in turn)
        draws = underway.draws or []
        self.bank.announce([draw.positions for draw in draws[underway.steps :]])
        for number in range(underway.steps, len(draws)):
            underway.losses.append(self._train_step(turn, draws[number], epoch, epoch + number / len(draws)))
            underway.steps = number + 1
            stopping = stop()  # before anything waits for the device: a process that is gone is found here
            if number % STEPS_BETWEEN_CHECKS == 0 or number + 1 == len(draws):
                check_finite(underway.losses[-underway.steps :], epoch, turn)
                progress(number + 1, len(draws))
            if stopping:
                raise Interrupted(f"asked to stop at epoch {epoch + 1}, step {number + 1} of {len(draws)}")

    def _train_step(self, turn: tuple[int, ...], draw: Draw, epoch: int, progress: float) -> Tensor:
        networks, steps = list(self._networks()), [Step(k, epoch, progress, self.random) for k in turn]
        with self._autocast():
            batch, look = self._draw_batch(draw, self.method.num_views(epoch))
            losses, extras = [], []
            for step in steps:
                own = self._believed(batch, look, step)
                forward = Forward(networks[step.network])
                losses.append(self.method.losses(forward, own, step))
                extras.append(self.sanm.reconstruction(forward, own, look, step))
            totals = [own + extra for own, extra in zip(self.method.share(losses, steps[0]), extras, strict=True)]
        for step, total in zip(steps, totals, strict=True):
            self._descend(networks, total, step)
        return torch.stack([total.detach() for total in totals]).mean()

    def _draw_batch(self, draw: Draw, count: int) -> tuple[Batch, Look]:
        method = self.config["base_method"]
        found = self.bank.find(draw.positions)
        index = found.positions
        learned = self.bank.views(method["learn_from"], count, found, self.random)
        same = method["guess_on"] == method["learn_from"]
        guessed = learned if same else self.bank.views(method["guess_on"], count, found, self.random)
        y = (self.given[index][:, None] == self.classes).float()
        labeled = torch.arange(len(index), device=self.device) < draw.num_labeled
        batch = Batch(index, learned, y[None], torch.ones_like(y[:, 0]), labeled, draw.num_labeled)
        return batch, Look(list(self._networks()), guessed, method["guess_mode"])

    def _believed(self, batch: Batch, look: Look, step: Step) -> Batch:
        clean = self.quality.for_network(step.network)[batch.index]
        own = Batch(batch.index, batch.x, batch.y, clean, batch.labeled, batch.num_labeled)
        own = own.believing(self.method.believe(own, look, step))
        network = self.networks[step.network]
        assert isinstance(network, Network)
        return self.sanm.add_views(own, look, network, step)

    def _descend(self, networks: list[Network], total: Tensor, step: Step) -> None:
        optimizer = self.optimizers[step.network]
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        if self.team is not None:
            add_up_gradients(optimizer)
        self.method.after_backward(networks[step.network], step)
        optimizer.step()
        self.method.after_step(networks, step)

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.settings["precision"])

    # ---- looking at the data without learning

    def _measuring_is_due(self, epoch: int) -> bool:
        every = int(self.config["quality"]["every"])
        due = bool(every) and epoch > 0 and epoch % every == 0
        return due or self.method.needs_clean_probability(epoch) or self.sanm.active(epoch)

    def measure(self, networks: Iterable[int] | None = None) -> None:
        """Estimate the clean probability anew, from the losses of some or all networks on the given labels.

        Eval mode, no augmentation, of the samples that the coming epoch is of. What enters the history that is averaged
        over is the method's choice.
        """
        drawn = self._drawn(self.epochs_done)
        for k in range(len(self.networks)) if networks is None else networks:
            network = self.networks[k].eval()
            losses = [self._losses_of(network, self.bank.plain(part), part) for part in self._scanned(drawn)]
            self._estimate(k, torch.cat(losses), drawn)

    @torch.no_grad()
    def measure_and_predict(self) -> Predictions:
        """Measure all samples for all networks, and predict their classes, in one scan."""
        self.networks.eval()
        networks = [Remembered(network) for network in self._networks()]
        losses: list[list[Tensor]] = [[] for _ in networks]
        predicted = []
        for part in self._scanned():
            x = self.bank.plain(part)
            for network, own in zip(networks, losses, strict=True):
                own.append(self._losses_of(network, x, part))
            with self._autocast():
                predicted.append(Predictions.of(self.method.predict(networks, x)))
        for k, own in enumerate(losses):
            self._estimate(k, torch.cat(own))
        return Predictions(*(torch.cat(parts) for parts in zip(*predicted, strict=True)))

    def _estimate(self, k: int, losses: Tensor, scanned: Tensor | None = None) -> None:
        if not losses.isfinite().all():
            raise DivergedError(f"a training sample's loss is not finite before epoch {self.epochs_done + 1}")
        self.quality.update(k, losses, self.method.remembers_losses(self.epochs_done), scanned)

    def _scanned(self, drawn: Tensor | None = None) -> tuple[Tensor, ...]:
        """Positions of a scan, batch by batch, which has to follow at once."""
        every = torch.arange(len(self.given), device=self.device) if drawn is None else drawn
        parts = every.split(self.bank.at_once)
        self.bank.announce(parts)
        return parts

    @torch.no_grad()
    def _losses_of(self, network: Answers, x: Tensor, index: Tensor) -> Tensor:
        with self._autocast():
            logits = network(x).float()
        return cross_entropy(logits, self.given[index], reduction="none")

    @torch.no_grad()
    def predict(self, images: Pixels) -> Tensor:
        """Predicted classes ``[B]`` of uint8 images ``[B, C, H, W]``, by the method as a whole, in eval mode."""
        self.networks.eval()
        parts = []
        for part in self.bank.parts(images):
            x = normalise(center_crop(part, self.bank.size).to(self.device), self.bank.mean, self.bank.std)
            with self._autocast():
                logits = self.method.predict(list(self._networks()), x.contiguous(memory_format=torch.channels_last))
            parts.append(logits.argmax(-1))
        return torch.cat(parts)

    # ---- checkpoint

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "epochs_done": self.epochs_done,
            "underway": self._underway and self._underway.state(),
            "modules": self.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "random": self.random.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state()`` of the same config."""
        self.epochs_done, underway = state["epochs_done"], state["underway"]
        self._underway = underway and EpochUnderway.load(underway, self.device)
        self.load_state_dict(state["modules"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.random.load(state["random"])


def check_finite(losses: list[Tensor], epoch: int, turn: tuple[int, ...]) -> None:
    """Raises DivergedError that names the first step of the turn whose loss is not finite."""
    finite = torch.stack(losses).isfinite()
    if not finite.all():
        step, networks = int((~finite).nonzero()[0]) + 1, " and ".join(str(k + 1) for k in turn)
        raise DivergedError(f"the loss is not finite at epoch {epoch + 1}, step {step} of network {networks}")
