"""The groups that every run shares, typed; OmegaConf refuses unknown keys and wrong types against them.

The other groups are typed by their own YAML (``sanm.config``), so that a new option is one file.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Components:
    amg: bool
    nlr: bool
    smr: bool
    start: int


@dataclass
class Tau:
    value: float


@dataclass
class MaskStrategy:
    name: str
    aspect: float


@dataclass
class MaskSource:
    name: str
    weights: str | None
    input_size: int | None


@dataclass
class Variant:
    masked_views: str
    unmasked_views: str
    activation: str
    ratio_at_maximum: str
    ratio_at_minimum: str
    painted_part: float
    anchor: str
    fill: str
    masked_target: str
    label_ratio: str
    reconstruction_space: str
    reconstruction_weight: float


@dataclass
class TrainerSettings:
    epochs: int
    batch_size: int
    lr: float
    momentum: float
    weight_decay: float
    milestones: list[int]
    decay: float
    last_window: int
    epoch_samples: int | None
    precision: str
    compile: bool
    optimizer: str
    schedule: str
    restart_every: int | None
    lr_min: float | None
    late_momentum: float | None
    save_model: bool
    tables: dict[str, Any] = field(default_factory=dict)


@dataclass
class Quality:
    window: int
    iterations: int
    every: int
    tables: dict[str, Any] = field(default_factory=dict)


@dataclass
class Schema:
    """The whole config; OmegaConf refuses unknown keys and wrong types against it."""

    pretrain: dict[str, Any]
    base_method: dict[str, Any]
    noise: dict[str, Any]
    components: Components
    tau: Tau
    mask_strategy: MaskStrategy
    mask_source: MaskSource
    variant: Variant
    data: dict[str, Any]
    model: dict[str, Any]
    trainer: TrainerSettings
    quality: Quality
    seed: int
    device: str
    runs_dir: str
    cache_dir: str
    retry: bool
    save_labels: bool
    keep_checkpoint: bool
