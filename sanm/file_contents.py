"""What files hold, as hashes; a file is read again only where the system says that it may have changed.

Light, since a run is named by its files.
"""

import hashlib
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sanm.errors import InputError
from sanm.files import read_json, write_json
from sanm.terminal import output

LARGE = 512 * 2**20
"""Bytes of files in all up to which everything is read at each start."""
SETTLED = 2.0
"""Seconds after which a change of a file has another time than the last one, on any disk."""
UNREADABLE = "unreadable"


class Stamp(NamedTuple):
    """What the system says of a file; it is another one once the file is changed, or another takes its place.

    Programs can set the time of change, not the time of the last change of anything, and files of an archive often
    share both it and their size: all four count.
    """

    size: int
    changed: int
    inode: int
    touched: int  # by the system's clock, which no program sets; 0 where it is too fresh to tell changes apart


def stamp_of(status: os.stat_result) -> Stamp:
    """The stamp of a file as it is now."""
    settled = time.time_ns() - status.st_ctime_ns > SETTLED * 1e9
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ino, status.st_ctime_ns if settled else 0)


def told_apart(stamps: Sequence[Stamp]) -> list[bool]:
    """Which files are the only ones of their size and time of change among these, or share them with links alone."""
    files = defaultdict[tuple[int, int], set[int]](set)
    for stamp in stamps:
        files[stamp.size, stamp.changed].add(stamp.inode)
    return [len(files[stamp.size, stamp.changed]) == 1 for stamp in stamps]


def hashes(files: Sequence[Path], stamps: Sequence[Stamp], memory: Path | None) -> list[str]:
    """Hash of the content of each file, whose stamp has been taken; ``UNREADABLE`` of one that cannot be read.

    Above ``LARGE`` bytes in all they are remembered in the file ``memory``, which may vanish or be damaged without
    harm.
    """
    if memory is None or sum(stamp.size for stamp in stamps) <= LARGE:
        return [content_hash(file, stamp) for file, stamp in zip(files, stamps, strict=True)]
    known: dict[str, dict[str, str]] = read_json(memory) or {}
    found = [known.get(str(file), {}).get(_text(stamp)) for file, stamp in zip(files, stamps, strict=True)]
    unknown = [position for position, each in enumerate(found) if each is None]
    if unknown:
        output.say(f"read     {len(unknown)} files, whose sizes and times do not tell them apart, or are new")
        with ThreadPoolExecutor() as threads:
            read = threads.map(content_hash, (files[p] for p in unknown), (stamps[p] for p in unknown))
            for position, content in zip(unknown, read, strict=True):
                found[position] = content
        told = zip(files, stamps, found, strict=True)
        fresh = {str(f): {_text(s): h} for f, s, h in told if h and h != UNREADABLE and s.touched}
        with suppress(InputError, OSError):  # it saves time, nothing else
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_json(memory, known | fresh)
    return [each or UNREADABLE for each in found]


def content_hash(file: Path, stamp: Stamp) -> str:
    """Hash of the bytes of a file, in this process remembered by its stamp; ``UNREADABLE`` where it cannot be read."""
    try:
        return _read(str(file), stamp) if stamp.touched else _read.__wrapped__(str(file), stamp)
    except OSError:
        return UNREADABLE


@lru_cache(maxsize=2**20)
def _read(file: str, stamp: Stamp) -> str:
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _text(stamp: Stamp) -> str:
    return " ".join(map(str, stamp))


def memory_of(root: Path, cache_dir: Path) -> Path:
    """The file below the cache that remembers what the files of a data set's folder hold."""
    own = hashlib.sha256(str(root.resolve()).encode(errors="surrogateescape")).hexdigest()[:16]
    return cache_dir / "contents" / f"{own}.json"
