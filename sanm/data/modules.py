"""Finds the module that a config name means: the file's name is the option's name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from sanm.errors import InputError


def named_module(package: ModuleType, name: object, key: str) -> ModuleType:
    """The public module ``name`` of ``package``. Raises InputError that lists what there is."""
    known = sorted(found.name for found in iter_modules(package.__path__) if not found.name.startswith("_"))
    if name not in known:
        raise InputError(f"{key}={name} is not known: choose one of {', '.join(known)}")
    return import_module(f"{package.__name__}.{name}")
