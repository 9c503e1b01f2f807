"""The shared trainer: one loop for every method, with or without SANM.

The order of a step is the same for all: index -> views -> Look -> believe -> plug-ins add views -> losses -> share ->
+ plug-ins' extras -> backward -> after_backward -> step -> after_step. No method and no plug-in is named here.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sanm import models
from sanm.config.phases import Phase, phase_at, phases_of
from sanm.data import TrainingSet
from sanm.data.augment import ImageBank, center_crop, images_at_once, normalise
from sanm.data.types import Pixels
from sanm.errors import DivergedError, InputError, Interrupted
from sanm.machine.compilation import check_compiler, compile_networks
from sanm.machine.precision import autocast
from sanm.machine.several.passes import add_up_gradients, share_networks
from sanm.machine.several.processes import joined_team
from sanm.machine.several.sameness import check_same
from sanm.methods import Method, method_class
from sanm.network import Network, taking_statistics
from sanm.parts.mixture import CleanProbability
from sanm.plugins import Plugin, chosen, plugin_class
from sanm.step import Batch, Draw, Forward, Look, Predictions, Random, Remembered, Step, Task
from sanm.survey import Survey
from sanm.training.epoch import EpochSummary, EpochUnderway
from sanm.training.sampling import balanced_epoch
from sanm.training.schedule import groups_of, optimizer_for, set_epoch

Encoder = Callable[[], Mapping[str, Tensor] | None]

MOST_NORMALISED = 2_000
"""Training images that the statistics of batch norms are taken from, where they are taken anew."""

STEPS_BETWEEN_CHECKS = 20
"""A finite loss is asked for this seldom: the question makes the host wait for the device."""


class Trainer(nn.Module):
    """A run in memory. ``state()`` and ``load()`` are the whole checkpoint; no true label comes in here.

    ``config`` is the checked config of the run; see ``conf/``. Every network starts from the weights that ``encoder()``
    gives, if there are any; the classifiers' weights are their own in any case. A ``resumed`` trainer, which is about
    to ``load()``, does not ask for them; a later phase that begins with fresh networks does.

    Raises InputError where a parameter would be in no optimizer, or in two; where the method cannot be shared out among
    processes and is.
    """

    def __init__(
        self,
        config: Mapping[str, Any],
        train: TrainingSet,
        device: torch.device,
        encoder: Encoder = lambda: None,
        resumed: bool = False,
    ) -> None:
        super().__init__()
        self.config, self.settings, self.device = config, config["trainer"], device
        self.phases, self._encoder = phases_of(config), encoder
        self._pretrained = config["pretrain"]["name"] != "none" and not config["model"].get("frozen", False)
        self.phase = self.phases[0]
        self.random = Random(int(config["seed"]), device)
        self.num_classes = train.num_classes
        self.given = train.given_labels.to(device)
        self._trusted = None if train.trusted is None else train.trusted.to(device)
        self.classes = torch.arange(train.num_classes, device=device)
        self.bank = ImageBank(train, config["data"]["augment"], device, config["images"], config["image_workers"])
        self._shape = (train.images.shape[1], train.num_classes)
        weights = None if resumed else encoder()
        with seeded(int(config["seed"])):
            self._build(weights)
        self.to(device).to(memory_format=torch.channels_last)
        if self.settings["compile"]:
            check_compiler(device)
            compile_networks(self._all_networks(), self.settings["batch_size"], self.bank.at_once)
        self.team = joined_team()
        if self.team is not None:
            if self.method.one_process:
                name = config["base_method"]["name"]
                raise InputError(f"base_method={name} cannot be shared out among processes: start it without torchrun")
            share_networks(self._all_networks())
        self.optimizers = self._new_optimizers()
        self.method_optimizers = list(self.method.optimizers())
        self._check_optimizers()
        self.epochs_done = 0
        self._drawn_last: tuple[int, Tensor] | None = None  # an epoch, and what it is of
        self._underway: EpochUnderway | None = None  # an epoch that was left in the middle

    def _build(self, weights: Mapping[str, Tensor] | None) -> None:
        config, count = self.config, len(self.given)
        made = method_class(config["base_method"]["name"])
        epoch_samples = min(self.settings.get("epoch_samples") or count, count)
        networks = 1 + max(k for turn in made.turns for k in turn)
        sizes = (self.settings["batch_size"], epoch_samples, networks, self.settings["epochs"])
        task = Task(self.given, self.num_classes, *sizes, trusted=self._trusted)
        self.method: Method = made(self.phase.method, task)
        self.networks = nn.ModuleList(self._new_network(weights) for _ in range(networks))
        side = next(self._networks()).resizes_to
        self.bank.at_once = images_at_once((side, side)) if side else self.bank.at_once
        window = int(config["quality"]["window"])
        self.quality = CleanProbability(
            networks, count, window, int(config["seed"]), int(config["quality"]["iterations"])
        )
        self.plugins = nn.ModuleList(
            plugin_class(name)(config, task, self.bank.mean, self.bank.std) for name in chosen(config)
        )
        example = self.bank.plain(torch.zeros(2, dtype=torch.int64, device=self.device)).cpu()
        self.method.attach(list(self._networks()), example)
        for plugin in self._plugins():
            plugin.attach(list(self._networks()), example)

    def _new_network(self, weights: Mapping[str, Tensor] | None) -> Network:
        network = models.build(self.config["model"], *self._shape, self.bank.size)
        if weights is not None:
            network.load_state_dict(weights, strict=False)
        return network

    def _networks(self) -> Iterator[Network]:
        for network in self.networks:
            assert isinstance(network, Network)
            yield network

    def _plugins(self) -> Iterator[Plugin]:
        for plugin in self.plugins:
            assert isinstance(plugin, Plugin)
            yield plugin

    def _all_networks(self) -> list[Network]:
        """Those that learn, the method's averages of them, and those that plug-ins look with."""
        frozen = [network for plugin in self._plugins() for network in plugin.frozen_networks()]
        return [*(each for each in self.modules() if isinstance(each, Network)), *frozen]

    def _new_optimizers(self) -> list[torch.optim.Optimizer]:
        share = float(self.settings["backbone_lr"]) if self._pretrained else 1.0
        return [optimizer_for(groups_of(network, share), self.phase.trainer) for network in self._networks()]

    def _check_optimizers(self) -> None:
        """Raises InputError for a parameter that wants a gradient and would never learn, or twice a step."""
        held = Counter(
            id(parameter)
            for optimizer in (*self.optimizers, *self.method_optimizers)
            for group in optimizer.param_groups
            for parameter in group["params"]
        )
        for name, parameter in self.named_parameters():
            if parameter.requires_grad and held[id(parameter)] != 1:
                raise InputError(
                    f"{name} is in {held[id(parameter)]} optimizers: a parameter of a method has to be in exactly one "
                    "of its optimizers(), or be hung on a network as a head"
                )

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
        underway = self._underway or self._begin_epoch(epoch)
        if self._pretrained:
            for network in self._networks():
                network.rest_backbone(self._backbone_rests(epoch))
        at = self.phase.schedule_epoch(epoch)
        learning_rate = max(set_epoch(optimizer, at, self.phase.trainer) for optimizer in self.optimizers)
        try:
            self._train_turns(underway, epoch, progress, stop)
        finally:
            underway.seconds += time.perf_counter() - began
        if self.settings["statistics"] == "clean":
            self._renew_statistics([each for each in self.modules() if isinstance(each, Network)])
        self._judge(self._step(0, epoch, epoch + 1.0))
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
            phase=self.phase.number,
        )

    def _begin_epoch(self, epoch: int) -> EpochUnderway:
        phase = phase_at(self.phases, epoch)
        survey = self._survey(self._drawn(epoch))
        begins = phase.number != self.phase.number
        if begins:
            self.method.enter(phase.number, survey)
        underway = EpochUnderway(phase.estimates_trust(epoch) and self._measuring_is_due(epoch))
        if underway.measured and not self.method.measures_each_turn:
            self._estimate(range(len(self.networks)), survey, phase)
        if begins:
            self._renew(phase)
        self._underway = underway
        return underway

    def _backbone_rests(self, epoch: int) -> bool:
        """Whether the classifiers of pretrained networks learn alone: they are fresh, and the others' gradients are
        for weights that know nothing yet.
        """
        fresh = self.phase.number == 0 or self.phase.fresh != "nothing"
        return fresh and epoch - self.phase.begin < self.settings["head_epochs"]

    def _set_phase(self, phase: Phase) -> None:
        self.phase, self.method.settings = phase, phase.method

    def _renew(self, phase: Phase) -> None:
        """Begin a phase: draw anew what it wants fresh, in place, the same whenever it is begun."""
        self._set_phase(phase)
        if phase.fresh != "nothing":
            weights = self._encoder() if phase.fresh == "network" else None
            with seeded(int(self.config["seed"]), phase.number):
                for network in self._networks():
                    network.renew(phase.fresh, self._new_network(weights))
        if phase.new_optimizer:
            self.optimizers = self._new_optimizers()

    def _train_turns(
        self, underway: EpochUnderway, epoch: int, progress: Callable[[int, int], None], stop: Callable[[], bool]
    ) -> None:
        for turn in self.method.turns[underway.turns_over :]:
            if underway.draws is None:
                if underway.measured and self.method.measures_each_turn:
                    self.measure([self.quality.peer(k) for k in turn])
                underway.begin_turn(self._draws(self._step(turn[0], epoch, float(epoch))))
            self._train_turn(turn, underway, epoch, progress, stop)
            underway.end_turn()

    def _drawn(self, epoch: int) -> Tensor | None:
        """Positions of the samples that an epoch is of, those with a trusted label among them; None: all."""
        size = self.settings.get("epoch_samples")
        if size is None or size >= len(self.given):
            return None
        if self._drawn_last is None or self._drawn_last[0] != epoch:
            drawn = balanced_epoch(self.given, self.num_classes, int(size), int(self.config["seed"]), epoch)
            if self._trusted is not None:
                drawn = torch.cat([drawn, self._trusted.cpu().nonzero()[:, 0]]).unique()
            self._drawn_last = epoch, drawn.to(self.device)
        return self._drawn_last[1]

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

    def _step(self, network: int, epoch: int, progress: float) -> Step:
        phase, epochs = self.phase, self.settings["epochs"]
        drawn = self._drawn(epoch)
        return Step(network, epoch, progress, self.random, phase.number, phase.begin, epochs, drawn, phase.end)

    def _train_step(self, turn: tuple[int, ...], draw: Draw, epoch: int, progress: float) -> Tensor:
        networks, steps = list(self._networks()), [self._step(k, epoch, progress) for k in turn]
        plugins = [plugin for plugin in self._plugins() if plugin.active(epoch)]
        with self._autocast():
            batch, look = self._draw_batch(draw, epoch)
            losses, batches, extras = [], [], []
            for step in steps:
                own = self._believed(batch, look, step, plugins)
                levels = any(each.reads_levels for each in plugins)
                forward = Forward(networks[step.network], own.apart, levels, self.optimizers[step.network])
                losses.append(self.method.losses(forward, own, step))
                batches.append(own)
                extras.append([plugin.extra(forward, own, look, step) for plugin in plugins])
            shares = self.method.share(losses, batches, steps[0])
            totals = [sum(extra, start=own) for own, extra in zip(shares, extras, strict=True)]
        for step, total in zip(steps, totals, strict=True):
            self._descend(networks, total, step)
        return torch.stack([total.detach() for total in totals]).mean()

    def _draw_batch(self, draw: Draw, epoch: int) -> tuple[Batch, Look]:
        settings, count, pools = self.phase.method, self.method.num_views(epoch), self.method.learns_from(epoch)
        found = self.bank.find(draw.positions)
        index = found.positions
        views = {pool: self.bank.views(pool, count, found, self.random) for pool in pools}
        learned = torch.cat([views[pool] for pool in pools]) if len(pools) > 1 else views[pools[0]]
        guess_on = settings["guess_on"]
        if guess_on not in views or self.method.looks_apart(epoch):
            views[guess_on] = self.bank.views(guess_on, 1 if guess_on == "none" else count, found, self.random)
        given = self.given[index]
        y = (given[:, None] == self.classes).float()
        labeled = torch.arange(len(index), device=self.device) < draw.num_labeled
        batch = Batch(index, learned, y[None], torch.ones_like(y[:, 0]), labeled, draw.num_labeled, given, len(learned))
        return batch, Look(list(self._networks()), views[guess_on], settings["guess_mode"], draw.num_labeled)

    def _believed(self, batch: Batch, look: Look, step: Step, plugins: Sequence[Plugin]) -> Batch:
        own = replace(batch, clean=self.quality.for_network(step.network)[batch.index])
        own = own.believing(self.method.believe(own, look, step))
        for plugin in plugins:
            own = plugin.add_views(own, look, step)
        return own

    def _descend(self, networks: list[Network], total: Tensor, step: Step) -> None:
        optimizer = self.optimizers[step.network]
        for each in (optimizer, *self.method_optimizers):
            each.zero_grad(set_to_none=True)
        total.backward()
        if self.team is not None:
            add_up_gradients(optimizer)
        self.method.after_backward(networks[step.network], step)
        for each in (optimizer, *self.method_optimizers):  # the method's own have the whole gradient in every process
            each.step()
        self.method.after_step(networks, step)

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.settings["precision"])

    # ---- looking at the data without learning

    def _measuring_is_due(self, epoch: int) -> bool:
        every = int(self.config["quality"]["every"])
        due = bool(every) and epoch > 0 and epoch % every == 0
        read = any(plugin.reads_trust and plugin.active(epoch) for plugin in self._plugins())
        return due or self.method.needs_clean_probability(epoch) or read

    def measure(self, networks: Sequence[int] | None = None) -> None:
        """Estimate the clean probability anew, from what some or all networks say of the samples of the coming epoch.

        Eval mode, no augmentation. What enters the history that is averaged over is the method's choice.
        """
        wanted = range(len(self.networks)) if networks is None else networks
        if self.settings["statistics"] == "clean" and self._underway is not None:  # in the middle of one
            self._renew_statistics([network for k, network in enumerate(self._networks()) if k in wanted])
        self._estimate(wanted, self._survey(self._drawn(self.epochs_done)), self.phase)

    @torch.no_grad()
    def measure_and_predict(self) -> Predictions:
        """Measure all samples for all networks, and predict their classes, in one scan."""
        self.networks.eval()
        networks = [Remembered(network) for network in self._networks()]
        logits: list[list[Tensor]] = [[] for _ in networks]
        predicted = []
        for part in self._scanned():
            x = self.bank.plain(part)
            with self._autocast():
                for network, own in zip(networks, logits, strict=True):
                    own.append(network.alone(x).float())
                predicted.append(Predictions.of(self.method.predict(networks, x)))
        survey = self._survey(None)
        for k, own in enumerate(logits):
            survey.knows(k, torch.cat(own))
        self._estimate(range(len(networks)), survey, self.phase)
        return Predictions(*(torch.cat(parts) for parts in zip(*predicted, strict=True)))

    def _judge(self, step: Step) -> None:
        """Let the method judge its networks by the samples that it names."""
        positions = self.method.judged_by(step)
        if positions is not None and len(positions):
            self.method.judge(self._survey(positions if step.drawn is None else step.drawn[positions]), step)

    def _survey(self, drawn: Tensor | None) -> Survey:
        """Of the samples at the positions ``drawn``; None: of all."""
        index = torch.arange(len(self.given), device=self.device) if drawn is None else drawn

        @torch.no_grad()
        def scan(pool: str, network: Network, answer: Callable[[Tensor], Tensor]) -> Tensor:
            network.eval()
            answers = []
            for part in self._scanned(index):
                x = self.bank.plain(part) if pool == "none" else self._views_of(pool, part)
                with self._autocast():
                    answers.append(answer(x))
            return torch.cat(answers)

        return Survey(list(self._networks()), self.given[index], index, scan)

    def _views_of(self, pool: str, part: Tensor) -> Tensor:
        return self.bank.views(pool, 1, self.bank.find(part), self.random)[0]

    def _estimate(self, networks: Iterable[int], survey: Survey, phase: Phase) -> None:
        """Take what is known of the survey's samples: the method's trust, or the mixture's answer to the losses."""
        epoch = self.epochs_done
        scanned = None if len(survey.index) == len(self.given) else survey.index
        for k in networks:
            losses = self.method.measured(survey, k)
            if not losses.isfinite().all():
                raise DivergedError(f"a training sample's loss is not finite before epoch {epoch + 1}")
            where = (phase.number, phase.begin, self.settings["epochs"], scanned, phase.end)
            step = Step(k, epoch, float(epoch), self.random, *where)
            kept = not phase.estimates_trust(epoch)
            trust = self.quality.probability[k, survey.index] if kept else self.method.trust(survey, k, step)
            self.quality.update(k, losses, self.method.remembers_losses(epoch), scanned, trust)

    def _scanned(self, drawn: Tensor | None = None) -> tuple[Tensor, ...]:
        """Positions of a scan, batch by batch, which has to follow at once."""
        every = torch.arange(len(self.given), device=self.device) if drawn is None else drawn
        parts = every.split(self.bank.at_once)
        self.bank.announce(parts)
        return parts

    @torch.no_grad()
    def _renew_statistics(self, networks: Sequence[Network]) -> None:
        """Take the statistics of the norms anew on plain training images, evenly spaced, at most MOST_NORMALISED."""
        count = len(self.given)
        some = torch.linspace(0, count - 1, min(count, MOST_NORMALISED), dtype=torch.float64).round().long()
        for network in networks:
            with self._autocast(), taking_statistics(network):
                for part in self._scanned(some.to(self.device)):
                    network(self.bank.plain(part))  # with the norms of heads that predict

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

    def validated(self, accuracy: float) -> None:
        """Tell the method its accuracy, in percent, on held-out labels that are not known to be true."""
        self.method.validated(list(self._networks()), accuracy)

    # ---- checkpoint

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on."""
        return {
            "epochs_done": self.epochs_done,
            "underway": self._underway and self._underway.state(),
            "modules": self.state_dict(),
            "phase": self.phase.number,
            "optimizers": [optimizer.state_dict() for optimizer in (*self.optimizers, *self.method_optimizers)],
            "random": self.random.state(),
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a ``state()`` of the same config."""
        self.epochs_done, underway = state["epochs_done"], state["underway"]
        self._underway = underway and EpochUnderway.load(underway, self.device)
        self.load_state_dict(state["modules"])
        self._set_phase(self.phases[state["phase"]])
        self.optimizers = self._new_optimizers()
        for optimizer, saved in zip((*self.optimizers, *self.method_optimizers), state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.random.load(state["random"])


@contextmanager
def seeded(*numbers: int) -> Iterator[None]:
    """Within, torch's generator on the host is seeded by one number, or by several, and is then as it was.

    Initial weights are drawn on the host, the same on every device.
    """
    seed = numbers[0] if len(numbers) == 1 else int(np.random.SeedSequence(numbers).generate_state(1)[0])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def check_finite(losses: list[Tensor], epoch: int, turn: tuple[int, ...]) -> None:
    """Raises DivergedError that names the first step of the turn whose loss is not finite."""
    finite = torch.stack(losses).isfinite()
    if not finite.all():
        step, networks = int((~finite).nonzero()[0]) + 1, " and ".join(str(k + 1) for k in turn)
        raise DivergedError(f"the loss is not finite at epoch {epoch + 1}, step {step} of network {networks}")
