"""Where Optuna keeps a study, opened so that trouble is one line and no password is shown.

Importing this imports Optuna.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import optuna
from filelock import FileLock
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

from sanm.errors import InputError
from sweeps.study import Study, differences
from sweeps.study_folder import StudyFolder

DEFINITION, TOKEN, OVERRIDES = "definition", "folder", "overrides"
"""What a study remembers of itself, beside its trials."""

SECONDS_TO_CONNECT = 10
SECONDS_FOR_SQLITE = 60

optuna.logging.set_verbosity(optuna.logging.ERROR)


class OutOfReachError(InputError):
    """The storage does not answer. No run has failed by it: whoever was at a trial leaves it as it is."""


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


def create(study: Study, folder: StudyFolder) -> optuna.Study:
    """The study in its storage, made if it is not there. Raises InputError when what is there is another one."""
    with folder.alone(), reachable(address(study)) as url:
        found = optuna.create_study(
            study_name=study.name, storage=_storage(url), direction="maximize", load_if_exists=True
        )
        attributes = found.user_attrs
        now = json.loads(json.dumps(study.definition))
        if DEFINITION not in attributes:
            if found.get_trials(deepcopy=False):
                raise InputError(f"study {study.name} in {shown(url)} is not one of ours: give study.name=NEW")
            found.set_user_attr(DEFINITION, now)
            found.set_user_attr(OVERRIDES, list(study.overrides))
            found.set_user_attr(TOKEN, folder.token())
            return found
        _refuse_changes(study, differences(attributes[DEFINITION], now))
        if attributes[TOKEN] != folder.token():
            raise InputError(
                f"study {study.name} in {shown(url)} was begun with another runs_dir than {folder.path.parent.parent}: "
                "all its workers share one; give that one, or study.name=NEW"
            )
        return found


def find(study: Study) -> optuna.Study:
    """The study as it is, to be read. Raises InputError when it is not there."""
    url = address(study)
    missing = InputError(f"study {study.name} is not in {shown(url)} yet: python -m sweeps.tune study={study.name}")
    file = re.match(r"(?:sqlite:///|journal:)(.+)", url)
    if file and not Path(file[1]).exists():  # opening it would make it
        raise missing
    with reachable(url):
        try:
            found = optuna.load_study(study_name=study.name, storage=_storage(url))
        except KeyError as error:
            raise missing from error
        if DEFINITION not in found.user_attrs:
            raise missing
        return found


@contextmanager
def reachable(url: str) -> Iterator[str]:
    """Turn errors of the storage at ``url`` into one line: OutOfReachError, or InputError where a module is missing."""
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield url
    except ImportError as error:  # Optuna's own names no module; the one behind it does
        cause = error if error.name else error.__cause__ or error.__context__
        module = getattr(cause, "name", None) or "that its address names"
        extra = "; pip install 'sanm[postgres]'" if module == "psycopg" else ""
        raise InputError(f"study.storage={shown(url)} needs the module {module}{extra}") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        raise OutOfReachError(
            f"study.storage={shown(url)} cannot be reached ({_reason(error, url)}); the same command goes on later"
        ) from error


class _Journal(JournalFileBackend):
    """A journal that a full disk or a kill does not spoil, under a lock that dies with its owner."""

    def __init__(self, file: str) -> None:
        super().__init__(file, lock_obj=_JournalLock(Path(file)))
        self._file = file

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        try:
            super().append_logs(logs)
        except OSError as error:
            raise OutOfReachError(
                f"study.storage=journal:{self._file} cannot be written ({error.strerror}): "
                "the same command goes on once it can"
            ) from error


class _JournalLock(JournalFileOpenLock):
    """The kernel's lock in the place of Optuna's. Whoever has it cuts off half a line, behind which nobody reads on."""

    def __init__(self, file: Path) -> None:
        super().__init__(str(file))
        self._file, self._lock = file, FileLock(f"{file}.lock")

    def acquire(self) -> bool:
        self._lock.acquire()
        with open(self._file, "r+b") as journal:
            size = journal.seek(0, os.SEEK_END)
            journal.seek(max(0, size - 1))
            if journal.read() not in (b"", b"\n"):
                journal.seek(0)
                journal.truncate(journal.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        self._lock.release()


def _refuse_changes(study: Study, changes: list[str]) -> None:
    if not changes:
        return
    more = f" and {len(changes) - 3} more" if len(changes) > 3 else ""
    raise InputError(
        f"study {study.name} was begun otherwise: {'; '.join(changes[:3])}{more}. "
        "Take that back to go on, or give study.name=NEW to begin another"
    )


def _storage(url: str) -> BaseStorage:
    if url.startswith("journal:"):
        file = url.removeprefix("journal:")
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(_Journal(file))
    return RDBStorage(url, engine_kwargs=_engine(url))


def _engine(url: str) -> dict[str, Any]:
    if url.startswith("sqlite"):
        return {"connect_args": {"timeout": SECONDS_FOR_SQLITE}}
    connect = {"connect_timeout": SECONDS_TO_CONNECT} if url.startswith("postgresql") else {}
    return {"pool_pre_ping": True, "connect_args": connect}


def _reason(error: BaseException, url: str) -> str:
    from sqlalchemy.exc import PendingRollbackError

    while (behind := error.__context__ if isinstance(error, PendingRollbackError) else error.__cause__) is not None:
        error = behind
    line = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    secret = urlsplit(url).password if "@" in url else None
    line = re.sub(r"://\S*@", "://", line)
    return line.replace(secret, "...") if secret else line
