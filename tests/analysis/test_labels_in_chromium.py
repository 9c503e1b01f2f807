"""The page of suspected labels as a place to work: 500 of them, judged by key and button, taken away and followed."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import fromstring

import pytest

from analysis.labels.__main__ import main
from sanm.formats.spreadsheet import table_text
from tests.analysis.labelled import rows_of, write_evidence, write_labelled_run, write_long_run
from tests.chromium import NAMES, Browser, browser, executable
from tests.data.pictures import paint

pytestmark = pytest.mark.skipif(executable() is None, reason=f"no Chromium here (one of {', '.join(NAMES)})")

CLASSES = ("=1+1", "NA", 'a "b", <i>c</i>', "ant")
"""In the order in which a run numbers them; some that a table or a page could misread."""
KEYS = [f'train/<b>{number}</b>, "x".png' if number % 2 else f"=train {number}.png" for number in range(500)]
PROGRESS = "document.getElementById('progress').value"
CURRENT = "[...document.querySelectorAll('figure')].findIndex((one) => one.ariaCurrent)"
RIGHT, UNCLEAR = {3}, {4}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as started:
        yield started


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("long")
    for key in KEYS:
        paint(folder / key, size=(4, 4))
    table, lines = folder / "mine.csv", [(key, CLASSES[number % 4], "train") for number, key in enumerate(KEYS)]
    table.write_text(table_text([("file", "label", "split"), *lines]))
    data = {"name": "csv", "columns": {"file": "file", "label": "label"}}
    overrides = [f"data.path={table}", f"data.root={folder}"]
    run = write_long_run(folder / "run", KEYS, CLASSES, data=data, overrides=overrides)
    assert main([str(run), "--worst", "500"]) == 0
    return run


def page_of(run: Path) -> Path:
    return run / "labels" / "label_errors.html"


def press(chromium: Browser, keys: str) -> None:
    for key in keys.split():
        chromium.press(key, "\r" if key == "Enter" else key if len(key) == 1 else "")


def click(chromium: Browser, selector: str) -> None:
    chromium.run(f"document.querySelector('{selector}').click()")


def mended(run: Path, review: Path, fix: str, out: Path) -> dict[str, str]:
    assert main([str(run), "--worst", "0", "--fix", fix, "--reviewed", str(review), "--out", str(out)]) == 0
    with open(out / "cleaned_labels.csv", newline="", encoding="utf-8") as handle:
        _, *rows = csv.reader(handle)
    return {row[0].removeprefix("'"): row[1].removeprefix("'") for row in rows}


def test_judging_500(chromium: Browser, run: Path, tmp_path: Path) -> None:
    chromium.open(page_of(run))
    chromium.run("localStorage.clear()")
    chromium.open(page_of(run))
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("0 of 500 judged", 0)
    press(chromium, "y y 1 n u")  # of 0 to 4
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("5 of 500 judged", 5)
    press(chromium, "ArrowRight j k ArrowLeft")
    assert chromium.run(CURRENT) == 5
    press(chromium, "n z")
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("5 of 500 judged", 5), "undone"
    press(chromium, "y c a Enter")  # 6 by the select box
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("7 of 500 judged", 7)
    press(chromium, "j j")
    click(chromium, "figure:nth-of-type(8) .choices button")  # 7 by the mouse, while 9 is current
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("8 of 500 judged", 8)
    key = "new KeyboardEvent('keydown', {key: 'y', bubbles: true})"
    chromium.run(f"for (let rest = 492; rest; rest--) document.body.dispatchEvent({key})")
    assert chromium.run(PROGRESS) == "500 of 500 judged"
    seen = "document.querySelector('[aria-current]').getBoundingClientRect()"
    assert chromium.run(f"{seen}.top > 0 && {seen}.bottom <= innerHeight"), "scrolled into view"
    chromium.open(page_of(run))
    assert chromium.run(PROGRESS) == "500 of 500 judged", "kept over a reload"
    shown = chromium.run("[...document.querySelectorAll('.judged')].slice(1, 5).map((one) => one.textContent)")
    assert shown == [f"is {CLASSES[2]}", f"is {CLASSES[0]}", f"stays {CLASSES[3]}", "unclear"]

    review = chromium.download("document.getElementById('download').click()", tmp_path)
    assert review.name == "reviewed.csv"
    expected = {key: CLASSES[(number + (number not in RIGHT | UNCLEAR)) % 4] for number, key in enumerate(KEYS)}
    expected |= {KEYS[2]: CLASSES[0], KEYS[6]: CLASSES[2]}
    assert mended(run, review, "relabel", tmp_path / "relabelled") == expected
    few = review.read_text().splitlines()[:5]
    (tmp_path / "few.csv").write_text("\n".join(few))
    assert set(mended(run, tmp_path / "few.csv", "remove", tmp_path / "removed")) == {*KEYS[3:]}, "3 is right"
    (tmp_path / "unclear.csv").write_text("\n".join([few[0], *review.read_text().splitlines()[5:6]]))
    assert set(mended(run, tmp_path / "unclear.csv", "remove", tmp_path / "unclear")) == {*KEYS} - {KEYS[4]}
    assert chromium.run("document.querySelectorAll('figcaption b, figcaption i').length") == 0, "names are text"
    assert chromium.messages == []


def test_only_judged_samples_are_taken_away(chromium: Browser, run: Path, tmp_path: Path) -> None:
    chromium.open(page_of(run))
    chromium.run("localStorage.clear()")
    chromium.open(page_of(run))
    press(chromium, "j n u")
    review = chromium.download("document.getElementById('download').click()", tmp_path)
    assert rows_of(review) == [
        {"key": KEYS[1], "predicted_label": CLASSES[1], "given_label_is": "right"},
        {"key": f"'{KEYS[2]}", "predicted_label": "", "given_label_is": "unclear"},
    ]
    tasks: list[dict[str, Any]] = json.loads(
        chromium.download("document.getElementById('tasks').click()", tmp_path).read_text()
    )
    assert len(tasks) == 500
    assert tasks[1]["data"]["image"].startswith("data:image/jpeg;base64,")
    assert (tasks[1]["data"]["key"], tasks[1]["data"]["given_label"]) == (KEYS[1], CLASSES[1])
    (suggestion,), (judgment,) = tasks[1]["predictions"], tasks[1]["annotations"]
    assert suggestion["score"] == pytest.approx(0.6)
    assert suggestion["result"][0]["value"] == {"choices": [CLASSES[2]]}
    assert judgment["result"][0]["value"] == {"choices": [CLASSES[1]]}
    assert tasks[0]["annotations"] == tasks[2]["annotations"] == []
    interface = chromium.run("document.querySelector('pre').textContent")
    assert [choice.get("value") for choice in fromstring(interface).iter("Choice")] == [*CLASSES]


def test_another_run_has_judgments_of_its_own(chromium: Browser, tmp_path: Path) -> None:
    first, second = (write_labelled_run(tmp_path / name) for name in ("first", "second"))
    write_evidence(second)
    for run in (first, second):
        assert main([str(run)]) == 0
    chromium.open(page_of(first))
    press(chromium, "y")
    chromium.open(page_of(second))
    assert chromium.run(PROGRESS) == "0 of 2 judged"
    nearest = chromium.run("[...document.querySelectorAll('figure:first-of-type li')].map((one) => one.textContent)")
    assert nearest == ["ant", "ant"], "of sample 2: 1 and 0"
    chromium.open(page_of(first))
    assert (chromium.run(PROGRESS), chromium.run(CURRENT)) == ("1 of 3 judged", 1)
    quality = first / "label_quality.csv"
    quality.write_text(quality.read_text().replace("0.9", "0.8"))
    assert main([str(first)]) == 0
    chromium.open(page_of(first))
    assert chromium.run(PROGRESS) == "0 of 3 judged", "of another label file"
    assert chromium.messages == []
