"""The command that trains on mended labels as the run was trained: on these labels alone it differs."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from analysis.labels.places import overrides_of
from analysis.labels.record import Record
from sanm.config.checks import CONF
from sanm.config.override_words import key_of, value_of, word
from sanm.errors import InputError
from sanm.formats.background import DROPPED
from sanm.terminal.output import printable

CHOSEN_BY_NAME = ("pretrain", "base_method", "components", "mask_strategy", "mask_source", "model")
OF_THE_DATA = ("data.name", "data.subset", "data.fingerprint", "data.columns", "mask_source.weights")
"""Where a record says what the run had, not what was set, or what a mended table has instead."""
_ABSENT = object()


def command(record: Record, labels: Mapping[str, str]) -> str:
    """What trains as the run was trained, with other `labels`: `data` and `noise` settings, by their keys.

    The run's own words, and a word for each setting that would otherwise be another than the run's: what a preset or
    a table chose for its data and noise, say. Raises `InputError` when these words are no command any more.
    """
    of_data = "data" in labels
    own = [each for each in overrides_of(record) if _is_kept(each, of_data)]
    words = [word(key, value) for key, value in labels.items()] + (own or _chosen(record))
    words += _differing(record, words, of_data)
    return f"python -m sanm.run {' '.join(map(_typed, words))}"


def _typed(text: str) -> str:
    """The word as a shell takes it; bash, where a path in it has characters that cannot be shown."""
    if printable(text) == text:
        return shlex.quote(text)
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"$'{printable(escaped)}'"


def _chosen(record: Record) -> list[str]:
    """The options of a run whose command says nothing of them, or is not recorded."""
    names = {group: (record.config.get(group) or {}).get("name") for group in CHOSEN_BY_NAME}
    return [word(group, name) for group, name in names.items() if name and (CONF / group / f"{name}.yaml").exists()]


def _is_kept(own: str, of_data: bool) -> bool:
    key = key_of(own)
    group = key.partition(".")[0]
    if group == "data" and of_data:  # the other settings that a table has too are compared; this one is not recorded
        return key == "data.cache_dir" or (key == "data.background" and value_of(own) == DROPPED)
    return group not in ("noise", "runs_dir")


def _differing(record: Record, words: Sequence[str], of_data: bool) -> list[str]:
    composed = _composed(record, words)
    found = []
    for key, value in _leaves({group: value for group, value in record.config.items() if group != "noise"}):
        if key.startswith(OF_THE_DATA):
            continue
        now = _value(composed, key)
        if now is not _ABSENT and now != value:
            found.append(word(key, value))
    if of_data and _value(composed, "data.subset") is not None:  # a preset's, of other data
        found.append(word("data.subset", None))
    return found


def _composed(record: Record, words: Sequence[str]) -> DictConfig:
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=list(words))
    except (HydraException, OmegaConfBaseException) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"{record.path}: the words of its command are none of this version's ({reason})") from error


def _leaves(node: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(node, dict):
        yield place, node
        return
    for key, value in node.items():
        yield from _leaves(value, f"{place}.{key}" if place else str(key))


def _value(composed: DictConfig, key: str) -> Any:
    """What the words make of a setting: `_ABSENT` where there is none; text about a table that has no such place."""
    try:
        found = OmegaConf.select(composed, key, default=_ABSENT)
    except (OmegaConfBaseException, InputError) as error:
        return f"no value: {error}"
    return OmegaConf.to_container(found, resolve=True) if OmegaConf.is_config(found) else found
