"""Pickles of plain values and NumPy arrays, read without running what else a pickle may hold."""

import io
import pickle
from typing import Any

import numpy as np

# What NumPy's own pickles call, taken from NumPy itself so that it holds for every version of it.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("multiarray", "_reconstruct"): _RECONSTRUCT,
    ("multiarray", "scalar"): np.int64(0).__reduce__()[0],
    ("numeric", "_frombuffer"): np.empty(0).__reduce_ex__(5)[0],
}


def load_plain(content: bytes) -> Any:
    """The value that a pickle holds. Raises nearly anything for a damaged one, or one of more than plain values."""
    # latin1 turns the keys of Python 2 into str and leaves arrays of Python 2 intact.
    return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()


class _ArrayUnpickler(pickle.Unpickler):
    """Builds plain values and NumPy arrays only: a pickle may otherwise run any code."""

    def find_class(self, module: str, name: str) -> Any:
        package, _, last = module.rpartition(".")
        place = last if package in ("numpy.core", "numpy._core") else module
        if module == "_codecs" and name == "encode":  # how Python 3 writes bytes for Python 2
            return _encode_latin1
        if (place, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"holds {module}.{name}, which plain data never does")
        return _ALLOWED[place, name]


def _encode_latin1(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"holds text encoded as {encoding}")
    return text.encode("latin1")
