"""Why a file is not where a name says, where the name is likely to be at fault."""

from __future__ import annotations

import unicodedata
from pathlib import Path


def why_missing(root: Path, key: str, error: str) -> str:
    """The reason that the file ``key`` below the root cannot be used, which the system calls ``error``; with what to
    write, where the file is there by another name: with slashes for backslashes, or in the other Unicode form."""
    return f"cannot be read ({error}{_other_name(root, key)})"


def _other_name(root: Path, key: str) -> str:
    if "\\" in key:
        there = "; it is there with" if _exists(root / key.replace("\\", "/")) else "; folders are written with"
        return f"{there} / in place of \\: write the name so"
    for form in ("NFC", "NFD"):
        other = unicodedata.normalize(form, key)
        if other != key and _exists(root / other):
            return f"; it is there under the same name in Unicode form {form}: write it so, or rename the file"
    return ""


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a name that no file has
        return False
