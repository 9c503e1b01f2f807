"""What the tests of several processes train: every method for an epoch, in as many processes as there are.

``torchrun --nproc_per_node=2 -m tests.several.side_by_side FILE`` writes what came out; in a test's own process the
same functions give what one process makes of it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanm.components.smr import decoder_for
from sanm.errors import DivergedError
from sanm.models.cnn9 import ChannelDropout
from sanm.several import processes
from sanm.several.passes import add_up_gradients, share_module, share_networks
from sanm.several.sameness import check_same
from sanm.trainer import Trainer
from sanm.types import Network
from tests.conftest import config_of, small_training_set
from tests.test_golden import METHODS, SETTINGS

UNEVEN = 25
"""Rows of a batch that two processes cannot share equally; DivideMix's batches are of 50."""

CASES = tuple((method, components) for method in METHODS for components in ("none", "full"))

Found = dict[str, dict[str, Tensor]]


def trained(method: str, components: str) -> dict[str, Tensor]:
    """State and predictions after an epoch, with a scan before it and one after."""
    words = (f"base_method={method}", f"components={components}", f"trainer.batch_size={UNEVEN}")
    trainer = Trainer(config_of(*SETTINGS, *words), small_training_set(), torch.device("cpu"))
    loss = trainer.train_epoch(lambda step, steps: None).loss
    predicted = trainer.measure_and_predict().classes
    tensors = {key: value for key, value in trainer.state_dict().items() if isinstance(value, Tensor)}
    return {**tensors, "loss": torch.tensor(loss), "predicted": predicted, "drawn": trainer.random.device.get_state()}


class Withholding(nn.Module):
    """What it is given; its gradient is None for no rows, as that of torch's ``SyncBatchNorm`` is."""

    def forward(self, x: Tensor) -> Tensor:
        given: Tensor = _Withheld.apply(x)
        return given


class _Withheld(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor | None:
        return gradients[0] if gradients[0].numel() else None


class Dropping(Network):
    """Convolution, batch norm, dropout: all that can tell parts of a batch from the whole; and what never learns."""

    def __init__(self) -> None:
        super().__init__()
        convolution = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(convolution, nn.BatchNorm2d(8), Withholding(), nn.ReLU(), ChannelDropout(0.5))
        self.unused = nn.Parameter(torch.ones(2))
        self.classifier = nn.Linear(8, 4)

    def features(self, x: Tensor) -> Tensor:
        maps: Tensor = self.body(x)
        return maps


def gradients(rows: int) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of one step in double precision, for a batch of so many rows.

    The decoder sees but the last two thirds of the rows, so its parts are not those of the network.
    """
    torch.manual_seed(0)
    network, x = Dropping().double(), torch.rand(rows, 3, 8, 8, dtype=torch.float64)
    decoder = decoder_for(network, x).double()
    if processes.joined_team() is not None:
        share_networks([network])
        share_module(decoder)
    features = network.features(x)
    logits, rebuilt = network.head(features), decoder(features[rows // 3 :])
    (logits.square().sum() * rebuilt.square().mean()).backward()
    optimizer = torch.optim.SGD([*network.parameters(), *decoder.parameters()])
    if processes.joined_team() is not None:
        add_up_gradients(optimizer)
    named = [*network.named_parameters(), *(("decoder." + key, value) for key, value in decoder.named_parameters())]
    found = {key: value.grad for key, value in named if value.grad is not None}
    statistics = dict(network.named_buffers())
    return {**found, **statistics, "logits": logits.detach(), "rebuilt": rebuilt.detach()}


def everything() -> Found:
    found = {f"{method} {components}": trained(method, components) for method, components in CASES}
    return found | {f"{rows} rows": gradients(rows) for rows in (1, 2, 5)}


def complaint() -> str:
    """What is said of a tensor that each process holds otherwise, beside one that is the same."""
    team = processes.joined_team()
    assert team is not None
    try:
        check_same({"same": torch.ones(2), "other": torch.full((2,), processes.rank())}, team, "after epoch 1")
    except DivergedError as error:
        return str(error)
    return ""


def main() -> None:
    torch.set_num_threads(1)
    with processes.joined("cpu"):
        found: dict[str, Any] = {**everything(), "complaint": complaint()}
        torch.save(found, Path(f"{sys.argv[1]}.{processes.rank()}"))


if __name__ == "__main__":
    main()
