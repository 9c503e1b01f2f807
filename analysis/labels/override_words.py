"""A setting as a word of Hydra's command line, and back: `data.root='/x/img, set (1)'`."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException


def key_of(word: str) -> str:
    """The key that a word sets, adds or deletes."""
    return word.lstrip("+~").partition("=")[0].partition("@")[0]


def value_of(word: str) -> Any:
    """The value that Hydra reads in a word; None where it reads none, or one that depends on other settings."""
    parsed = _parsed(word)
    if parsed is None or parsed.is_sweep_override() or "${" in word:
        return None
    return parsed.value()


def word(key: str, value: Any) -> str:
    """The word that sets the key to a plain value: None, a number, a truth value, text, or a list or dict of these."""
    return f"{key}={_written(value)}"


def _written(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{_written(key)}:{_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, str) and not _is_plain(value):
        return QuotedString(value.replace("${", r"\${"), Quote.single).with_quotes()
    return str(value)


def _is_plain(text: str) -> bool:
    """Whether Hydra takes the text for itself without quotes, even within a list."""
    found = _parsed(f"key=[{text}]") if "${" not in text else None
    return found is not None and found.value() == [text]


def _parsed(word: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(word)
    except HydraException:
        return None
