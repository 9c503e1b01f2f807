"""Files and folders that cannot be opened, whoever runs the tests: root may open all."""

from __future__ import annotations

import builtins
import errno
import io
import os
from pathlib import Path
from typing import Any

import pytest


def close(monkeypatch: pytest.MonkeyPatch, *places: Path) -> None:
    """As if the permission to read these were missing: folders cannot be listed, files cannot be opened."""
    closed = {str(place) for place in places}
    opened, listed, names = builtins.open, os.scandir, os.listdir

    def check(place: Any) -> None:
        if isinstance(place, str | os.PathLike) and os.fspath(place) in closed:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(place))

    def guarded(work: Any) -> Any:
        def call(place: Any = ".", *words: Any, **named: Any) -> Any:
            check(place)
            return work(place, *words, **named)

        return call

    for module in (builtins, io):
        monkeypatch.setattr(module, "open", guarded(opened))
    monkeypatch.setattr(os, "scandir", guarded(listed))
    monkeypatch.setattr(os, "listdir", guarded(names))
