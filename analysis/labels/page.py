"""The page of pictures, in one file, on which a person judges the suspected labels."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from analysis.labels.pictures import Picture
from analysis.labels.record import QUALITY, Record
from analysis.labels.reviewed import JUDGED, KEY, LABEL, RIGHT, UNCLEAR, WRONG
from analysis.one_file import filled
from sanm.formats.spreadsheet import table_text
from sanm.terminal.output import printable

NEIGHBOURS = 3
"""Nearest other images that stand beside one, where the run has evidence by features."""


def positions(record: Record, worst: pd.DataFrame) -> list[int]:
    """Of which samples the page shows a picture: the suspected ones, and those nearest to them."""
    own = _own_positions(record, worst)
    return list(dict.fromkeys([*own, *(near for position in own for near in _nearest(record, position))]))


def page(record: Record, worst: pd.DataFrame, shown: Mapping[int, Picture], suspected: int, note: str) -> str:
    """The suspected samples `worst`, with pictures by position; `note` says why there are none, if so."""
    own = _own_positions(record, worst)
    visible = worst.assign(**{name: worst[name].map(printable) for name in ("key", "given_label", "predicted_label")})
    names = [printable(name) for name in record.class_names]
    beside = [
        [(shown[near], names[record.given[near]]) for near in _nearest(record, position) if near in shown]
        for position in own
    ]
    return filled(
        Path(__file__).parent,
        title=record.path.name,
        cards=list(zip(visible.to_dict("records"), map(shown.get, own), beside, strict=True)),
        pairs=_pairs(visible),
        suspected=suspected,
        note=note,
        known=lambda value: not pd.isna(value),
        classes=names,
        samples=_for_script(record, worst, names),
        interface=_interface(names),
    )


def _own_positions(record: Record, worst: pd.DataFrame) -> list[int]:
    position = {index: place for place, index in enumerate(record.index.tolist())}
    return [position[index] for index in worst["index"]]


def _nearest(record: Record, position: int) -> list[int]:
    return [] if record.evidence is None else record.evidence.nearest[position, :NEIGHBOURS].tolist()


def _for_script(record: Record, worst: pd.DataFrame, names: list[str]) -> dict[str, Any]:
    """What the script knows of the samples: names as they are shown, and as cells of a table."""
    columns = (worst[name] for name in ("key", "given_class", "predicted_class", "confidence"))
    return {
        "run": record.path.name,
        # The browser keeps judgments under this name: those of another run, or of other labels, are others.
        "place": f"labels of {record.path.name} {_label_file(record)}",
        "header": f"{KEY},{LABEL},{JUDGED}",
        "label": LABEL,
        "words": {"right": RIGHT, "wrong": WRONG, "unclear": UNCLEAR},
        "classes": [
            {"shown": shown, "cell": _cell(name)} for name, shown in zip(record.class_names, names, strict=True)
        ],
        "samples": [
            {
                "key": key,
                "cell": _cell(key),
                "given": int(given),
                "suggested": int(suggested),
                "confidence": None if pd.isna(confidence) else float(confidence),
            }
            for key, given, suggested, confidence in zip(*columns, strict=True)
        ],
    }


def _label_file(record: Record) -> str:
    return hashlib.sha256((record.path / QUALITY).read_bytes() + repr(record.class_names).encode()).hexdigest()[:16]


def _cell(text: str) -> str:
    return table_text([[text]]).removesuffix("\n")


def _interface(names: list[str]) -> str:
    """How Label Studio is to show the samples and ask for a class, which its tables then call as ours do."""
    choices = "".join(f"    <Choice value={quoteattr(name)}/>\n" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        '  <Header value="Given label"/>\n  <Text name="given" value="$given_label"/>\n'
        f'  <Choices name="{LABEL}" toName="image" choice="single">\n{choices}  </Choices>\n</View>'
    )


def _pairs(worst: pd.DataFrame) -> list[tuple[str, int]]:
    """Given and suggested label with the number of their samples on the page, the most frequent first."""
    counts = worst.groupby(["given_label", "predicted_label"]).size().sort_values(ascending=False, kind="stable")
    return [(" → ".join(map(str, pair)), int(count)) for pair, count in zip(counts.index, counts, strict=True)]
