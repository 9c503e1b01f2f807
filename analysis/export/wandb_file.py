"""The file that W&B keeps of an offline run, `run-ID.wandb`, read back.

It is a log in LevelDB's format (records in blocks of 32 kB, each piece with check sum, length and kind) behind a header
of seven bytes; a record is a message of `wandb.proto`.
"""

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

MESSAGES: Any = wandb_internal_pb2  # made at run time, so that no type is known
HEADER, BLOCK = 7, 2**15
PIECE = struct.Struct("<IHB")
WHOLE, FIRST, LAST = 1, 2, 4


@dataclass
class OfflineRun:
    """What is in the files of one run, the later over the earlier."""

    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)  # a row a step, `_step` among its keys
    exit_codes: list[int] = field(default_factory=list)


def read_offline(files: list[Path]) -> OfflineRun:
    """What these files say, in the order in which they were written; a record that was cut off is none."""
    found = OfflineRun()
    for file in files:
        for record in _records(file.read_bytes()):
            for item in record.run.config.update:
                found.config[_key(item)] = json.loads(item.value_json)
            for item in record.summary.update:
                found.summary[_key(item)] = json.loads(item.value_json)
            if record.history.item:
                found.history.append({_key(item): json.loads(item.value_json) for item in record.history.item})
            if record.HasField("exit"):
                found.exit_codes.append(record.exit.exit_code)
    return found


def _key(item: Any) -> str:
    return ".".join(item.nested_key) or str(item.key)


def _records(content: bytes) -> Iterator[Any]:
    place, collected = HEADER, b""
    while place + PIECE.size <= len(content):
        if BLOCK - place % BLOCK < PIECE.size:  # too little is left of a block for another piece
            place += BLOCK - place % BLOCK
            continue
        _, length, kind = PIECE.unpack_from(content, place)
        piece = content[place + PIECE.size : place + PIECE.size + length]
        place += PIECE.size + length
        if len(piece) < length or kind == 0:
            return
        collected = piece if kind in (WHOLE, FIRST) else collected + piece
        if kind in (WHOLE, LAST):
            yield MESSAGES.Record.FromString(collected)
