# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What each structure augmentation does to finding held-out songs: by captions, in order or not, and by one section.

    python examples/demo/run.py --output_dir demo
    python -m benchmarks.long_form.augmentation --demo_dir demo --seeds 0 1

Trains sentence queries with time (the demo's best row, without its loss of moments) anew for each way to augment, on
the demo's corpus, with its encoders and its recipe: as many steps for each. What was trained before is kept, in
`DEMO_DIR/structure_augmentation`. Writes benchmarks/results/structure_augmentation.json. Differences between seeds are
as large as many between rows: read both.
"""

import argparse
import json
import random
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel, AutoProcessor

from benchmarks.speed.common import write_result
from collap.metrics import retrieval_metrics

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
sys.path.insert(0, str(DEMO))
from evaluation import WORDINGS, embed_songs, embed_texts, read_songs  # noqa: E402 - after the path
from run import RECIPE, SENTENCES  # noqa: E402
from small_model import MODEL  # noqa: E402
from steps import (  # noqa: E402
    Step,
    named,
    python,
    run_steps,
)

CROP, REORDER = "section_crop_probability", "section_reorder_probability"
DROP, SHUFFLE = "sentence_drop_probability", "sentence_shuffle_probability"
ROWS = {
    "none": {},
    "shuffle 0.25 (the demo)": {SHUFFLE: 0.25},
    "crop 0.5": {CROP: 0.5},
    "reorder 0.5": {REORDER: 0.5},
    "drop 0.5": {DROP: 0.5},
    "crop 0.5, reorder 0.5": {CROP: 0.5, REORDER: 0.5},
}
# Kinds of queries and the figures told of them.
FIGURES = {
    "text_to_audio": ("recall@1", "recall@5", "median_rank"),
    "audio_to_text": ("recall@1", "recall@5", "median_rank"),
    "section": ("recall@1", "recall@5", "recall@10", "median_rank"),
}


def make_steps(demo: Path, num_epochs: int, seeds: list[int]) -> dict[tuple[str, int], Step]:
    """The training of each row with each seed, seed by seed."""
    out = demo / "structure_augmentation"
    towers = {f"{kind}_model": demo / "encoders" / kind for kind in ("music", "speech")}
    model = towers | {"text_model": demo / "text"} | MODEL
    steps = {}
    for seed in seeds:
        for row, probabilities in ROWS.items():
            folder = out / f"{row}, seed {seed}"
            recipe = RECIPE | dict.fromkeys((CROP, REORDER, DROP, SHUFFLE), 0.0) | probabilities
            recipe |= {"train_manifest": demo / "corpus" / "train.jsonl", "seed": seed, "num_train_epochs": num_epochs}
            recipe |= {"eval_manifest": demo / "corpus" / "validation.jsonl"}
            own = {"corpus": demo / "corpus", "features": demo / "features", "output_dir": folder}
            own["figures"] = out / f"{row}, seed {seed}.json"
            command = python(DEMO / "train_row.py", *named(own), *named(recipe), *named(model), *SENTENCES)
            steps[row, seed] = Step(folder.name, folder.name, command, out / f"{folder.name}.done.json")
    return steps


def read_figures(demo: Path, row: str, seed: int) -> dict[str, Any]:
    """What a row reaches with a seed, shares in percent."""
    out = demo / "structure_augmentation"
    found = json.loads((out / f"{row}, seed {seed}.json").read_text())
    validation = json.loads((out / f"{row}, seed {seed}" / "eval_results.json").read_text())
    figures: dict[str, Any] = {"validation_loss": validation["eval_loss"]}
    for wording, kinds in found.items():
        for kind, names in FIGURES.items():
            for name in names:
                scale = 1 if name == "median_rank" else 100
                figures[f"{wording} {kind} {name}"] = scale * kinds[kind][name]
        figures[f"{wording} order"] = 100 * kinds["order"]
    return figures | find_by_shuffled_captions(demo, out / f"{row}, seed {seed}")


@torch.inference_mode()
def find_by_shuffled_captions(demo: Path, folder: Path) -> dict[str, float]:
    """How well a model finds songs by captions that do not tell them in order: the same captions, shuffled once."""
    model = AutoModel.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    songs = read_songs(demo / "corpus" / "content.jsonl")
    audio = embed_songs(model, processor, songs, demo / "features")
    figures = {}
    for wording, (column, _) in WORDINGS.items():
        draws = random.Random(0)
        texts = [draws.sample(song[column], len(song[column])) for song in songs]
        scores = model.score(audio, embed_texts(model, processor, texts))
        recall = retrieval_metrics(scores.T.numpy(), list(range(len(songs))))["recall@1"]
        figures[f"{wording} shuffled text_to_audio recall@1"] = 100 * recall
    return figures


def print_table(means: dict[str, dict[str, float]]) -> None:
    columns = {
        "valid. loss": "validation_loss",
        "caption R@1 seen": "seen text_to_audio recall@1",
        "new": "new text_to_audio recall@1",
        "shuffled R@1 seen": "seen shuffled text_to_audio recall@1",
        "new ": "new shuffled text_to_audio recall@1",
        "section R@1 seen": "seen section recall@1",
        "new  ": "new section recall@1",
        "section R@10 seen": "seen section recall@10",
        "new   ": "new section recall@10",
        "order seen": "seen order",
        "new    ": "new order",
    }
    width = max(map(len, means))
    print(f"{'':{width}} | " + " | ".join(columns))
    for row, figures in means.items():
        cells = [f"{figures[key]:{max(4, len(name))}.{2 if 'loss' in key else 1}f}" for name, key in columns.items()]
        print(f"{row:{width}} | " + " | ".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo_dir", type=Path, required=True, help="what examples/demo/run.py has made")
    parser.add_argument("--num_epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--num_processes", type=int, default=1, help="rows that are trained side by side")
    arguments = parser.parse_args()
    steps = make_steps(arguments.demo_dir, arguments.num_epochs, arguments.seeds)
    logs = arguments.demo_dir / "structure_augmentation" / "logs"
    run_steps(list(steps.values()), logs, at_once=arguments.num_processes)
    rows, means = {}, {}
    for row, probabilities in ROWS.items():
        seeds = {seed: read_figures(arguments.demo_dir, row, seed) for seed in arguments.seeds}
        means[row] = {
            name: statistics.mean(figures[name] for figures in seeds.values())
            for name in seeds[arguments.seeds[0]]
        }  # fmt: skip
        rows[row] = {"probabilities": probabilities, "mean": means[row], "seeds": seeds}
    what = (
        "sentence queries with time on the demo's corpus; shares in percent, ranks from 1 of 100 songs (order: of 4)"
    )
    write_result("structure_augmentation", {"what": what, "num_epochs": arguments.num_epochs, "rows": rows})
    print_table(means)


if __name__ == "__main__":
    main()
