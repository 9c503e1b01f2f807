"""Damage as hypothesis draws it: to bytes, and to the words of a command line."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

NASTY_BYTES = (
    b"\0", b"\xff\xfe", b"\xef\xbb\xbf", b"\r\n", b"\n", b'"', b"'", b",", b";", b"\t", b"{", b"}", b"[]", b"null",
    b"NaN", b"-1", b"1e999", b"\xe4", "猫".encode(), b"../", b"\x1b[31m", b"=1+1", b"&a [*a]",
    b"!!python/object:os.system x", b"0000-99-99", b" ",
)  # fmt: skip
NASTY_VALUES = (
    "", "null", "nan", "inf", "-inf", "-1", "0", "1e400", "99999999999999999999", "0.5", "1.5", "true", "[]", "[1,2]",
    "[5,3,-1]", "{}", "{a: 1}", "'", '"', "{", "}", "[", "(", ")", "a,b", "a=b", "ü猫", "a b", "${seed}", "${nope}",
    "${", "???", "\\", "~", "#", "%", "@x", "1e-400", "01", "0x10", "1_000", "\t", "*", "$(id)", "\N{ZERO WIDTH SPACE}",
)  # fmt: skip
NASTY_LETTERS = "=~+-@,:'\"{}[]()\\ $.\tü#"
KINDS = ("value", "value", "value", "sign", "letter", "drop", "twice", "key", "no value", "mark")


def _place(size: int) -> st.SearchStrategy[int]:
    return st.integers(0, max(0, size))


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """The content with one to three places changed; or something else altogether."""
    for _ in range(draw(st.integers(1, 3))):
        at = draw(_place(len(content)))
        kind = draw(st.sampled_from(("cut", "flip", "insert", "replace", "remove", "twice", "zero", "other")))
        end = min(len(content), at + draw(st.integers(1, 40)))
        if kind == "cut":
            content = content[:at]
        elif kind == "flip" and at < len(content):
            content = content[:at] + bytes([content[at] ^ (1 << draw(st.integers(0, 7)))]) + content[at + 1 :]
        elif kind == "insert":
            content = content[:at] + draw(st.sampled_from(NASTY_BYTES)) + content[at:]
        elif kind == "replace":
            content = content[:at] + draw(st.sampled_from(NASTY_BYTES)) + content[end:]
        elif kind == "remove":
            content = content[:at] + content[end:]
        elif kind == "twice":
            content = content[:end] + content[at:]
        elif kind == "zero":
            content = content[:at] + bytes(end - at) + content[end:]
        else:
            content = draw(st.sampled_from((b"", *NASTY_BYTES, b"{}", b"[]", b"0", b'"x"', b"\x89PNG\r\n\x1a\n")))
    return content


@st.composite
def damaged_words(draw: st.DrawFn, words: Sequence[str]) -> list[str]:
    """The words of a command line, of which one to three are changed, left out or said twice."""
    found = list(words)
    for _ in range(draw(st.integers(1, 3))):
        if not found:
            break
        at = draw(st.integers(0, len(found) - 1))
        key, equals, value = found[at].partition("=")
        kind = draw(
            st.sampled_from(("value", "value", "value", "sign", "letter", "drop", "twice", "key", "no value", "mark"))
        )
        if kind == "value":
            found[at] = f"{key}={draw(st.sampled_from(NASTY_VALUES))}"
        elif kind == "sign":
            found[at] = f"{key}=-{value}"
        elif kind == "letter":
            where = draw(_place(len(found[at])))
            found[at] = found[at][:where] + draw(st.sampled_from(NASTY_LETTERS)) + found[at][where:]
        elif kind == "drop":
            del found[at]
        elif kind == "twice":
            found.append(found[at])
        elif kind == "key":
            found[at] = f"{key.partition('.')[0]}{equals}{value}"
        elif kind == "no value":
            found[at] = key
        else:
            found[at] = draw(st.sampled_from("~+")) + draw(st.sampled_from((key, found[at])))
    return found
