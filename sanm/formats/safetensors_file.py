"""Weights in the safetensors format: tensors by name, and nothing that could be executed."""

from pathlib import Path

from torch import Tensor

EXTENSION = ".safetensors"
LENGTH = 8
"""Bytes of a file's first part, the length of its header, which is JSON and begins with a brace."""
LONGEST = 100_000_000
"""Of a header, by the format."""


def is_safetensors(path: Path) -> bool:
    """Whether a file is one by its name or its first bytes. Raises OSError when it cannot be read."""
    with open(path, "rb") as file:
        begin = file.read(LENGTH + 1)
    header = int.from_bytes(begin[:LENGTH], "little")
    return path.name.lower().endswith(EXTENSION) or (begin[LENGTH:] == b"{" and header < LONGEST)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the host. Raises ValueError that says what is wrong, OSError when it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, KeyError) as error:  # KeyError: of a type of numbers that torch does not have
        raise ValueError(f"no intact safetensors file ({' '.join(str(error).split()).rstrip('.')})") from error
