"""Batch norm whose statistics are those of all processes' rows.

On GPUs it is torch's own ``SyncBatchNorm``, which nothing but a GPU can run; elsewhere the one below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, distributed, nn

from sanm.machine.several.processes import collective


def synchronise_batch_norms(module: nn.Module) -> None:
    """Let every batch norm below the module be of all processes' rows; parameters, buffers and names stay."""
    first = next(module.parameters(), None)
    kind = SyncBatchNormOfAnyRows if first is not None and first.is_cuda else SynchronisedBatchNorm
    for parent in [*module.modules()]:
        for name, norm in parent.named_children():
            if type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d):
                setattr(parent, name, _in_place_of(norm, kind))


def _in_place_of(norm: Any, kind: type[SyncBatchNormOfAnyRows | SynchronisedBatchNorm]) -> nn.Module:
    made = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    made._parameters, made._buffers = norm._parameters, norm._buffers
    return made.train(norm.training)


class SyncBatchNormOfAnyRows(nn.SyncBatchNorm):
    """Torch's own, for a process that may have no row at all.

    Such a process sends zeros of the input's type, forward and backward (``torch/nn/modules/_functions.py``), the
    others statistics of at least single precision: in bf16 it would send half the bytes that they wait for.
    """

    def forward(self, x: Tensor) -> Tensor:
        """``x [n, D, h, w]``, or ``[n, D]``."""
        if x.numel():
            return super().forward(x)
        return super().forward(x.to(torch.promote_types(x.dtype, torch.float32))).to(x.dtype)


class SynchronisedBatchNorm(nn.BatchNorm2d):
    """In training: mean and variance over the rows of all processes, in two passes, so that nothing cancels."""

    def forward(self, x: Tensor) -> Tensor:
        """``x [n, D, h, w]``, or ``[n, D]`` in a head; a process may have no row at all."""
        if x.dim() == 2:
            return self.forward(x[..., None, None])[..., 0, 0]
        if not self.training:
            return super().forward(x)
        values = x.to(torch.promote_types(x.dtype, torch.float32))
        own = torch.cat([values.sum((0, 2, 3)), values.new_tensor([x.numel() // x.shape[1]])])
        total = _SumOverProcesses.apply(own)
        count = total[-1].detach()
        mean = total[:-1] / count
        centered = values - mean[:, None, None]
        variance = _SumOverProcesses.apply(centered.square().sum((0, 2, 3))) / count
        if self.track_running_stats:
            self._follow(mean.detach(), (variance * count / (count - 1).clamp(min=1)).detach())
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        step = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean), step)
        self.running_var.lerp_(variance.to(self.running_var), step)


class _SumOverProcesses(torch.autograd.Function):
    """The sum over all processes; each contributes to what all make of it, so gradients are summed as well."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        return _summed(own)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _summed(gradients[0])


def _summed(own: Tensor) -> Tensor:
    total = own.clone(memory_format=torch.contiguous_format)
    collective(lambda: distributed.all_reduce(total))
    return total
