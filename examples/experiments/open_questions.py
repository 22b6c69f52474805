# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Three questions that the paper leaves open, asked of the models of the long-form benchmark.

    python benchmarks/long_form/run.py --output_dir benchmark-small --seeds 0 --rows mean document ours
    python examples/experiments/open_questions.py --benchmark_dir benchmark-small

lengths   Do songs beyond 5 minutes get lost? The same songs and texts with audio of 2, 5, 10 and 20 minutes, by
          models that were trained on at most 2, among each other and in a gallery filled up with content songs.
quality   What do worse captions cost? Short, incomplete, shuffled, paraphrased and half wrong ones, and one section.
          The wrong half describes another song of the gallery, which then fits nearly as well: read R@5, too.
language  Captions in German: a text tower with a tokenizer of English (as RoBERTa) against one of English and German
          (as XLM-R), each trained on English and on both. No text tower is pretrained: what is compared is the
          tokenizer and the training texts. The German captions have one wording, which the training has; no German
          wording is held out, so compare German with the seen English wording, never with the new one.

Each writes JSON, a table (printed) and a picture. lengths and quality train nothing: 5 CPU minutes for three models of
the small benchmark. language trains three models with the benchmark's recipe of "ours", each as long as the benchmark
took for that row; --skip_training leaves it out. What is done already is kept: delete the output folder to begin anew.
"""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from common import read_songs, write_result
from german_manifests import build_bilingual_tower, write_manifests
from questions import LENGTHS_MIN, SETS
from rank_tables import draw_bars, draw_lines, figures, table
from rows import CLAP, ROWS
from steps import run_steps
from training_steps import ROW, ExperimentSteps
from transformers import AutoTokenizer
from transformers.utils import SAFE_WEIGHTS_NAME

TITLES = {name: row.title for name, row in ROWS.items() if row.kind != CLAP}
LANGUAGE_MODELS = {
    "roberta-english": "English tokenizer, trained on English",
    "roberta-both": "English tokenizer, trained on both",
    "xlmr-english": "tokenizer of both, trained on English",
    "xlmr-both": "tokenizer of both, trained on both",
}


class OpenQuestions:
    """The steps of all three questions."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.out: Path = given.output_dir
        self.steps = ExperimentSteps(given.benchmark_dir, self.out, given.device, given.num_epochs)

    def run(self) -> None:
        for name in self.given.questions:
            if name == "language" and self.given.skip_training:
                print("language is left out: it needs training (--skip_training).")
                continue
            getattr(self, name)()

    def do(self, steps: list) -> None:
        run_steps(steps, self.out / "logs", self.given.num_processes)

    def of_rows(self, question: str) -> dict[str, Any]:
        """Ranks the benchmark's models; figures by their titles."""
        runs = [(row, seed) for row in self.given.rows for seed in self.given.seeds]
        runs = [(row, seed) for row, seed in runs if self._is_there(row, seed)]
        models = {(row, seed): self.given.benchmark_dir / "models" / f"{row}-{seed}" for row, seed in runs}
        self.do(
            [
                self.steps.rank(
                    f"{question}-{row}-{seed}",
                    f"{TITLES[row]}, seed {seed}: {question}",
                    model,
                    [question],
                    gallery_size=self.given.gallery_size,
                )
                for (row, seed), model in models.items()
            ]
        )
        found = {}
        for row in dict.fromkeys(row for row, _ in runs):
            files = [self.steps.ranks(f"{question}-{row}-{seed}") for name, seed in runs if name == row]
            found[TITLES[row]] = figures(files)
        return found

    def _is_there(self, row: str, seed: int) -> bool:
        folder = self.given.benchmark_dir / "models" / f"{row}-{seed}"
        # Ablations have the first seed alone; but the first seed must be there.
        if seed != self.given.seeds[0] and not folder.is_dir():
            print(f"{row} has no seed {seed}: its figures are of fewer seeds.")
            return False
        if not (folder / "config.json").is_file():
            raise ValueError(f"{folder} holds no model: run benchmarks/long_form/run.py with --rows {row}.")
        return True

    def lengths(self) -> None:
        found = self.of_rows("lengths")
        print(f"\n### Longer songs\n\n{table(found)}")
        questions = SETS["lengths"]()
        kinds = {
            "whole captions, gallery filled up": "captions, {} min, filled up",
            "one section, gallery filled up": "sections, {} min, filled up",
            "whole captions, among each other": "captions, {} min, alone",
            "one section, among each other": "sections, {} min, alone",
        }
        panels = {
            panel: {
                model: [of_model[name.format(minutes)]["recall@1"] for minutes in LENGTHS_MIN]
                for model, of_model in found.items()
            }
            for panel, name in kinds.items()
        }
        first = next(iter(found.values()))
        songs, gallery = (first[question.name]["gallery_size"] for question in (questions[-1], questions[0]))
        title = (
            f"The same {songs} songs at four lengths, alone or among {gallery:,} songs; recall@1 and 95 % intervals"
        )
        draw_lines(self.out / "lengths.png", panels, LENGTHS_MIN, title)
        self._write("lengths", found)

    def quality(self) -> None:
        found = self.of_rows("quality")
        print(f"\n### Worse captions\n\n{table(found)}")
        names = [*next(iter(found.values()))]
        gallery = next(iter(found.values()))[names[0]]["gallery_size"]
        title = f"What becomes of worse captions, {gallery:,} songs"
        draw_bars(self.out / "quality.png", found, names, title)
        self._write("quality", found)

    def language(self) -> None:
        """Trains and ranks the four models, of which the first is the benchmark's own if it is there."""
        folder, english = self.out / "language", self.given.benchmark_dir / "text"
        write_manifests(self.given.benchmark_dir / "corpus", folder)
        both = folder / "text"
        if not (both / SAFE_WEIGHTS_NAME).is_file():  # written last
            build_bilingual_tower(folder / "train_both.jsonl", both)
        models: dict[str, list[Path]] = {name: [] for name in LANGUAGE_MODELS}
        training = []
        for seed in self.given.seeds:
            for name, title in LANGUAGE_MODELS.items():
                if name == "roberta-english" and self.steps.is_trained(seed):
                    models[name].append(self.given.benchmark_dir / "models" / f"{ROW}-{seed}")
                    continue
                changes: dict[str, Any] = {"text_model": english if name.startswith("roberta") else both}
                if name.endswith("both"):
                    changes["train_manifest"] = folder / "train_both.jsonl"
                training.append(self.steps.train(f"language-{name}", title, seed, changes))
                models[name].append(self.steps.folder(f"language-{name}", seed))
        self.do(training)
        ranking = [
            self.steps.rank(f"language-{name}-{seed}", LANGUAGE_MODELS[name], model, ["language"], corpus=folder)
            for name, of_name in models.items()
            for seed, model in zip(self.given.seeds, of_name, strict=True)
        ]
        self.do(ranking)
        found = {
            title: figures([self.steps.ranks(f"language-{name}-{seed}") for seed in self.given.seeds])
            for name, title in LANGUAGE_MODELS.items()
        }
        tokens = {
            name: tokens_a_caption(folder / "content.jsonl", path)
            for name, path in {"English tokenizer": english, "tokenizer of both": both}.items()
        }
        print(f"\n### Captions in German\n\n{table(found)}\n")
        for name, counts in tokens.items():
            print(f"{name}: {counts['English']:.0f} tokens an English caption, {counts['German']:.0f} a German one")
        print("No German wording is held out: compare German with the seen English wording.")
        names = [*next(iter(found.values()))]
        gallery = next(iter(found.values()))[names[0]]["gallery_size"]
        title = f"English and German captions, {gallery:,} songs"
        draw_bars(self.out / "language.png", found, names, title)
        self._write("language", found, tokens=tokens, german_wording_held_out=False)

    def _write(self, name: str, found: dict[str, Any], **more: Any) -> None:
        write_result(self.out / f"{name}.json", {"seeds": self.given.seeds, "models": found, **more})
        print(f"\n{self.out / name}.json and .png are written.", flush=True)


def tokens_a_caption(manifest: Path, tokenizer: Path, num_songs: int = 100) -> dict[str, float]:
    """Mean number of tokens of the first songs' captions in both languages."""
    read = AutoTokenizer.from_pretrained(tokenizer)
    songs = read_songs(manifest)[:num_songs]
    columns = {"English": "text", "German": "text_german"}
    return {
        language: sum(len(ids) for song in songs for ids in read(song[column], add_special_tokens=False)["input_ids"])
        / len(songs)
        for language, column in columns.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="what benchmarks/long_form/run.py has left")
    parser.add_argument("--output_dir", type=Path, help="default: open-questions in the folder of --benchmark_dir")
    parser.add_argument(
        "--questions",
        nargs="+",
        choices=("lengths", "quality", "language"),
        default=["lengths", "quality", "language"],
    )
    parser.add_argument("--rows", nargs="+", choices=list(TITLES), default=["ours", "document", "mean"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the benchmark's models")
    parser.add_argument("--gallery_size", type=int, default=1000)
    parser.add_argument("--skip_training", action="store_true", help="leave out what needs training: language")
    parser.add_argument("--num_epochs", type=int, help="of the trainings, in place of the benchmark's")
    parser.add_argument("--device", default="cpu", help="of the ranking")
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args(arguments)
    given.output_dir = given.output_dir or given.benchmark_dir / "open-questions"
    OpenQuestions(given).run()


if __name__ == "__main__":
    main()
