"""Array files of a run directory, without what a pickle could run."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sanm.errors import InputError
from sanm.files import check_sums

Array = NDArray[Any]


def read_arrays(path: Path, wanted: Collection[str] | None = None) -> dict[str, Array] | None:
    """The arrays of an `.npz` file by name, all or those of `wanted` that it has; None when there is no such file.

    Raises `InputError` that names it when it is damaged.
    """
    try:
        check_sums(path)
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files if wanted is None or name in wanted}
    except FileNotFoundError:
        return None
    except Exception as error:  # a damaged file raises nearly anything
        raise InputError(f"{path} cannot be read ({error}): delete it, and make the run again") from error
