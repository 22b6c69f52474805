# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Small copies of the sets' layouts: tables, and files of audio that hold a moment of noise."""

import csv
from pathlib import Path

import numpy as np
import soundfile

FORMATS = {".mp3": "MP3", ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}

# As FUTGA writes: a text on the whole song, then the sections under their times.
FUTGA = (
    "A {what} song with a calm mood that grows from a quiet beginning to a full ending, with warm, close sound. "
    "\n**0-40% - Intro:**\n- The {what} alone\n**40-100% - Verse:**\n- Drums enter"
)


def write_audio(path: Path, seconds: float = 0.5, rate: int = 16_000) -> Path:
    """Noise in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * rate)).astype(np.float32)
    soundfile.write(path, samples, rate, format=FORMATS[path.suffix])
    return path


def write_csv(path: Path, rows: list[dict[str, object]]) -> Path:
    """A table with a header, of the keys of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.DictWriter(lines, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def pairs(evaluation_set) -> list[tuple[str, str]]:
    """Song and text of each right answer, texts as one string."""
    return [
        (song, text.text if isinstance(text.text, str) else " ".join(text.text))
        for text in evaluation_set.texts
        for song in text.song_ids
    ]
