"""Which device a run computes on."""

import torch

from sanm.errors import InputError
from sanm.machine.several import processes


def choose_device(wanted: str) -> torch.device:
    """``auto`` is the GPU when there is one; of several processes each has its own already.

    Raises InputError for a device that is not there.
    """
    team = processes.joined_team()
    if team is not None:
        return team.device
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(wanted)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"device={wanted} is not there ({reason}); set device=cpu or device=auto") from error
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)  # threads that begin without one, as those that pin batches, use the current one
    return device
