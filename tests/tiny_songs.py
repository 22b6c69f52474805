# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Short songs of noise, and the shards of a cache that holds them."""

from pathlib import Path

import numpy as np
import soundfile


def write_song(path: Path, seconds: float, seed: int = 0) -> str:
    soundfile.write(path, 0.1 * np.random.default_rng(seed).standard_normal(int(16_000 * seconds)), 16_000)
    return str(path)


def write_songs(folder: Path) -> list[str]:
    """Three songs of different lengths."""
    return [write_song(folder / f"{index}.wav", seconds, index) for index, seconds in enumerate((1.5, 0.4, 2.0))]


def shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("shard-*.safetensors"))
