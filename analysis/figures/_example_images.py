"""Drawing single example images, with what is known of them in words and in numbers."""

from typing import Any, Literal

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from analysis.figures.style import COLORS
from analysis.records.samples import Samples

Array = NDArray[Any]

FONT = 7.0  # points, at the width of a text column
FRAME = "0.6"
MAP = colormaps["viridis"]
BOXES: tuple[tuple[str, str, Literal["solid", "dashed"]], ...] = (
    ("most", COLORS[1], "solid"),
    ("least", COLORS[0], "dashed"),
)
"""How the boxes at the most and at the least activated point are drawn."""
LONGEST_NAME = 14


def in_color(image: Array) -> Array:
    """An image uint8 `[C, h, w]` as `[h, w, 3]` in [0, 1]; channels beside the third are left out."""
    channels = image[:3] if len(image) >= 3 else np.repeat(image[:1], 3, axis=0)
    return np.moveaxis(channels, 0, -1) / 255


def with_map(image: Array, activation: Array) -> Array:
    """The image in gray under its activation `[h, w]` in [0, 1]."""
    gray = in_color(image).mean(-1, keepdims=True)
    blended: Array = 0.45 * gray + 0.55 * MAP(activation.astype(float))[..., :3]
    return blended


def faded(image: Array) -> Array:
    """The image with little contrast, to draw on."""
    light: Array = 0.65 + 0.35 * in_color(image)
    return light


def show(axis: Axes, picture: Array) -> None:
    """A picture `[h, w, 3]` with a thin frame; a pixel stays a square."""
    axis.imshow(picture, interpolation="nearest")
    axis.set(xticks=[], yticks=[])
    for spine in axis.spines.values():
        spine.set(color=FRAME, linewidth=0.5)


def write_below(axis: Axes, text: str) -> None:
    """Lines of text that begin at the picture's left; they may be longer than it is wide."""
    axis.set_xlabel("\n".join(" " for _ in text.splitlines()), fontsize=FONT, labelpad=2)  # keeps the place
    at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "va": "top"}
    axis.annotate(text, (0, 0), xytext=(0, -2.5), fontsize=FONT, annotation_clip=False, **at).set_in_layout(False)


def outline(axis: Axes, samples: Samples, example: int, view: int | None = None, filled: float = 0.0) -> None:
    """The boxes over a picture: both, or where a view has one that of the view, filled with a share of their color."""
    assert samples.masks is not None
    own = range(2) if view is None or samples.masks.masked.shape[1] == 1 else (view,)
    for number in own:
        top, left, tall, wide = samples.masks.boxes[example, number] / int(samples.shrink)
        _, color, dashes = BOXES[number]
        if tall and wide:
            patch = Rectangle((left - 0.5, top - 0.5), wide, tall, edgecolor=color, linestyle=dashes, linewidth=1.4)
            patch.set(facecolor=to_rgba(color, filled), clip_on=False)
            axis.add_patch(patch)


def box_legend() -> list[Patch]:
    """What the outlines mean."""
    return [
        Patch(
            facecolor="none",
            edgecolor=color,
            linestyle=dashes,
            linewidth=1.4,
            label=f"box at the {name} activated point",
        )
        for name, color, dashes in BOXES
    ]


def named(samples: Samples, label: Any) -> str:
    """The class's name, cut where it is long."""
    name = str(samples.class_names[int(label)])
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def in_words(samples: Samples, example: int, gap: str = "   ") -> str:
    """`given → predicted (true)`, as far as it is known, and the clean probability, with a gap before the last two."""
    given, predicted = named(samples, samples.given[example]), named(samples, samples.predicted[example])
    true = "" if samples.true is None else f"({named(samples, samples.true[example])})   "
    return f"{given} → {predicted}{gap}{true}w {samples.clean_probability[example]:.2f}"


def masks_in_words(samples: Samples) -> str:
    """How the masks came about; nothing for a run without."""
    if samples.masks is None:
        return ""
    untrained = "" if bool(samples.masks.masks_trained) else " The run ended before SANM set in: none was learned from."
    return f"Masks are drawn anew for unaugmented images, by the first network at the run's end.{untrained}"


def in_numbers(samples: Samples, examples: list[int]) -> pd.DataFrame:
    """A row an example: what `Samples` holds of it, without its pictures."""
    some = np.array(examples, dtype=int)
    names = samples.class_names
    numbers: dict[str, Any] = {
        "index": samples.index[some],
        "key": samples.key[some],
        "given_label": names[samples.given[some]],
        "predicted_label": names[samples.predicted[some]],
        "true_label": None if samples.true is None else names[samples.true[some]],
        "clean_probability": samples.clean_probability[some],
        "loss": samples.loss[some],
        "activation_least": samples.activation_range[some, 0],
        "activation_most": samples.activation_range[some, 1],
    }
    if samples.masks is not None:
        numbers["nominal_ratio_most"], numbers["nominal_ratio_least"] = samples.masks.nominal_ratio[some].T
    return pd.DataFrame(numbers)


def varied(samples: Samples, examples: list[int], count: int) -> list[int]:
    """So many of the examples in their order, of as many given labels as there are among them."""
    first: list[int] = []
    for example in examples:
        if samples.given[example] not in samples.given[first]:
            first.append(example)
    others = [example for example in examples if example not in first]
    kept = {*first[:count], *others[: max(0, count - len(first))]}
    return [example for example in examples if example in kept]
