"""The same image under several names: within a part of the data, or in several."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from sanm.data.types import Copy, Decoded, Labels, Part
from sanm.errors import InputError

COLUMNS = ("image", "part", "key", "label")


class Looked(NamedTuple):
    """Images of a part of the data, or some of them, that somebody has looked at."""

    part: str  # train, validation or test
    likeness: Sequence[str]  # the same for images that show the same
    keys: Sequence[str]
    labels: Sequence[str]


def looked_at(name: str, part: Part, decoded: Decoded, labels: Labels, names: Sequence[str], rows: Labels) -> Looked:
    """Those ``rows`` of the decoded images of a part; none where nobody looked. ``labels`` are of all that are decoded,
    and have ``names``.
    """
    seen = rows.tolist() if decoded.likeness else []
    return Looked(
        name,
        [decoded.likeness[row] for row in seen],
        [part.keys[decoded.positions[row]] for row in seen],
        [names[labels[row]] for row in seen],
    )


def copies_among(parts: Sequence[Looked]) -> tuple[Copy, ...]:
    """The images that show the same as another one, in their order."""
    times = Counter(likeness for part in parts for likeness in part.likeness)
    number: dict[str, int] = {}
    rows = [
        Copy(number.setdefault(likeness, len(number) + 1), part.part, key, label)
        for part in parts
        for likeness, key, label in zip(part.likeness, part.keys, part.labels, strict=True)
        if times[likeness] > 1
    ]
    return tuple(sorted(rows, key=lambda row: row.image))


def in_words(copies: Sequence[Copy]) -> str:
    """How many there are, in which parts, and how many of the training images have a copy with another label."""
    images = _by_image(copies)
    counts = [_counted(len(copies) - len(images), "image is a copy of another", "images are copies of others")]
    for part in ("validation", "test"):
        if shared := sum(_of(part, names) for names in images if _of("train", names)):
            called = f"{part} image is a training image too", f"{part} images are training images too"
            counts.append(_counted(shared, *called))
    differing = [names for names in images if len({each.label for each in names if each.part == "train"}) > 1]
    if differing:
        labelled = sum(_of("train", names) for names in differing)
        counts.append(f"{labelled} training images have a copy with another label ({_two_labels(differing[0])})")
    return ", ".join(counts)


def _by_image(copies: Sequence[Copy]) -> list[list[Copy]]:
    found = defaultdict[int, list[Copy]](list)
    for each in copies:
        found[each.image].append(each)
    return [*found.values()]


def _counted(count: int, one: str, more: str) -> str:
    return f"{count} {one if count == 1 else more}"


def check_not_all_alike(likeness: Sequence[str], background: str | None) -> None:
    """Raises InputError where all training images show one and the same: nothing can be learned from them."""
    if len(likeness) > 1 and len(set(likeness)) == 1:
        seen = f", on data.background={background} where they are transparent" if background else ""
        raise InputError(
            f"all {len(likeness)} training images are the same, pixel by pixel{seen}: nothing can be learned from "
            "them; look at the files" + (", or give another data.background" if background else "")
        )


def _of(part: str, names: Sequence[Copy]) -> int:
    return sum(each.part == part for each in names)


def _two_labels(names: Sequence[Copy]) -> str:
    first, *others = (each for each in names if each.part == "train")
    other = next(each for each in others if each.label != first.label)
    return f"{first.key} is {first.label!r}, {other.key} is {other.label!r}"
