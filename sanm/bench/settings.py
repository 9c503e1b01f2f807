"""The bench's own keys, ``bench.KEY=VALUE`` on its command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import OmegaConf

from sanm.errors import InputError

CLOCKS = ("wall", "cpu")
PREFIX = "bench."


@dataclass(frozen=True)
class Settings:
    steps: int = 10  # timed steps of each arrangement, taken in turn; medians are shown
    features: bool = True  # also the step with each feature off
    replaced: bool = True  # also masks and views against image-by-image code
    streamed: bool = True  # also the step with images streamed from the disk
    compile_seconds: int = 0  # time that trainer.compile=true may take to be measured; 0: it is left out
    clock: str = "wall"  # wall | cpu: of the process, all threads; for one thread on a machine that others use too
    peak_tflops: float | None = None  # of the GPU in this precision, where it is none of those known
    json: str | None = None  # file for all figures


def split(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """The bench's settings among the words of a command line, and the words that are left: overrides of the config.

    Raises InputError, or what OmegaConf does, for keys and values that are not allowed.
    """
    own = [word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)]
    without = next((word for word in own if "=" not in word), None)
    if without is not None:
        raise InputError(f"{PREFIX}{without}: give a value, {PREFIX}{without}=VALUE")
    settings = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Settings), OmegaConf.from_dotlist(own)))
    assert isinstance(settings, Settings)
    if settings.steps < 1:
        raise InputError(f"bench.steps={settings.steps}: must be a number at least 1")
    if settings.compile_seconds < 0:
        raise InputError(f"bench.compile_seconds={settings.compile_seconds}: must be a number at least 0")
    if settings.clock not in CLOCKS:
        raise InputError(f"bench.clock={settings.clock}: choose one of {', '.join(CLOCKS)}")
    return settings, [word for word in words if not word.startswith(PREFIX)]
