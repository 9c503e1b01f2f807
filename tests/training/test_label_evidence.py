"""What features say of labels: of the digits, whose pixels are features enough."""

import io
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from sanm.training import label_evidence
from sanm.training.label_evidence import packed


@pytest.fixture(scope="module")
def digits() -> tuple[torch.Tensor, torch.Tensor, np.ndarray[Any, Any]]:
    """Pixels of 600 digits, labels of which 30 % are wrong, and which."""
    data, draw = load_digits(), np.random.default_rng(0)
    pixels, true = data.data[:600], data.target[:600]
    wrong = draw.random(600) < 0.3
    given = np.where(wrong, (true + draw.integers(1, 10, 600)) % 10, true)
    return torch.from_numpy(pixels).float(), torch.from_numpy(given), wrong


def test_wrong_labels_are_found_and_scores_are_probabilities(digits: Any) -> None:
    pixels, given, wrong = digits
    found = label_evidence.label_evidence(pixels, given, 10)
    score = found.label_score.numpy()
    assert roc_auc_score(~wrong, score) > 0.97
    assert score.mean() == pytest.approx((~wrong).mean(), abs=0.05)
    assert (~wrong[score > 0.9]).mean() > 0.95
    assert (~wrong[score < 0.1]).mean() < 0.05
    again = label_evidence.label_evidence(pixels, given, 10)
    assert all(torch.equal(one, other) for one, other in zip(found, again, strict=True))


def test_no_opinion_has_seen_the_label_that_it_judges(digits: Any) -> None:
    pixels, given, _ = digits
    other = given.clone()
    other[7] = (given[7] + 1) % 10
    before, after = (label_evidence.label_evidence(pixels, labels, 10) for labels in (given, other))
    assert torch.equal(before.votes[7], after.votes[7])
    assert float((before.linear[7] - after.linear[7]).abs().max()) < 0.02  # weights of the others move a little


def test_the_nearest_come_first_and_a_copy_is_found(digits: Any) -> None:
    pixels, given, _ = digits
    found = label_evidence.label_evidence(torch.cat([pixels, pixels[:1]]), torch.cat([given, given[:1]]), 10)
    assert int(found.nearest[600, 0]) == 0
    assert float(found.similarity[600, 0]) == pytest.approx(1)
    assert bool((found.similarity.diff(dim=1) <= 0).all())


class OfDigits:
    """What `packed` reads of a training set."""

    def __init__(self, pixels: torch.Tensor, given: torch.Tensor) -> None:
        self.images, self.given_labels, self.class_names = pixels[..., None, None], given, tuple("0123456789")


@pytest.mark.parametrize("count", [2, 3, 12])
def test_few_samples_have_evidence_all_the_same(count: int, digits: Any) -> None:
    pixels, given, _ = digits
    content = packed(OfDigits(pixels[:count], given[:count]))  # type: ignore[arg-type]
    with np.load(io.BytesIO(content or b"")) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "class_names")
        assert file["nearest"].shape == (count, min(10, count - 1))


def test_too_many_samples_have_none(digits: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_evidence, "MOST_SAMPLES", 11)
    assert packed(OfDigits(*(part[:12] for part in digits[:2]))) is None  # type: ignore[arg-type]
