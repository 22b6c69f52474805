# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Trains CoLLAP on songs with descriptions.

From pretrained towers, with the recipe of the paper (frozen audio encoders, AdamW, 1e-4, 20 epochs). The encoders
encode every song once, then each epoch trains on the cached features:

    TOWERS="--music_model FOLDER_OF_A_CONVERTED_BEATS --speech_model openai/whisper-large-v2 --text_model roberta-base"
    accelerate launch examples/extract_features.py $TOWERS --manifests train.jsonl validation.jsonl --features features
    accelerate launch examples/train.py $TOWERS --train_manifest train.jsonl --eval_manifest validation.jsonl \
        --features features --learning_rate 1e-4 --num_train_epochs 20 --contrastive_batch_size 128 --bf16 \
        --output_dir my-collap

To train a CoLLAP further, give `--model_name_or_path FOLDER` in place of the three towers. If the folder holds a
transformers `ClapModel`, that is trained, on a random window of 10 s of each song: a baseline on the same songs, by
the same loss.

A manifest is a file of JSON lines, CSV or Parquet with the columns `audio` (a path) and `text`; or a folder of songs
with a text beside each; or the name of a data set with those columns. All of transformers' `TrainingArguments` work
too: `--resume_from_checkpoint true` resumes after an interruption, `--activation_checkpointing`, `--push_to_hub` and
so on. More: docs/training.md.
"""

import logging
import sys
from pathlib import Path

from transformers import HfArgumentParser

from collap.cli import HelpFormatter, run_script
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.build import make_trainer, take_push_to_hub, train_and_evaluate
from collap.training.clap import is_clap


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Trains, evaluates and saves; returns the metrics of the evaluation."""
    parser = HfArgumentParser(
        (ModelArguments, ConfigArguments, DataArguments, CollapTrainingArguments),
        usage="accelerate launch examples/train.py --train_manifest FILE --output_dir FOLDER [arguments]",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    model, config, data, training = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    push_to_hub = take_push_to_hub(training)
    if push_to_hub and is_clap(model.model_name_or_path):
        raise ValueError("--push_to_hub publishes a CoLLAP, not a ClapModel: push its folder with `hf upload`.")
    trainer = make_trainer(model, config, data, training)
    return train_and_evaluate(trainer, push_to_hub, data.eval_manifest and Path(data.eval_manifest).name)


if __name__ == "__main__":
    run_script(main)
