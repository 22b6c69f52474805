# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Does training on captions that mention absences, or on pairs of songs that differ in one instrument, help with queries
such as "without drums"?

Trains on the songs of the demo, all rows with the same number of steps: captions of the demo, captions that mention
absences, twins in random batches, twins in the same batch. Needs what `make demo` leaves.
docs/experiments/absences.md has the results.
"""

import argparse
import json
from pathlib import Path

from collap.files import this_command, write_json, write_jsonl

from .long_form.rows import OURS, TUNED
from .pipeline import MODEL, RECIPE, Pipeline
from .tables import read_metrics

ROWS = {"plain": 16, "mentioned": 16, "twins": 8, "batch": 8}  # epochs: with twins there are twice as many songs


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
    # The first of each pair is a song of the demo.
    for row, chosen in {"mentioned": lines[::2], "twins": lines}.items():
        manifests[row] = work.manifest(f"train_{row}_alone")
        write_jsonl(manifests[row], chosen)
    encoded = [manifests["plain"], *map(work.manifest, ("train_twins", "content", "twins"))]
    extracted = work.extract(encoded, work.towers() | MODEL, [rendered])

    name = Path(given.text_model).name if given.text_model else "new"
    model = RECIPE | work.towers(given.text_model) | MODEL | OURS | (TUNED if given.text_model else {})
    model |= {"features": work.features, "use_cpu": "true"}
    steps = [extracted]
    for row, seed in ((row, seed) for seed in given.seeds for row in given.rows):
        key, special = f"{row}-{name}-{seed}", {"train_manifest": manifests[row], "num_train_epochs": ROWS[row]}
        special |= {"per_device_train_batch_size": 16, "seed": seed}
        trained = work.train(key, f"Training {key}", model | special, [extracted])
        steps += [trained, work.rank(key, f"Ranking {key}", ["polarity"], after=[trained], features=work.features)]
    work.run(steps)
    ranks = {row: [work.ranks(f"{row}-{name}-{seed}") for seed in given.seeds] for row in given.rows}
    result = {"command": this_command(), "seeds": given.seeds, "text_model": name}
    result |= {"rows": {row: {"title": row, "questions": read_metrics(files)} for row, files in ranks.items()}}
    write_json(work.folder / f"results-{name}.json", result)


if __name__ == "__main__":
    main()
