"""The fit that leaves each sample out, against fits that do."""

import torch

from sanm.parts import leave_one_out
from sanm.parts.leave_one_out import left_out


def test_each_prediction_is_that_of_a_fit_without_the_sample(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(leave_one_out, "PENALTIES", (3.0,))
    draw = torch.Generator().manual_seed(0)
    x, weights = torch.randn(12, 4, generator=draw).double(), torch.rand(12, generator=draw).double() + 0.1
    y = torch.randn(12, 2, generator=draw).double()
    found = left_out(x, y, weights)
    for sample in range(12):
        rest = torch.arange(12) != sample
        w = weights[rest]
        design = torch.cat([torch.ones(11, 1), x[rest]], 1).double()
        penalty = 3.0 * torch.eye(5).double()
        penalty[0, 0] = 0  # of the intercept
        fitted = torch.linalg.solve((design * w[:, None]).T @ design + penalty, design.T @ (y[rest] * w[:, None]))
        assert torch.allclose(found[sample], torch.cat([torch.ones(1), x[sample]]).double() @ fitted)


def test_the_penalty_is_the_one_with_the_least_error(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    draw = torch.Generator().manual_seed(1)
    x = torch.randn(60, 40, generator=draw)
    y, ones = x[:, :1] + torch.randn(60, 1, generator=draw), torch.ones(60)
    errors = {}
    for penalty in leave_one_out.PENALTIES:
        monkeypatch.setattr(leave_one_out, "PENALTIES", (penalty,))
        errors[penalty] = float((left_out(x, y, ones) - y).square().sum())
    monkeypatch.undo()
    assert float((left_out(x, y, ones) - y).square().sum()) == min(errors.values())
