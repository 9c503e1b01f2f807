"""Compiled networks (``trainer.compile=true``): the same arithmetic in fewer, larger kernels; last digits move."""

from __future__ import annotations

import logging

import torch

from sanm.errors import InputError
from sanm.types import Network


def compile_network(network: Network) -> None:
    """Let ``torch.compile`` make its own code for the feature maps, which are nearly all of the work.

    Parameters, buffers and their names stay what they are, so checkpoints fit with and without.
    """
    network.features = torch.compile(network.features)  # type: ignore[method-assign]


def check_compiler(device: torch.device) -> None:
    """Raises InputError when nothing can be compiled for the device."""
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    try:
        torch.compile(torch.nn.functional.gelu)(torch.zeros(8, device=device))
    except Exception as error:  # whatever a compiler that is missing or broken raises
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(
            f"trainer.compile=true: nothing can be compiled for device={device.type} ({reason}); "
            "install a C++ compiler (CPU) or Triton (GPU), or leave it out"
        ) from error
