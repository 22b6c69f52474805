# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Real songs found by captions that were made of machine labels, one model a row.

    python -m benchmarks.real_music.fetch --output_dir DIR
    python -m benchmarks.real_music --data DIR --tracks tracks.jsonl --output_dir OUT \
        --text_model sentence-transformers/all-MiniLM-L6-v2 --speech_model openai/whisper-tiny.en

It pretrains a small music tower (towers.py), encodes all songs once, without and with the speech tower, trains the
rows and ranks (rank.py). Steps that are done are cached. Choices are made with `--split validation`.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from collap.files import markdown_table, this_command, write_json

from ..long_form.rows import DOCUMENT, FROZEN, OURS, TUNED
from ..pipeline import MODEL, RECIPE, Pipeline, Step, named, run_module
from ..tables import read_metrics
from .rank import where_file

WHOLE_TEXT = DOCUMENT | TUNED | {"max_text_tokens": 512, "truncate_texts": "true"}
MUSIC_CHUNK_S = 6.42  # 5 frames; with Whisper chunks are as long as it takes


@dataclass(frozen=True)
class Row:
    """One model of the table."""

    title: str
    special: dict[str, Any]  # arguments of examples/train.py
    has_speech: bool = False
    mean_pooling: bool = False


ROWS = {
    "mean": Row("mean pooling", WHOLE_TEXT, mean_pooling=True),
    "document": Row("document attention (the paper)", WHOLE_TEXT),
    "frozen": Row("ours, text model frozen", OURS | FROZEN),
    "ours": Row("ours", OURS | TUNED),
    "mean-speech": Row("mean pooling, with Whisper", WHOLE_TEXT, has_speech=True, mean_pooling=True),
    "ours-speech": Row("ours, with Whisper", OURS | TUNED, has_speech=True),
}


class RealMusic(Pipeline):
    """The steps of the table."""

    def __init__(self, given: argparse.Namespace):
        super().__init__(given.output_dir)
        self.given, self.corpus = given, given.data
        options = {"data": given.data, "tracks": given.tracks, "output_dir": self.encoders / "music"}
        command = run_module(
            "benchmarks.real_music.towers", *named(options | {"num_steps": given.num_pretraining_steps})
        )
        self.pretrained = self.step("music", "Music tower", command)
        self.rows = {name: ROWS[name] for name in given.rows if given.speech_model or not ROWS[name].has_speech}

    def model_arguments(self, has_speech: bool) -> dict[str, Any]:
        """Towers, configuration and features of a new model."""
        fields = {name: value for name, value in MODEL.items() if name != "text_pooling"}  # its folder says it
        fields |= {"music_model": self.encoders / "music", "text_model": self.given.text_model}
        if has_speech:
            return fields | {"features": self.folder / "features-speech", "speech_model": self.given.speech_model}
        return fields | {"features": self.features, "chunk_length_s": MUSIC_CHUNK_S}

    def train_row(self, name: str, seed: int, extracted: Step) -> list[Step]:
        """Training and ranking, mean pooling also by the first 10 s of each song."""
        row = self.rows[name]
        recipe = RECIPE | self.model_arguments(row.has_speech) | row.special
        recipe |= {"train_manifest": self.manifest("train"), "seed": seed, "use_cpu": "true"}
        recipe |= {"num_train_epochs": self.given.num_epochs, "contrastive_batch_size": 16}
        trained = self.train(f"{name}-{seed}", f"{row.title}, seed {seed}", recipe, [extracted], row.mean_pooling)
        steps = [trained]
        for first_s in (None, 10.0) if row.mean_pooling else (None,):
            ranked = self.ranks_of(f"{name}-first" if first_s else name, seed)
            options = {"model": self.model(f"{name}-{seed}"), "features": recipe["features"], "data": self.corpus}
            options |= {"split": self.given.split, "first_s": first_s, "output": ranked}
            command = run_module("benchmarks.real_music.rank", *named(options))
            steps.append(self.step(f"rank-{ranked.stem}", f"Ranking: {row.title}, seed {seed}", command, [trained]))
        return steps

    def ranks_of(self, name: str, seed: int) -> Path:
        return self.ranks(f"{self.given.split}-{name}-{seed}")

    def make(self) -> dict[str, Any]:
        """Runs all steps; returns the result."""
        steps, titles = [self.pretrained], {}
        for has_speech in (False, True):
            names = [name for name, row in self.rows.items() if row.has_speech == has_speech]
            arguments = self.model_arguments(has_speech)
            name = "extract-speech" if has_speech else "extract"
            extracted = self.extract([self.manifest("all")], arguments, steps[:1], arguments["features"], name)
            trained = [self.train_row(name, seed, extracted) for seed in self.given.seeds for name in names]
            steps += [extracted, *(step for of_row in trained for step in of_row)] if names else []
        self.run(steps)
        for name, row in self.rows.items():
            titles |= {f"{name}-first": f"{row.title}, first 10 s"} if row.mean_pooling else {}
            titles[name] = row.title
        return {
            "split": self.given.split,
            "rows": {name: self.read_row(name, title) for name, title in titles.items()},
        }

    def read_row(self, name: str, title: str) -> dict[str, Any]:
        files = [self.ranks_of(name, seed) for seed in self.given.seeds]
        where = [json.loads(where_file(file).read_text()) for file in files]
        return {"title": title, "questions": read_metrics(files), "where": where}


def mean_and_range(seeds: Sequence[float]) -> str:
    return f"{np.mean(seeds):.3g}" + (f" ({min(seeds):.3g} to {max(seeds):.3g})" if len(seeds) > 1 else "")


def format_tables(result: dict[str, Any]) -> str:
    """Tables by gallery, with what a guess finds as the first row, and where sentences are found."""
    writers, rows, tables = ("seen", "other"), list(result["rows"].values()), []
    for size in ("held-out", "all"):
        names = [f"{kind}, {size}, {writer}" for kind in ("captions", "sections") for writer in writers]
        columns = [(name, k) for name in names for k in (1, 10)]
        columns += [(f"order, {writer}", 1) for writer in writers] if size == "held-out" else []
        of_first = rows[-1]["questions"]
        lines = [["", *(f"{name}, R@{k}" for name, k in columns)]]
        lines.append(["chance", *(f"{100 * k / of_first[name]['gallery_size']:.3g}" for name, k in columns)])
        for row in rows:
            found = [row["questions"].get(name, {}).get(f"recall@{k}") for name, k in columns]
            lines.append([row["title"], *(mean_and_range(metric["seeds"]) if metric else "" for metric in found)])
        tables.append(markdown_table(lines))
    metrics = [(writer, metric) for writer in writers for metric in ("iou", "r1@0.5")]
    lines = [["where in the song", *(f"{writer}, {metric}" for writer, metric in metrics)]]
    for row in rows:
        for way in row["where"][0].get("seen", {}):
            values = [[where[writer][way][metric]["value"] for where in row["where"]] for writer, metric in metrics]
            lines.append([f"{row['title']}, {way}", *map(mean_and_range, values)])
    return "\n\n".join([*tables, markdown_table(lines)])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of benchmarks.real_music.fetch")
    parser.add_argument("--tracks", type=Path, required=True, help="file of the machine tags")
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
