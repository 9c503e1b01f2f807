"""The folder of a data set in torchvision's layout, fetched through torchvision where that is asked for."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sanm.errors import InputError

Present = Callable[[Path], Path | None]
"""Where below a root the files are; None where they are not."""


def folder_of(settings: Mapping[str, Any], name: str, present: Present, torchvision_class: str) -> Path:
    """The folder of the files, below ``settings["root"]`` or that folder itself.

    With ``settings["download"]`` absent files are fetched first. Raises InputError that names the key.
    """
    given = settings.get("root")
    if not given:
        raise InputError(f"data.root is not set: set data.root=FOLDER, the one that holds {name}")
    root = Path(given).expanduser()
    folder = present(root)
    if folder is None and settings.get("download"):
        _download(root, name, present, torchvision_class)
        folder = present(root)
    if folder is None:
        raise InputError(f"data.root={given} holds no {name}: set data.root=FOLDER that does, or data.download=true")
    return folder


def _download(root: Path, name: str, present: Present, torchvision_class: str) -> None:
    from filelock import FileLock
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        with FileLock(root / ".download.lock"):  # runs of a grid that start together download once
            if present(root) is None:
                getattr(datasets, torchvision_class)(str(root), download=True)
    except (OSError, RuntimeError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(
            f"data.download=true: {name} could not be fetched into {root} ({reason}); "
            "fetch it by other means and set data.root"
        ) from error
