"""What a run is: its config without all that cannot change its result, and the name made of it."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from functools import cache, partial
from pathlib import Path
from typing import Any

from sanm import given_files
from sanm.errors import InputError
from sanm.file_contents import LARGE, Stamp, hashes, memory_of, stamp_of, told_apart
from sanm.formats.background import as_text, color_of
from sanm.formats.hub_dataset import chosen_splits, image_files, open_dataset
from sanm.formats.image_table import Table, read_table
from sanm.formats.image_tree import class_folders, is_image, walk
from sanm.formats.transparency import any_transparent

Plain = dict[str, Any]
Columns = tuple[tuple[str, Any], ...]
_NEVER = object()

NEUTRAL = (
    "device",
    "images",
    "image_workers",
    "runs_dir",
    "cache_dir",
    "retry",
    "save_labels",
    "keep_checkpoint",
    "came_later",
)
NEUTRAL_IN_GROUPS = {
    "data": ("root", "path", "download", "cache_dir", "files", "warm_up"),
    "noise": ("path", "order"),
    "pretrain": ("path",),
    "trainer": ("save_model", "checkpoint_every"),
}
NO_PART_IN_ENCODERS = ("validation", "test_subset", "trusted")
SANM_ONLY = ("tau", "mask_strategy", "mask_source", "variant")
PUBLISHED_MASK_WEIGHTS = ("IMAGENET1K_V1", "f37072fd")
"""torchvision's name for the default weights of mask_source=pretrained, and how the hash of their file begins."""
PUBLISHED_IMAGENET_WEIGHTS = {18: "f37072fd", 34: "b627a593", 50: "0676ba61"}
"""How the hashes of torchvision's first ImageNet weights begin, by the depth of the ResNet."""
RATIO_KEYS = ("ratio_at_maximum", "ratio_at_minimum")


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
    kept["data"] |= _of_files(config["data"], Path(config["cache_dir"]).expanduser())
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
    return _pruned(_without_what_came_later(_without_idle_settings(kept), config.get("came_later", {})))


def _of_files(data: Mapping[str, Any], cache_dir: Path) -> Plain:
    """What of a data set's identity is in its files: a fingerprint, and the background of transparent images.

    Where no image is transparent the background changes nothing, and where transparency is dropped, all is as it was
    before there was a choice: it is then no part of an identity.
    """
    background = color_of(data.get("background"))
    if "splits" in data:  # what is transparent there is in no file of its own: any background counts
        return {
            "fingerprint": hub_fingerprint(_hashable(data), cache_dir),
            "background": background and as_text(background),
        }
    if data.get("path"):
        table = (str(data["path"]), data.get("root"), tuple(sorted(data["columns"].items())), cache_dir)
        fingerprint: str | None = table_fingerprint(*table)
        transparent = partial(_table_is_transparent, *table)
    elif data.get("root"):
        folder = (str(data["root"]), tuple(data["files"]), cache_dir)
        fingerprint = _in_order_of_classes(data, folder_fingerprint(*folder))
        transparent = partial(_folder_is_transparent, *folder)
    else:
        return {}
    seen = as_text(background) if background and transparent() else None
    return {"fingerprint": fingerprint, "background": seen}


def _in_order_of_classes(data: Mapping[str, Any], found: str | None) -> str | None:
    """A folder's fingerprint; another one where the first runs, which sorted class folders as text, numbered them
    otherwise.
    """
    if found is None or data["name"] != "image_folder":
        return found
    try:
        names = class_folders(Path(str(data["root"])).expanduser() / "train")
    except InputError:  # which the loader says
        return found
    sorted_as_text = names == tuple(sorted(names))
    return found if sorted_as_text else hashlib.sha256(f"{found} classes as numbers".encode()).hexdigest()[:16]


@cache
def _folder_is_transparent(root: str, patterns: tuple[str, ...], cache_dir: Path) -> bool:
    files = filter(is_image, _matching(Path(root).expanduser(), patterns))
    return any_transparent(files, str(folder_fingerprint(root, patterns, cache_dir)), cache_dir)


@cache
def _table_is_transparent(path: str, root: str | None, columns: Columns, cache_dir: Path) -> bool:
    table = read_table(path, root, dict(columns))
    files = (table.root / row.file for row in table.rows)
    return any_transparent(files, table_fingerprint(path, root, columns, cache_dir), cache_dir)


def _without_what_came_later(config: Plain, came_later: Mapping[str, Plain]) -> Plain:
    """The config without settings that earlier runs did not have, where they say what those did."""
    kept = dict(config)
    for group, first in came_later.items():
        if kept.get(group):
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
    if ratios <= {"released", "as_maximum", "none"}:  # these formulas have numbers of their own
        del kept["tau"]
    return kept


def takes_frozen_masks(config: Mapping[str, Any]) -> bool:
    """Whether the run takes its masks from a frozen network: it then reads that network's weights."""
    source = config.get("mask_source") or {"name": "self"}  # which is not said in an identity
    return bool(config["components"]["amg"]) and source["name"] == "pretrained"


def _frozen_source(settings: Plain) -> Plain:
    if settings["network"] != "resnet18":
        return settings
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
    plugin = [config["plugin"]["name"]] if "plugin" in config else []
    parts = (config["base_method"]["name"], config["components"]["name"], *plugin, noise, config["data"]["name"])
    return f"{'-'.join(parts)}-seed{config['seed']}-{digest(config)}"


def flat(node: Mapping[str, Any], place: str = "") -> Plain:
    """A nested config as one level of dotted keys."""
    found: Plain = {}
    for key, value in node.items():
        below = f"{place}.{key}" if place else str(key)
        found.update(flat(value, below) if isinstance(value, Mapping) else {below: value})
    return found


def difference(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """The first key in which two identities differ, with both values; None where they are the same."""
    if digest(stored) == digest(asked) and _canonical(stored) == _canonical(asked):
        return None
    one, other = flat(stored), flat(asked)
    for key in dict.fromkeys([*other, *one]):
        if key not in one or key not in other or _text(one[key]) != _text(other[key]):
            return f"{key}={one.get(key, 'not set')} there, {other.get(key, 'not set')} here"
    return "an empty group"


def _text(value: Any) -> str:
    return json.dumps(_canonical(value), sort_keys=True)


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
        return given_files.sha256(Path(path).expanduser())[:16]
    except OSError as error:
        raise InputError(f"{key}={path} cannot be read ({error.strerror})") from error


@cache
def folder_fingerprint(root: str, patterns: tuple[str, ...], cache_dir: Path | None = None) -> str | None:
    """Hash of the files under ``root`` that match: their places and what they hold.

    Above 512 MiB in all, size and time of change stand in for the content of files that have them alone; what others
    hold is remembered in ``cache_dir``. Links are followed; names that begin with a dot, and folders that machines
    leave, are passed over, as the loaders do. None when nothing matches: the loader then says what is missing. Raises
    InputError when the folder is not there, and for one without an end (``sanm.formats.image_tree.walk``).
    """
    folder = Path(root).expanduser()
    if not given_files.is_folder(folder):
        raise InputError(
            f"data.root={root} is not a folder: give the one that holds the data set, or data.download=true for CIFAR"
        )
    try:
        files = _matching(folder, patterns)
    except InputError as error:
        raise InputError(f"data.root={root}: {error}") from error
    if not files:
        return None
    top = os.path.commonpath([file.parent for file in files])  # CIFAR: with or without the outer folder
    memory = cache_dir and memory_of(folder, cache_dir)
    return _fingerprint({os.path.relpath(file, top): file for file in files}, memory)


@cache
def table_fingerprint(path: str, root: str | None, columns: Columns, cache_dir: Path | None = None) -> str:
    """Hash of a table of images and of the files that it names, as ``folder_fingerprint`` takes them.

    Files that are not there count as such. Runs are others than those of a time when such a table was read otherwise.
    Raises InputError when the table cannot be read.
    """
    table = read_table(path, root, dict(columns))
    files = {row.file: table.root / row.file for row in table.rows}
    content = file_fingerprint(path, "data.path")
    if understood := _understood(table, dict(columns)):
        content = hashlib.sha256(f"{content} {understood}".encode()).hexdigest()
    memory = cache_dir and memory_of(table.root, cache_dir)
    return f"{content[:8]}{_fingerprint(files, memory)[:8]}"


@cache
def hub_fingerprint(data: Columns, cache_dir: Path) -> str:
    """Hash of what a data set of Hugging Face's holds: its own files and those that it names; on the hub, its commit.

    Raises InputError where it cannot be opened, and where it has not the splits and columns that the settings name.
    """
    settings = {key: dict(value) if isinstance(value, tuple) else value for key, value in data}
    found = open_dataset(settings, cache_dir)
    if found.commit:
        return found.commit
    files = {os.path.relpath(file, Path(str(settings["path"])).expanduser()): file for file in found.files}
    root = Path(str(settings["root"])).expanduser() if settings["root"] else found.folder
    for split in chosen_splits(found, settings["splits"]).values():
        found.column(split, settings["columns"]["label"], "data.columns.label")
        images = found.column(split, settings["columns"]["image"], "data.columns.image")
        files |= {name: root / name for name in image_files(images) if name}
    return _fingerprint(files, memory_of(root, cache_dir))


def _hashable(data: Mapping[str, Any]) -> Columns:
    """Those settings that say what is read of such a data set."""
    keys = ("path", "configuration", "revision", "root", "columns", "splits")
    return tuple((key, tuple(data[key].items()) if isinstance(data[key], Mapping) else data[key]) for key in keys)


def _understood(table: Table, columns: Mapping[str, str | None]) -> list[str]:
    """What the first runs did not see in a table: a column in another case of letters, a row without a split,
    an apostrophe that is none of the text."""
    in_another_case = [key for key, name in table.columns.items() if name != (columns[key] or key)]
    blank, guarded = ["blank split"] if table.blank_splits else [], ["guarded"] if table.guarded else []
    return [*sorted(in_another_case), *blank, *guarded]


def _fingerprint(files: Mapping[str, Path], memory: Path | None) -> str:
    """Of named files: what they hold; above ``LARGE`` bytes in all their size and time of change, and what those hold
    that share both. A set of other files is another one, whatever an archive did to their times.
    """
    stamps = {name: stamp for name, file in files.items() if (stamp := _stamp(file))}
    large = sum(stamp.size for stamp in stamps.values()) > LARGE
    alone = told_apart([*stamps.values()]) if large else [False] * len(stamps)
    read = [name for name, each in zip(stamps, alone, strict=True) if not each]
    contents = dict(
        zip(read, hashes([files[name] for name in read], [stamps[name] for name in read], memory), strict=True)
    )
    found = hashlib.sha256()
    for name in files:
        known = contents.get(name, "missing")
        if large and name in stamps:
            known = " ".join(filter(None, (f"{stamps[name].size} {stamps[name].changed}", contents.get(name))))
        found.update(f"{name} {known}\n".encode(errors="surrogateescape"))
    return found.hexdigest()[:16]


def _stamp(file: Path) -> Stamp | None:
    try:
        return stamp_of(given_files.status_of(file))
    except (OSError, ValueError):
        return None


def look_again() -> None:
    """Forget what files held, so that an identity is again of what they hold now."""
    for remembered in (
        file_fingerprint,
        folder_fingerprint,
        table_fingerprint,
        hub_fingerprint,
        _folder_is_transparent,
        _table_is_transparent,
    ):
        remembered.cache_clear()


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
    beginnings = [re.split(r"[*?[]", pattern)[0] for pattern in anywhere]

    def may_match_below(place: Path) -> bool:
        below = f"{place.relative_to(folder).as_posix()}/"
        return any(below.startswith(beginning) or beginning.startswith(below) for beginning in beginnings)

    for entry in walk(folder, may_match_below) if anywhere else ():
        name = entry.path.name
        # What a machine left in a folder counts, since it always did: it is no image, so that no result depends on it.
        if entry.kind == "file" or (entry.kind == "of a machine" and not entry.is_folder and not name.startswith(".")):
            relative = entry.path.relative_to(folder).as_posix()
            if any(fnmatch(relative, pattern) for pattern in anywhere):
                found.add(entry.path)
    return sorted(found)
