# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Evaluates one trained model of the demo and writes its figures as JSON."""

import argparse
import json
import os
from pathlib import Path

import torch
from evaluation import evaluate
from train_mean_pooling import MeanPoolingCollap
from transformers import AutoProcessor

from collap import CollapModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--mean_pooling", action="store_true", help="the model is the baseline without attention")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--encoder_frames_dir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model_class = MeanPoolingCollap if arguments.mean_pooling else CollapModel
    model = model_class.from_pretrained(arguments.model)
    processor = AutoProcessor.from_pretrained(arguments.model)
    figures = evaluate(model, processor, arguments.corpus, arguments.encoder_frames_dir)
    temporary = arguments.output.with_suffix(".tmp")
    temporary.write_text(json.dumps(figures, indent=2))
    os.replace(temporary, arguments.output)


if __name__ == "__main__":
    main()
