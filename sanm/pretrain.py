"""The command line of pre-training alone: ``python -m sanm.pretrain [overrides]``.

It trains the encoder that runs with these overrides and ``pretrain=simclr``, which is implied, start from; they find
it and train it themselves otherwise. Torch is imported only once it is to be trained.
"""

from __future__ import annotations

import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sanm.config import checked
from sanm.errors import InputError
from sanm.fetch import fetch
from sanm.run import FAILED, MULTIRUN, REFUSED
from sanm.run import main as run_main


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(composed: DictConfig) -> None:
    """The encoder of what Hydra composed."""
    try:
        status = train_or_skip(checked(composed), list(HydraConfig.get().overrides.task))
    except InputError as error:  # here, since Hydra would add a line of its own
        print(f"error    {error}", file=sys.stderr, flush=True)
        status = REFUSED
    sys.exit(status)


def train_or_skip(config: dict[str, Any], command: list[str]) -> int:
    """Train the encoder if it is not there, and say so. Returns an exit status."""
    if config["pretrain"]["name"] != "simclr":
        raise InputError(f"pretrain={config['pretrain']['name']}: nothing is trained for it; choose pretrain=simclr")
    fetch(config)
    from sanm.encoders import PretrainingError, pretrained
    from sanm.experiment import choose_device

    try:
        directory = pretrained(config, choose_device(config["device"]), command)
    except PretrainingError as error:
        print(f"failed   {error}", flush=True)
        return FAILED
    result = directory.result()
    probe = result["linear_probe_accuracy"]
    accuracy = "" if probe is None else f", linear probe {probe:.2f} %"
    print(f"done     {directory.name}: loss {result['loss']:.3f}{accuracy}", flush=True)
    return 0


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    if set(MULTIRUN) & set(sys.argv[1:]):
        print("error    sanm.pretrain takes one encoder at a time: leave out -m", file=sys.stderr)
        sys.exit(REFUSED)
    if not any(word.startswith("pretrain=") for word in sys.argv[1:]):
        sys.argv.insert(1, "pretrain=simclr")
    run_main(job)


if __name__ == "__main__":
    main()
