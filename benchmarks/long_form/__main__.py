# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The long-form benchmark: whole songs found by long captions, one model a row, the same songs and rules for all.

    make benchmark                                                        (small: 29 minutes on 2 cores)
    python -m benchmarks.long_form --all_questions \
        --results benchmarks/results/long_form_all_seeds.json             (after it: 4 minutes more)
    (docs/benchmark.md has the commands with a pretrained text model, such as sentence-transformers/all-MiniLM-L6-v2)

It renders the song corpus (benchmarks/corpus), pretrains small stand-ins of BEATs and Whisper on it, encodes all songs
once, trains each row of `rows.py` with the same songs, batches and epochs, ranks all songs for each query
(benchmarks/questions.py), and prints the tables of docs/benchmark.md. Steps that are done are cached; delete the
output folder to begin anew. `--validation` takes the questions about validation songs instead, to make choices.
"""

import argparse
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from collap.files import this_command, write_json

from ..pipeline import MODEL, RECIPE, SHARED_DATA, Pipeline, Step
from ..questions import SETS
from ..speed.measure import describe_machine
from ..tables import format_benchmark, read_metrics
from .rows import CHUNK_LENGTH_S, ROWS, SIZES

TRAINING_SPLITS = ("train", "validation", "validation_order")


class Benchmark(Pipeline):
    """The steps of the benchmark."""

    def __init__(self, given: argparse.Namespace):
        super().__init__(given.output_dir, given.num_processes, given.device)
        self.given, self.size = given, SIZES[given.size]
        splits = [question.split for name in ("long-form", "long-form-more") for question in SETS[name]()]
        self.kind = "validation" if given.validation else "test"  # of ranks
        self.left_out = "" if given.structures else "structures"
        has_text = given.pretrained_text_model is not None
        self.rows_left_out = [name for name in given.rows if ROWS[name].is_pretrained and not has_text]
        self.splits = [split for split in dict.fromkeys(splits) if split != self.left_out]
        self.rendered = self.render(*self.corpus_arguments())
        steps = given.num_pretraining_steps or self.size.num_pretraining_steps
        self.made_towers = self.make_towers(self.rendered, chunk_length_s=CHUNK_LENGTH_S, num_steps=steps)
        manifests = [self.manifest(split) for split in (*TRAINING_SPLITS, *self.splits)]
        self.extracted = self.extract(manifests, self.towers() | MODEL, self.made_towers)

    def corpus_arguments(self) -> list[object]:
        num_songs = self.size.num_songs | dict(item.split("=") for item in self.given.num_songs)
        return [
            *("--size", self.given.size, "--clock_share", "0.25", "--splits", *TRAINING_SPLITS, *self.splits),
            *(["--structures", self.given.structures] if self.given.structures else []),
            *("--num_songs", *(f"{split}={number}" for split, number in num_songs.items())),
        ]

    def make(self) -> dict[str, Any]:
        """Runs all steps; returns the result."""
        if self.left_out:
            self.say("Without --structures the split of unseen structures is left out")
        if self.rows_left_out:
            self.say(f"Without --pretrained_text_model these rows are left out: {', '.join(self.rows_left_out)}")
        self.say("Rendering songs with long captions")
        self.run([self.rendered])
        self.say("Pretraining small encoders on tags of short crops; they stand in for BEATs and Whisper")
        self.run(self.made_towers)
        self.say("Encoding all songs once (the encoders are frozen)")
        self.run([self.extracted])
        runs = [(name, seed) for seed in self.given.seeds for name in self.rows(seed)]
        self.say(f"Training {len(runs)} models, and ranking songs that none of them was trained on")
        steps = []
        for name, seed in runs:
            trained = self.train_row(name, seed)
            steps += [trained, self.rank_row(name, seed, trained)]
        self.run(steps)
        result = {"machine": describe_machine(), "rows": self.collect(runs), "size": self.given.size}
        result |= {"seconds": round(time.monotonic() - self.started), "steps_done_by_earlier_calls": self.num_cached}
        return result | {"splits_left_out": self.left_out.split(), "rows_left_out": self.rows_left_out}

    def collect(self, runs: Sequence[tuple[str, int]]) -> dict[str, Any]:
        """The metrics of the runs `(row, seed)`, and the seconds of their trainings."""
        rows: dict[str, Any] = {}
        for name in dict.fromkeys(name for name, _ in runs):
            seeds = [seed for row, seed in runs if row == name]
            files = [self.model(f"{name}-{seed}") / "seconds.json" for seed in seeds]
            rows[name] = {
                "title": ROWS[name].title,
                "seeds": seeds,
                "training_cpu_seconds": [round(json.loads(file.read_text())["cpu_seconds"], 1) for file in files],
                "questions": read_metrics([self.ranks(f"{self.kind}-{name}-{seed}") for seed in seeds]),
            }
        return rows

    def rows(self, seed: int) -> list[str]:
        """The rows to train with a seed: ablations with the first alone."""
        first = seed == self.given.seeds[0]
        names = [name for name in self.given.rows if name not in self.rows_left_out]
        return [name for name in names if first or ROWS[name].is_main]

    def train_row(self, name: str, seed: int) -> Step:
        row = ROWS[name]
        recipe = RECIPE | {
            "train_manifest": self.manifest("train"),
            "num_train_epochs": self.given.num_epochs or self.size.num_epochs,
            "contrastive_batch_size": self.size.batch_size,
            "seed": seed,
        }
        recipe |= {"use_cpu": "true"} if self.device == "cpu" else {"bf16": "true"}
        text_model = self.given.pretrained_text_model if row.is_pretrained else None
        recipe |= {"features": self.features} | self.towers(text_model) | MODEL
        title, arguments = f"{row.title}, seed {seed}", recipe | row.special
        return self.train(f"{name}-{seed}", title, arguments, [self.extracted], row.mean_pooling)

    def rank_row(self, name: str, seed: int, trained: Step) -> Step:
        """Main rows get all questions with the first seed; with the others, as ablations, those that matter most."""
        questions = ["long-form"]
        if ROWS[name].is_main and (self.given.all_questions or seed == self.given.seeds[0]):
            questions.append("long-form-more")
        if self.given.validation:
            questions = ["validation"]
        options = {"features": self.features, "leave_out": self.left_out or None}
        title, model = f"Ranking: {ROWS[name].title}, seed {seed}", self.model(f"{name}-{seed}")
        return self.rank(f"{self.kind}-{name}-{seed}", title, questions, model, after=[trained], **options)


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments, with the defaults that depend on each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--output_dir", type=Path, default=None, help="default: benchmark-SIZE")
    parser.add_argument("--results", type=Path, default=None, help="JSON file; default: results.json in the folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings; the corpus is one")
    parser.add_argument("--all_questions", action="store_true", help="for main rows with all seeds, not the first")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--validation", action="store_true", help="rank validation songs, to make choices")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    structures = SHARED_DATA / "song_structures.jsonl"
    parser.add_argument(
        "--structures",
        type=Path,
        default=structures if structures.is_file() else None,
        help="section layouts of real songs, see benchmarks/corpus/README.md; without them their split is left out "
        "(default: song_structures.jsonl in the folder COLLAP_SHARED_DATA or ../shared/data, if it is there)",
    )
    parser.add_argument("--pretrained_text_model", help="folder or Hub name for the rows that need one")
    parser.add_argument("--num_songs", nargs="*", default=[], help="as of benchmarks.corpus: train=40 ...")
    parser.add_argument("--num_epochs", type=int, help="in place of the size's")
    parser.add_argument("--num_pretraining_steps", type=int, help="in place of the size's")
    given = parser.parse_args(arguments)
    given.output_dir = given.output_dir or Path(f"benchmark-{given.size}")
    name = "validation.json" if given.validation else "results.json"
    given.results = given.results or given.output_dir / name
    return given


def main() -> None:
    benchmark = Benchmark(parse_arguments())
    result, file = benchmark.make(), benchmark.given.results
    print(format_benchmark(result))
    write_json(file, {"command": this_command(), **result})
    benchmark.say(f"Done. The metrics are in {file}")


if __name__ == "__main__":
    main()
