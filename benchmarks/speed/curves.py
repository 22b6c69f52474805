# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How time and memory grow with the length of a song, the songs of a batch, the sentences and the songs searched."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from transformers import WhisperConfig

from collap import BeatsConfig, CollapAudioModel, CollapConfig, CollapFeatureExtractor
from collap.encode import encode_streams, stream_features
from collap.modeling_collap.scoring_collap import score_sentences
from collap.processing.feature_extraction_collap import settings_of_model

from . import gpu
from .cases import CPU, RATE, Size, noise
from .measure import Function, Row, measure
from .steps import search

BEATS = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
WHISPER = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 128}


@torch.no_grad()
def curves(size: Size) -> Iterator[Row]:
    """The exponent of a fitted power of the amount: 1 where the time grows in proportion. The encoders are small."""
    config = CollapConfig(music_config=BeatsConfig(embed_dim=64, **BEATS), speech_config=WhisperConfig(**WHISPER))
    model, extractor = CollapAudioModel(config).eval(), CollapFeatureExtractor(**settings_of_model(config))

    def encode(num_songs: int, length_s: float) -> Function:
        inputs = gpu.make_songs(config, [length_s] * num_songs, CPU)
        return lambda: model(**inputs)

    def encode_file(length_s: float) -> Function:
        soundfile.write(file, noise(length_s), RATE)
        return lambda: encode_streams(model, [stream_features(str(file), extractor, config, truncation=False)])

    def score(num_sentences: int) -> Function:
        config = CollapConfig(frame_pooling=64, kernel_size=4, kernel_stride=4)
        inputs = gpu.make_score_inputs(config, 100, size.song_s, num_sentences)
        return lambda: score_sentences(*inputs)

    yield "seconds of a song", _curve(size.lengths_s, lambda length_s: encode(1, length_s))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "song.flac")
        yield "seconds of a song, from its file", _curve(size.lengths_s, encode_file)
    yield "songs of 30 s in a batch", _curve(size.batches, lambda num_songs: encode(num_songs, 30.0))
    yield "sentences, 100 songs", _curve(size.texts, score)
    yield "songs, first stage of a search", _curve(size.searched, search)


def _curve(amounts: Sequence[float], make: Callable[[Any], Function]) -> dict[str, Any]:
    rows = {amount: measure(make(amount), CPU, num_runs=3, budget_s=20) for amount in amounts}
    exponent, _ = np.polyfit(np.log(amounts), np.log([row["seconds"] for row in rows.values()]), 1)
    columns = {
        name: {str(amount): row[name] for amount, row in rows.items()} for name in ("seconds", "peak_memory_gb")
    }
    return {"exponent": float(exponent), **columns}
