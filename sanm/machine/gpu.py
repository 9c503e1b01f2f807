"""The GPU that this process computes on; torch is not imported for the questions."""

import sys


def used() -> bool:
    """Whether this process has computed on a GPU."""
    if "torch" not in sys.modules:
        return False
    import torch

    return torch.cuda.is_initialized()


def lost() -> bool:
    """Whether this process can use its GPU no more: some errors of a kernel stay until the process ends.

    Whatever comes after one, on whatever tensor, fails with the same error.
    """
    if not used():
        return False
    import torch

    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
