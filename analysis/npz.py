"""Array files of a run directory, without what a pickle could run."""

import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanm.errors import InputError

Array = NDArray[Any]


def read_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, Array] | None:
    """The arrays of an `.npz` file by name, all or those of `wanted` that it has; None when there is no such file.

    Raises `InputError` that names it when it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if wanted is None or name in wanted}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} cannot be read ({type(error).__name__}): delete it, and make the run again"
        ) from error
