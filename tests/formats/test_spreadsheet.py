"""Text in tables that no spreadsheet computes, and that comes back as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sanm.formats.image_table import filled_lines
from sanm.formats.spreadsheet import guarded, table_text, unguarded

AWKWARD = st.text(alphabet="'=+-@\t\r\n＝a1.e ", max_size=6) | st.text()


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=1+1", "'=1+1"),
        ("'=1+1", "''=1+1"),
        ("@x", "'@x"),
        ("+a", "'+a"),
        ("-a", "'-a"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("\tx", "'\tx"),
        ("\rx", "'\rx"),
        ("＝1", "'＝1"),
        ("-1.5", "-1.5"),
        ("+3", "+3"),
        ("-1e-5", "-1e-5"),
        ("'-1.5", "'-1.5"),
        ("'tis", "'tis"),
        ("a=b", "a=b"),
        ("", ""),
        (-1.5, -1.5),
        (None, None),
    ],
)
def test_what_would_be_computed_is_marked_as_text(text: str, written: str) -> None:
    assert guarded(text) == written


@given(AWKWARD)
def test_every_text_comes_back(text: str) -> None:
    written = guarded(text)
    assert unguarded(written) == text
    assert written[:1] not in ("=", "@", "\t", "\r")


@given(st.lists(AWKWARD.filter(lambda text: text == text.strip()), min_size=2, max_size=4).filter(any))
def test_through_a_table_too(cells: list[str]) -> None:
    text = table_text([cells])
    ((_, fields),) = filled_lines(text, ",", "table")
    assert [unguarded(field) for field in fields] == cells
