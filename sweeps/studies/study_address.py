"""Where a study is stored, and what is there: a file may be somebody else's, and is looked at before it is opened.

Light: a refusal does not wait for Optuna.
"""

import json
import os
import re
import sqlite3
from pathlib import Path
from urllib.parse import quote, urlsplit

from sanm.errors import InputError
from sweeps.studies.study import Study

RECORD = b'{"op_code":'
"""How a line of Optuna's journal begins."""
DATABASE = b"SQLite format 3\0"
TABLES = {"studies", "version_info"}
"""What Optuna makes first in a database."""
OTHER = "give a file of its own, or one that is not there"


def address(study: Study) -> str:
    """Where the study is stored, ``journal:/FILE`` or a URL of SQLAlchemy. It may hold a password."""
    if study.storage is None:
        return f"sqlite:///{study.folder / 'study.db'}"
    scheme, _, rest = study.storage.partition(":")
    if scheme == "journal":
        return f"journal:{Path(rest).expanduser().absolute()}"
    if scheme == "sqlite" and rest.startswith("///"):
        return f"sqlite:///{Path(rest[3:]).expanduser().absolute()}"
    if scheme in ("postgres", "postgresql") and rest.startswith("//"):
        return f"postgresql+psycopg:{rest}"
    if not rest.startswith("//"):
        raise InputError(
            f"study.storage={shown(study.storage)}: give sqlite:///FILE, journal:FILE or postgresql://USER@HOST/DATABASE"
        )
    return study.storage


def shown(url: str) -> str:
    """A storage's address without user, password and options."""
    if "://" not in url:
        return url.partition("@")[0] if "@" not in url else "..."
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return f"{url.partition(':')[0]}://..."
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"


def file_of(url: str) -> Path | None:
    """The file that a storage is in; None for one of a server, or in memory."""
    found = re.match(r"journal:(.+)|sqlite(?:\+\w+)?:///(?:file:)?([^?]+)", url, re.DOTALL)
    name = found and (found[1] or found[2])
    return Path(name) if name and name != ":memory:" else None


def check_file(url: str) -> None:
    """Raises InputError where the storage's file is there and is not what holds studies; changes nothing."""
    file = file_of(url)
    if file is None or not file.exists():
        return
    if not file.is_file():
        raise InputError(f"study.storage={shown(url)} is no regular file: {OTHER}")
    try:
        reason = _not_a_journal(file) if url.startswith("journal:") else _not_a_database(file)
    except OSError as error:
        raise InputError(f"study.storage={shown(url)} cannot be read ({error.strerror}): {OTHER}") from error
    if reason:
        raise InputError(f"study.storage={shown(url)} {reason}")


def _not_a_journal(file: Path) -> str:
    with open(file, "rb") as lines:
        if lines.read(len(RECORD)) not in (b"", RECORD):  # before a line is read, which may be a whole film
            return f"is no journal of a study, and nothing is written to it: {OTHER}"
        lines.seek(0)
        for number, line in enumerate(lines, start=1):
            if line.endswith(b"\n") and not _is_record(line):
                return f"is damaged in line {number}: restore this file, or {OTHER}"
    return ""


def _is_record(line: bytes) -> bool:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and {"op_code", "worker_id"} <= set(found)


def _not_a_database(file: Path) -> str:
    with open(file, "rb") as content:
        head = content.read(len(DATABASE))
    if not head:  # what touch makes
        return ""
    if head != DATABASE:
        return f"is no SQLite database, and nothing is written to it: {OTHER}"
    try:
        found = _tables(file)
    except sqlite3.OperationalError:  # in use, or left by a kill: whoever opens it to write puts that right
        return ""
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error}): restore this file, or {OTHER}"
    return f"is a database of another program ({min(found)}): {OTHER}" if found and not found & TABLES else ""


def _tables(file: Path) -> set[str]:
    database = sqlite3.connect(f"file:{quote(os.fspath(file))}?mode=ro", uri=True)
    try:
        return {str(name) for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    finally:
        database.close()
