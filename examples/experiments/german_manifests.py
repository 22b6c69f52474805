# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The benchmark's songs with captions in German too (the audio stays where it is), and a text tower for both."""

import copy
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from common import EXAMPLES, Song, read_songs
from transformers import XLMRobertaConfig

sys.path.append(str(EXAMPLES.parent))
from build_text_tower import build_text_tower

from benchmarks.corpus.build import GERMAN, add_stored_texts

BILINGUAL_VOCABULARY = 4000  # tokens: the 2,000 of the English tower for each language


def in_german(song: Song, split: str, number: int) -> Song:
    """
    A song with its German columns; as it is if it has them.

    Args:
        split (`str`), number (`int`): Of the song.

    Raises:
        ValueError: if no German texts are stored for it.
    """
    if "texts_german" in song or "text_german" in song:
        return song
    german = copy.deepcopy(song)
    if not add_stored_texts(german, GERMAN, split, number):
        raise ValueError(
            f"benchmarks/corpus/texts has no German texts for song {number} of the split {split}: they are of the "
            "corpus of seed 0 and size small."
        )
    return german


def in_both(song: Song) -> Song:
    """A training song whose wordings are the English ones, then the German ones: each epoch draws one of them."""
    sections = [
        section | {"sentences": section["sentences"] + section["sentences_german"]} for section in song["sections"]
    ]
    return song | {"texts": song["texts"] + song["texts_german"], "sections": sections}


def write_manifests(corpus: Path, output_dir: Path) -> None:
    """Writes `train_both.jsonl` and `content.jsonl` (English and German columns) for a benchmark's corpus."""
    train, content = (
        [in_german(song, split, number) for number, song in enumerate(read_songs(corpus / f"{split}.jsonl"))]
        for split in ("train", "content")
    )
    output_dir.mkdir(parents=True, exist_ok=True)
    _write(output_dir / "train_both.jsonl", [in_both(song) for song in train])
    _write(output_dir / "content.jsonl", content)


def build_bilingual_tower(manifest: Path, output_dir: Path) -> None:
    """A small XLM-R with random weights and a tokenizer trained on the texts of `train_both.jsonl`."""
    build_text_tower(manifest, output_dir, BILINGUAL_VOCABULARY, config_class=XLMRobertaConfig)


def _write(file: Path, songs: Sequence[Song]) -> None:
    """Writes songs, with absolute paths of audio."""
    lines = [json.dumps(song | {"audio": os.path.abspath(song["audio"])}, ensure_ascii=False) for song in songs]
    temporary = file.with_suffix(".tmp")
    temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    os.replace(temporary, file)


__all__ = ["build_bilingual_tower", "in_both", "in_german", "write_manifests"]
