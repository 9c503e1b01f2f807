"""What the tests of several processes train: every method for an epoch, in as many processes as there are.

``torchrun --nproc_per_node=2 -m tests.machine.several.side_by_side FILE`` reads the configs of all cases from
``FILE.json`` and writes what came out; in a test's own process the same functions give what one process makes of it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sanm.errors import DivergedError
from sanm.machine.several import processes
from sanm.machine.several.passes import add_up_gradients, share_networks
from sanm.machine.several.sameness import check_same
from sanm.network import Network, Way
from sanm.parts.dropout import ChannelDropout
from sanm.plugins.sanm.smr import decoder_for
from sanm.training.trainer import Trainer
from tests.conftest import config_of, small_training_set
from tests.every import METHODS, WITH_PLUGINS, needs_one_process, number_of_phases
from tests.training.test_golden import SETTINGS

UNEVEN = 25
"""Rows of a batch that two processes cannot share equally; DivideMix's batches are of 50."""
IMAGES = 80
"""Of a set that is soon gone through: four steps, the last one of 5 rows."""

CASES = tuple(
    (method, " ".join(parts)) for method in METHODS if not needs_one_process(method) for parts in WITH_PLUGINS
)
"""Each method together with SANM and a plug-in: what is shared out without them is shared out with them as well."""

Found = dict[str, dict[str, Tensor]]


class InDouble(Trainer):
    """A trainer whose networks, and all that it remembers, are of double precision.

    In single precision an epoch can end thousands of roundings apart where one of them decides on which side of zero an
    activation lies: the comparison would say nothing.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.double()
        for network in self._all_networks():
            network.way = in_double(network.way)


def in_double(way: Way) -> Way:
    """The same way, for images of any precision."""
    return lambda compute, network, x: way(compute, network, x.double())


def config_of_case(method: str, parts: str) -> dict[str, Any]:
    """With as many epochs as phases."""
    phases = number_of_phases(method)
    length = (f"trainer.epochs={phases}",) if phases > 1 else ()
    return config_of(*SETTINGS, f"base_method={method}", *parts.split(), f"trainer.batch_size={UNEVEN}", *length)


def trained(config: dict[str, Any]) -> dict[str, Tensor]:
    """State and predictions after an epoch of each phase, with a scan before it and one after."""
    trainer = InDouble(config, small_training_set(IMAGES), torch.device("cpu"))
    loss = [trainer.train_epoch(lambda step, steps: None).loss for _ in trainer.phases]
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

    def maps(self, x: Tensor) -> Iterator[Tensor]:
        yield self.body(x)


def gradients(rows: int) -> dict[str, Tensor]:
    """Outputs, gradients and statistics of one step in double precision, for a batch of so many rows.

    The decoder sees but the last two thirds of the rows, so its parts are not those of the network.
    """
    torch.manual_seed(0)
    network, x = Dropping().double(), torch.rand(rows, 3, 8, 8, dtype=torch.float64)
    decoder = network.heads["decoder"] = decoder_for(network, x).double()
    if processes.joined_team() is not None:
        share_networks([network])
    features = network.features(x)
    logits, rebuilt = network.head(features), decoder(features[rows // 3 :])
    (logits.square().sum() * rebuilt.square().mean()).backward()
    optimizer = torch.optim.SGD(network.parameters())
    if processes.joined_team() is not None:
        add_up_gradients(optimizer)
    found = {key: value.grad for key, value in network.named_parameters() if value.grad is not None}
    statistics = dict(network.named_buffers())
    return {**found, **statistics, "logits": logits.detach(), "rebuilt": rebuilt.detach()}


def everything(configs: dict[str, dict[str, Any]]) -> Found:
    found = {case: trained(config) for case, config in configs.items()}
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
        configs = json.loads(Path(f"{sys.argv[1]}.json").read_text())  # to compose each here takes as long as to train
        found: dict[str, Any] = {**everything(configs), "complaint": complaint()}
        torch.save(found, Path(f"{sys.argv[1]}.{processes.rank()}"))


if __name__ == "__main__":
    main()
