# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
"Without drums": do captions that tell what is absent teach it, and songs that differ in nothing else?

Trains on the songs of the demo, all rows with the same number of steps: captions of the demo, captions that tell
absences, twins in any batch, twins in the same batch. Needs what `make demo` leaves.
docs/experiments/absences.md has the results.
"""

import argparse
import json
from pathlib import Path

from collap.files import atomic_write, write_json

from .long_form.rows import OURS, TUNED
from .pipeline import MODEL, RECIPE, Pipeline
from .tables import read_metrics

ROWS = {"plain": 16, "told": 16, "twins": 8, "batch": 8}  # epochs: with twins there are twice as many songs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--demo", type=Path, default=Path("demo"), help="output folder of the demo")
    parser.add_argument("--text_model", help="a pretrained one, its last two layers trained; default: a new one")
    parser.add_argument("--output_dir", type=Path, default=Path("absences"))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=[*ROWS])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    given = parser.parse_args()
    work = Pipeline(given.output_dir)
    work.encoders, work.text = given.demo / "encoders", given.demo / "text"
    rendered = work.render("--splits", "train_twins", "content", "twins")
    work.run([rendered])
    manifests = {"plain": given.demo / "corpus" / "train.jsonl", "batch": work.manifest("train_twins")}
    lines = [json.loads(line) | {"group": None} for line in manifests["batch"].read_text().splitlines()]
    for row, chosen in {"told": lines[::2], "twins": lines}.items():  # the first of each pair is a song of the demo
        manifests[row] = work.manifest(f"train_{row}_alone")
        with atomic_write(manifests[row]) as temporary:
            temporary.write_text("".join(json.dumps(line) + "\n" for line in chosen))
    encoded = [manifests["plain"], *map(work.manifest, ("train_twins", "content", "twins"))]
    extracted = work.extract(encoded, work.towers() | MODEL, [rendered])

    name = Path(given.text_model).name if given.text_model else "new"
    model = RECIPE | work.towers() | MODEL | OURS | {"features": work.features, "use_cpu": "true"}
    if given.text_model:
        model |= {"text_model": given.text_model, "text_pooling": None} | TUNED
    steps = [extracted]
    for row, seed in ((row, seed) for seed in given.seeds for row in given.rows):
        key, special = f"{row}-{name}-{seed}", {"train_manifest": manifests[row], "num_train_epochs": ROWS[row]}
        special |= {"per_device_train_batch_size": 16, "seed": seed}
        trained = work.train(key, f"Training {key}", model | special, [extracted])
        steps += [trained, work.rank(key, f"Ranking {key}", ["polarity"], after=[trained], features=work.features)]
    work.run(steps)
    ranks = {row: [work.ranks(f"{row}-{name}-{seed}") for seed in given.seeds] for row in given.rows}
    write_json(work.folder / f"results-{name}.json", {row: read_metrics(files) for row, files in ranks.items()})


if __name__ == "__main__":
    main()
