# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What needs a process of its own: imports, and whether songs that are done leave memory taken."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.cache import SongEmbedding
from collap.processing.feature_extraction_collap import settings_of_model
from collap.search.index import SongIndex

from . import gpu
from .cases import CPU, RATE, Size, noise
from .measure import STATUS, Row, compare, status_gb

IMPORTS = ("import collap", "from transformers import ClapModel")


def imports(size: Size) -> Iterator[Row]:
    """Imports, each in a new Python that starts for it."""
    peaks: dict[str, list[float]] = {statement: [] for statement in IMPORTS}

    def run(statement: str) -> None:
        code = f"{statement}; print(open('{STATUS}').read())" if STATUS.is_file() else statement
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        peaks[statement].append(status_gb("VmHWM", done.stdout))

    functions = {statement: lambda statement=statement: run(statement) for statement in IMPORTS}
    for statement, row in compare(functions, CPU, size.num_runs, budget_s=90).items():
        yield statement, row | {"peak_memory_gb": statistics.median(peaks[statement]) if STATUS.is_file() else None}


def leak(size: Size) -> Iterator[Row]:
    """The memory that a process holds after each song that it indexes: its slope over the second half of them."""
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1) as pool:
        held_mb = pool.apply(index_songs, (Path(folder), size.indexed))
        pool.close()
        pool.join()
    second_half = slice(len(held_mb) // 2, None)
    line, covariance = np.polyfit(np.arange(len(held_mb))[second_half], held_mb[second_half], 1, cov=True)
    row = {"mb_per_1000_songs": 1000 * float(line[0]), "standard_error": 1000 * float(covariance[0, 0] ** 0.5)}
    yield f"index of {size.indexed:,} songs", row | {"held_mb": held_mb[:: max(1, len(held_mb) // 20)]}


def index_songs(folder: Path, num_songs: int) -> list[float]:
    """Megabytes that this process holds after each song of an index: songs of 5 to 10 s, a tiny model."""
    config = gpu.Run(CPU, gpu.TINY).config()
    words = Tokenizer(models.WordLevel({"<unk>": 0, "<pad>": 1}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="<unk>", pad_token="<pad>")
    extractor = CollapFeatureExtractor(**settings_of_model(config))
    for part in (CollapModel(config), CollapProcessor(extractor, tokenizer, config.text_granularity)):
        part.save_pretrained(folder / "model")
    (folder / "songs").mkdir()
    for song in range(num_songs):
        soundfile.write(folder / "songs" / f"{song}.flac", noise(5 + song % 50 / 10, seed=song), RATE)
    index = SongIndex.create(folder / "index", str(folder / "model"))
    embed_song, held_mb = index.retriever.embed_song, []

    def embed(path: str) -> SongEmbedding:
        held_mb.append(1000 * (status_gb("VmRSS") or 0.0))
        return embed_song(path)

    index.retriever.embed_song = embed
    update = index.update([folder / "songs"])
    if update.num_songs != num_songs:
        raise ValueError(f"not all songs are indexed: {update}")
    return held_mb
