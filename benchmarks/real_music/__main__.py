# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Real songs found by captions that were made of machine labels, one model a row.

    python -m benchmarks.real_music.fetch --output_dir DIR
    python -m benchmarks.real_music --data DIR --output_dir OUT \
        --text_model sentence-transformers/all-MiniLM-L6-v2 --speech_model openai/whisper-tiny.en

It pretrains a small music tower (towers.py), encodes all songs once, without and with the speech tower, trains the
rows, ranks songs (questions.py) and finds sentences in them (benchmarks.spans). Steps that are done are cached.
`--split validation` takes the texts of validation songs instead, to make choices.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from collap.files import this_command, write_json

from ..long_form.rows import DOCUMENT, FROZEN, OURS, TUNED
from ..pipeline import MODEL, RECIPE, Pipeline, Step, named, run_module
from ..questions import WRITERS
from ..spans import EQUAL, WAYS
from ..tables import Columns, as_table, read_metrics, spread
from .fetch import LABELS

MUSIC_CHUNK_S = 6.42  # 5 frames; with Whisper chunks are as long as it takes
WHOLE_TEXT = DOCUMENT | {"max_text_tokens": 512, "truncate_texts": "true"}


@dataclass(frozen=True)
class Row:
    """One model of the table."""

    title: str
    special: dict[str, Any]  # arguments of examples/train.py
    has_speech: bool = False
    is_mean: bool = False
    first_s: float | None = None  # seconds of each song that it is ranked by


ROWS = {
    "mean-first": Row("mean pooling, first 10 s", WHOLE_TEXT | TUNED, is_mean=True, first_s=10.0),  # trained as "mean"
    "mean": Row("mean pooling", WHOLE_TEXT | TUNED, is_mean=True),
    "document": Row("document attention (the paper)", WHOLE_TEXT | TUNED),
    "ours-frozen": Row("ours, text model frozen", OURS | FROZEN),
    "ours": Row("ours", OURS | TUNED),
    "mean-speech": Row("mean pooling, with Whisper", WHOLE_TEXT | TUNED, has_speech=True, is_mean=True),
    "document-speech": Row("document attention, with Whisper", WHOLE_TEXT | TUNED, has_speech=True),
    "ours-speech": Row("ours, with Whisper", OURS | TUNED, has_speech=True),
}


class RealMusic(Pipeline):
    """The steps of the table."""

    def __init__(self, given: argparse.Namespace):
        super().__init__(given.output_dir)
        self.given, self.corpus = given, given.data
        options = {"data": given.data, "tracks": given.tracks, "output_dir": self.encoders / "music"}
        options["num_steps"] = given.num_pretraining_steps
        command = run_module("benchmarks.real_music.towers", *named(options))
        self.pretrained = self.step("music", "Music tower", command)
        self.rows = {name: ROWS[name] for name in given.rows if given.speech_model or not ROWS[name].has_speech}

    def model_arguments(self, has_speech: bool) -> dict[str, Any]:
        """Towers, configuration and features of a new model."""
        fields = MODEL | {"music_model": self.encoders / "music", "text_model": self.given.text_model}
        if has_speech:
            return fields | {"features": self.folder / "features-speech", "speech_model": self.given.speech_model}
        return fields | {"features": self.features, "chunk_length_s": MUSIC_CHUNK_S}

    def add_row(self, name: str, seed: int, steps: dict[str, Step]) -> None:
        """Adds encoding and training if they are not there, ranking, and where a model of sentences finds them."""
        row, title = self.rows[name], f"{ROWS[name].title}, seed {seed}"
        trained = f"{name.removesuffix('-first')}-{seed}"
        extracted = "extract-speech" if row.has_speech else "extract"
        towers, model = self.model_arguments(row.has_speech), self.model(trained)
        if extracted not in steps:
            steps[extracted] = self.extract([self.manifest("all")], towers, [self.pretrained], name=extracted)
        if trained not in steps:
            recipe = {"train_manifest": self.manifest("train"), "seed": seed, "use_cpu": "true"}
            recipe |= {"num_train_epochs": self.given.num_epochs, "contrastive_batch_size": 16}
            recipe = RECIPE | recipe | towers | row.special
            steps[trained] = self.train(trained, title, recipe, [steps[extracted]], row.is_mean)
        questions, ranked = [f"real-music-{self.given.split}"], f"{self.given.split}-{name}-{seed}"
        options = {"features": towers["features"], "first_s": row.first_s}
        queries = [self.manifest(self.given.split), self.manifest("all")]
        steps[ranked] = self.rank(ranked, f"Ranking: {title}", questions, model, [steps[trained]], queries, **options)
        for writer, suffix in WRITERS.items() if "text_granularity" in row.special else ():
            options = {"model": model, "manifest": self.manifest(self.given.split), "features": towers["features"]}
            options |= {"wording": suffix, "output": self.ranks(f"{ranked}-where-{writer}")}
            command, place = run_module("benchmarks.spans", *named(options)), f"{ranked}-where-{writer}"
            steps[place] = self.step(place, f"Where: {title}", command, [steps[trained]], queries)

    def make(self) -> dict[str, Any]:
        """Runs all steps; returns the result."""
        steps = {"music": self.pretrained}
        for seed in self.given.seeds:
            for name in self.rows:
                self.add_row(name, seed, steps)
        self.run(list(steps.values()))
        rows = {name: {"title": row.title, "questions": self.read_row(name)} for name, row in self.rows.items()}
        return {"split": self.given.split, "rows": rows}

    def read_row(self, name: str) -> dict[str, Any]:
        """Metrics of a row by the names of questions; those of spans, in percent, by the way of finding them."""
        files = [self.ranks(f"{self.given.split}-{name}-{seed}") for seed in self.given.seeds]
        questions = read_metrics(files)
        for writer in WRITERS if "text_granularity" in self.rows[name].special else ():
            found = [json.loads(file.with_name(f"{file.stem}-where-{writer}.json").read_text()) for file in files]
            for way, metric in product(found[0], ("iou", "r1@0.5")):
                seeds = [100 * of_seed[way][metric]["value"] for of_seed in found]
                questions.setdefault(f"{way}, {writer}", {})[metric] = {"value": float(np.mean(seeds)), "seeds": seeds}
        return questions


def format_tables(result: dict[str, Any]) -> str:
    """Tables by gallery, and where sentences are found, as Markdown."""
    tables, first = [], next(iter(result["rows"].values()))["questions"]
    for gallery in ("held-out", "all"):
        names = [f"{kind}, {gallery}, {writer}" for kind, writer in product(("captions", "sections"), WRITERS)]
        columns: Columns = {f"{name}, R@{k}": (name, f"recall@{k}") for name in names for k in (1, 10)}
        size = first[names[0]]["gallery_size"]
        tables += [f"{size} songs: a guess finds {100 / size:.1f} %.", as_table(result, columns, spread)]
    columns = {f"order, {writer}": (f"order, {writer}", "recall@1") for writer in WRITERS}
    for way, writer in product((*WAYS, EQUAL), WRITERS):
        columns[f"{way}, {writer}"] = f"{way}, {writer}", "iou"
    return "\n\n".join([*tables, as_table(result, columns, spread)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of benchmarks.real_music.fetch")
    parser.add_argument("--tracks", type=Path, default=LABELS, help="as of fetch")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--results", type=Path, help="JSON file; default: SPLIT.json in the folder")
    parser.add_argument("--text_model", required=True, help="folder or Hub name")
    parser.add_argument("--speech_model", help="a Whisper; without it the rows that need one are left out")
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--split", choices=("validation", "test"), default="test", help="whose texts are the queries")
    parser.add_argument("--num_epochs", type=int, default=20)
    parser.add_argument("--num_pretraining_steps", type=int, default=1200)
    given = parser.parse_args(arguments)
    result = {"command": this_command(), **RealMusic(given).make()}
    print(format_tables(result))
    write_json(given.results or given.output_dir / f"{given.split}.json", result)


if __name__ == "__main__":
    main()
