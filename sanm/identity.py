"""What a run is: its config without all that cannot change its result, and the name made of it."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from sanm.errors import InputError
from sanm.image_table import Table, read_table

Plain = dict[str, Any]
_NEVER = object()

NEUTRAL = ("device", "images", "image_workers", "runs_dir", "cache_dir", "retry", "save_labels", "keep_checkpoint")
NEUTRAL_IN_GROUPS = {
    "data": ("root", "path", "download", "cache_dir", "files"),
    "noise": ("path", "order"),
    "pretrain": ("path",),
    "trainer": ("save_model",),
}
NO_PART_IN_ENCODERS = ("validation", "test_subset")
SANM_ONLY = ("tau", "mask_strategy", "mask_source", "variant")
PUBLISHED_MASK_WEIGHTS = ("IMAGENET1K_V1", "f37072fd")
"""torchvision's name for the default weights of mask_source=pretrained, and how the hash of their file begins."""
PUBLISHED_IMAGENET_WEIGHTS = {18: "f37072fd", 34: "b627a593", 50: "0676ba61"}
"""How the hashes of torchvision's first ImageNet weights begin, by the depth of the ResNet."""
RATIO_KEYS = ("ratio_at_maximum", "ratio_at_minimum")
CAME_LATER: dict[str, Plain] = {
    "quality": {"iterations": 10},
    "trainer": {"optimizer": "sgd", "schedule": "steps", "compile": False},
    "variant": {"masked_target": "method", "unmasked_views": "kept"},
    "noise": {"definition": "superclass_next"},
    "data": {"skip_bad": False},
    "base_method": {"unlabeled_rows": True},
}
"""Settings that the first runs did not have, and what they all did: left out then, so that their names stay."""


def identity(config: Mapping[str, Any]) -> Plain:
    """What a run is: the checked config without all that cannot change its result.

    Left out: where things lie and run, tables that have been read, unset values, and SANM's settings where it has no
    part. What files hold stands in for their paths, so that a disk can move and other data is another run.
    """
    kept = {key: value for key, value in config.items() if key not in NEUTRAL}
    if kept["base_method"].get("forget_rate") == "estimated":
        kept["base_method"] = {key: value for key, value in kept["base_method"].items() if key != "noise_rate"}
    for group, keys in NEUTRAL_IN_GROUPS.items():
        kept[group] = {key: value for key, value in config.get(group, {}).items() if key not in keys}
    if config["data"].get("path"):
        kept["data"]["fingerprint"] = _table_fingerprint(config["data"])
    elif config["data"].get("root"):
        kept["data"]["fingerprint"] = folder_fingerprint(str(config["data"]["root"]), tuple(config["data"]["files"]))
    if config["noise"].get("path"):
        kept["noise"]["sha256"] = file_fingerprint(str(config["noise"]["path"]), "noise.path")
    if config["noise"].get("order"):
        kept["noise"]["order_sha256"] = file_fingerprint(str(config["noise"]["order"]), "noise.order")
    if kept["pretrain"].get("name") == "none":
        del kept["pretrain"]
    elif kept["pretrain"]["name"] == "imagenet":
        kept["pretrain"]["weights"] = _imagenet_weights(config)
    elif config["pretrain"].get("path"):
        kept["pretrain"]["sha256"] = file_fingerprint(str(config["pretrain"]["path"]), "pretrain.path")
    return _pruned(_without_first_choices(_without_idle_settings(kept)))


def _without_first_choices(config: Plain) -> Plain:
    kept = dict(config)
    for group, first in CAME_LATER.items():
        if group in kept:
            kept[group] = {key: value for key, value in kept[group].items() if first.get(key, _NEVER) != value}
    return kept


def encoder_identity(config: Mapping[str, Any]) -> Plain:
    """What the SimCLR encoder of a run is: nothing in it knows of labels, noise, method, or the run's seed."""
    record = identity(config)
    data = {key: value for key, value in record["data"].items() if key not in NO_PART_IN_ENCODERS}
    return {"pretrain": record["pretrain"], "data": data, "model": record["model"]}


def encoder_name(config: Mapping[str, Any]) -> str:
    """Name of the encoder's directory: readable, then ten digits of the hash of its ``encoder_identity()``."""
    parts = (config["pretrain"]["name"], config["model"]["name"], config["data"]["name"])
    return f"{'-'.join(parts)}-seed{config['pretrain']['seed']}-{digest(config)}"


def _without_idle_settings(config: Plain) -> Plain:
    components = config["components"]
    parts = [part for part in ("amg", "nlr", "smr") if components[part]]
    name = {0: "none", 3: "full"}.get(len(parts), "_".join(parts))
    kept = {**config, "components": {"name": name, **components}}
    if not components["amg"]:
        del kept["components"]["start"]
        return {key: value for key, value in kept.items() if key not in SANM_ONLY}
    kept["mask_source"] = _frozen_source(config["mask_source"]) if takes_frozen_masks(config) else None
    idle = _idle_variant_keys(components, config["mask_strategy"]["name"])
    kept["variant"] = {key: value for key, value in config["variant"].items() if key not in idle}
    ratios = {kept["variant"].get(key) for key in RATIO_KEYS}
    if ratios <= {"released", "as_maximum"}:  # these formulas have numbers of their own
        del kept["tau"]
    return kept


def takes_frozen_masks(config: Mapping[str, Any]) -> bool:
    """Whether the run takes its masks from a frozen network: it then reads that network's weights."""
    source = config.get("mask_source") or {"name": "self"}  # which is not said in an identity
    return bool(config["components"]["amg"]) and source["name"] == "pretrained"


def _frozen_source(settings: Plain) -> Plain:
    name, published = PUBLISHED_MASK_WEIGHTS
    given = settings["weights"]
    found = file_fingerprint(str(given), "mask_source.weights") if given else published
    return {**settings, "weights": name if found.startswith(published) else found}


def _imagenet_weights(config: Mapping[str, Any]) -> str:
    """torchvision's own by name, wherever they lie; others by what they hold."""
    given, published = config["pretrain"].get("path"), PUBLISHED_IMAGENET_WEIGHTS[int(config["model"]["depth"])]
    found = file_fingerprint(str(given), "pretrain.path") if given else published
    return PUBLISHED_MASK_WEIGHTS[0] if found.startswith(published) else found


def _idle_variant_keys(components: Plain, strategy: str) -> set[str]:
    idle = set() if components["smr"] else {"reconstruction_space", "reconstruction_weight"}
    if not components["nlr"]:
        idle.add("label_ratio")
    return idle if strategy == "adaptive" else idle | set(RATIO_KEYS)


def _pruned(node: Any) -> Any:
    if isinstance(node, dict):
        kept = {key: _pruned(value) for key, value in node.items() if value is not None and key != "tables"}
        return {key: value for key, value in kept.items() if value != {}}
    return [_pruned(value) for value in node] if isinstance(node, list) else node


def run_name(config: Mapping[str, Any]) -> str:
    """Name of the run's directory: readable, then ten digits of the hash of its ``identity()``."""
    noise = f"{config['noise']['name']}{config['noise'].get('rate', config['noise'].get('key', ''))}"
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
def file_fingerprint(path: str, key: str) -> str:
    """Hash of the bytes of the file that ``key`` names. Raises InputError when it cannot be read."""
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise InputError(f"{key}={path} cannot be read ({error.strerror})") from error


@cache
def folder_fingerprint(root: str, patterns: tuple[str, ...]) -> str | None:
    """Hash of the files under ``root`` that match: their places and what they hold.

    Above 512 MiB in all, size and time of change stand in for the content. Links are followed; names that begin with
    a dot are passed over, as the loaders do. None when nothing matches: the loader then says what is missing. Raises
    InputError when the folder is not there.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise InputError(
            f"data.root={root} is not a folder: give the one that holds the data set, or data.download=true for CIFAR"
        )
    files = _matching(folder, patterns)
    if not files:
        return None
    top = os.path.commonpath([file.parent for file in files])  # CIFAR: with or without the outer folder
    return _fingerprint({os.path.relpath(file, top): file for file in files})


def _table_fingerprint(data: Mapping[str, Any]) -> str:
    columns = data["columns"]
    return table_fingerprint(str(data["path"]), data.get("root"), tuple(sorted(columns.items())))


@cache
def table_fingerprint(path: str, root: str | None, columns: tuple[tuple[str, str | None], ...]) -> str:
    """Hash of a table of images and of the files that it names, as ``folder_fingerprint`` takes them.

    Files that are not there count as such. Runs are others than those of a time when such a table was read otherwise.
    Raises InputError when the table cannot be read.
    """
    table = read_table(path, root, dict(columns))
    files = {row.file: table.root / row.file for row in table.rows}
    content = file_fingerprint(path, "data.path")
    if understood := _understood(table, dict(columns)):
        content = hashlib.sha256(f"{content} {understood}".encode()).hexdigest()
    return f"{content[:8]}{_fingerprint(files)[:8]}"


def _understood(table: Table, columns: Mapping[str, str | None]) -> list[str]:
    """What the first runs did not see in a table: a column in another case of letters, a row without a split."""
    in_another_case = [key for key, name in table.columns.items() if name != (columns[key] or key)]
    return [*sorted(in_another_case), *(["blank split"] if table.blank_splits else [])]


def _fingerprint(files: Mapping[str, Path]) -> str:
    """Of named files: what they hold, or above 512 MiB in all their size and time of change."""
    states = {name: _state(file) for name, file in files.items()}
    read = sum(state.st_size for state in states.values() if state) <= 512 * 2**20
    found = hashlib.sha256()
    for name, state in states.items():
        known = "missing"
        if state is not None:
            whole = f"{state.st_size} {state.st_mtime_ns}"
            known = hashlib.sha256(files[name].read_bytes()).hexdigest() if read else whole
        found.update(f"{name} {known}\n".encode(errors="surrogateescape"))
    return found.hexdigest()[:16]


def _state(file: Path) -> os.stat_result | None:
    try:
        return file.stat() if file.is_file() else None
    except OSError:
        return None


def holds_files(root: str, patterns: tuple[str, ...]) -> bool:
    """Whether any file of the data set lies under ``root``."""
    return bool(_matching(Path(root).expanduser(), patterns))


def _matching(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    """Files by patterns of their paths below the folder, in which ``*`` takes slashes too.

    One that begins with a slash is a place below the folder, where it takes none: nothing else is then looked through.
    """
    files = [path for pattern in patterns if pattern.startswith("/") for path in folder.glob(pattern[1:])]
    found = {path for path in files if path.is_file() and not path.name.startswith(".")}
    anywhere = [pattern for pattern in patterns if not pattern.startswith("/")]
    for place, folders, names in os.walk(folder, followlinks=True) if anywhere else ():
        folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
        for name in names:
            path = Path(place, name)
            relative = path.relative_to(folder).as_posix()
            if not name.startswith(".") and any(fnmatch(relative, pattern) for pattern in anywhere):
                found.add(path)
    return sorted(found)
