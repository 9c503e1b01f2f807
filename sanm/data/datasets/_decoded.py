"""Image files as one uint8 array, decoded once, kept beside them and read from there."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
import warnings
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from sanm import given_files
from sanm.data.bad_entries import REMEDY
from sanm.data.datasets._contents import Contents, Files
from sanm.data.one_writer import alone_with
from sanm.data.stored import StoredImages, sum_of
from sanm.data.types import LeftOut, Pixels
from sanm.errors import InputError
from sanm.file_contents import Stamp, memory_of
from sanm.files import read_json, write_atomically, write_json
from sanm.formats.background import DROPPED, WHITE, Color, as_text, color_of
from sanm.formats.image_colors import Depth, as_seen, is_of_one_color
from sanm.formats.misnamed import Misnamed, is_no_path
from sanm.terminal import output

Array = NDArray[np.uint8]

AT_ONCE = 1024
"""Images decoded before they are written: what decoding takes of the memory."""
SILENCE = 60
"""Seconds after which a long decoding says how far it is."""
CONVERSION = 3
"""Counts the ways that images were decoded in: what is kept of another is decoded again."""
NAMED = 3
"""Images that a line names."""


SUBSET = "use a part of them with data.subset=N"


class SixteenBits(NamedTuple):
    """How many images have 16 bits a channel, and how many of these are dim (``sanm.formats.image_colors``)."""

    total: int = 0
    dim: int = 0
    first_dim: int = -1  # position among the files

    def and_one(self, position: int, depth: Depth) -> SixteenBits:
        """With an image more, of a later position."""
        first = position if depth.dim and not self.dim else self.first_dim
        return SixteenBits(self.total + depth.sixteen_bits, self.dim + depth.dim, first)


class Kept(NamedTuple):
    """What a cache holds of some files: the pixels of those that can be decoded, and why the others cannot."""

    images: Pixels  # [m, 3, size, size], on the disk where it takes them
    bad: dict[int, str]  # position among the files -> reason
    sixteen_bits: SixteenBits
    emptied: list[int]  # positions of those that are transparent, and of one color as they are seen
    likeness: tuple[str, ...]  # [m] the same for images that show the same, pixel by pixel, before they are resized


class DecodedImages:
    """Decoded images of one root folder at one size.

    They are kept in ``chosen`` when it is given, else in ``root/.sanm_cache`` or, where that cannot be written, below
    ``fallback``. Each part is ``<part>-<size>.npy`` and a JSON file with the path, the stamp, the hash of the content
    and the check sum of every image; an array is used only while these are what is on the disk: a file whose stamp is
    another is read. The array stays there, and is read when images are asked for.
    """

    def __init__(
        self,
        root: Path,
        size: int,
        chosen: str | None,
        fallback: Path,
        fewer: str = SUBSET,
        background: str | None = None,
        contents: Contents | None = None,
    ) -> None:
        """``contents`` None: files. ``fewer`` ends the refusal of images that fit nowhere: how to use a part of them.
        ``background`` is the setting of that name; None where a data set has none, and transparency is dropped.
        """
        self.root, self.size, self.fewer = root, size, fewer
        own = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
        if chosen:
            self.places = [Path(chosen).expanduser() / own]
        else:
            self.places = [root / ".sanm_cache", fallback / "image_folder" / own]
        self._contents: Contents = contents or Files(root, memory_of(root, fallback))
        self._setting, self._background = background, color_of(background)
        self._warned_of_dim = False

    def read(self, part: str, keys: Sequence[str], skip_bad: bool = False) -> Kept:
        """RGB images ``[m, 3, size, size]`` of the files ``keys``, relative to the root or absolute, in their order;
        and of those that are left out the position and the reason.

        Raises InputError that names a file which cannot be read or decoded, unless bad ones are to be skipped. A cache
        that cannot be written is a warning, and InputError when the images are more than this machine's memory too.
        Warns of images of 16 bits that use 12 or fewer, and of those that transparency leaves of one color.
        """
        wanted = self._wanted(keys)
        gone = self._gone(wanted["files"])
        if not skip_bad or len(gone) == len(keys):
            self._refuse(keys, gone)
        found = next((kept for place in self.places if (kept := self._kept(place, part, wanted))), None)
        if found is None:
            found = self._decoded(part, keys, wanted, gone)
        if not skip_bad or len(found.bad) == len(keys):
            self._refuse(keys, found.bad)
        self._warn_of_dim(keys, found.sixteen_bits)
        self._warn_of_emptied(keys, found)
        return found

    def _refuse(self, keys: Sequence[str], bad: dict[int, str]) -> None:
        if bad:
            first = min(bad)
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise InputError(f"{self._shown(keys[first])}{more} {bad[first]}: repair or remove it, or {REMEDY}")

    def _shown(self, key: str) -> str:
        return key if is_no_path(key) and not os.path.lexists(self.root / key) else str(self.root / key)

    def _gone(self, files: Sequence[Sequence[Any]]) -> dict[int, str]:
        """Of files that cannot be read the position and the reason. Raises InputError where not one of many is there,
        since then the folder is another one.
        """
        misnamed, missing = Misnamed(self.root), os.strerror(errno.ENOENT)
        found = {
            position: "; ".join(filter(None, (file[2], misnamed.hint(file[0]) if file[2] == missing else "")))
            for position, file in enumerate(files)
            if file[1] is None
        }
        if len(files) > 1 and all(file[1:] == [None, missing] for file in files):
            raise InputError(
                f"none of the {len(files)} files is there, the first: {self._shown(files[0][0])} ({found[0]}): names "
                f"are relative to {self.root}, give another folder with data.root=FOLDER, or mend the names"
            )
        return {position: f"cannot be read ({reason})" for position, reason in found.items()}

    def _warn_of_dim(self, keys: Sequence[str], images: SixteenBits) -> None:
        """One line, whichever part has such images first."""
        if images.dim and not self._warned_of_dim:
            self._warned_of_dim = True
            first = self.root / keys[images.first_dim]
            warnings.warn(
                f"{first} is read as nearly black: it has 16 bits a channel and no value above 4095, as have "
                f"{images.dim} of the {images.total} such images read with it; they probably use 12 bits or fewer: "
                "rescale them to all 16, or to 8",
                stacklevel=5,
            )

    def _warn_of_emptied(self, keys: Sequence[str], found: Kept) -> None:
        if found.emptied:
            named = ", ".join(str(self.root / keys[position]) for position in found.emptied[:NAMED])
            more = ", ..." if len(found.emptied) > NAMED else ""
            warnings.warn(
                f"{len(found.emptied)} of {len(found.likeness)} images are of one color on "
                f"data.background={self._setting or DROPPED}, as they are transparent ({named}{more}): nothing is seen "
                "of them; give another color, or leave them out",
                stacklevel=5,
            )

    def _wanted(self, keys: Sequence[str]) -> dict[str, Any]:
        """What a description says of the images that are asked for; what they hold is looked up where need be."""
        files: list[list[Any]] = []
        for key in keys:
            try:
                files.append([key, *self._contents.stamp(key)])
            except OSError as error:
                files.append([key, None, error.strerror])
        background = as_text(self._background) if self._background else None
        return {"conversion": CONVERSION, "image_size": self.size, "background": background, "files": files}

    def _paths(self, place: Path, part: str) -> tuple[Path, Path]:
        color = as_text(self._background).strip("#") if self._background else DROPPED
        seen = "" if self._setting is None or self._background == WHITE else f"-on-{color}"  # beside each other
        return place / f"{part}-{self.size}{seen}.npy", place / f"{part}-{self.size}{seen}.json"

    def _kept(self, place: Path, part: str, wanted: dict[str, Any]) -> Kept | None:
        array, description = self._paths(place, part)
        try:
            found = read_json(description)
            if not self._are_the_same(found, wanted):
                return None
            bad = {int(position): str(reason) for position, reason in found["bad"].items()}
            depths, likeness = SixteenBits(*found["sixteen_bits"]), tuple(found["likeness"])
            kept = Kept(StoredImages(array, found["sums"]), bad, depths, found["emptied"], likeness)
            if read_json(description) != found:  # another process has begun to put other images there
                return None
        except (OSError, ValueError, EOFError, AttributeError, TypeError, LookupError):  # absent or damaged: as none
            return None
        expected = (len(wanted["files"]) - len(bad), 3, self.size, self.size)
        return kept if kept.images.shape == expected and len(kept.likeness) == expected[0] else None

    def _are_the_same(self, found: dict[str, Any], wanted: dict[str, Any]) -> bool:
        """Whether a description is of these images: of files of these names, with these contents."""
        then, now = found["files"], wanted["files"]
        if any(found[key] != wanted[key] for key in wanted if key != "files") or len(then) != len(now):
            return False
        if any(old[:2] != new[:2] for old, new in zip(then, now, strict=True)):  # names and sizes
            return False
        doubtful = [
            position
            for position, (old, new) in enumerate(zip(then, now, strict=True))
            if new[1] is not None and not (old == new and Stamp(*new[1:]).touched)
        ]
        stamps = [Stamp(*now[position][1:]) for position in doubtful]
        held = self._contents.hashes([now[position][0] for position in doubtful], stamps)
        return held == [found["contents"][position] for position in doubtful]

    def _decoded(self, part: str, keys: Sequence[str], wanted: dict[str, Any], gone: dict[int, str]) -> Kept:
        """Decode into the first place that takes it, or into memory."""
        reason = ""
        for place in self.places:
            try:
                place.mkdir(parents=True, exist_ok=True)
                with alone_with(self._paths(place, part)[0], "decode"):
                    found = self._kept(place, part, wanted)  # by another process, a moment ago
                    return found or self._decoded_into(place, part, keys, wanted, gone)
            except (OSError, InputError) as error:
                reason = str(error)
        no_disk = f", and on no disk that it may take: {reason} (data.cache_dir)"
        check_fits_memory(len(keys), self.size, no_disk, self.fewer)
        warnings.warn(
            f"decoded images are not kept, the next run decodes again (data.cache_dir): {reason}", stacklevel=6
        )
        decoding = _Decoding(self._contents, wanted["files"], self.size, self._background, gone)
        chunks = list(decoding.chunks())
        return decoding.kept(torch.from_numpy(np.concatenate(chunks)) if chunks else self._nothing())

    def _decoded_into(
        self, place: Path, part: str, keys: Sequence[str], wanted: dict[str, Any], gone: dict[int, str]
    ) -> Kept:
        """Decode into files there. Raises InputError or OSError when it does not take them."""
        needed = len(keys) * bytes_of_image(self.size)
        if shutil.disk_usage(place).free < needed:
            raise InputError(f"{place} has less than the {needed / 1e9:.3g} GB left that they take")
        array, description = self._paths(place, part)
        decoding = _Decoding(self._contents, wanted["files"], self.size, self._background, gone)
        # A description stands only beside the array it describes, whenever this is interrupted.
        description.unlink(missing_ok=True)
        write_atomically(array, decoding.write)
        if not decoding.unsure:
            write_json(description, wanted | decoding.description())
        nothing = len(decoding.bad) == len(keys)
        return decoding.kept(self._nothing() if nothing else StoredImages(array, decoding.sums))

    def _nothing(self) -> Pixels:
        return torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)


class _Decoding:
    """One pass over files; ``bad`` grows by position and reason as it goes on, and so does what is seen."""

    def __init__(
        self,
        source: Contents,
        files: Sequence[Sequence[Any]],
        size: int,
        background: Color | None,
        gone: dict[int, str],
    ) -> None:
        """``files`` are names in the source with their stamps, those of ``gone`` without."""
        self.source, self.files, self.size, self.background = source, files, size, background
        self.bad = dict(gone)
        self.sixteen_bits = SixteenBits()
        self.emptied: list[int] = []
        self.likeness: list[str] = []
        self.contents = [""] * len(files)
        self.sums: list[int] = []  # of the images that can be decoded
        self.unsure = False  # whether a failure was the disk's, so that another time may differ

    def kept(self, images: Pixels) -> Kept:
        """All that there is, with the images that were decoded."""
        return Kept(images, self.bad, self.sixteen_bits, self.emptied, tuple(self.likeness))

    def description(self) -> dict[str, Any]:
        """What was seen, as ``_kept`` reads it."""
        seen = ("bad", "sixteen_bits", "emptied", "likeness", "contents", "sums")
        return {key: getattr(self, key) for key in seen}

    def write(self, handle: BinaryIO) -> None:
        """An array file of what can be decoded; its header is as long, however many images that turn out to be."""
        self._write_header(handle)
        for chunk in self.chunks():
            handle.write(chunk.data)
        handle.seek(0)
        self._write_header(handle)

    def _write_header(self, handle: BinaryIO) -> None:
        shape = (len(self.files) - len(self.bad), 3, self.size, self.size)
        np.lib.format.write_array_header_1_0(handle, {"descr": "|u1", "fortran_order": False, "shape": shape})

    def chunks(self) -> Iterator[Array]:
        """Pixels of the files that can be decoded, in their order."""
        spoke = time.monotonic()
        with ThreadPoolExecutor() as threads:
            for first in range(0, len(self.files), AT_ONCE):
                wanted = [p for p in range(first, min(first + AT_ONCE, len(self.files))) if p not in self.bad]
                found: list[Array] = []
                for position, decoded in zip(wanted, threads.map(self._one, wanted), strict=True):
                    if decoded is not None:
                        found.append(decoded.pixels)
                        self._note(position, decoded)
                if found:
                    yield np.ascontiguousarray(np.stack(found))
                if time.monotonic() - spoke > SILENCE:
                    output.say(f"decode   {first + AT_ONCE} of {len(self.files)} images")
                    spoke = time.monotonic()

    def _note(self, position: int, decoded: DecodedImage) -> None:
        self.sixteen_bits = self.sixteen_bits.and_one(position, decoded.depth)
        self.likeness.append(decoded.likeness)
        self.sums.append(sum_of(decoded.pixels))
        if decoded.emptied:
            self.emptied.append(position)

    def _one(self, position: int) -> DecodedImage | None:
        name, *stamp = self.files[position]
        try:
            self.contents[position] = self.source.hash(name, Stamp(*stamp))
            return decode(self.source.open(name), self.size, self.background)
        except Exception as error:  # a damaged image raises nearly anything
            self.unsure = self.unsure or getattr(error, "errno", None) is not None
            self.bad[position] = why_bad(error)
            return None


def why_bad(error: Exception) -> str:
    """What an error of ``decode`` says of its image."""
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    return f"cannot be decoded ({str(error).partition(chr(10))[0] or type(error).__name__})"


def left_out(keys: Sequence[str], bad: dict[int, str]) -> tuple[LeftOut, ...]:
    """The bad ones by name, in order."""
    return tuple(LeftOut(keys[position], bad[position]) for position in sorted(bad))


def bytes_of_image(size: int) -> int:
    return 3 * size * size


def check_fits_memory(count: int, size: int, why: str = "", fewer: str = SUBSET) -> None:
    """Raises InputError when so many images of that size are more than this machine's memory; ``why`` they have to be
    in it ends the reason, how to use ``fewer`` the remedy.
    """
    needed, there = count * bytes_of_image(size), os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise InputError(
            f"{count} images of data.image_size={size} are {needed / 1e9:.3g} GB, this machine's memory is "
            f"{there / 1e9:.3g} GB{why}: lower data.image_size, or {fewer}"
        )


class DecodedImage(NamedTuple):
    """An image file as training sees it, and what is told of it."""

    pixels: Array  # [3, size, size]
    depth: Depth
    emptied: bool  # transparent, and of one color as it is seen
    likeness: str  # the same for images that show the same, pixel by pixel, before they are resized


def decode(path: Path | BinaryIO, size: int, background: Color | None) -> DecodedImage:
    """One image, of a file or its bytes, in RGB, its colors as ``sanm.formats.image_colors`` says, resized smoothly.

    Raises OSError for what is no regular file, whatever Pillow raises for a file that is not an intact image, and
    ValueError for pixels of unknown range and for too many of them.
    """
    if isinstance(path, Path):
        given_files.status_of(path)
    with Image.open(path) as opened:
        image, depth, emptied = as_seen(opened, background)
    resized = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
    return DecodedImage(resized.transpose(2, 0, 1), depth, emptied, _likeness(image, resized))


def _likeness(image: Image.Image, resized: Array) -> str:
    """A hash of what an image shows. Of one color it is that color alone, whatever the size.

    Resized pixels are hashed, and checked against those before: all of these would take as long as to decode them.
    """
    shown = resized[0, 0].tobytes()
    if not ((resized == resized[0, 0]).all() and is_of_one_color(image)):
        shown = f"{image.size} {zlib.crc32(image.tobytes())} ".encode() + resized.tobytes()
    return hashlib.sha256(shown).hexdigest()[:16]
