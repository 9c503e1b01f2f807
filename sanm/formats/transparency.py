"""Whether any image of a data set is transparent somewhere: only then does ``data.background`` change a result.

Light, since a run is named by it; images are opened where their first bytes do not rule it out.
"""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from sanm.errors import InputError
from sanm.files import read_json, write_json

OPAQUE = (b"\xff\xd8", *(b"P%d" % kind for kind in range(1, 7)))
"""How files begin that are never transparent: JPEG, PBM, PGM, PPM."""
LONG = 0.3
"""Seconds that an answer has to take to be remembered."""
AT_ONCE = 64


def any_transparent(files: Iterable[Path], fingerprint: str, cache_dir: Path) -> bool:
    """Whether an image among the files of a set is not opaque; what cannot be read counts as opaque.

    The answer is remembered in ``cache_dir`` by the ``fingerprint`` of the set.
    """
    memory = cache_dir / "transparent.json"
    known: dict[str, bool] = read_json(memory) or {}
    if fingerprint in known:
        return known[fingerprint]
    began = time.monotonic()
    found = _any(list(files))
    if time.monotonic() - began > LONG:
        with suppress(InputError, OSError):  # it saves time, nothing else
            cache_dir.mkdir(parents=True, exist_ok=True)
            write_json(memory, known | {fingerprint: found})
    return found


def _any(files: list[Path]) -> bool:
    with ThreadPoolExecutor() as threads:
        batches = (files[first : first + AT_ONCE] for first in range(0, len(files), AT_ONCE))
        return any(any(threads.map(_is_transparent, batch)) for batch in batches)


def _is_transparent(file: Path) -> bool:
    try:
        with open(file, "rb") as handle:
            if handle.read(2) in OPAQUE:
                return False
        from sanm.formats.image_colors import is_transparent

        return is_transparent(file)
    except Exception:  # a damaged image raises nearly anything
        return False
