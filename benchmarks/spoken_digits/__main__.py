# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Long spoken tracks with their transcripts, as manifests for training and evaluation, and a small text tower for them.

    python -m benchmarks.spoken_digits --data_dir free-spoken-digit-dataset/recordings --output_dir digits

README.md beside this file says what the tracks hold, and has the commands that train and evaluate on them.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from collap.cli import HelpFormatter
from collap.files import atomic_write

from ..towers import SPECIAL_TOKENS, save_text_tower
from .tracks import WORDS, Settings, compose

TRAIN_S = (60.0, 120.0)  # seconds, shortest and longest
TEST_S = (120.0, 120.0)  # all the same: longer tracks have longer transcripts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument("--data_dir", type=Path, required=True, help="folder of {digit}_{speaker}_{take}.wav")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of tracks/, test/ and text/")
    parser.add_argument("--num_tracks", type=int, nargs=3, default=(300, 50, 100), help="of each split")
    parser.add_argument("--seed", type=int, default=0, help="of the tracks and of the text tower")
    given = parser.parse_args(arguments)
    num_train, num_validation, num_test = given.num_tracks
    tracks, test = given.output_dir / "tracks", given.output_dir / "test"
    counts = {"train": num_train, "validation": num_validation}
    compose(given.data_dir, tracks, counts, Settings(*TRAIN_S, given.seed))
    compose(given.data_dir, test, {"test": num_test}, Settings(*TEST_S, given.seed))
    exchange_digits(test / "test.jsonl", test / "other_digits.jsonl", given.seed)
    build_text_tower(given.output_dir / "text", given.seed)


def build_text_tower(output_dir: Path, seed: int) -> None:
    """Writes a small RoBERTa with random weights and a tokenizer whose tokens are the ten words and the full stop."""
    tokens = [*SPECIAL_TOKENS[:4], *WORDS, "."]  # without <mask>
    tokenizer = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128}
    save_text_tower(tokenizer, output_dir, seed=seed, **sizes)


def exchange_digits(manifest: Path, output: Path, seed: int) -> None:
    """Writes the manifest with other digits in its texts: what still finds its track does so by the rhythm."""
    random = np.random.default_rng(seed)
    lines = []
    for song in map(json.loads, manifest.read_text(encoding="utf-8").splitlines()):
        counts = [len(sentence.split()) for sentence in song["text"]]
        song["text"] = [" ".join(random.choice(WORDS, size=count)) + "." for count in counts]
        lines.append(json.dumps(song) + "\n")
    with atomic_write(output) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
