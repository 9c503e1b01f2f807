"""What a run is: its config without all that cannot change its result, and the name made of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sanm.errors import InputError

Plain = dict[str, Any]

NEUTRAL = ("device", "runs_dir", "cache_dir", "retry", "save_labels", "keep_checkpoint")
NEUTRAL_IN_GROUPS = {"data": ("root", "download", "cache_dir", "files"), "noise": ("path",)}
SANM_ONLY = ("tau", "mask_strategy", "variant")


def identity(config: Mapping[str, Any]) -> Plain:
    """What a run is: the checked config without all that cannot change its result.

    Left out: where things lie and run, tables that have been read, unset values, and SANM's settings where it has no
    part. What files hold stands in for their paths, so that a disk can move and other data is another run.
    """
    kept = {key: value for key, value in config.items() if key not in NEUTRAL}
    for group, keys in NEUTRAL_IN_GROUPS.items():
        kept[group] = {key: value for key, value in kept[group].items() if key not in keys}
    if config["data"].get("root"):
        kept["data"]["fingerprint"] = folder_fingerprint(config["data"]["root"], tuple(config["data"]["files"]))
    if config["noise"].get("path"):
        kept["noise"]["sha256"] = file_fingerprint(config["noise"]["path"])
    return _pruned(_without_idle_settings(kept))


def _without_idle_settings(config: Plain) -> Plain:
    components = config["components"]
    parts = [part for part in ("amg", "nlr", "smr") if components[part]]
    name = {0: "none", 3: "full"}.get(len(parts), "_".join(parts))
    idle: set[str] = set() if components["amg"] else set(SANM_ONLY)
    kept = {key: value for key, value in config.items() if key not in idle}
    kept["components"] = {"name": name, **components}
    if not components["amg"]:
        del kept["components"]["start"]
    elif not components["smr"]:
        kept["variant"] = {key: value for key, value in kept["variant"].items() if key != "reconstruction_weight"}
    return kept


def _pruned(node: Any) -> Any:
    if isinstance(node, dict):
        kept = {key: _pruned(value) for key, value in node.items() if value is not None and key != "tables"}
        return {key: value for key, value in kept.items() if value != {}}
    return [_pruned(value) for value in node] if isinstance(node, list) else node


def run_name(config: Mapping[str, Any]) -> str:
    """Name of the run's directory: readable, then ten digits of the hash of its ``identity()``."""
    noise = f"{config['noise']['name']}{config['noise'].get('rate', '')}"
    parts = (config["base_method"]["name"], config["components"]["name"], noise, config["data"]["name"])
    return f"{'-'.join(parts)}-seed{config['seed']}-{digest(config)}"


def digest(config: Mapping[str, Any]) -> str:
    """Ten hexadecimal digits that name the identity; 1 and 1.0 are the same number in it."""
    text = json.dumps(_canonical(config), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def _canonical(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {str(key): _canonical(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return [_canonical(value) for value in node]
    return float(node) if isinstance(node, int) and not isinstance(node, bool) else node


@cache
def file_fingerprint(path: str) -> str:
    """Hash of a file's bytes. Raises InputError when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"noise.path={path} cannot be read ({error.strerror})") from error


@cache
def folder_fingerprint(root: str, patterns: tuple[str, ...]) -> str | None:
    """Hash of the names and sizes of the files under ``root`` that match, with the first bytes where they are few.

    None when nothing matches: the loader says what is missing, or downloads it.
    """
    folder = Path(root).expanduser()
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    if not files:
        return None
    found = hashlib.sha256()
    for file in files:
        found.update(f"{'/'.join(file.parts[-2:])} {file.stat().st_size}\n".encode())
        if len(files) <= 100:
            with open(file, "rb") as handle:
                found.update(handle.read(1 << 16))
    return found.hexdigest()[:16]
