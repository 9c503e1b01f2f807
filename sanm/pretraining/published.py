"""Encoders from files: checkpoints of SimCLR and C2D as published, fitted to a network."""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sanm import given_files
from sanm.errors import InputError
from sanm.formats.safetensors_file import is_safetensors, read_safetensors
from sanm.record import checkpoint

WRAPPINGS = ("model", "state_dict")
PREFIXES = ("module.", "encoder.")
HEADS = ("head.", "fc.", "classifier.", "linear.", "projection.")
NAMED = 3
"""So many keys of each kind are named in a report."""


@dataclass(frozen=True)
class Fit:
    """Which tensors of a file fit a network, and the others."""

    loaded: dict[str, Tensor]
    missing: list[str]  # the network's, not in the file
    unexpected: list[str]  # the file's, not in the network; heads are not counted
    misshapen: list[str]  # in both, of different shapes

    def __str__(self) -> str:
        wanted = len(self.loaded) + len(self.missing) + len(self.misshapen)
        kinds = {"missing": self.missing, "unexpected": self.unexpected, "of another shape": self.misshapen}
        return ", ".join([f"{len(self.loaded)} of {wanted} tensors loaded", *map(_counted, kinds, kinds.values())])


def read_encoder(path: str, wanted: Mapping[str, Tensor]) -> Fit:
    """The tensors of a checkpoint file that fit the network's ``wanted`` ones, as their type.

    The file is a safetensors file, or a torch file that holds a state dict, itself or below ``model`` or
    ``state_dict``; wrappers' prefixes and classification or projection heads are dropped. Nothing in it is executed.
    Raises InputError when it cannot be read, or fewer than half of the wanted tensors fit.
    """
    found = _without_wrappers(_state_dict(path))
    fit = _fitted(found, {key: value for key, value in wanted.items() if value.is_floating_point()})
    if 2 * len(fit.loaded) < len(fit.loaded) + len(fit.missing) + len(fit.misshapen):
        raise InputError(f"pretrain.path={path} is not of this network ({fit}): give the model it was trained with")
    infinite = [key for key, value in fit.loaded.items() if not value.isfinite().all()]
    if infinite:
        raise InputError(f"pretrain.path={path} holds values that are not finite ({infinite[0]}): give another file")
    return fit


def _state_dict(path: str) -> dict[str, Any]:
    place = Path(path).expanduser()
    try:
        given_files.status_of(place)
        if is_safetensors(place):
            return _read_safetensors(path, place)
        with torch.serialization.safe_globals([argparse.Namespace]):  # the options that SupContrast's code saves along
            found = checkpoint.read(place, own=False)
    except OSError as error:
        raise InputError(f"pretrain.path={path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise InputError(
            f"pretrain.path={path} is no torch checkpoint of plain tensors ({error}): give another file"
        ) from error
    for key in WRAPPINGS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
    if not isinstance(found, Mapping):
        raise InputError(f"pretrain.path={path} holds no state dict: give a file that does")
    return {str(key): value for key, value in found.items() if isinstance(value, Tensor)}


def _read_safetensors(path: str, place: Path) -> dict[str, Any]:
    try:
        return dict(read_safetensors(place))
    except ValueError as error:
        raise InputError(f"pretrain.path={path} is {error}: copy it again, or give another file") from error


def _without_wrappers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    stripped: dict[str, Tensor] = {}
    for key, value in state.items():
        name = key
        while name.startswith(PREFIXES):
            name = name.partition(".")[2]
        if not name.startswith(HEADS):
            stripped[name] = value
    return stripped


def _fitted(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> Fit:
    both = [key for key in wanted if key in found]
    fitting = {key: found[key] for key in both if found[key].shape == wanted[key].shape}
    return Fit(
        loaded={key: value.to(wanted[key].dtype) for key, value in fitting.items()},
        missing=[key for key in wanted if key not in found],
        unexpected=[key for key, value in found.items() if key not in wanted and value.is_floating_point()],
        misshapen=[key for key in both if key not in fitting],
    )


def _counted(kind: str, keys: Sequence[str]) -> str:
    named = ", ".join(keys[:NAMED]) + (", ..." if len(keys) > NAMED else "")
    return f"{len(keys)} {kind}" + (f" ({named})" if keys else "")
