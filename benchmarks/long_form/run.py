# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The long-form benchmark: whole songs found by long captions, one model a row, the same songs and rules for all.

    make benchmark                                                        (small: 29 minutes on 2 cores)
    python benchmarks/long_form/run.py --seeds_asked_all 0 1 2 \
        --results benchmarks/results/long_form_all_seeds.json             (after it: 4 minutes more)
    python benchmarks/long_form/run.py --size full --device cuda --structures song_structures.jsonl \
        --results benchmarks/results/long_form_full.json

It renders the song corpus (benchmarks/corpus), pretrains small stand-ins of BEATs and Whisper on it, lets them hear
all songs once, trains each row of `rows.py` with the same songs, batches and epochs, ranks all songs for each query
(examples/experiments/questions.py), and prints the tables that docs/benchmark.md shows. What is done already is kept;
delete the output folder to begin anew. `--validation` asks the validation songs instead: choices are made there.
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tables
import torch
from rows import CHUNK_LENGTH_S, CLAP, CLAP_WINDOWS, MEAN, ROWS, SIZES, Row

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"
sys.path += [str(EXAMPLES / "demo"), str(EXAMPLES / "experiments")]
from questions import SETS  # noqa: E402 - after the path
from small_model import MODEL  # noqa: E402
from steps import Step, named, python, run_steps  # noqa: E402

from collap.files import this_command, write_json  # noqa: E402

TRAINING_SPLITS = ("train", "validation", "validation_order")
RECIPE = {
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "sentence_shuffle_probability": 0.25,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 20,
}
SHARED_DATA = Path(os.environ.get("COLLAP_SHARED_DATA", HERE.parents[1].parent / "shared" / "data"))


class Benchmark:
    """The steps of the benchmark in one folder."""

    def __init__(self, arguments: argparse.Namespace):
        self.arguments = arguments
        self.size = SIZES[arguments.size]
        self.out: Path = arguments.output_dir
        self.corpus = self.out / "corpus"
        self.started = time.monotonic()
        asked = [question.split for questions in ("long-form", "long-form-more") for question in SETS[questions]()]
        self.left_out = [] if arguments.structures else ["structures"]
        self.splits = [split for split in dict.fromkeys(asked) if split not in self.left_out]
        self.on_cpu = arguments.device == "cpu"
        self.num_kept = 0  # steps that an earlier call has done
        self.rendered = self.build_corpus()
        self.towers = [self.pretrain("music"), self.pretrain("speech"), self.make_text_tower()]
        self.heard = self.extract()

    def run(self) -> None:
        if "structures" in self.left_out:
            self.say("Without --structures the split of unseen structures is left out")
        self.say("Rendering songs with long captions")
        self.steps([self.rendered], at_once=1)
        self.say("Pretraining small encoders on tags of short crops; they stand in for BEATs and Whisper")
        self.steps(self.towers)
        self.say("Letting the encoders hear all songs, once (they are frozen)")
        self.steps([self.heard], at_once=1)
        runs = [(name, seed) for seed in self.arguments.seeds for name in self.rows(seed)]
        self.say(f"Training {len(runs)} models, and looking for songs that none of them has heard")
        steps = []
        for name, seed in runs:
            training = self.train_clap(seed) if name == "clap" else [self.train(name, seed)]
            steps += [*training, *self.evaluate(name, seed, training[-1])]
        self.steps(steps)
        ranks = "validation" if self.arguments.validation else "ranks"
        result = tables.collect(self.out, runs, ranks)
        result |= {"size": self.arguments.size, "seconds": round(time.monotonic() - self.started)}
        result |= {"steps_done_by_earlier_calls": self.num_kept, "splits_left_out": self.left_out}
        print(tables.format_all(result))
        write_json(self.arguments.results, {"command": this_command(), **result})
        self.say(f"Done. The figures are in {self.arguments.results}")

    def rows(self, seed: int) -> list[str]:
        """The rows to train with a seed: ablations with the first alone."""
        first = seed == self.arguments.seeds[0]
        return [name for name in self.arguments.rows if first or ROWS[name].is_main]

    def steps(self, steps: list[Step], at_once: int | None = None) -> None:
        self.num_kept += sum(step.is_done() for step in steps)
        run_steps(steps, self.out / "logs", at_once or self.arguments.num_processes)

    def step(self, name: str, title: str, command: list[str], *after: Step, inputs: tuple[Path, ...] = ()) -> Step:
        return Step(name, title, command, self.out / "done" / f"{name}.json", after, inputs)

    def say(self, text: str) -> None:
        print(f"\n[{time.monotonic() - self.started:4.0f} s] {text}", flush=True)

    def build_corpus(self) -> Step:
        command = python("-m", "benchmarks.corpus", "--output_dir", self.corpus)
        command += ["--size", self.arguments.size, "--clock_share", "0.25"]
        command += ["--num_processes", str(self.arguments.num_processes), "--splits", *TRAINING_SPLITS]
        command += self.splits
        if self.arguments.structures:
            command += ["--structures", str(self.arguments.structures)]
        num_songs = self.size.num_songs | dict(item.split("=") for item in self.arguments.num_songs)
        command += ["--num_songs", *(f"{split}={number}" for split, number in num_songs.items())]
        return self.step("corpus", "Corpus", command)

    def make_text_tower(self) -> Step:
        command = python(EXAMPLES / "demo" / "build_text_tower.py", "--manifest", self.corpus / "train.jsonl")
        command += ["--output_dir", str(self.out / "text")]
        return self.step("text", "New text tower", command, self.rendered)

    def pretrain(self, kind: str) -> Step:
        command = python(EXAMPLES / "demo" / "pretrain_encoder.py", "--kind", kind)
        command += ["--output_dir", str(self.out / "encoders" / kind)]
        command += ["--manifest", str(self.corpus / "train.jsonl"), "--chunk_length_s", str(CHUNK_LENGTH_S)]
        command += ["--num_steps", str(self.arguments.num_pretraining_steps or self.size.num_pretraining_steps)]
        command += ["--device", self.arguments.device]
        return self.step(f"pretrain-{kind}", f"Small {kind} encoder", command, self.rendered)

    def model(self) -> dict[str, Any]:
        """A CoLLAP of the towers that were made here."""
        towers = {f"{kind}_model": self.out / "encoders" / kind for kind in ("music", "speech")}
        return towers | {"text_model": self.out / "text"} | MODEL

    def extract(self) -> Step:
        manifests = [self.corpus / f"{split}.jsonl" for split in (*TRAINING_SPLITS, *self.splits)]
        num_processes = self.arguments.num_processes if self.on_cpu else torch.cuda.device_count()
        launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", num_processes]
        command = [sys.executable, *map(str, launch), str(EXAMPLES / "extract_features.py")]
        command += ["--use_cpu"] if self.on_cpu else []
        command += ["--manifests", *map(str, manifests), "--features", str(self.out / "features")]
        return self.step("extract", "Songs", command + named(self.model()), *self.towers)

    def train_clap(self, seed: int) -> list[Step]:
        """
        A new ClapModel, then its two stages.

        The first stands for its pretraining: windows of sections with the sentences on them.
        """
        command = python(EXAMPLES / "baselines" / "build_clap.py", "--tokenizer", self.out / "text")
        command += ["--output_dir", str(self.out / "clap" / str(seed)), "--seed", str(seed)]
        untrained = self.step(f"clap-{seed}", f"An untrained ClapModel, seed {seed}", command, *self.towers)
        recipe = self.recipe(seed) | {
            "model_name_or_path": self.out / "clap" / str(seed),
            "section_crop_probability": 1,
            "learning_rate": self.size.clap_clip_learning_rate,
            "num_train_epochs": self.arguments.num_epochs or self.size.num_clap_clip_epochs,
        }
        command = python(HERE / "train_row.py", f"--output_dir={self.folder('clap-clips', seed)}", *named(recipe))
        clips = self.step(f"train-clap-clips-{seed}", f"CLAP on clips, seed {seed}", command, untrained)
        return [untrained, clips, self.train("clap", seed, clips)]

    def recipe(self, seed: int) -> dict[str, Any]:
        """Arguments of examples/train.py that all trainings share."""
        recipe = RECIPE | {
            "train_manifest": self.corpus / "train.jsonl",
            "num_train_epochs": self.arguments.num_epochs or self.size.num_epochs,
            "contrastive_batch_size": self.size.batch_size,
            "seed": seed,
        }
        return recipe | ({"use_cpu": "true"} if self.on_cpu else {"bf16": "true"})

    def train(self, name: str, seed: int, *after: Step) -> Step:
        row: Row = ROWS[name]
        after = after or (self.heard,)
        recipe = self.recipe(seed)
        if row.kind == CLAP:
            recipe |= {"model_name_or_path": self.folder("clap-clips", seed), "truncate_texts": "true"}
            recipe |= {"learning_rate": self.size.clap_learning_rate}
            recipe |= {"num_train_epochs": self.arguments.num_epochs or self.size.num_clap_epochs}
        else:
            recipe |= {"features": self.out / "features"} | self.model() | row.special
        command = python(HERE / "train_row.py", f"--output_dir={self.folder(name, seed)}")
        command += ["--mean_pooling"] if row.kind == MEAN else []
        return self.step(f"train-{name}-{seed}", f"{row.title}, seed {seed}", command + named(recipe), *after)

    def evaluate(self, name: str, seed: int, training: Step) -> list[Step]:
        """Main rows are asked all with some seeds; their other seeds, and the ablations, what matters most."""
        questions = ["long-form-clips" if ROWS[name].kind == CLAP else "long-form"]
        if ROWS[name].is_main and seed in self.arguments.seeds_asked_all:
            questions.append("long-form-more")
        kind = "validation" if self.arguments.validation else "ranks"
        given = {"model": self.folder(name, seed), "corpus": self.corpus, "device": self.arguments.device}
        given |= {"gallery_size": self.size.gallery_size}
        steps = []
        for suffix in CLAP_WINDOWS if name == "clap" else ("",):
            own = {"output": self.folder(name, seed) / f"{kind}{suffix}.json"}
            own |= {"clap_windows": suffix} if suffix else {"features": self.out / "features"}
            command = python(EXAMPLES / "experiments" / "rank_questions.py", *named(given | own))
            command += ["--questions", *(["validation"] if self.arguments.validation else questions)]
            command += ["--leave_out", *self.left_out]
            title = f"Searching: {CLAP_WINDOWS.get(suffix, ROWS[name].title)}, seed {seed}"
            name_of_step, asked = f"{kind}-{name}{suffix}-{seed}", (EXAMPLES / "experiments" / "questions.py",)
            steps.append(self.step(name_of_step, title, command, training, inputs=asked))
        return steps

    def folder(self, name: str, seed: int) -> Path:
        return self.out / "models" / f"{name}-{seed}"


def parse_arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """What was asked for, with the defaults that depend on each other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=sorted(SIZES), default="small")
    parser.add_argument("--output_dir", type=Path, default=None, help="default: benchmark-SIZE")
    parser.add_argument("--results", type=Path, default=None, help="JSON file; default: results.json in the folder")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the trainings; the corpus is one")
    parser.add_argument(
        "--seeds_asked_all",
        type=int,
        nargs="+",
        help="of the main rows; their other seeds are asked what matters most (default: the first of --seeds)",
    )
    parser.add_argument("--rows", nargs="+", choices=list(ROWS), default=list(ROWS))
    parser.add_argument("--validation", action="store_true", help="ask the validation songs, to choose")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    structures = SHARED_DATA / "song_structures.jsonl"
    parser.add_argument(
        "--structures",
        type=Path,
        default=structures if structures.is_file() else None,
        help="section layouts of real songs, as the Harmonix Set's folder dataset/segments (see "
        "benchmarks/corpus/README.md); without them the split of unseen structures is left out (default: "
        "song_structures.jsonl in the folder COLLAP_SHARED_DATA or ../shared/data, if it is there)",
    )
    parser.add_argument("--num_songs", nargs="*", default=[], help="as in build.py, for a smaller run: train=40 ...")
    parser.add_argument("--num_epochs", type=int, help="in place of the size's")
    parser.add_argument("--num_pretraining_steps", type=int, help="in place of the size's")
    arguments = parser.parse_args(given)
    arguments.seeds_asked_all = arguments.seeds_asked_all or arguments.seeds[:1]
    if untrained := set(arguments.seeds_asked_all) - set(arguments.seeds):
        parser.error(f"--seeds_asked_all has {sorted(untrained)}, which --seeds ({arguments.seeds}) has not.")
    arguments.output_dir = arguments.output_dir or Path(f"benchmark-{arguments.size}")
    name = "validation.json" if arguments.validation else "results.json"
    arguments.results = arguments.results or arguments.output_dir / name
    return arguments


def main() -> None:
    Benchmark(parse_arguments()).run()


if __name__ == "__main__":
    main()
