"""Small images of one color, written where a test wants them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PIL import Image

MIDDLE = 8


def paint(path: Path, color: Any = (200, 100, 50), size: tuple[int, int] = (20, 12), mode: str = "RGB") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, color).save(path)
