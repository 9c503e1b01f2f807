"""SMP against double loops: prototypes, corrected labels, the loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from sanm.methods.self_learning import SelfLearning
from sanm.parts.prototypes import Choice, likeness, prototypes
from sanm.step import Forward, Look, Random
from tests.methods.conftest import CLASSES, a_batch, a_step, a_survey, a_task, networks, same_gradients, settings_of

N, B = 24, 8
CHOICE = Choice(10, 3, 0.4, 0.95)


def method(**changes: object) -> SelfLearning:
    return SelfLearning(
        settings_of("self_learning", **{"sampled_per_class": 5, "prototypes": 2, **changes}), a_task(N, B)
    )


def blobs(sizes: tuple[int, ...], spread: float = 0.15) -> Tensor:
    """Unit-length features around one axis for each size."""
    generator = torch.Generator().manual_seed(0)
    parts = [torch.eye(8)[axis] + spread * torch.randn(size, 8, generator=generator) for axis, size in enumerate(sizes)]
    return normalize(torch.cat(parts), dim=1)


def slow_prototypes(unit: Tensor, choice: Choice) -> list[int]:
    m = len(unit)
    similar = [[float(unit[i] @ unit[j]) for j in range(m)] for i in range(m)]
    threshold = sorted(each for row in similar for each in row)[int(choice.rank * m * m)]
    density = [sum((s > threshold) - (s < threshold) for s in row) for row in similar]
    to_denser = []
    for i in range(m):
        denser = [similar[i][j] for j in range(m) if density[j] > density[i]]
        to_denser.append(max(denser) if denser else min(similar[i]))
    order = sorted(range(m), key=lambda i: (to_denser[i] >= choice.most_similar, -density[i]))
    return order[: choice.wanted]


def test_prototypes_are_those_of_a_double_loop() -> None:
    for sizes, spread in (((20, 8, 4), 0.15), ((30,), 0.05), ((5, 5), 0.6)):
        unit = blobs(sizes, spread).double()
        assert prototypes(unit, CHOICE).tolist() == slow_prototypes(unit, CHOICE)


def test_they_come_from_every_blob_of_a_class_and_not_from_one() -> None:
    unit = blobs((200, 80, 40), spread=0.02)
    blob = torch.tensor([0] * 200 + [1] * 80 + [2] * 40)
    assert set(blob[prototypes(unit, CHOICE)].tolist()) == {0, 1, 2}
    careless = prototypes(unit, CHOICE._replace(most_similar=2.0))
    assert set(blob[careless].tolist()) == {0}, "the densest alone are near-duplicates"


def test_what_a_sample_is_like_is_its_mean_similarity_to_prototypes() -> None:
    unit, given = blobs((12, 9, 6)).double(), torch.tensor([0] * 12 + [1] * 9 + [3] * 6)
    found = likeness(unit, given, CLASSES, CHOICE, Random(3, torch.device("cpu")))
    host = Random(3, torch.device("cpu")).host
    for label in range(CLASSES):
        there = (given == label).nonzero()[:, 0]
        own = unit[there[torch.from_numpy(host.permutation(len(there))[:10])]]
        for sample in range(len(unit)):
            near = [float(unit[sample] @ own[place]) for place in (slow_prototypes(own, CHOICE) if len(own) else ())]
            expected = sum(near) / len(near) if near else -float("inf")
            assert float(found[sample, label]) == pytest.approx(expected, abs=1e-6)


def test_flipped_labels_of_separable_features_are_corrected() -> None:
    unit, true = blobs((40, 40, 40)), torch.arange(3).repeat_interleave(40)
    given = torch.where(torch.arange(120) % 5 == 0, (true + 1) % 3, true)
    like = likeness(unit, given, 3, Choice(40, 8, 0.4, 0.95), Random(0, torch.device("cpu")))
    assert torch.equal(like.argmax(1), true)


def test_the_loss_is_of_both_labels() -> None:
    network, batch, made = networks(1)[0], a_batch(B), method(corrected_weight=0.3)
    made.corrected[batch.index] = torch.randint(0, CLASSES, (B,), generator=torch.Generator().manual_seed(1))
    believed = batch.believing(made.believe(batch, Look([network], batch.x, "eval"), a_step(5)))
    found, logits = made.losses(Forward(network), believed, a_step(5)).mean(), network(batch.x[0])
    slow = 0.7 * cross_entropy(logits, batch.given) + 0.3 * cross_entropy(logits, made.corrected[batch.index])
    assert float(found.detach()) == pytest.approx(float(slow.detach()), abs=1e-6)
    same_gradients(network, found, slow)


@pytest.mark.parametrize(("weight", "epoch"), [(0.0, 5), (0.5, 1)])
def test_without_weight_or_in_the_warm_up_it_is_the_given_label(weight: float, epoch: int) -> None:
    made, batch = method(corrected_weight=weight), a_batch(B)
    made.corrected.fill_(0)
    assert torch.equal(made.believe(batch, Look(networks(1), batch.x, "eval"), a_step(epoch)), batch.y[0])


def test_all_labels_are_corrected_once_it_has_warmed_up() -> None:
    made, survey = method(), a_survey(networks(1), N)
    assert made.trust(survey, 0, a_step(1)) is None
    assert torch.equal(made.corrected, a_task(N).given)
    assert [made.needs_clean_probability(epoch) for epoch in (1, 2)] == [False, True]
    trust = made.trust(survey, 0, a_step(2, seed=4))
    unit = normalize(survey.features(0), dim=1)
    like = likeness(unit, survey.given, CLASSES, Choice(5, 2, 0.4, 0.95), Random(4, torch.device("cpu")))
    assert torch.equal(made.corrected, like.argmax(1))
    assert trust is not None
    assert trust.tolist() == [
        1.0 if one == other else 0.5 for one, other in zip(made.corrected, survey.given, strict=True)
    ]


def test_of_a_part_of_the_samples_only_its_labels_move() -> None:
    made, survey = method(), a_survey(networks(1), N // 2)
    survey.index = 2 * survey.index
    made.corrected.fill_(9)
    made.trust(survey, 0, a_step(2))
    assert made.corrected[1::2].eq(9).all()
    assert made.corrected[::2].lt(CLASSES).all()
