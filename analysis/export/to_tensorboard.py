"""TensorBoard: a folder with a folder a run, in it event files. Each process adds a file of its own, if it has news."""

import io
import os
import socket
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import pandas as pd
from PIL import Image
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
from tensorboard.plugins.hparams.summary_v2 import hparams_pb
from tensorboard.plugins.text.summary_v2 import text_pb
from tensorboard.summary.writer.record_writer import RecordWriter
from tensorboard.util.tensor_util import make_ndarray

from analysis.export.own_folder import own_folder
from analysis.export.tracked_run import Epoch, TrackedRun
from analysis.export.tracker import Seen
from sanm.files import unwritable

VERSION = "brain.Event:2"
EVENTS = "events.out.tfevents."
IDENTITY, STATE, SETTINGS, MASKS = "identity", "state", "settings", "masks"
RESULT, TABLE = "result/", "table/"
ENDS = {"done": api_pb2.STATUS_SUCCESS, "failed": api_pb2.STATUS_FAILURE}


class TensorBoard:
    """A folder of event files that this command made."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError for a folder of somebody else, and for one that cannot be written."""
        self.folder = own_folder(folder)
        self.place = f"tensorboard --logdir {folder}"
        self._file = f"{EVENTS}{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}"

    def seen(self, run: TrackedRun) -> Seen:
        texts: dict[str, str] = {}
        epochs: dict[int, dict[str, float]] = {}
        for event in _events(self.folder / run.name):
            for value in event.summary.value:
                if value.tag in (IDENTITY, STATE):
                    texts[value.tag] = make_ndarray(value.tensor).item().decode()
                elif value.HasField("simple_value") and not value.tag.startswith(RESULT):
                    epochs.setdefault(event.step, {})[value.tag] = value.simple_value
        return Seen(texts.get(IDENTITY), texts.get(STATE), epochs)

    def add(self, run: TrackedRun, seen: Seen, epochs: Sequence[Epoch], masks: bytes | None) -> None:
        events = [] if seen.identity else [_beginning(run)]
        events += [_event(epoch.time, epoch.number, _scalars(epoch.values)) for epoch in epochs]
        if run.state_in_words != seen.state:
            events.append(_state(run, masks))
        self._append(run.name, events)

    def close(self) -> None:
        """Every event is on the disk already."""

    def _append(self, name: str, events: Sequence[Event]) -> None:
        path = self.folder / name / self._file
        whole = path.stat().st_size if path.exists() else 0
        if not whole:
            events = [Event(wall_time=time.time(), file_version=VERSION), *events]
        try:
            path.parent.mkdir(exist_ok=True)
            with open(path, "ab") as file:
                writer = RecordWriter(file)
                for event in events:
                    writer.write(event.SerializeToString())
        except OSError as error:
            with suppress(OSError):  # what is behind half an event is not read
                os.truncate(path, whole)
            raise unwritable(path, error) from error


def _events(folder: Path) -> Iterable[Event]:
    """All events there; what a killed process left of a last one is none."""
    for path in sorted(folder.glob(f"{EVENTS}*")):
        for raw in RawEventFileLoader(str(path)).Load():
            yield Event.FromString(raw)


def _beginning(run: TrackedRun) -> Event:
    """What the run is. A list among the settings is a text, since a parameter has one value here."""
    plain = {
        key: value if isinstance(value, bool | int | float | str) else str(value) for key, value in run.settings.items()
    }
    settings = pd.DataFrame(list(plain.items()), columns=["setting", "value"])
    parts = [
        *text_pb(IDENTITY, run.identity).value,
        *text_pb(SETTINGS, _markdown(settings)).value,
        *hparams_pb(plain, trial_id=run.name, start_time_secs=run.began).value,
    ]
    return _event(run.began, 0, parts)


def _state(run: TrackedRun, masks: bytes | None) -> Event:
    """One event, so that all of it is there or nothing."""
    parts = list(text_pb(STATE, run.state_in_words).value)
    if run.ended:
        end = HParamsPluginData(session_end_info=SessionEndInfo(status=ENDS[run.state], end_time_secs=run.time))
        marked = metadata.create_summary_metadata(end)
        parts.append(Summary.Value(tag=metadata.SESSION_END_INFO_TAG, metadata=marked, tensor=metadata.NULL_TENSOR))
        parts += _scalars({f"{RESULT}{key}": value for key, value in run.numbers.items()})
        for name, table in run.tables().items():
            parts += text_pb(f"{TABLE}{name}", _markdown(table)).value
    if masks is not None:
        width, height = Image.open(io.BytesIO(masks)).size
        image = Summary.Image(width=width, height=height, colorspace=4, encoded_image_string=masks)
        parts.append(Summary.Value(tag=MASKS, image=image))
    return _event(run.time, run.epochs[-1].number if run.epochs else 0, parts)


def _scalars(values: dict[str, float]) -> list[Summary.Value]:
    return [Summary.Value(tag=key, simple_value=value) for key, value in values.items()]


def _event(when: float, step: int, parts: Iterable[Summary.Value]) -> Event:
    return Event(wall_time=when, step=step, summary=Summary(value=parts))


def _markdown(table: pd.DataFrame) -> str:
    return table.to_markdown(index=False)
