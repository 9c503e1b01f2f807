"""Data sets: a file here is a data set, its name is the config's ``data.name``.

Each has ``load(settings, cache_dir) -> Source``.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.data.modules import named_module
from sanm.data.types import Source


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """The data set that ``settings["name"]`` names. Raises InputError for an unknown name or bad files."""
    source: Source = named_module(sys.modules[__name__], settings["name"], "data").load(settings, cache_dir)
    return source
