"""From what Hydra composed to checked plain values.

Nothing heavy is imported here, so that a bad config is refused before anything loads.
"""

import math
import re
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sanm.config.limits import CONF, TOP, came_later, check_keys, check_value, checked_values, described, groups, limits
from sanm.config.phases import OF_THE_METHOD, phases_of
from sanm.errors import InputError
from sanm.formats.background import color_of
from sanm.record.identity import PUBLISHED_IMAGENET_WEIGHTS

__all__ = ["CONF", "checked"]

Plain = dict[str, Any]


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
    table = OmegaConf.select(_root_, path)
    if table is None:
        raise InputError(f"{path} is missing: leave its deletion out, or set {setting}=VALUE")
    node: Any = OmegaConf.to_container(table) if OmegaConf.is_config(table) else table
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
OmegaConf.register_new_resolver("limits", described, replace=True)


def value_at(key: str, method: str, data: str, noise: str, rate: float) -> Any:
    """A setting of a method's option, or of the top, for a data set and noise; None where a table has no such place."""
    place = {"data": _file("data", data), "noise": {"name": noise, "rate": rate}}
    root = OmegaConf.create({**_file("", "config"), **place, "base_method": _file("base_method", method)})
    try:
        return OmegaConf.select(root, key)
    except (InputError, OmegaConfBaseException) as error:
        if isinstance(error, InputError) or isinstance(_explained(error), InputError):
            return None
        raise


def _file(group: str, name: str) -> Plain:
    found = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items() if key not in ("defaults", "hydra")}


def checked(composed: DictConfig) -> Plain:
    """The composed config as plain values, all checked. Raises InputError, one line that names the key.

    ``composed`` holds the groups of ``conf/config.yaml``, without Hydra's own node.
    """
    written = OmegaConf.to_container(composed)
    assert isinstance(written, dict)
    _check_named(written.get("model"))
    check_keys({str(key): value for key, value in written.items()})
    check_value(TOP, "seed", composed.seed)  # others are looked up by this one, and by the noise
    checked_values("noise", _resolved(composed.noise))
    plain = _resolved(composed)
    config = {group: checked_values(group, plain[group]) for group in groups()} | checked_values(TOP, plain)
    _check_combinations(config)
    return {**config, "came_later": came_later()}


def _resolved(composed: DictConfig) -> Plain:
    try:
        plain = OmegaConf.to_container(composed, resolve=True)
    except OmegaConfBaseException as error:
        raise _explained(error) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _explained(error: OmegaConfBaseException) -> InputError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__cause__ or cause.__context__
    key = f"{error.full_key}: " if error.full_key else ""
    return InputError(key + str(error).partition("\n")[0])


def _check_named(model: Any) -> None:
    """Raises InputError where a model of timm stands in the place of the network's kind."""
    if isinstance(model, dict) and "architecture" in model and model.get("name") != "timm":
        name = model.get("name")
        raise InputError(f"model.name={name}: the name is timm; give model=timm model.architecture={name}")


def _check_combinations(config: Plain) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", config["device"]):
        raise InputError(f"device={config['device']}: choose one of auto, cpu, cuda, cuda:N")
    components = config["components"]
    if not components["amg"] and (components["nlr"] or components["smr"]):
        raise InputError("components: NLR and SMR need AMG's masks; set components.amg=true or components=none")
    if config["pretrain"].get("warm_up", 0) > config["pretrain"].get("epochs", 0):
        pretrain = config["pretrain"]
        raise InputError(
            f"pretrain.warm_up={pretrain['warm_up']} is more than pretrain.epochs={pretrain['epochs']}; lower it"
        )
    if config["pretrain"]["name"] == "file" and not config["pretrain"].get("path"):
        raise InputError("pretrain=file needs pretrain.path=FILE, a checkpoint to start from")
    if config["pretrain"]["name"] == "imagenet" and config["model"]["name"] != "imagenet_resnet":
        raise InputError("pretrain=imagenet fits imagenet_resnet18 and imagenet_resnet50 alone: choose one as model")
    if config["pretrain"]["name"] == "imagenet" and config["model"]["depth"] not in PUBLISHED_IMAGENET_WEIGHTS:
        depths = ", ".join(map(str, PUBLISHED_IMAGENET_WEIGHTS))
        raise InputError(f"model.depth={config['model']['depth']}: pretrain=imagenet has weights for {depths}")
    if config["plugin"]["name"] == "alasca" and len(config["model"].get("widths", "ab")) < 2:
        widths = config["model"]["widths"]
        raise InputError(f"model.widths={widths}: plugin=alasca needs two stages or more; give more, or plugin=none")
    _check_timm(config)
    if config["model"].get("frozen"):
        _check_frozen(config)
    _check_trainer(config["trainer"])
    _check_noise(config)
    for phase in phases_of(config):  # which may have other pools than the run: the method's limit is for them too
        for key in OF_THE_METHOD:
            check_value("base_method", key, phase.method[key])
        _check_schedule(phase.trainer)
    _check_epoch_samples(config)
    crop, size = config["data"]["augment"].get("crop"), config["data"].get("image_size")
    if crop is not None and size is not None and crop > size:
        raise InputError(f"data.augment.crop={crop} is more than data.image_size={size}; lower it")
    color_of(config["data"].get("background"))


def _check_timm(config: Plain) -> None:
    model, pretrain = config["model"], config["pretrain"]["name"]
    if pretrain == "timm" and model["name"] != "timm":
        raise InputError("pretrain=timm has weights of timm's models: choose model=timm, or another pretrain")
    architecture = str(model.get("architecture", ""))
    if pretrain == "efficientnet_lite0" and architecture.partition(".")[0] != "tf_efficientnet_lite0":
        raise InputError(
            "pretrain=efficientnet_lite0 has weights of one network: choose model=timm "
            "model.architecture=tf_efficientnet_lite0, or another pretrain"
        )
    if model.get("hidden") is not None and not model["frozen"]:
        raise InputError(f"model.hidden={model['hidden']} is of the head on frozen features: set model.frozen=true")
    source = config["mask_source"]
    if source["network"] == "efficientnet_lite0" and source["weights"] is not None:
        raise InputError(
            "mask_source.network=efficientnet_lite0 takes its package's weights: set mask_source.weights=null"
        )


def _check_frozen(config: Plain) -> None:
    """A frozen backbone leaves a vector of features of each image: nothing can be drawn or painted on it."""
    frozen, pretrain = "model.frozen=true leaves features, no images", config["pretrain"]["name"]
    if pretrain in ("none", "simclr"):
        raise InputError(
            f"pretrain={pretrain}: model.frozen=true keeps the weights that are published for it; choose pretrain="
            "timm, efficientnet_lite0 or file"
        )
    if config["components"]["amg"]:
        raise InputError(f"{frozen}, and SANM masks parts of images: set components=none, or model.frozen=false")
    if config["plugin"]["name"] != "none":
        plugin = config["plugin"]["name"]
        raise InputError(f"{frozen}, and plugin={plugin} reads all stages: set plugin=none, or model.frozen=false")
    for phase in phases_of(config):
        for key in ("learn_from", "guess_on"):
            pools = phase.method[key]
            for pool in pools if isinstance(pools, list) else [pools]:
                if pool not in ("weak", "none"):
                    raise InputError(
                        f"base_method.{key}={pool}: {frozen}, and {pool} changes images; set base_method.{key}=none, "
                        "or model.frozen=false"
                    )


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
            + ", ".join(limits("noise")["key"].choices)
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


def _check_trainer(trainer: Plain) -> None:
    if trainer["last_window"] > trainer["epochs"]:
        raise InputError(
            f"trainer.last_window={trainer['last_window']} is more than trainer.epochs={trainer['epochs']}; lower it"
        )
    if any(later <= earlier for earlier, later in pairwise(trainer["milestones"])):
        raise InputError(f"trainer.milestones={trainer['milestones']}: each has to lie after the one before it")


def _check_schedule(trainer: Mapping[str, Any]) -> None:
    milestones = trainer["milestones"]
    if trainer["schedule"] == "linear" and not (milestones and 0 <= milestones[0] < trainer["epochs"]):
        raise InputError(
            f"trainer.milestones={milestones}: trainer.schedule=linear falls from the first of them, which has to lie "
            f"before trainer.epochs={trainer['epochs']}"
        )
    for key in ("momentum", "late_momentum"):
        if trainer["optimizer"] == "adam" and trainer[key] is not None and trainer[key] >= 1:
            raise InputError(f"trainer.{key}={trainer[key]}: must be below 1 for trainer.optimizer=adam")
    shape = trainer["schedule"]
    if shape in ("cosine", "waves") and (trainer["restart_every"] is None or trainer["lr_min"] is None):
        raise InputError(f"trainer.schedule={shape} needs trainer.restart_every (epochs) and trainer.lr_min")
