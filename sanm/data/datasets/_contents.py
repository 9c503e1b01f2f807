"""Where the bytes of images lie: in files, or in rows of a table."""

import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from sanm import given_files
from sanm.file_contents import Stamp, content_hash, hashes, stamp_of


class Contents(Protocol):
    """Images by name."""

    def stamp(self, key: str) -> Stamp:
        """Another one once the image is. Raises OSError, whose ``strerror`` says why, where there is none."""

    def hash(self, key: str, stamp: Stamp) -> str:
        """Of what is there under a name."""

    def hashes(self, keys: Sequence[str], stamps: Sequence[Stamp]) -> list[str]:
        """Of several."""

    def open(self, key: str) -> Path | BinaryIO:
        """What an image is decoded from."""


class Files:
    """Files by their path below a folder, or by an absolute one."""

    def __init__(self, root: Path, memory: Path) -> None:
        """``memory`` is the file that remembers what they hold."""
        self._root, self._memory = root, memory

    def stamp(self, key: str) -> Stamp:
        return stamp_of(given_files.status_of(self._root / key))

    def hash(self, key: str, stamp: Stamp) -> str:
        return content_hash(self._root / key, stamp)

    def hashes(self, keys: Sequence[str], stamps: Sequence[Stamp]) -> list[str]:
        return hashes([self._root / key for key in keys], stamps, self._memory)

    def open(self, key: str) -> Path | BinaryIO:
        return self._root / key


class Rows:
    """Rows of a table by their names; other names are files."""

    def __init__(self, read: Mapping[str, Callable[[], bytes]], stamp: Stamp, files: Files) -> None:
        """``read`` gives the bytes of a row, ``stamp`` is the table's."""
        self._read, self._stamp, self._files = read, stamp, files

    def stamp(self, key: str) -> Stamp:
        return self._stamp if key in self._read else self._files.stamp(key)

    def hash(self, key: str, stamp: Stamp) -> str:
        return hashlib.sha256(self._read[key]()).hexdigest() if key in self._read else self._files.hash(key, stamp)

    def hashes(self, keys: Sequence[str], stamps: Sequence[Stamp]) -> list[str]:
        return [self.hash(key, stamp) for key, stamp in zip(keys, stamps, strict=True)]

    def open(self, key: str) -> Path | BinaryIO:
        return io.BytesIO(self._read[key]()) if key in self._read else self._files.open(key)
