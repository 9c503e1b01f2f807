"""What a training step costs, and where: ``python -m sanm.bench [bench.KEY=VALUE ...] [overrides as for sanm.run]``.

    python -m sanm.bench                                          DivideMix + SANM, small network, CIFAR's shapes
    python -m sanm.bench base_method=ce model=preact_resnet18 trainer.batch_size=64 device=cpu
    python -m sanm.bench preset=paper trainer.precision=bf16 device=cuda bench.json=bench.json
    python -m sanm.bench bench.clock=cpu                          one thread, CPU time: on a machine others use too
    python -m sanm.bench bench.neighbours=50000                   exact neighbours of so many samples, no step

It needs no data: images are synthetic, in the shape of those of ``data=...``. What a feature costs is the difference of
two such commands, as with components=none. Its own keys:

    bench.steps=10            timed steps, whose median is shown, and as many that are profiled
    bench.clock=wall          wall | cpu
    bench.peak_tflops=null    of the GPU in this precision, for MFU, where it is none of those known
    bench.neighbours=null     samples whose 250 nearest neighbours are found, by 128 features, instead of a step
    bench.trace=null          file for torch.profiler's trace of the steps (chrome://tracing, Perfetto), as json
    bench.json=null           file for all figures; one that is there is replaced with --overwrite alone
"""

from __future__ import annotations

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen(then="nothing was written")  # before anything heavy is imported

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sanm.config.checks import CONF, checked
from sanm.config.limits import Limit, check_number
from sanm.config.override_words import check_words
from sanm.errors import InputError
from sanm.files import write_bytes
from sanm.machine.several.processes import check_alone
from sanm.run import ONE_AT_A_TIME, answered
from sanm.terminal import output
from sanm.terminal.command_line import check_output

OVERWRITE = "--overwrite"
CHOSEN = {"data": "cifar10", "model": "preact_small", "trainer": "paper"}
"""What stands in for the defaults of a run, which are for 8x8 digits, where neither it nor a preset is given."""
CLOCKS = ("wall", "cpu")
PREFIX = "bench."


@dataclass
class Settings:
    """The bench's own keys; the text above says what they are."""

    steps: int = 10
    clock: str = "wall"
    peak_tflops: float | None = None
    neighbours: int | None = None
    trace: str | None = None
    json: str | None = None


def split(words: Sequence[str]) -> tuple[Settings, list[str]]:
    """The bench's settings among the words of a command line, and the words that are left: overrides of the config.

    Raises InputError for keys and values that are not allowed.
    """
    settings = OmegaConf.structured(Settings)
    for word in (word.removeprefix(PREFIX) for word in words if word.startswith(PREFIX)):
        if not word.partition("=")[2]:
            raise InputError(f"{PREFIX}{word}: give a value, {PREFIX}{word.rstrip('=')}=VALUE")
        try:
            settings.merge_with_dotlist([word])
        except (OmegaConfBaseException, yaml.YAMLError) as error:
            reason = " ".join(str(error).partition("full_key")[0].split())
            raise InputError(f"{PREFIX}{word}: {reason}; there are {', '.join(map(str, settings))}") from error
    check_number("bench.peak_tflops", settings.peak_tflops, Limit(above=0))
    check_number("bench.steps", settings.steps, Limit(at_least=1))
    check_number("bench.neighbours", settings.neighbours, Limit(at_least=2))
    if settings.clock not in CLOCKS:
        raise InputError(f"bench.clock={settings.clock}: choose one of {', '.join(CLOCKS)}")
    return cast(Settings, OmegaConf.to_object(settings)), [word for word in words if not word.startswith(PREFIX)]


def main(words: Sequence[str]) -> int:
    """Measure, print, write. Returns an exit status."""
    output.begin()
    if {"--help", "-h"} & set(words):
        print(__doc__)
        return 0
    return answered(lambda: _measure(words))


def _measure(words: Sequence[str]) -> int:
    check_alone()
    settings, overrides = split([word for word in words if word != OVERWRITE])
    places = {name: Path(place).expanduser() for name in ("json", "trace") if (place := getattr(settings, name))}
    for name, place in places.items():
        check_output(place, OVERWRITE in words, option=f"{PREFIX}{name}")
    check_words(overrides, ONE_AT_A_TIME)
    given = {word.partition("=")[0] for word in overrides}
    chosen = [f"{group}={option}" for group, option in CHOSEN.items() if not given & {group, "preset"}]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = checked(compose("config", overrides=[*chosen, *overrides]))
    if config["model"].get("frozen"):
        raise InputError("model.frozen=true: a step on features costs next to nothing; set it to false")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # these two before torch is imported: its profiler is no talker
    if settings.clock == "cpu":
        os.environ["OMP_NUM_THREADS"] = "1"
    from sanm.bench import report

    if settings.neighbours is None:
        found = report.measure(config, settings.steps, settings.clock, settings.peak_tflops, places.get("trace"))
        print(report.text(found))
    else:
        found = report.of_neighbours(config, settings.neighbours, settings.clock)
        print(report.neighbours_text(found))
    if "json" in places:
        write_bytes(places["json"], (json.dumps(found, indent=1) + "\n").encode())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
