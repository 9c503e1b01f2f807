"""CDR against a slow, obvious implementation: which weights are critical, and what is left of a gradient."""

from __future__ import annotations

import pytest
import torch

from sanm.errors import InputError
from sanm.methods.cdr import RobustEarlyLearning, kth_largest
from sanm.step import Forward
from tests.methods.conftest import a_batch, a_step, a_task, networks, settings_of


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("l1_decay", [0.0, 1e-3])
def test_only_critical_weights_keep_a_damped_gradient(rate: float, l1_decay: float) -> None:
    network, batch = networks(1)[0], a_batch(6)
    made = RobustEarlyLearning(settings_of("cdr", noise_rate=rate, l1_decay=l1_decay), a_task(20, 6))
    made.share([made.losses(Forward(network), batch, a_step(0))], [batch], a_step(0))[0].backward()
    before = {name: each.grad.clone() for name, each in network.named_parameters() if each.grad is not None}

    parameters = dict(network.named_parameters())
    weights = [name for name in before if parameters[name].dim() in (2, 4)]
    importance = {name: (parameters[name] * before[name]).abs().detach() for name in weights}
    ranked = sorted((value for name in weights for value in importance[name].flatten().tolist()), reverse=True)
    count = int((1 - rate) * len(ranked))
    threshold = ranked[count - 1] if count else float("inf")
    made.after_backward(network, a_step(0))
    for name, each in network.named_parameters():
        expected = before[name]
        if name in weights:
            expected = torch.where(importance[name] >= threshold, before[name] * (1 - rate), torch.zeros(()))
            expected = expected + l1_decay * each.detach().sign()
        assert each.grad is not None
        assert torch.allclose(each.grad, expected, atol=1e-7), name
    assert len(weights) < len(before)


def test_kth_largest_counts_from_above() -> None:
    values = torch.tensor([3.0, 1.0, 4.0, 1.5, 5.0])
    assert [float(kth_largest(values, share)) for share in (0.2, 0.4, 1.0)] == [5.0, 4.0, 1.0]
    assert float(kth_largest(values, 0.1)) == float("inf")


def test_asks_for_the_rate_that_it_must_know() -> None:
    with pytest.raises(InputError, match=r"base_method\.noise_rate"):
        RobustEarlyLearning(settings_of("cdr", noise_rate=None), a_task(20, 6))
