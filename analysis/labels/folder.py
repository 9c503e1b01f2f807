"""The folder that the files go to: what this command wrote is replaced, what anybody else did only if told."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from sanm.errors import InputError
from sanm.files import unwritable, write_bytes
from sanm.terminal.command_line import check_not_read, check_output

MANIFEST = "written.json"
"""Which files this command wrote, and the hash of each: how it knows them again."""

ABOUT = "Files that python -m analysis.labels wrote here, with the SHA-256 of each; it replaces no others."


def write_files(folder: Path, files: Mapping[str, bytes], overwrite: bool = False) -> None:
    """Writes the files, each whole or not at all.

    Raises `InputError`, before anything is written, when one of them is there already and is not, byte for byte, what
    this command wrote last, unless it is to `overwrite` such; and when the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    written = check_free(folder, files, overwrite)
    hashes = {name: _hash(content) for name, content in files.items()}
    # Old and new hashes first: whatever is there when this is interrupted is known again.
    _note(folder, {name: sorted({*written.get(name, []), new}) for name, new in hashes.items()}, written)
    for name, content in files.items():
        write_bytes(folder / name, content)
    _note(folder, {name: [new] for name, new in hashes.items()}, written)


def check_not_another(folder: Path, name: str, content: bytes) -> None:
    """Raises `InputError` when the file is there with another content: something may have been made of it."""
    path = folder / name
    if path.is_file() and path.read_bytes() != content:
        raise InputError(
            f"{path} is there already with other labels, and a run may have been trained on it: give another --out, "
            "or --overwrite to replace it"
        )


def check_free(
    folder: Path, names: Iterable[str], overwrite: bool = False, read: Sequence[Path] = ()
) -> dict[str, list[str]]:
    """The hashes of the files that this command wrote.

    Raises `InputError` when one of `names` is somebody else's and not to be overwritten, or must not be replaced at
    all, as what is `read`.
    """
    written = _written(folder)
    for name in names:
        _check_free(folder / name, written.get(name, []), overwrite, read)
    return written


def _check_free(path: Path, hashes: Sequence[str], overwrite: bool, read: Sequence[Path]) -> None:
    if not _is_there(path):
        check_not_read(path, read)
        return
    check_output(path, True, read)
    try:
        own = path.is_file() and _hash(path.read_bytes()) in hashes
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): move it, or give another --out") from error
    if not own and not overwrite:
        raise InputError(
            f"{path} is there already, and this command did not write it, or not as it is now: move it, give another "
            "--out, or --overwrite to replace it"
        )


def _written(folder: Path) -> dict[str, list[str]]:
    path = folder / MANIFEST
    try:
        if not _is_there(path):
            return {}
        if not path.is_file():  # a pipe, say
            raise ValueError(path)
        found = json.loads(path.read_text(encoding="utf-8"))
        if set(found) != {"about", "files"} or found["about"] != ABOUT:
            raise ValueError(found)
        return {str(name): [str(each) for each in hashes] for name, hashes in found["files"].items()}
    except (OSError, ValueError, TypeError, AttributeError):
        raise InputError(f"{path} is not this command's: move it, or give another --out") from None


def _is_there(path: Path) -> bool:
    """Also of a link that leads nowhere, which is somebody's as well."""
    return path.is_symlink() or path.exists()


def _note(folder: Path, changed: Mapping[str, list[str]], written: Mapping[str, list[str]]) -> None:
    text = json.dumps({"about": ABOUT, "files": {**written, **changed}}, indent=1).encode()
    write_bytes(folder / MANIFEST, text)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
