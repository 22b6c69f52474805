# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What each structure augmentation changes for held-out songs: by captions, in order or not, and by one section.

    python -m examples.demo.run --output_dir demo
    python -m benchmarks.long_form.augmentation --demo_dir demo --seeds 0 1

Trains sentence queries with time (the demo's best row, without its loss of sections) for each way to augment, on the
demo's corpus, with its encoders and its recipe: as many steps for each. Steps that are done are cached, in
`DEMO_DIR/structure_augmentation`. Writes benchmarks/results/structure_augmentation.json. Differences between seeds are
as large as many between rows: read both.
"""

import argparse
import json
import statistics
from pathlib import Path

from collap.metrics import format_table

from ..pipeline import MODEL, RECIPE, Pipeline, Step
from ..speed.gpu import write_result
from ..tables import read_shares

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
METRICS = ("recall@1", "recall@5", "recall@10", "median_rank")
COLUMNS = ("content, {} recall@1", "shuffled, {} recall@1", "one section, {} recall@1", "order, {} recall@1")


def read_row(pipeline: Pipeline, name: str) -> dict[str, float]:
    """The validation loss of a model, and its metrics by "question metric"."""
    validation = json.loads((pipeline.model(name) / "eval_results.json").read_text())
    found = read_shares(pipeline.ranks(name))
    metrics = {f"{question} {metric}": found[question][metric] for question in found for metric in METRICS}
    return {"validation_loss": validation["eval_loss"], **metrics}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo_dir", type=Path, required=True, help="folder of python -m examples.demo.run")
    parser.add_argument("--num_epochs", type=int, default=16)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--num_processes", type=int, default=1, help="rows that are trained side by side")
    given = parser.parse_args()
    demo = Pipeline(given.demo_dir)
    pipeline = Pipeline(given.demo_dir / "structure_augmentation", given.num_processes)
    recipe = RECIPE | demo.towers() | MODEL | dict.fromkeys((CROP, REORDER, DROP, SHUFFLE), 0.0)
    recipe |= {"train_manifest": demo.manifest("train"), "eval_manifest": demo.manifest("validation")}
    recipe |= {"per_device_train_batch_size": 16, "per_device_eval_batch_size": 40, "learning_rate": 1.2e-3}
    recipe |= {"text_granularity": "sentence", "temporal_position": "true", "use_cpu": "true"}
    recipe |= {"features": demo.features, "num_train_epochs": given.num_epochs}
    steps: list[Step] = []
    for seed in given.seeds:
        for row, probabilities in ROWS.items():
            name = f"{row}, seed {seed}"
            training = pipeline.train(name, name, recipe | probabilities | {"seed": seed})
            options = {"corpus": demo.corpus, "features": demo.features}
            steps += [training, pipeline.rank(name, f"Ranking: {name}", ["augmentation"], after=[training], **options)]
    pipeline.run(steps)
    rows, means = {}, {}
    for row, probabilities in ROWS.items():
        seeds = {seed: read_row(pipeline, f"{row}, seed {seed}") for seed in given.seeds}
        names = seeds[given.seeds[0]]
        means[row] = {name: statistics.mean(metrics[name] for metrics in seeds.values()) for name in names}
        rows[row] = {"probabilities": probabilities, "mean": means[row], "seeds": seeds}
    what = "sentence queries with time on the demo's corpus; shares, and ranks from 1 of 100 songs (order: of 4)"
    write_result("structure_augmentation", {"what": what, "num_epochs": given.num_epochs, "rows": rows})
    print(format_table(means, [column.format(wording) for column in COLUMNS for wording in ("seen", "new")]))


if __name__ == "__main__":
    main()
