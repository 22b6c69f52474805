# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Runs examples/train.py again and again, each time in a process that is killed where the plan says.

    python survival_script.py '[["in a step", 5], ["between model and optimizer", 8], null]' [arguments of train.py]

Prints how each run ended: 0, or -9 for killed. The processes are forks of this one, which spares them the imports.
"""

import json
import os
import signal
import sys
import traceback
from typing import Any

import torch

from collap.training import checkpointing
from collap.training.trainer import CollapTrainer
from examples.train import main

# Where a run may be killed: at the entry of these functions.
PLACES: dict[str, tuple[Any, str]] = {
    "in a step": (CollapTrainer, "training_step"),
    "between model and optimizer": (CollapTrainer, "_save_optimizer_and_scheduler"),
    "between optimizer and random state": (CollapTrainer, "_save_rng_state"),
    "before the checkpoint is complete": (checkpointing, "write_json"),
    "before old ones are deleted": (checkpointing, "_delete_old"),
    "before the final model": (checkpointing, "_replace_model"),
}


def kill_this_process(place: str, step: int) -> None:
    """Arms a SIGKILL, which no `finally` and no exit handler sees."""
    owner, name = PLACES[place]
    function = getattr(owner, name)
    now = 0

    def die(*args: Any, **kwargs: Any) -> Any:
        if now == step:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)

    setattr(owner, name, die)
    training_step = CollapTrainer.training_step

    def follow(trainer: CollapTrainer, *args: Any, **kwargs: Any) -> torch.Tensor:
        nonlocal now
        now = trainer.state.global_step + 1
        return training_step(trainer, *args, **kwargs)

    CollapTrainer.training_step = follow


def run(kill: tuple[str, int] | None, arguments: list[str]) -> int:
    """The exit status of one run, as `subprocess` gives it."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            if kill is not None:
                kill_this_process(*kill)
            main(arguments)
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


if __name__ == "__main__":
    print(json.dumps([run(kill, sys.argv[2:]) for kill in json.loads(sys.argv[1])]))
