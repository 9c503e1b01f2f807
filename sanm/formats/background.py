"""What is seen where an image is transparent: ``data.background``. Light, since a run is named by it."""

from collections.abc import Mapping
from typing import Any

from sanm.errors import InputError

Color = tuple[int, int, int]

WHITE = (255, 255, 255)

DROPPED = "none"
"""The setting that drops transparency, as runs did before there was a choice: what lies under it is seen."""


def color_of(setting: str | None) -> Color | None:
    """Red, green and blue of a setting; None where transparency is dropped: for ``none``, and where there is no
    setting.

    Raises InputError for a word that is no color.
    """
    if setting is None or setting == DROPPED:
        return None
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(setting)
    except ValueError:
        alpha = [0]
    if alpha:
        raise InputError(
            f"data.background={setting}: give white, black, gray or another color of CSS by its name or, in quotes, as "
            f"'#rrggbb'; {DROPPED}: transparency is dropped"
        )
    return red, green, blue


def background_of(data: Mapping[str, Any]) -> str:
    """The setting under which images are seen by what is trained on a data set, given its settings.

    Published sets of image files have none: transparency is dropped, as by the code that they came with. Images of sets
    that are no files are never transparent, and any others are seen on white.
    """
    return str(data.get("background", DROPPED if "image_size" in data else "white"))


def as_text(color: Color) -> str:
    """A setting that gives the color, the same for all spellings of it."""
    return "white" if color == WHITE else "#{:02x}{:02x}{:02x}".format(*color)
