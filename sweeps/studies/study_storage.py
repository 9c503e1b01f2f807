"""Where Optuna keeps a study, opened so that trouble is one line and no password is shown.

Importing this imports Optuna.
"""

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
from sqlalchemy.exc import ArgumentError, DatabaseError, PendingRollbackError, SQLAlchemyError

from sanm.errors import InputError
from sweeps.studies.study import Study, differences
from sweeps.studies.study_address import address, check_file, file_of, shown
from sweeps.studies.study_folder import StudyFolder

DEFINITION, TOKEN, OVERRIDES = "definition", "folder", "overrides"
"""What a study remembers of itself, beside its trials."""

SECONDS_TO_CONNECT = 10
SECONDS_FOR_SQLITE = 60

optuna.logging.set_verbosity(optuna.logging.ERROR)


class OutOfReachError(InputError):
    """The storage does not answer. No run has failed by it: whoever was at a trial leaves it as it is."""


def create(study: Study, folder: StudyFolder) -> optuna.Study:
    """The study in its storage, made if it is not there. Raises InputError when what is there is another one."""
    with folder.alone(), reachable(address(study)) as url:
        with _intact(url):
            storage = _storage(url)
            storage.get_all_studies()  # a journal is read as a whole, before anything is written to it
            found = optuna.create_study(
                study_name=study.name, storage=storage, direction="maximize", load_if_exists=True
            )
            attributes = found.user_attrs
        now = json.loads(json.dumps(study.definition))
        if DEFINITION not in attributes:
            if found.get_trials(deepcopy=False):
                raise InputError(f"study {study.name} in {shown(url)} is not one of ours: give study.name=NEW")
            found.set_user_attr(OVERRIDES, list(study.overrides))
            found.set_user_attr(TOKEN, folder.token())
            found.set_user_attr(DEFINITION, now)  # last: a study that was killed before is begun again
            return found
        _refuse_changes(study, differences(attributes[DEFINITION], now))
        if attributes.get(TOKEN) != folder.token():
            raise InputError(
                f"study {study.name} in {shown(url)} was begun with another runs_dir than {folder.path.parent.parent}: "
                "all its workers share one; give that one, or study.name=NEW"
            )
        return found


def find(study: Study) -> optuna.Study:
    """The study as it is, to be read. Raises InputError when it is not there."""
    url = address(study)
    missing = InputError(f"study {study.name} is not in {shown(url)} yet: python -m sweeps.tune study={study.name}")
    file = file_of(url)
    if file and (not file.exists() or not file.stat().st_size):  # opening it would make it
        raise missing
    with reachable(url), _intact(url):
        storage = _storage(url)
        storage.get_all_studies()
        try:
            found = optuna.load_study(study_name=study.name, storage=storage)
        except KeyError as error:
            raise missing from error
        if DEFINITION not in found.user_attrs:
            raise missing
        return found


@contextmanager
def reachable(url: str) -> Iterator[str]:
    """Turn errors of the storage at ``url`` into one line: OutOfReachError, or InputError where a module is missing."""
    try:
        yield url
    except ImportError as error:  # Optuna's own names no module; the one behind it does
        cause = error if error.name else error.__cause__ or error.__context__
        module = getattr(cause, "name", None) or "that its address names"
        extra = "; pip install 'sanm[postgres]'" if module == "psycopg" else ""
        raise InputError(f"study.storage={shown(url)} needs the module {module}{extra}") from error
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        if _is_for_good(error):
            raise _unusable(url, _reason(error, url)) from error
        raise OutOfReachError(
            f"study.storage={shown(url)} cannot be reached ({_reason(error, url)}); the same command goes on later"
        ) from error


@contextmanager
def _intact(url: str) -> Iterator[None]:
    """While a storage is opened and first read. Raises InputError for one that Optuna cannot read."""
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.OptunaError) as error:
        if "unable to open database file" in (reason := _reason(error, url)):
            raise _unusable(url, reason) from error
        raise
    except (ImportError, InputError):
        raise
    except Exception as error:  # what is damaged, or of another version of Optuna, raises nearly anything
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {_reason(error, url)}"
        raise _unusable(url, reason) from error


def _is_for_good(error: BaseException) -> bool:
    """Whether a storage is not what it should be, so that no later command finds it otherwise: damaged, or unknown."""
    while not isinstance(error, DatabaseError | ArgumentError):
        behind = error.__context__ if isinstance(error, PendingRollbackError) else error.__cause__
        if behind is None:
            return False
        error = behind
    return isinstance(error, ArgumentError) or type(error) is DatabaseError  # its own kinds are of a moment


def _unusable(url: str, reason: str) -> InputError:
    return InputError(
        f"study.storage={shown(url)} cannot be used ({reason}): restore what is there, or give another study.storage"
    )


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
    check_file(url)
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
    while (behind := error.__context__ if isinstance(error, PendingRollbackError) else error.__cause__) is not None:
        error = behind
    line = " ".join(str(error).split("\n")[0].split()) or type(error).__name__
    secret = urlsplit(url).password if "@" in url else None
    line = re.sub(r"://\S*@", "://", line)
    return line.replace(secret, "...") if secret else line
