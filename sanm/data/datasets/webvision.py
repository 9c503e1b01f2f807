"""WebVision 1.0 (Li et al., 2017), mini: the Google images of its first 50 classes.

As released: ``info/train_filelist_google.txt``, ``info/val_filelist.txt``, ``info/synsets.txt``, ``google/q*/*.jpg``
and ``val_images_256/``. What is called validation there tests here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sanm.data.datasets._image_files import Entries, FileParts, root_of
from sanm.data.datasets._label_lists import all_entries, lines_of, read_labels, warn_of_empty_classes
from sanm.data.types import Source
from sanm.errors import InputError

ALL_CLASSES = 1000
EXPECTED = "expected info/train_filelist_google.txt, info/val_filelist.txt, google/ and val_images_256/, as released"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's, as DivideMix's code has it
TRAIN_LIST, TEST_LIST, TEST_FOLDER = "train_filelist_google.txt", "val_filelist.txt", "val_images_256/"


def load(settings: Mapping[str, Any], cache_dir: Path) -> Source:
    """Images ``[N, 3, image_size, image_size]`` of the first ``classes`` classes.

    Raises InputError for lists that are not there and, unless ``skip_bad``, for lines without a label of the 1000
    classes and images that cannot be decoded.
    """
    root = root_of(settings, EXPECTED)
    info = root / "info"
    if not (info / TRAIN_LIST).is_file():
        raise InputError(f"data.root={root} has no info/{TRAIN_LIST}; {EXPECTED}")
    parts, names = FileParts(settings, root, cache_dir), _class_names(info / "synsets.txt", settings["classes"])
    train = parts.part("train", _entries(info / TRAIN_LIST, "", len(names)), info / TRAIN_LIST)
    if train is None:
        raise InputError(f"{info / TRAIN_LIST} lists no image of the first {len(names)} classes")
    warn_of_empty_classes(train.labels.tolist(), names, root)
    test = None
    if (info / TEST_LIST).is_file():
        test = parts.part("test", _entries(info / TEST_LIST, TEST_FOLDER, len(names)), info / TEST_LIST)
    return Source(train=train, test=test, class_names=names, mean=MEAN, std=STD, left_out=tuple(parts.left_out))


def _entries(path: Path, folder: str, classes: int) -> Entries:
    everything = all_entries(read_labels(path, ALL_CLASSES))
    found = Entries(bad=everything.bad)
    for key, label in zip(everything.keys, everything.labels, strict=True):
        if label < classes:
            found.add(folder + key, label)
    return found


def _class_names(path: Path, classes: int) -> tuple[str, ...]:
    """The first word of each synset, with its WordNet number where two share it; numbers without the file."""
    if not path.is_file():
        return tuple(str(label) for label in range(classes))
    lines = lines_of(path)
    if len(lines) < classes:
        raise InputError(f"{path} has {len(lines)} classes, fewer than data.classes={classes}: lower it")
    short = [line.partition(" ")[2].partition(",")[0] or line for line in lines[:classes]]
    return tuple(
        name if short.count(name) == 1 else f"{name} ({line.partition(' ')[0]})"
        for name, line in zip(short, lines, strict=False)
    )
