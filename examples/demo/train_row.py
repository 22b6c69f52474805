# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Trains one row of the demo's table with `examples/train.py`, then evaluates it on the held-out songs of the corpus.

Takes its own few arguments first and hands all others to `train.py`.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from evaluation import evaluate
from transformers import AutoProcessor

from collap import CollapModel

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "baselines"))
import train

from collap.baselines.mean_pooling import MeanPoolingCollap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mean_pooling", action="store_true", help="train the baseline without attention")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--figures", type=Path, required=True, help="JSON file for the figures")
    parser.add_argument("--features", required=True)
    parser.add_argument("--output_dir", required=True)
    own, others = parser.parse_known_args()
    shared = [f"--features={own.features}", f"--output_dir={own.output_dir}"]
    model_class = MeanPoolingCollap if own.mean_pooling else CollapModel
    train.main([*shared, *others], model_class)

    # As anyone would load it: what is evaluated is what was saved.
    model = model_class.from_pretrained(own.output_dir)
    processor = AutoProcessor.from_pretrained(own.output_dir)
    figures = evaluate(model, processor, own.corpus, Path(own.features))
    temporary = own.figures.with_suffix(".tmp")
    temporary.write_text(json.dumps(figures, indent=2))
    os.replace(temporary, own.figures)


if __name__ == "__main__":
    main()
