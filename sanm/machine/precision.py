"""How exactly the device computes: ``precision`` is fp32, tf32 (on GPUs that have it) or bf16."""

import warnings

import torch


def set_matrix_precision(device: torch.device, precision: str) -> None:
    """Say whether matrix products may round to TF32. It holds for the process, so whoever trains sets it anew."""
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = precision != "fp32"
        torch.backends.cuda.matmul.allow_tf32 = precision != "fp32"


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """The context that a forward pass runs in: bfloat16 where it suffices, if asked for."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bf16")


def warn_where_slow(key: str, device: torch.device, precision: str) -> None:
    """Warn, naming the setting ``key``, of bf16 on a CPU that has no instructions for it."""
    if device.type == "cpu" and precision == "bf16" and torch.backends.cpu.get_cpu_capability() == "AVX2":
        warnings.warn(
            f"this CPU has no instructions for bf16, and is many times slower in it: {key}=fp32", stacklevel=2
        )
