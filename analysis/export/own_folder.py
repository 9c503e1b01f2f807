"""Folders that this command writes to: its own of before, or new ones."""

from pathlib import Path

from sanm.errors import InputError
from sanm.files import unwritable

MARK = ".sanm_export"
"""An empty file by which such a folder is known again."""


def own_folder(folder: Path) -> Path:
    """The folder, made if need be. Raises InputError for one that holds anything but what this command wrote."""
    try:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"--out {folder} is no folder: give one that is new or empty")
        if folder.is_dir() and not (folder / MARK).exists() and any(folder.iterdir()):
            raise InputError(f"--out {folder} holds files that are not of this command: give a new or empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MARK).touch()
    except OSError as error:
        raise unwritable(folder, error) from error
    return folder
