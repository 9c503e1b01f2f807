"""Image files as one uint8 array, decoded once, kept beside them and read from there."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from PIL import Image

from sanm.data.bad_entries import REMEDY
from sanm.data.stored import StoredImages
from sanm.data.types import LeftOut, Pixels
from sanm.errors import InputError
from sanm.files import remove_partial_files, write_atomically
from sanm.image_colors import Depth, as_seen
from sanm.misnamed import misnamed

Array = NDArray[np.uint8]

AT_ONCE = 1024
"""Images decoded before they are written: what decoding takes of the memory."""
SILENCE = 60
"""Seconds after which a long decoding says how far it is."""
LOOK_EVERY = 0.5
"""Seconds between looks whether another process has decoded what both want."""
NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)
"""What a disk says that has none; processes may then decode beside each other."""
CONVERSION = 2
"""Counts the ways that images were decoded in: what is kept of another is decoded again."""
HEADER = 128
"""Bytes of an array file before its pixels, however many images it turns out to hold."""


SUBSET = "use a part of them with data.subset=N"


class SixteenBits(NamedTuple):
    """How many images have 16 bits a channel, and how many of these are dim (``sanm.image_colors``)."""

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


class DecodedImages:
    """Decoded images of one root folder at one size.

    They are kept in ``chosen`` when it is given, else in ``root/.sanm_cache`` or, where that cannot be written, below
    ``fallback``. Each part is ``<part>-<size>.npy`` and a JSON file with the path, bytes and modification time of
    every image; an array is used only while these are what is on the disk. It stays there, and is read when images are
    asked for.
    """

    def __init__(self, root: Path, size: int, chosen: str | None, fallback: Path, fewer: str = SUBSET) -> None:
        """``fewer`` ends the refusal of images that fit nowhere: how to use a part of them."""
        self.root, self.size, self.fewer = root, size, fewer
        own = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
        if chosen:
            self.places = [Path(chosen).expanduser() / own]
        else:
            self.places = [root / ".sanm_cache", fallback / "image_folder" / own]
        self._warned_of_dim = False

    def read(self, part: str, keys: Sequence[str], skip_bad: bool = False) -> tuple[Pixels, dict[int, str]]:
        """RGB images ``[m, 3, size, size]`` of the files ``keys``, relative to the root or absolute, in their order;
        and of those that are left out the position and the reason.

        Raises InputError that names a file which cannot be read or decoded, unless bad ones are to be skipped. A cache
        that cannot be written is a warning, and InputError when the images are more than this machine's memory too.
        Warns of images of 16 bits that use 12 or fewer.
        """
        fingerprint = self._fingerprint(keys)
        gone = {
            position: f"cannot be read ({'; '.join(filter(None, (file[3], misnamed(self.root, file[0]))))})"
            for position, file in enumerate(fingerprint["files"])
            if len(file) > 3
        }
        if not skip_bad:
            self._refuse(keys, gone)
        found = next((kept for place in self.places if (kept := self._kept(place, part, fingerprint))), None)
        if found is None:
            found = self._decoded(part, keys, fingerprint, gone)
        if not skip_bad or len(found.bad) == len(keys):
            self._refuse(keys, found.bad)
        self._warn_of_dim(keys, found.sixteen_bits)
        return found.images, found.bad

    def _refuse(self, keys: Sequence[str], bad: dict[int, str]) -> None:
        if bad:
            first = min(bad)
            more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
            raise InputError(f"{self.root / keys[first]}{more} {bad[first]}: repair or remove it, or {REMEDY}")

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

    def _fingerprint(self, keys: Sequence[str]) -> dict[str, Any]:
        files: list[list[Any]] = []
        for key in keys:
            try:
                status = os.stat(self.root / key)
                files.append([key, status.st_size, status.st_mtime_ns])
            except OSError as error:
                files.append([key, None, None, error.strerror])
        return {"conversion": CONVERSION, "image_size": self.size, "files": files}

    def _paths(self, place: Path, part: str) -> tuple[Path, Path]:
        return place / f"{part}-{self.size}.npy", place / f"{part}-{self.size}.json"

    def _kept(self, place: Path, part: str, fingerprint: dict[str, Any]) -> Kept | None:
        array, description = self._paths(place, part)
        try:
            found = json.loads(description.read_text())
            bad = {int(position): reason for position, reason in found.pop("bad", {}).items()}
            sixteen_bits = SixteenBits(*found.pop("sixteen_bits", ()))
            if found != fingerprint:
                return None
            images = StoredImages(array)
        except (OSError, ValueError, EOFError, AttributeError, TypeError):  # absent or damaged: as good as none
            return None
        expected = (len(fingerprint["files"]) - len(bad), 3, self.size, self.size)
        return Kept(images, bad, sixteen_bits) if images.shape == expected else None

    def _decoded(self, part: str, keys: Sequence[str], fingerprint: dict[str, Any], gone: dict[int, str]) -> Kept:
        """Decode into the first place that takes it, or into memory."""
        reason = ""
        for place in self.places:
            try:
                place.mkdir(parents=True, exist_ok=True)
                with _alone_with(self._paths(place, part)[0]):
                    found = self._kept(place, part, fingerprint)  # by another process, a moment ago
                    return found or self._decoded_into(place, part, keys, fingerprint, gone)
            except (OSError, InputError) as error:
                reason = str(error)
        no_disk = f", and on no disk that it may take: {reason} (data.cache_dir)"
        check_fits_memory(len(keys), self.size, no_disk, self.fewer)
        warnings.warn(
            f"decoded images are not kept, the next run decodes again (data.cache_dir): {reason}", stacklevel=6
        )
        decoding = _Decoding(self.root, keys, self.size, gone)
        chunks = list(decoding.chunks())
        images = torch.from_numpy(np.concatenate(chunks)) if chunks else self._nothing()
        return Kept(images, decoding.bad, decoding.sixteen_bits)

    def _decoded_into(
        self, place: Path, part: str, keys: Sequence[str], fingerprint: dict[str, Any], gone: dict[int, str]
    ) -> Kept:
        """Decode into files there. Raises InputError or OSError when it does not take them."""
        needed = len(keys) * bytes_of_image(self.size)
        if shutil.disk_usage(place).free < needed:
            raise InputError(f"{place} has less than the {needed / 1e9:.3g} GB left that they take")
        array, description = self._paths(place, part)
        decoding = _Decoding(self.root, keys, self.size, gone)
        # A description stands only beside the array it describes, whenever this is interrupted.
        description.unlink(missing_ok=True)
        write_atomically(array, decoding.write)
        kept = fingerprint | ({"bad": decoding.bad} if decoding.bad else {}) | {"sixteen_bits": decoding.sixteen_bits}
        text = json.dumps(kept).encode()
        if not decoding.unsure:
            write_atomically(description, lambda handle: handle.write(text))
        images = self._nothing() if len(decoding.bad) == len(keys) else StoredImages(array)
        return Kept(images, decoding.bad, decoding.sixteen_bits)

    def _nothing(self) -> Pixels:
        return torch.empty((0, 3, self.size, self.size), dtype=torch.uint8)


@contextmanager
def _alone_with(array: Path) -> Iterator[None]:
    """Within, no other process decodes into the file, and what one that was killed has left of it is gone."""
    lock = FileLock(array.with_name(f".{array.name}.lock"), mode=0o666, poll_interval=LOOK_EVERY)  # anybody's
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print(f"decode   {array}: another process is at it, waiting for it", flush=True)
        lock.acquire()
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    try:
        if lock.is_locked:
            remove_partial_files(array.parent, array.name)
        yield
    finally:
        lock.release()


class _Decoding:
    """One pass over files; ``bad`` grows by position and reason as it goes on, ``sixteen_bits`` counts."""

    def __init__(self, root: Path, keys: Sequence[str], size: int, gone: dict[int, str]) -> None:
        self.root, self.keys, self.size = root, keys, size
        self.bad = dict(gone)
        self.sixteen_bits = SixteenBits()
        self.unsure = False  # whether a failure was the disk's, so that another time may differ

    def write(self, handle: BinaryIO) -> None:
        """An array file of what can be decoded."""
        handle.write(b" " * HEADER)
        for chunk in self.chunks():
            handle.write(chunk.data)
        handle.seek(0)
        handle.write(_array_header((len(self.keys) - len(self.bad), 3, self.size, self.size)))

    def chunks(self) -> Iterator[Array]:
        """Pixels of the files that can be decoded, in their order."""
        spoke = time.monotonic()
        with ThreadPoolExecutor() as threads:
            for first in range(0, len(self.keys), AT_ONCE):
                wanted = [p for p in range(first, min(first + AT_ONCE, len(self.keys))) if p not in self.bad]
                found: list[Array] = []
                for position, decoded in zip(wanted, threads.map(self._one, wanted), strict=True):
                    if decoded is not None:
                        found.append(decoded[0])
                        self.sixteen_bits = self.sixteen_bits.and_one(position, decoded[1])
                if found:
                    yield np.ascontiguousarray(np.stack(found))
                if time.monotonic() - spoke > SILENCE:
                    print(f"decode   {first + AT_ONCE} of {len(self.keys)} images", flush=True)
                    spoke = time.monotonic()

    def _one(self, position: int) -> tuple[Array, Depth] | None:
        try:
            return decode_with_depth(self.root / self.keys[position], self.size)
        except Exception as error:  # a damaged image raises nearly anything
            self.unsure = self.unsure or getattr(error, "errno", None) is not None
            self.bad[position] = f"cannot be decoded ({str(error).partition(chr(10))[0] or type(error).__name__})"
            return None


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


def _array_header(shape: tuple[int, ...]) -> bytes:
    """Of NumPy's file format 1.0 for uint8, always ``HEADER`` bytes long."""
    text = repr({"descr": "|u1", "fortran_order": False, "shape": shape}).ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode()


def decode(path: Path, size: int) -> Array:
    """One image as RGB ``[3, size, size]``, its colours as ``sanm.image_colors`` says, resized with antialiasing.

    Raises whatever Pillow raises for a file that is not an intact image, ValueError for pixels of unknown range.
    """
    return decode_with_depth(path, size)[0]


def decode_with_depth(path: Path, size: int) -> tuple[Array, Depth]:
    """The same, and how many bits the file has."""
    with Image.open(path) as opened:
        image, depth = as_seen(opened)
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)).transpose(2, 0, 1), depth
