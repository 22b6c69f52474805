# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Small copies of the published sets: tables, and audio files with a moment of noise."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from collap.data.manifest import load_manifest
from collap.data.sets import SETS

FORMATS = {".mp3": "MP3", ".wav": "WAV", ".flac": "FLAC", ".ogg": "OGG"}

# As FUTGA writes: a text on the whole song, then the sections with their times.
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
        writer = csv.DictWriter(lines, fieldnames=list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        writer.writeheader()
        writer.writerows(rows)
    return path


def convert(
    name: str, data_dir: Path, audio_dir: Path | None = None, **options: Any
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Rows of the manifest and provenance of a set, after [`load_manifest`] has read the manifest."""
    folder = data_dir if data_dir.is_dir() else data_dir.parent
    manifest = SETS[name].convert(data_dir, folder / "converted", audio_dir, **options)
    assert manifest == folder / "converted" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    loaded = load_manifest(manifest)
    assert loaded["song_id"][:] == [row["song_id"] for row in rows]
    assert all(Path(audio).is_file() for audio in loaded["audio"])
    return rows, json.loads(manifest.with_name("provenance.json").read_text(encoding="utf-8"))


def pairs(rows: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Song and text of each row, texts as one string."""
    return [(row["song_id"], row["text"] if isinstance(row["text"], str) else " ".join(row["text"])) for row in rows]
