"""From what Hydra composed to checked plain values.

Nothing heavy is imported here, so that a bad config is refused before anything loads.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sanm.errors import InputError
from sanm.identity import PUBLISHED_IMAGENET_WEIGHTS
from sanm.schema import Schema

CONF = Path(__file__).resolve().parent.parent / "conf"

Plain = dict[str, Any]


OPEN_GROUPS = ("pretrain", "base_method", "noise", "data", "model")
PRECISIONS = ("fp32", "tf32", "bf16")
RATIOS = ("two_minus_w", "one_minus_w", "released")
POOLS = ("weak", "autoaugment", "randaugment", "simclr", "none")
IMAGES = ("auto", "resident", "streamed")
CHOICES: dict[str, tuple[str, ...]] = {
    "pretrain.pool": ("simclr", "weak", "autoaugment", "randaugment"),
    "pretrain.precision": PRECISIONS,
    "model.block": ("basic", "bottleneck"),
    "base_method.guess_mode": ("train", "eval"),
    "base_method.learn_from": POOLS,
    "base_method.guess_on": POOLS,
    "noise.convention": ("inclusive", "exclusive"),
    "noise.definition": ("superclass_next", "superclass_uniform", "superclass_pair", "block5", "pair_100"),
    "noise.kind": ("symmetric", "asymmetric", "pair_flip", "instance", "human"),
    "noise.key": ("aggre", "random1", "random2", "random3", "worse", "fine"),
    "data.train_part": ("noisy", "clean"),
    "noise.scale": ("raw", "unit", "normalised"),
    "mask_strategy.name": ("adaptive", "fixed", "random"),
    "mask_source.name": ("self", "pretrained"),
    "variant.masked_views": ("joint", "separate"),
    "variant.unmasked_views": ("kept", "replaced"),
    "variant.activation": ("class", "energy"),
    "variant.ratio_at_maximum": RATIOS,
    "variant.ratio_at_minimum": (*RATIOS, "as_maximum"),
    "variant.anchor": ("center", "corner"),
    "variant.fill": ("pixel_uniform", "box_color"),
    "variant.masked_target": ("method", "prediction"),
    "variant.label_ratio": ("realised", "nominal"),
    "variant.reconstruction_space": ("image", "normalised"),
    "base_method.forget_rate": ("known", "estimated"),
    "trainer.optimizer": ("sgd", "adam"),
    "trainer.schedule": ("steps", "linear", "cosine"),
    "trainer.precision": PRECISIONS,
}


@dataclass(frozen=True)
class Range:
    """Allowed numbers, ends included unless ``above`` is set."""

    low: float
    high: float = math.inf
    above: bool = False

    def holds(self, value: float) -> bool:
        return (value > self.low if self.above else value >= self.low) and value <= self.high

    def __str__(self) -> str:
        if math.isinf(self.high):
            return f"{'above' if self.above else 'at least'} {self.low:g}"
        return f"in {'(' if self.above else '['}{self.low:g}, {self.high:g}]"


RANGES: dict[str, Range] = {
    "noise.rate": Range(0, 1),
    "noise.seed": Range(0, 2**32 - 1),
    "seed": Range(0, 2**32 - 1),
    "pretrain.epochs": Range(1),
    "pretrain.batch_size": Range(2),
    "pretrain.lr": Range(0, above=True),
    "pretrain.warm_up": Range(0),
    "pretrain.momentum": Range(0, 1),
    "pretrain.weight_decay": Range(0),
    "pretrain.temperature": Range(0, above=True),
    "pretrain.loss_scale": Range(0, above=True),
    "pretrain.projection": Range(1),
    "pretrain.seed": Range(0, 2**32 - 1),
    "model.dropout": Range(0, 0.9),
    "model.depth": Range(18, 50),
    "components.start": Range(0),
    "tau.value": Range(0, 1),
    "mask_strategy.aspect": Range(0, 1, above=True),
    "mask_source.input_size": Range(64, 1024),  # a map of 2 x 2 at least
    "variant.painted_part": Range(0, 1, above=True),
    "variant.reconstruction_weight": Range(0),
    "base_method.warm_up": Range(0),
    "base_method.lambda_u": Range(0),
    "base_method.threshold": Range(0, 1),
    "base_method.temperature": Range(0, above=True),
    "base_method.alpha": Range(0, above=True),
    "base_method.ramp_up": Range(0, above=True),
    "base_method.views": Range(1),
    "base_method.noise_rate": Range(0, 1),
    "base_method.exponent": Range(0, above=True),
    "base_method.l1_decay": Range(0),
    "base_method.beta": Range(0, 1),
    "base_method.lambda_elr": Range(0),
    "base_method.lambda_ramp": Range(0),
    "base_method.average": Range(0, 1),
    "base_method.average_ramp": Range(0),
    "base_method.clip_norm": Range(0, above=True),
    "data.subset": Range(1),
    "data.test_subset": Range(1),
    "data.validation": Range(0, 0.5),
    "data.augment.crop_padding": Range(0),
    "data.augment.crop": Range(8),
    "data.classes": Range(2, 1000),
    "data.image_size": Range(8, 1024),
    "trainer.epochs": Range(1),
    "trainer.batch_size": Range(2),
    "trainer.epoch_samples": Range(1),
    "trainer.lr": Range(0, above=True),
    "trainer.momentum": Range(0, 1),
    "trainer.weight_decay": Range(0),
    "trainer.decay": Range(0, 1, above=True),
    "trainer.last_window": Range(1),
    "trainer.restart_every": Range(1),
    "trainer.lr_min": Range(0),
    "trainer.late_momentum": Range(0, 1),
    "quality.window": Range(1),
    "quality.iterations": Range(1),
    "quality.every": Range(0),
    "image_workers": Range(0, 64),
}


def from_table(path: str, *, _root_: DictConfig) -> Any:
    """OmegaConf resolver: the value that a setting's table holds for this data set, noise and noise rate.

    ``path`` is the table's place, ``group.tables.key``. A table is nested by data set, then noise, then rate; it may
    end early (the value then holds for all below), and ``"*"`` stands for any other. Raises InputError for a place
    that the table does not have: there are no silent defaults.
    """
    setting = path.replace(".tables.", ".")
    rate = OmegaConf.select(_root_, "noise.rate")
    noise = OmegaConf.select(_root_, "noise.kind") or _root_.noise.name  # of labels in a file
    place = {"data": _root_.data.name, "noise": noise, "noise.rate": rate}
    node: Any = OmegaConf.to_container(OmegaConf.select(_root_, path))
    for key, value in place.items():
        if not isinstance(node, dict):
            break
        found = _table_row(node, value)
        if found is None:
            here = " ".join(f"{k}={v}" for k, v in place.items() if v is not None)
            known = ", ".join(str(row) for row in node)
            raise InputError(f"{setting} is not tabulated for {here} (only {key} {known}); set {setting}=VALUE")
        node = node[found]
    return node


def _table_row(node: dict[Any, Any], value: Any) -> Any:
    if value in node:
        return value
    if isinstance(value, int | float):
        for row in node:  # rates are compared as numbers: 0.30000000000000004 is 0.3
            if not isinstance(row, str) and math.isclose(float(row), value):
                return row
    return "*" if "*" in node else None


OmegaConf.register_new_resolver("from_table", from_table, replace=True)
OmegaConf.register_new_resolver("expand_user", lambda path: str(Path(path).expanduser()), replace=True)


def checked(composed: DictConfig) -> Plain:
    """The composed config as plain values, all checked. Raises InputError, one line that names the key.

    ``composed`` holds the groups of ``conf/config.yaml``, without Hydra's own node.
    """
    _check_numbers(composed, ("noise.rate", "noise.seed", "seed"))  # other values may be looked up by these
    try:
        plain = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
        typed = OmegaConf.to_container(OmegaConf.merge(OmegaConf.structured(Schema), plain))
    except OmegaConfBaseException as error:
        raise _explained(error) from error
    assert isinstance(typed, dict)
    config: Plain = {str(key): value for key, value in typed.items()}
    for group in OPEN_GROUPS:
        _check_types(group, config[group])
    _check_numbers(OmegaConf.create(config), tuple(RANGES))
    _check_choices(config)
    _check_combinations(config)
    return config


def _explained(error: OmegaConfBaseException) -> InputError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    key = f"{error.full_key}: " if error.full_key else ""
    return InputError(key + str(error).partition("\n")[0])


def _check_numbers(config: DictConfig, keys: tuple[str, ...]) -> None:
    for key in keys:
        value, allowed = OmegaConf.select(config, key), RANGES[key]
        if value is None:
            continue
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not allowed.holds(value):
            raise InputError(f"{key}={value}: must be a number {allowed}")


def _check_choices(config: Plain) -> None:
    for key, choices in CHOICES.items():
        group, _, name = key.partition(".")
        value = config[group].get(name)
        if value is not None and value not in choices:
            raise InputError(f"{key}={value}: choose one of {', '.join(choices)}")


def _check_combinations(config: Plain) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config["device"]):
        raise InputError(f"device={config['device']}: choose one of auto, cpu, cuda, cuda:N")
    if config["images"] not in IMAGES:
        raise InputError(f"images={config['images']}: choose one of {', '.join(IMAGES)}")
    components = config["components"]
    if not components["amg"] and (components["nlr"] or components["smr"]):
        raise InputError("components: NLR and SMR need AMG's masks; set components.amg=true or components=none")
    if config["pretrain"].get("warm_up", 0) > config["pretrain"].get("epochs", 0):
        raise InputError("pretrain.warm_up is more than pretrain.epochs; lower it")
    if config["pretrain"]["name"] == "file" and not config["pretrain"].get("path"):
        raise InputError("pretrain=file needs pretrain.path=FILE, a checkpoint to start from")
    if config["pretrain"]["name"] == "imagenet" and config["model"]["name"] != "imagenet_resnet":
        raise InputError("pretrain=imagenet fits imagenet_resnet18 and imagenet_resnet50 alone: choose one as model")
    if config["pretrain"]["name"] == "imagenet" and config["model"]["depth"] not in PUBLISHED_IMAGENET_WEIGHTS:
        depths = ", ".join(map(str, PUBLISHED_IMAGENET_WEIGHTS))
        raise InputError(f"model.depth={config['model']['depth']}: pretrain=imagenet has weights for {depths}")
    if config["mask_source"]["name"] == "pretrained" and config["mask_source"]["input_size"] is None:
        raise InputError(
            "mask_source.name=pretrained needs an input_size; choose mask_source=pretrained, which has one"
        )
    _check_noise(config)
    _check_schedule(config["trainer"])
    _check_epoch_samples(config)
    _check_crop(config["data"])


def _check_noise(config: Plain) -> None:
    method, noise = config["base_method"], config["noise"]
    known = method.get("forget_rate", "known") == "known"
    if "noise_rate" in method and known and method["noise_rate"] is None:
        estimate = ", or base_method.forget_rate=estimated" if "forget_rate" in method else ""
        raise InputError(
            f"base_method.noise_rate: noise={noise['name']} has no rate of its own; give the share of wrong labels"
            + estimate
        )
    if noise["name"] == "human" and not (noise.get("path") and noise.get("key")):
        raise InputError(
            "noise=human needs noise.path=FILE, the labels of CIFAR-10N or CIFAR-100N, and noise.key, which of them: "
            + ", ".join(CHOICES["noise.key"])
        )
    fits = config["data"]["name"] == "cifar100" or noise.get("map")
    if noise.get("definition") is not None and not fits:
        raise InputError(f"noise.definition={noise['definition']} is for data=cifar100 alone; set it to null")


def _check_epoch_samples(config: Plain) -> None:
    trainer, size = config["trainer"], config["trainer"]["epoch_samples"]
    if size is None:
        return
    if size < trainer["batch_size"]:
        raise InputError(
            f"trainer.epoch_samples={size} is less than trainer.batch_size={trainer['batch_size']}; raise it"
        )
    if config["quality"]["window"] > 1:
        raise InputError(
            f"trainer.epoch_samples={size} has other samples each epoch, whose losses cannot be averaged over "
            f"quality.window={config['quality']['window']} of them; set quality.window=1"
        )


def _check_crop(data: Plain) -> None:
    crop, size = data["augment"].get("crop"), data.get("image_size")
    if crop is not None and size is not None and crop > size:
        raise InputError(f"data.augment.crop={crop} is more than data.image_size={size}; lower it")


def _check_schedule(trainer: Plain) -> None:
    if trainer["last_window"] > trainer["epochs"]:
        raise InputError("trainer.last_window is more than trainer.epochs; lower it")
    milestones = trainer["milestones"]
    if trainer["schedule"] == "linear" and not (milestones and 0 <= milestones[0] < trainer["epochs"]):
        raise InputError(
            f"trainer.milestones={milestones}: trainer.schedule=linear falls from the first of them, which has to lie "
            f"before trainer.epochs={trainer['epochs']}"
        )
    for key in ("momentum", "late_momentum"):
        if trainer["optimizer"] == "adam" and trainer[key] is not None and trainer[key] >= 1:
            raise InputError(f"trainer.{key}={trainer[key]}: must be below 1 for trainer.optimizer=adam")
    if trainer["schedule"] == "cosine" and (trainer["restart_every"] is None or trainer["lr_min"] is None):
        raise InputError("trainer.schedule=cosine needs trainer.restart_every (epochs) and trainer.lr_min")


# ---- types of the open groups, from their own YAML


def _check_types(group: str, values: Plain) -> None:
    examples = _examples(group, str(values.get("name")))
    if not examples:
        raise InputError(f"{group}.name={values.get('name')}: no option has this name; choose with {group}=OPTION")
    _check_against(group, values, examples)


def _check_against(place: str, values: Plain, examples: Plain) -> None:
    for key, value in values.items():
        if key not in examples:
            raise InputError(f"{place}.{key}: no such key; there are {', '.join(k for k in examples if k != 'tables')}")
        example = examples[key]
        if key == "tables" or example is None:  # a null in the YAML is filled with whatever it is for
            continue
        if isinstance(example, str) and "from_table" in example:
            example = _first_leaf(examples["tables"][key])
        if isinstance(example, dict) and isinstance(value, dict):
            _check_against(f"{place}.{key}", value, example)
        elif not _fits(value, example):
            raise InputError(f"{place}.{key}={value}: must be {_kind(example)}")


def _first_leaf(table: Any) -> Any:
    leaf = table
    while isinstance(leaf, dict):
        leaf = next(iter(leaf.values()))
    return float(leaf) if isinstance(leaf, int) and not isinstance(leaf, bool) else leaf


def _fits(value: Any, example: Any) -> bool:
    if isinstance(example, str) and "${" in example:
        return value is not None or example.endswith(",null}")
    if isinstance(example, list):
        return isinstance(value, list) and all(_fits(each, example[0]) for each in value if example)
    if isinstance(example, bool) or not isinstance(example, int | float):
        return isinstance(value, type(example))
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and (isinstance(example, float) or value == int(value))


def _kind(example: Any) -> str:
    if isinstance(example, list):
        return f"a list, like {example}"
    kinds = {bool: "true or false", int: "a whole number", float: "a number", dict: "a table"}
    return kinds.get(type(example), "a word")


@cache
def _examples(group: str, name: str) -> Plain:
    """The values of the group's options that share the name, as their YAML gives them."""
    examples: Plain = {}
    for file in sorted((CONF / group).glob("*.yaml")):
        option = OmegaConf.to_container(OmegaConf.load(file))
        if isinstance(option, dict) and option.get("name") == name:
            examples.update({str(key): value for key, value in option.items()})
    return examples
