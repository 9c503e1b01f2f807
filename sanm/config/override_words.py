"""A setting as a word of Hydra's command line, and back: `data.root="/x/img, set (1)"`."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from sanm.config.limits import ALLOWED, CAME_LATER, CONF, READING
from sanm.errors import InputError


def key_of(word: str) -> str:
    """The key that a word sets, adds or deletes."""
    return word.lstrip("+~").partition("=")[0].partition("@")[0]


def typed(task: Any) -> list[str]:
    """The words of a command line as they were typed, of the list that Hydra keeps of them."""
    words = OmegaConf.to_container(task, resolve=False)
    assert isinstance(words, list)
    return [str(word) for word in words]


def value_of(word: str) -> Any:
    """The value that Hydra reads in a word; None where it reads none, or one that depends on other settings."""
    parsed = _parsed(word)
    if parsed is None or parsed.is_sweep_override() or "${" in word:
        return None
    return parsed.value()


def check_words(words: Sequence[str], several: str | None = None) -> None:
    """Raises InputError for the first word that Hydra would not read, with the word that it would.

    ``several`` is what to do instead of giving a key several values; None where that is allowed.
    """
    for number, each in enumerate(words):
        parsed = _parsed(each)
        if parsed is None or not parsed.key_or_group:
            raise InputError(_unread(words, number))
        if several is not None and parsed.is_sweep_override():
            raise InputError(_several(each, several))
        if {ALLOWED, CAME_LATER, READING} & {*parsed.key_or_group.split(".")}:
            raise InputError(f"{each}: says something of settings, and is none; change it in conf/")
        _check_option(each, parsed)


def _check_option(word: str, parsed: Override) -> None:
    folder = CONF / parsed.key_or_group
    if folder.is_dir() and not (parsed.is_delete() or parsed.is_sweep_override() or isinstance(parsed.value(), str)):
        options = ", ".join(sorted(file.stem for file in folder.glob("*.yaml")))
        raise InputError(f"{word}: no such option; choose one of {options}")


def _unread(words: Sequence[str], number: int) -> str:
    """Why Hydra does not read a word, which may be a part of what a shell has cut at its spaces."""
    key, equals, value = words[number].partition("=")
    if key.startswith("-"):
        return f"{words[number]}: no option of this command; leave out {words[number]}"
    if equals and _is_key(key):
        return f"{words[number]}: {key} needs quotes around this value: {quoted(key, value)}"
    for first in (number, number - 1):
        apart = words[max(first, 0) : first + 3]
        together = "".join(apart)
        if any(part.startswith("=") or part.endswith("=") for part in apart) and _is_key(together.partition("=")[0]):
            return f"{' '.join(apart)}: write {together}, without spaces"
    shown, (before, equals, start) = shlex.quote(words[number]), words[number - 1 if number else 0].partition("=")
    if number and equals and _is_key(before) and not (CONF / before).is_dir():
        return f"{shown}: no key=value; if it belongs to {before}, write {quoted(before, f'{start} {words[number]}')}"
    return f"{shown}: no key=value, as trainer.epochs=30 is one"


def _is_key(text: str) -> bool:
    parsed = _parsed(f"{text}=0")
    return parsed is not None and bool(parsed.key_or_group)


def _several(word: str, instead: str) -> str:
    key, _, value = word.partition("=")
    if re.fullmatch(r"-?\d+,\d+", value):
        one = f"{key}={value.replace(',', '.')} for one number"
    else:
        one = f"{quoted(key, value)} for one value"
    return f"{word}: {key} has several values here; write {one}, or for several: {instead}"


def quoted(key: str, text: str) -> str:
    """The word that sets the key to this text, whatever is in it, as one types it in a shell."""
    return shlex.quote(f"{key}={_in_quotes(text)}")


def _in_quotes(text: str) -> str:
    literal = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no reference to another key
    return QuotedString(literal, Quote.double).with_quotes()


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
        return _in_quotes(value)
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
