"""Compiled networks (``trainer.compile=true``): the same arithmetic in fewer, larger kernels; last digits move."""

import logging
from collections.abc import Iterable

import torch
from torch import Tensor

from sanm.errors import InputError
from sanm.network import Compute, Maps, Network, Way, all_maps, last_map

MOST_KERNELS = 64
"""Of a function: one for each size and memory layout, learning or not. torch's own 8 are too few for a method that
looks, guesses, learns and scans; beyond them it quietly stops to compile.
"""


def compile_networks(networks: Iterable[Network], batch_size: int, scanned: int) -> None:
    """Let ``torch.compile`` make its own code for the feature maps of networks, which are nearly all of the work.

    Parameters, buffers and their names stay what they are, so checkpoints fit with and without. Compiled are the sizes
    that come again and again, each for itself: whole multiples of ``batch_size``, and the ``scanned`` images of a look
    at the whole set. What else comes, as the last batch of an epoch, runs as it is written. So the code that an input
    meets depends on its shape alone, not on what came before: a run that is continued ends as if it had never stopped.
    """
    way = compiled_way(batch_size, scanned)
    for network in networks:
        network.way = way


def compiled_way(batch_size: int, scanned: int) -> Way:
    """Passes by compiled code, for the sizes that recur."""
    compiled: dict[Compute, Compute] = {
        compute: torch.compile(compute, dynamic=False) for compute in (last_map, all_maps)
    }

    def way(compute: Compute, network: Network, x: Tensor) -> Maps:
        recurs = len(x) and (len(x) % batch_size == 0 or len(x) == scanned)
        return compiled[compute](network, x) if recurs else compute(network, x)

    return way


def make_room_for_compiled() -> None:
    """Let the process hold MOST_KERNELS of a function, and drop what was compiled for its earlier runs, which counts
    though nobody calls it.
    """
    torch._dynamo.config.recompile_limit = MOST_KERNELS
    torch.compiler.reset()


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
