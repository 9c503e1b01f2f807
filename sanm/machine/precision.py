"""How exactly the device computes: ``precision`` is fp32, tf32 (on GPUs that have it) or bf16."""

import torch


def set_matrix_precision(device: torch.device, precision: str) -> None:
    """Say whether matrix products may round to TF32. It holds for the process, so whoever trains sets it anew."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context that a forward pass runs in: bfloat16 where it suffices, if asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")
