"""The two settings that noise models share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sanm.errors import InputError

LARGEST_SEED = 2**32 - 1  # of NumPy's RandomState


def rate_of(settings: Mapping[str, Any]) -> float:
    """The nominal noise rate. Raises InputError unless it is a number in [0, 1]."""
    rate = settings.get("rate")
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise InputError(f"noise.rate={rate}: must be a number in [0, 1]")
    return float(rate)


def seed_of(settings: Mapping[str, Any]) -> int:
    """The seed; 0 for noise that has none. Raises InputError unless it is a whole number in [0, 2^32)."""
    seed = settings.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"noise.seed={seed}: must be a whole number in [0, {LARGEST_SEED}]")
    return seed
