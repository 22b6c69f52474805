# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Trains one row of a table as examples/train.py does, and writes the seconds of computing that it took.

Takes the arguments of examples/train.py, `--mean_pooling` for CoLLAP's mean frame without attention, and `--lora_rank`
for LoRA in the text model, which is merged into its weights at the end.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from peft import PeftModel, get_peft_model
from transformers import HfArgumentParser

from collap import CollapModel
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.files import write_json
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.build import make_trainer, train_and_evaluate
from collap.training.lora import lora_config


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    model_class = MeanPoolingCollap if "--mean_pooling" in arguments else CollapModel
    started = time.process_time()
    parser = HfArgumentParser((ModelArguments, ConfigArguments, DataArguments, CollapTrainingArguments))
    parser.add_argument("--mean_pooling", action="store_true")
    parser.add_argument("--lora_rank", type=int)
    model, config, data, training, given = parser.parse_args_into_dataclasses(arguments)

    def add_lora(model: CollapModel) -> PeftModel:
        return get_peft_model(model, lora_config(model, r=given.lora_rank, lora_alpha=2 * given.lora_rank))

    trainer = make_trainer(model, config, data, training, model_class, add_lora if given.lora_rank else None)
    train_and_evaluate(trainer)
    if given.lora_rank:
        trainer.model.merge_and_unload().save_pretrained(training.output_dir)
        for file in ("adapter_config.json", "adapter_model.safetensors"):  # the folder holds a whole model now
            (Path(training.output_dir) / file).unlink()
    write_json(Path(training.output_dir) / "seconds.json", {"cpu_seconds": time.process_time() - started})


if __name__ == "__main__":
    main()
