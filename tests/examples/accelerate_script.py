# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
examples/train.py under `accelerate launch` on CPUs, sharded as on GPUs, and killed where a test wants it.

    accelerate launch --config_file FILE accelerate_script.py 'null' [arguments of train.py]
    accelerate launch --config_file FILE accelerate_script.py '[1, "in a step", 3]' [arguments of train.py]

The second kills process 1 in step 3. Each process writes what it was into `process-N.json` of the output folder.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from accelerate.state import AcceleratorState, PartialState
from accelerate.utils import DistributedType


def shard_on_cpus() -> None:
    """Accelerate shards on accelerators only; on CPUs it starts one process, or copies the model."""
    PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_CPU)
    initialize = AcceleratorState.__init__

    def with_fsdp(self: AcceleratorState, *args: Any, fsdp_plugin: Any = None, **kwargs: Any) -> None:
        initialize(self, *args, fsdp_plugin=fsdp_plugin, **kwargs)
        if fsdp_plugin is not None:
            self.fsdp_plugin = fsdp_plugin
            if self.mixed_precision != "no":
                fsdp_plugin.set_mixed_precision(self.mixed_precision)
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP

    AcceleratorState.__init__ = with_fsdp


if __name__ == "__main__":
    # Before collap is imported, which looks at the devices.
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        shard_on_cpus()

    from survival_script import kill_this_process

    from collap.training.trainer import CollapTrainer
    from examples.train import main

    training_step = CollapTrainer.training_step

    def note(trainer: CollapTrainer, model: Any, *args: Any, **kwargs: Any) -> Any:
        parameters = list(trainer.model.parameters())
        local = [value.to_local() if hasattr(value, "to_local") else value for value in parameters]
        file = Path(trainer.args.output_dir) / f"process-{trainer.args.process_index}.json"
        what = {
            "processes": trainer.args.world_size,
            "distributed_type": trainer.accelerator.distributed_type.value,
            "share_of_weights": sum(value.numel() for value in local) / sum(value.numel() for value in parameters),
            "is_engine": type(model).__name__,
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(what))
        return training_step(trainer, model, *args, **kwargs)

    CollapTrainer.training_step = note
    kill = json.loads(sys.argv[1])
    if kill is not None and kill[0] == int(os.environ.get("RANK", "0")):
        kill_this_process(*kill[1:])

    main(sys.argv[2:])
