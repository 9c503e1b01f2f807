"""Two processes make of every method what one makes, but for the order in which numbers are added."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from sanm.machine.several.batch_norm import SyncBatchNormOfAnyRows
from sanm.machine.several.passes import sizes_of_parts
from tests.machine.several import side_by_side
from tests.machine.several.side_by_side import CASES, Found, config_of_case, gradients, trained
from tests.machine.several.torchrun import torchrun

pytestmark = pytest.mark.slow

ROUNDING = 1e-10
"""Of double precision, relative, after ten steps and a mixture: measured are 4e-15 at most."""


@pytest.fixture(scope="module")
def of_two(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    """What each of two processes holds in the end."""
    path = tmp_path_factory.mktemp("found") / "found"
    configs = {f"{method} {parts}": config_of_case(method, parts) for method, parts in CASES}
    Path(f"{path}.json").write_text(json.dumps(configs))
    with torchrun(side_by_side.__name__, str(path)) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, out + err
    return [torch.load(f"{path}.{rank}", weights_only=True) for rank in range(2)]


@pytest.mark.parametrize(("method", "parts"), CASES)
def test_an_epoch_of_every_method_is_what_one_process_makes_of_it(method: str, parts: str, of_two: list[Found]) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = trained(config_of_case(method, parts))
    torch.set_num_threads(threads)
    first, second = (found[f"{method} {parts}"] for found in of_two)
    assert alone.keys() == first.keys() == second.keys()
    for name, tensor in alone.items():
        assert torch.equal(first[name], second[name]), name
        torch.testing.assert_close(first[name], tensor, rtol=ROUNDING, atol=ROUNDING, msg=name)


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_step_is_the_same_in_double_precision_whatever_the_rows(rows: int, of_two: list[Found]) -> None:
    """One row leaves the second process without any; the decoder's part is not the network's; dropout is drawn."""
    alone = gradients(rows)
    for found in of_two:
        assert found[f"{rows} rows"].keys() == alone.keys()
        for name, tensor in alone.items():
            torch.testing.assert_close(found[f"{rows} rows"][name], tensor, rtol=1e-10, atol=1e-12, msg=name)


@pytest.mark.parametrize(("rows", "type_sent"), [(0, torch.float32), (2, torch.bfloat16)])
def test_no_rows_reach_torchs_batch_norm_in_the_type_of_the_statistics_of_others(
    rows: int, type_sent: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs on GPUs alone, so that this is what it is given."""
    given = []
    monkeypatch.setattr(nn.SyncBatchNorm, "forward", lambda norm, x: given.append(x.dtype) or x.clone())
    made = SyncBatchNormOfAnyRows(3)(torch.ones(rows, 3, 2, 2, dtype=torch.bfloat16))
    assert given == [type_sent]
    assert (made.shape, made.dtype) == ((rows, 3, 2, 2), torch.bfloat16)


def test_state_that_differs_is_named_in_every_process(of_two: list[Found]) -> None:
    for found in of_two:
        assert str(found["complaint"]).startswith("other is not the same in all processes after epoch 1")


def test_parts_are_as_equal_as_can_be() -> None:
    assert sizes_of_parts(7, 3) == [3, 2, 2]
    assert sizes_of_parts(2, 3) == [1, 1, 0]
    assert sizes_of_parts(0, 2) == [0, 0]
