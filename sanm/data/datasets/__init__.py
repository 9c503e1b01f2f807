"""Data sets: a file here is a data set, its name is the config's ``data.name``.

Each has ``load(settings, cache_dir) -> Source``.
"""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from sanm.data.types import Source


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """The data set that ``settings["name"]`` names. Raises InputError for bad files."""
    source: Source = import_module(f"{__name__}.{settings['name']}").load(settings, cache_dir)
    return source
