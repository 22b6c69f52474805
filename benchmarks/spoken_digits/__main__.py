# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Transcripts find long spoken tracks, made of real recordings. Each speaker in turn is in no training data.

    python -m benchmarks.spoken_digits --data_dir free-spoken-digit-dataset/recordings --output_dir digits \
        --speech_model openai/whisper-tiny.en --results digits.json

It composes the tracks, encodes them once by the frozen Whisper, trains each row on the same tracks, ranks all tracks
of the held-out speaker for each transcript, and prints the table of README.md. Steps that are done are cached.
"""

import argparse
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers

from collap.files import this_command, write_json

from ..pipeline import RECIPE, Pipeline, run_module
from ..tables import as_table, read_metrics, spread
from ..towers import SPECIAL_TOKENS, save_text_tower
from .recordings import POOLS, WORDS
from .tracks import SPEAKERS

# Frames of 0.16 s. A kernel is much of a phrase, wherever it starts; its temperature makes nearly a mean, because a
# phrase is all of its words.
MODEL = {"frame_pooling": 8, "kernel_size": 16, "kernel_stride": 4, "kernel_temperature": 1.0}
MODEL |= {"projection_dim": 64, "logit_scale_init_value": 3.5}
TRAINING = RECIPE | {"learning_rate": 2e-3, "lr_scheduler_type": "cosine", "num_train_epochs": 8, "use_cpu": "true"}
TRAINING |= {"contrastive_batch_size": 16, "sentence_shuffle_probability": 0}
WITH_TIME = {"text_granularity": "sentence", "temporal_position": "true"}
ROWS = {
    "sentence queries with time": WITH_TIME,
    "sentence queries without time": WITH_TIME | {"temporal_position": "false"},
    "document attention (the paper)": {"text_granularity": "document", "temporal_position": "false"},
}
PRETRAINED_TEXT = WITH_TIME | {"trainable_text_layers": 2, "text_learning_rate": 5e-4}
PROMPT_ROWS = {"nicolas": "trained on digits", "seen": "trained on digits and prompts"}  # by the folder of the tracks
METRICS = {"R@1": "recall@1", "R@5": "recall@5", "median rank": "median_rank"}
COLUMNS = {f"{of}: {name}": (of, METRICS[name]) for of in ("text to audio", "audio to text") for name in METRICS}
COLUMNS |= {f"{of}: R@1": (of, "recall@1") for of in ("other words to audio", "audio to other words")}


class SpokenDigits(Pipeline):
    """The steps of the benchmark."""

    def __init__(self, given: argparse.Namespace):
        super().__init__(given.output_dir, given.num_processes)
        self.given, arguments = given, (self.corpus, *given.num_tracks)
        command = run_module("benchmarks.spoken_digits.tracks", "digits", given.data_dir, *arguments)
        self.composed = [self.step("corpus", "Tracks of digits", command)]
        if given.prompts:
            command = run_module("benchmarks.spoken_digits.tracks", "prompts", given.prompts, *arguments)
            self.composed.append(self.step("prompts", "Tracks of prompts", command, self.composed))
        self.extracted, self.steps = {}, []  # by manifests; trainings and ranks
        self.rows, self.by_speaker = {}, {}  # files of ranks by title and seed; by title and speaker

    def add(self, title: str, kind: str, folder: str, tests: Sequence[str], special: dict[str, Any]) -> None:
        """Trains the model `{kind}-{folder}-{seed}` on the tracks of a folder, and ranks the test tracks of others."""
        name = f"{kind}-{folder}-{special['seed']}"
        arguments = MODEL | {"speech_model": self.given.speech_model} | special
        manifests = [self.manifest(f"{folder}/train"), *(self.manifest(f"{test}/test") for test in tests)]
        frames = {key: arguments[key] for key in ("speech_model", "frame_pooling")} | {"text_model": self.text / "0"}
        step = "-".join(("extract", folder, *tests))
        composed = self.composed if kind == "prompts" else self.composed[:1]
        extracted = self.extract(manifests, frames, composed, name=step, title=step)
        extracted = self.extracted.setdefault(step, extracted)
        arguments |= TRAINING | {"train_manifest": manifests[0], "features": self.features}
        trained = self.train(name, f"Training {name}", arguments, [extracted])
        self.steps.append(trained)
        for test in tests:
            ranks, options = f"{name}-{test}", {"corpus": self.corpus / test, "features": self.features}
            self.steps += [self.rank(ranks, f"Ranking {ranks}", ["spoken"], self.model(name), [trained], **options)]
            row = title if len(tests) == 1 else f"{title}, {test}"
            self.rows.setdefault(row, {}).setdefault(special["seed"], []).append(self.ranks(ranks))
            if test in self.given.held_out and kind != "prompts":
                self.by_speaker.setdefault(f"{title}, {test}", []).append(self.ranks(ranks))

    def make(self) -> dict[str, Any]:
        """Runs all steps; returns the rows of the table, with all speakers taken together and with each alone."""
        for seed in {0, *self.given.seeds}:  # the songs are encoded with the text tower of seed 0: it does not matter
            build_text_tower(self.text / str(seed), seed)
        for seed in self.given.seeds:
            for held_out, (title, special) in itertools.product(self.given.held_out, ROWS.items()):
                kind, text_model = title.split(" (")[0].replace(" ", "-"), self.text / str(seed)
                given = {"text_model": text_model, "text_pooling": "mean", "seed": seed}
                self.add(title, kind, held_out, [held_out], special | given)
            for folder, title in PROMPT_ROWS.items() if self.given.prompts else ():
                special = PRETRAINED_TEXT | {"text_model": self.given.text_model, "seed": seed}
                self.add(title, "prompts", folder, ["nicolas", *POOLS], special)
        self.run([*self.composed, *self.extracted.values(), *self.steps])
        files = {title: [*of_seeds.values()] for title, of_seeds in self.rows.items()}
        tables = {"rows": files, "rows_by_speaker": self.by_speaker}
        return {
            name: {title: {"title": title, "questions": read_metrics(found)} for title, found in rows.items()}
            for name, rows in tables.items()
        }


def build_text_tower(output_dir: Path, seed: int) -> None:
    """Writes a small RoBERTa with random weights and a tokenizer whose tokens are the ten words and the full stop."""
    tokens = [*SPECIAL_TOKENS[:4], *WORDS, "."]  # without <mask>
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    save_text_tower(tokenizer, output_dir, seed=seed, **sizes)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of {digit}_{speaker}_{take}.wav")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True, help="JSON file")
    parser.add_argument("--speech_model", default="openai/whisper-tiny.en")
    parser.add_argument("--prompts", type=Path, help="folder of core-sounds-en.txt and its recordings")
    parser.add_argument("--text_model", default="sentence-transformers/all-MiniLM-L6-v2", help="for the prompts")
    parser.add_argument("--held_out", nargs="+", choices=SPEAKERS, default=SPEAKERS, help="speakers, one at a time")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2), help="of the trainings; the tracks are one")
    parser.add_argument("--num_tracks", type=int, nargs=2, default=(100, 100), help="of a speaker: training, test")
    parser.add_argument("--num_processes", type=int, default=1)
    given = parser.parse_args(arguments)
    result = {"seeds": given.seeds, "held_out": given.held_out, **SpokenDigits(given).make()}
    print(as_table(result, COLUMNS, spread))
    print(f"\nEach speaker held out:\n\n{as_table({'rows': result['rows_by_speaker']}, COLUMNS, spread)}")
    write_json(given.results, {"command": this_command(), **result})


if __name__ == "__main__":
    main()
