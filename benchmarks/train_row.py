# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Trains one row of a table as examples/train.py does, and writes the seconds of computing that it took.

Takes the arguments of examples/train.py, and `--mean_pooling` for CoLLAP's mean frame without attention.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from transformers import HfArgumentParser

from collap import CollapModel
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.files import write_json
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.build import make_trainer, train_and_evaluate


def main(arguments: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    model_class = MeanPoolingCollap if "--mean_pooling" in arguments else CollapModel
    started = time.process_time()
    parser = HfArgumentParser((ModelArguments, ConfigArguments, DataArguments, CollapTrainingArguments))
    parser.add_argument("--mean_pooling", action="store_true")
    model, config, data, training, _ = parser.parse_args_into_dataclasses(arguments)
    train_and_evaluate(make_trainer(model, config, data, training, model_class))
    seconds = {"cpu_seconds": time.process_time() - started}
    write_json(Path(training.output_dir) / "seconds.json", seconds)


if __name__ == "__main__":
    main()
