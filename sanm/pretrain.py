"""The command line of pre-training alone: ``python -m sanm.pretrain [overrides]``.

It trains the encoder that runs with these overrides and ``pretrain=simclr``, which is implied, start from; they find
it and train it themselves otherwise. Torch is imported only once it is to be trained.
"""

from sanm.machine import stopping

if __name__ == "__main__":
    stopping.listen()  # before anything heavy is imported

import sys
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sanm.config.checks import checked
from sanm.config.override_words import typed
from sanm.errors import InputError, Interrupted
from sanm.fetch import fetch
from sanm.machine.several import processes
from sanm.machine.stopping import REQUEUE
from sanm.run import FAILED, answered, with_hydra
from sanm.terminal import output


@hydra.main(version_base="1.3", config_path="../conf", config_name="config")
def job(composed: DictConfig) -> None:
    """The encoder of what Hydra composed."""
    command = typed(HydraConfig.get().overrides.task)
    sys.exit(answered(lambda: train_or_skip(checked(composed), command)))  # here: Hydra would add lines of its own


def train_or_skip(config: dict[str, Any], command: list[str]) -> int:
    """Train the encoder if it is not there, and say so. Returns an exit status."""
    if config["pretrain"]["name"] != "simclr":
        raise InputError(f"pretrain={config['pretrain']['name']}: nothing is trained for it; choose pretrain=simclr")
    fetch(config)
    from sanm.machine.device import choose_device
    from sanm.pretraining.encoders import PretrainingError, pretrained

    try:
        directory = pretrained(config, choose_device(config["device"]), command)
    except Interrupted as saved:
        output.say(f"stopped  {saved}; the same command goes on from there")
        return REQUEUE
    except PretrainingError as error:
        output.say(f"failed   {error}")
        return FAILED
    result = directory.result()
    loss, probe = result.get("loss"), result.get("linear_probe_accuracy")
    figures = [f"loss {loss:.3f}"] * (loss is not None) + [f"linear probe {probe:.2f} %"] * (probe is not None)
    output.say(f"done     {directory.name}: {', '.join(figures)}")
    return 0


def main() -> None:
    """Run the command line; every error that a user can mend is one line."""
    processes.quiet_followers()
    if not any(word.startswith("pretrain=") for word in sys.argv[1:]):
        sys.argv.append("pretrain=simclr")
    sys.exit(answered(_work))


def _work() -> int:
    processes.check_alone()
    return with_hydra(job, grids=False)


if __name__ == "__main__":
    main()
