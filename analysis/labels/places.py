"""Where the data of a run lies: no part of what a run is, since data can move, but its command says where it was."""

from dataclasses import dataclass
from pathlib import Path

from analysis.labels.record import Record
from sanm.config.override_words import key_of, value_of


@dataclass(frozen=True)
class Places:
    """The folder that names of files are relative to, and the table of a `data=csv` run; None where nobody knows."""

    root: Path | None
    table: Path | None


def places_of(record: Record, root: str | None, table: str | None) -> Places:
    """What the user gives, or else what the run's command gave: relative to the present folder."""
    found_table = _path(table or _override(record, "data.path"))
    found_root = _path(root or _override(record, "data.root"))
    if found_root is None and found_table is not None:
        found_root = found_table.parent  # what a table's files are relative to, if nothing else is said
    return Places(found_root, found_table)


def overrides_of(record: Record) -> list[str]:
    """The run's own command, word by word; empty where it is not recorded."""
    return [str(word) for word in record.result.get("overrides") or []]


def _override(record: Record, key: str) -> str | None:
    values = [value_of(word) for word in overrides_of(record) if key_of(word) == key and not word.startswith("~")]
    return str(values[-1]) if values and values[-1] is not None else None


def _path(text: str | None) -> Path | None:
    return Path(text).expanduser() if text else None
