"""Distilling, or IEG (Zhang, Zhang, Arik, Lee, Pfister: Distilling Effective Supervision from Severe Label Noise, CVPR
2020); steps as in its released code.

A few samples whose labels are known to be true say, after a virtual step, how much each other sample counts, and if
its given label or a guess is to be believed. Guesses are learned from mixed images too, and two views are to agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sanm.methods import Method, soft_cross_entropy
from sanm.methods.dividemix import sharpen
from sanm.network import Network
from sanm.parts.average import follow, take_statistics
from sanm.parts.targets import Targets, one_hot
from sanm.parts.trusted import beside_trusted, trusted_samples
from sanm.step import Answers, Batch, Draw, Forward, Look, Random, Step, Task
from sanm.survey import Survey


class Verdict(NamedTuple):
    """What the trusted samples say of others."""

    weights: Tensor  # [B], which sum to 1 at most
    keeps: Tensor  # [B] bool, the given label


class Distilling(Method):
    one_process = True

    def __init__(self, settings: Mapping[str, Any], task: Task) -> None:
        """Raises InputError where no label is known to be true."""
        super().__init__(settings, task)
        self.trusted: Tensor
        self.given: Tensor
        self.register_buffer("trusted", trusted_samples(task, settings))
        self.register_buffer("given", task.given, persistent=False)
        self.targets = Targets(task)
        self.averages = nn.ModuleList()

    def attach(self, networks: Sequence[Network], example: Tensor) -> None:
        self.averages.append(deepcopy(networks[0]).requires_grad_(False))

    def batches(self, clean: Tensor, step: Step) -> list[Draw]:
        """A batch of trusted samples, in which classes take turns, before each of others."""
        return beside_trusted(self.trusted, self.batch_size, step, self.given)

    def trust(self, survey: Survey, k: int, step: Step) -> Tensor:
        """An average over epochs: of 1 where the given label was kept, of what the guess gave it elsewhere."""
        return self.targets.of_labels(survey.index, survey.given)

    def believe(self, batch: Batch, look: Look, step: Step) -> Tensor:
        """The average of its targets, which a plug-in's views start from; the method's own views have new ones."""
        return self.targets.of(batch.index)

    def losses(self, forward: Forward, batch: Batch, step: Step) -> Tensor:
        """The same for all rows of the method's own views, a weak and a strong one; others have cross-entropy."""
        n, own = batch.num_labeled, batch.own or len(batch.x)
        x, strong_x = batch.x[:1, n:], batch.x[own - 1 : own, n:]
        logits, strong = forward.own(x)[0], forward.own(strong_x)[0]
        guess = guessed(torch.stack([logits, strong]), self.settings["temperature"])
        label = one_hot(batch.given[n:], self.num_classes).to(guess) if batch.own else batch.y[0, n:]
        found = self._verdict(forward, logits, label, guess, batch)
        guess = guess.detach()
        target = torch.where(found.keeps[:, None], label, guess)
        self.targets.remember(batch.index[n:], target, self.settings["remembered"])

        start = torch.lerp(guess, label, self.settings["kept_at_first"])
        weighted = (found.weights * soft_cross_entropy(logits, start)).sum()
        loss = (soft_cross_entropy(logits, target).mean() + weighted) / 2
        loss = loss + self._mixed(forward, batch, torch.cat([x, strong_x], 1)[0], guess, step.random)
        loss = loss + self.settings["consistency_weight"] * divergence(logits.detach(), strong)
        rows = loss.expand(own, len(batch.index))
        if own == len(batch.x):
            return rows
        return torch.cat([rows, soft_cross_entropy(forward(batch.x[own:]), batch.y[own:])])

    def _verdict(self, forward: Forward, logits: Tensor, label: Tensor, guess: Tensor, batch: Batch) -> Verdict:
        """By the gradient of the loss of the trusted rows, after a virtual step on weighted targets.

        The guess has a gradient there. The step has the momentum of the optimizer and its weight decay.
        """
        n, count = batch.num_labeled, len(logits)
        weights = torch.full_like(logits[:, 0], 1 / count).requires_grad_()
        kept = torch.full_like(logits[:, :1], self.settings["kept_at_first"]).requires_grad_()
        loss = (weights * soft_cross_entropy(logits, kept * label + (1 - kept) * guess)).sum()
        later = forward.after(loss, self.settings["virtual_lr"], second_order=True, as_optimizer=True)
        probe = cross_entropy(later(batch.x[:1, :n])[0], batch.given[:n])
        of_weights, of_kept = torch.autograd.grad(probe, [weights, kept], retain_graph=True)
        counts = (-of_weights).clamp(min=0)
        return Verdict(counts / (counts.sum() + 1e-5), of_kept[:, 0] < 0)

    def _mixed(self, forward: Forward, batch: Batch, x: Tensor, guess: Tensor, random: Random) -> Tensor:
        """Cross-entropy of mixed images of trusted rows, drawn with replacement, and both views; guesses weigh more."""
        count, device = len(guess), guess.device
        drawn = torch.randint(batch.num_labeled, (count,), generator=random.device, device=device)
        images = torch.cat([batch.x[0, drawn], x])
        targets = torch.cat([one_hot(batch.given[drawn], self.num_classes).to(guess), guess, guess])
        uniform = torch.rand(len(images), generator=random.device, device=device, dtype=images.dtype)
        kept = 1 - uniform ** (1 / self.settings["alpha"]) / 2  # near to max(l, 1 - l), l ~ Beta(alpha, alpha)
        partner = torch.randperm(len(images), generator=random.device, device=device)
        images = torch.lerp(images[partner], images, kept[:, None, None, None])
        targets = torch.lerp(targets[partner], targets, kept[:, None])
        groups = forward.own(images[None])[0].unflatten(0, (3, count))
        trusted, *views = soft_cross_entropy(of_unit_size(groups), targets.unflatten(0, (3, count))).mean(1)
        return trusted + self.settings["mixed_weight"] * (views[0] + views[1]) / 2

    def after_step(self, networks: Sequence[Network], step: Step) -> None:
        """The average follows, closely at first. Its statistics are the network's."""
        average, taken = self.averages[0], step.progress * self.epoch_samples / self.batch_size
        assert isinstance(average, Network)
        follow(average, networks[0], min(self.settings["average"], (1 + taken) / (10 + taken)))
        take_statistics(average, networks[0])

    def predictors(self, networks: Sequence[Answers]) -> Sequence[Answers]:
        return [each for each in self.averages if isinstance(each, Network)]


def of_unit_size(logits: Tensor) -> Tensor:
    """Logits ``[..., B, K]`` whose squares have a mean of 1 over the last two dimensions."""
    return logits * (logits.square().mean((-2, -1), keepdim=True) + 1e-8).rsqrt()


def guessed(logits: Tensor, temperature: float) -> Tensor:
    """Labels ``[B, K]``: the mean probabilities of the logits ``[V, B, K]`` of views at unit size, sharpened."""
    return sharpen(of_unit_size(logits).softmax(-1).mean(0), temperature)


def divergence(logits: Tensor, others: Tensor) -> Tensor:
    """``KL(p || q)`` of the softmax of logits and that of others ``[B, K]``, the mean over rows."""
    log_probs = logits.log_softmax(-1)
    return (log_probs.exp() * (log_probs - others.log_softmax(-1))).sum(-1).mean()


METHOD = Distilling
