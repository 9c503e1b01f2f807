"""Why a file that a list names is not there, as far as its name tells.

Light, as ``sanm.image_table`` is.
"""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path
from typing import Literal

UNICODE_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
"""``é`` as one sign and as two; macOS writes names in the second, nearly everybody else in the first."""


def misnamed(root: Path, name: str) -> str:
    """What is wrong with the ``name``, relative to ``root`` or absolute, of a file that is not there; empty where
    nothing is seen.
    """
    if "\\" in name:
        return "names are written with /, and this one has a backslash"
    for form in UNICODE_FORMS:
        other = unicodedata.normalize(form, name)
        if other != name and os.path.exists(root / other):
            return f"a file is there whose name looks the same, in the Unicode form {form}: write the name so"
    return ""
