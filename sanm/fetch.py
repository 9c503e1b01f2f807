"""Downloads a data set before its run is named: a run is known by what its files hold."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.identity import holds_files


def fetch(config: Mapping[str, Any]) -> None:
    """Download the data of a checked config where it asks for that and nothing is there yet.

    Raises InputError when the download fails.
    """
    data = config["data"]
    if not data.get("download") or not data.get("root"):
        return
    if holds_files(str(data["root"]), tuple(data["files"])):
        return
    from sanm.data import datasets

    datasets.load(data, Path(config["cache_dir"]).expanduser())
