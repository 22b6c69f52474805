# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What comes before and after the encoders: decoding, features, fusion, batches, searches, scores and training."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor
from transformers import BertConfig, WhisperConfig
from transformers.modeling_outputs import BaseModelOutput

from collap import BeatsConfig, CollapAudioModel, CollapConfig, CollapFeatureExtractor, CollapModel
from collap.data.audio_files import read_audio
from collap.modeling_collap.scoring_collap import count_segments, score_sentences
from collap.processing.feature_extraction_collap import settings_of_model
from collap.search.first_stage import WindowQuery, score_windows

from . import gpu, operations
from .cases import CPU, RATE, WHISPER_BASE, Case, Size, noise, run_cases
from .measure import Function, Row

WINDOWS, SENTENCES, WIDTH = 32, 20, 512  # of a song, of a query and of a vector in the first stage of a search
CAPTION_SENTENCES = 10
UNEQUAL = (0.7, 1.0, 2.4, 4.0)  # chunks of the songs of a batch
MINI_LM = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}


@torch.no_grad()
def steps(size: Size) -> Iterator[Row]:
    """The steps of a song before and after the encoders, and the first stage of a search."""
    config = CollapConfig(speech_config=WhisperConfig(**WHISPER_BASE))
    extractor, model = CollapFeatureExtractor(**settings_of_model(config)), CollapAudioModel(config).eval()
    for encoder in (model.music_model, model.speech_model):  # they give what is there already: fusion is the rest
        states = torch.randn(config.encoder_batch_size, config.vectors_per_chunk, encoder.config.hidden_size)
        encoder.forward = lambda chunks, states=states, **_: BaseModelOutput(states[: len(chunks)])
    song = {"audio": noise(size.song_s), "sampling_rate": RATE, "return_tensors": "pt"}
    features, num_frames = extractor(**song), int(size.song_s / config.frame_length_s)
    fusion = operations.linear(num_frames, config.encoder_hidden_size, config.projection_dim)
    cases = {
        "features": Case(lambda: extractor(**song), size.song_s),
        "fusion": Case(lambda: model(**features), size.song_s, fusion),
        "first stage, 1,000 songs": Case(search(1000), None, operations.score(1000, WINDOWS, SENTENCES, WIDTH)),
    }
    with tempfile.TemporaryDirectory() as folder:
        for name in ("flac", "mp3"):
            file = Path(folder, f"song.{name}")
            soundfile.write(file, noise(size.song_s, 44_100), 44_100)
            cases[f"decode {name}"] = Case(lambda file=file: read_audio(file, RATE), size.song_s)
        yield from run_cases(cases, size)


def search(num_songs: int) -> Function:
    """The first stage of a search."""
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((1000 * WINDOWS, WIDTH), np.float32).astype(np.float16)
    vectors = np.tile(vectors, (max(1, num_songs // 1000), 1))[: num_songs * WINDOWS]
    query = WindowQuery(generator.standard_normal((SENTENCES, WIDTH), np.float32), 0.1, 0.7, 0.5)
    return lambda: score_windows(vectors, WINDOWS * np.arange(num_songs + 1), query)


@torch.no_grad()
def batches(size: Size) -> Iterator[Row]:
    """Songs of different lengths through BEATs base, together and each alone: what padding costs."""
    config = CollapConfig(speech_config=None, chunk_length_s=size.clip_s / 10)
    model, lengths_s = CollapAudioModel(config).eval(), [chunks * size.clip_s / 10 for chunks in UNEQUAL]
    batch, *alone = (gpu.make_songs(config, own, CPU) for own in (lengths_s, *([length_s] for length_s in lengths_s)))
    amount = sum(lengths_s), sum(operations.encode_song(config, length_s) for length_s in lengths_s)
    cases = {
        "alone": Case(lambda: [model(**own) for own in alone], *amount),
        "together": Case(lambda: model(**batch), *amount),
    }
    rows = dict(run_cases(cases, size))
    rows["together"]["of_alone"] = rows["together"]["seconds"] / rows["alone"]["seconds"]
    yield from rows.items()


@torch.no_grad()
def scores(size: Size) -> Iterator[Row]:
    """Songs against as many captions of sentences with time; the loop takes ten of the pairs."""
    for pooling, num_songs in ((64, size.scored), (8, max(1, size.scored // 10))):
        frames_per_segment = 256 // pooling  # 5.12 s
        config = CollapConfig(frame_pooling=pooling, kernel_size=frames_per_segment, kernel_stride=frames_per_segment)
        inputs = gpu.make_score_inputs(config, num_songs, size.song_s, num_songs * CAPTION_SENTENCES)
        one = gpu.make_score_inputs(config, 1, size.song_s, CAPTION_SENTENCES)
        num_frames = inputs[0].shape[1]
        of_pair = operations.score(1, num_frames, CAPTION_SENTENCES, config.projection_dim, config.num_time_features)
        cases = {
            "all pairs": Case(lambda inputs=inputs: score_sentences(*inputs), None, num_songs**2 * of_pair),
            "naive loop": Case(lambda one=one: [naive_scores(*one) for _ in range(10)], None, 10 * of_pair),
        }
        rows = dict(run_cases(cases, size))
        for name, row in rows.items():
            row |= {"songs": num_songs, "pairs_per_s": cases[name].operations / of_pair / row["seconds"]}
            row["times_slower"] = rows["all pairs"]["pairs_per_s"] / row["pairs_per_s"]
            yield f"{name}, {num_frames} frames a song", row


def naive_scores(
    frames: Tensor, mask: Tensor, queries: Tensor, config: CollapConfig, times: Tensor, time_queries: Tensor
) -> Tensor:
    """What `score_sentences` gives of one song without padding, as one would write it down first."""
    (song,), (time,), found = frames, times, []
    num_segments = count_segments(len(song), config.kernel_size, config.kernel_stride)
    starts = [segment * config.kernel_stride for segment in range(num_segments)]
    for query, time_query in zip(queries, time_queries, strict=True):
        segments, logits = [], []
        for start in starts:
            own = slice(start, start + config.kernel_size)
            cosines, of_time = song[own] @ query, time[own] @ time_query
            attention = (cosines / config.kernel_temperature + of_time).softmax(0)
            segments.append(attention @ cosines)
            logits.append(segments[-1] / config.temporal_temperature + attention @ of_time)
        of_segments = torch.stack(segments)
        temporal = torch.stack(logits).softmax(0) @ of_segments
        found.append(config.kernel_weight * of_segments.mean() + config.temporal_weight * temporal)
    return torch.stack(found)[None]


def training(size: Size) -> Iterator[Row]:
    """A step on cached frames of BEATs base and Whisper base: forward, backward, clipping, AdamW."""
    for granularity in ("document", "sentence"):
        for pooling in (8, 64):
            config = CollapConfig(
                music_config=BeatsConfig(num_hidden_layers=1),  # not used: its frames are there
                speech_config=WhisperConfig(**WHISPER_BASE | {"encoder_layers": 1}),
                text_config=BertConfig(**MINI_LM),
                text_granularity=granularity,
                temporal_position=granularity == "sentence",
                frame_pooling=pooling,
                kernel_size=256 // pooling,
                kernel_stride=256 // pooling,
            )
            yield from run_cases({f"{granularity}, frame_pooling {pooling}": _train_case(config, size)}, size, 30)


def _train_case(config: CollapConfig, size: Size) -> Case:
    model, num_frames = CollapModel(config).train(), int(size.song_s / config.frame_length_s)
    step, lengths = gpu.make_training(model, gpu.Size(), size.trained, num_frames, CPU, torch.float32)
    return Case(step, None, operations.train_step(config, lengths, size.trained, num_frames))
