# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A tiny random CoLLAP as a retriever, with songs and texts for it."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor

TEXTS = [
    ["a slow piano", "then drums"],
    "a choir sings",
    ["drums", "a fast bass", "a choir"],
    "a piano fades",
    ["a slow choir", "a fast piano"],
]


def tiny_collap(**fields) -> tuple[CollapModel, CollapProcessor]:
    """Model (in evaluation mode) and processor, which knows the words of `TEXTS`; by sentences and with time."""
    torch.manual_seed(0)
    words = [text if isinstance(text, str) else " ".join(text) for text in TEXTS]
    model = CollapModel(tiny_config(**{"text_granularity": "sentence", "temporal_position": True, **fields})).eval()
    with torch.no_grad():  # far from their start, where all songs are much alike
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    return model, CollapProcessor(extractor, tiny_tokenizer(*words), model.config.text_granularity)


def write_songs(folder: Path, seconds: tuple[float, ...]) -> dict[str, str]:
    """Songs of noise, each with a tone of its own: paths by id."""
    songs = {}
    for index, length in enumerate(seconds):
        time = np.arange(int(16_000 * length)) / 16_000
        noise = np.random.default_rng(index).standard_normal(len(time))
        waveform = 0.3 * np.sin(2 * np.pi * 110 * (index + 1) * time) + 0.05 * noise
        path = folder / f"{index}.wav"
        soundfile.write(path, waveform, 16_000)
        songs[f"song-{index}"] = str(path)
    return songs
