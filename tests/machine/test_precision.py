"""What a device computes in, and what it is slow in."""

import warnings

import pytest
import torch

from sanm.machine.precision import warn_where_slow


def test_bf16_is_warned_of_where_the_cpu_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX2")
    with pytest.warns(UserWarning, match=r"trainer\.precision=fp32"):
        warn_where_slow("trainer.precision", cpu, "bf16")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_where_slow("trainer.precision", cpu, "fp32")
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
        warn_where_slow("trainer.precision", cpu, "bf16")
