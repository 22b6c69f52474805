# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Scores of songs and captions from their frames, all at once and in loops."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from collap import CollapConfig
from collap.modeling_collap.scoring_collap import count_segments, score_sentences, time_features

from . import operations
from .cases import Case, Size, run_cases
from .measure import Row

SENTENCES = 10  # of a caption


@torch.no_grad()
def scores(size: Size) -> Iterator[Row]:
    """Songs against as many captions of sentences with time; the loop takes ten of the pairs."""
    for pooling, num_songs in ((64, size.scored), (8, max(1, size.scored // 10))):
        frames_per_segment = 256 // pooling  # 5.12 s
        config = CollapConfig(frame_pooling=pooling, kernel_size=frames_per_segment, kernel_stride=frames_per_segment)
        inputs = score_inputs(config, num_songs, size.song_s, num_songs * SENTENCES)
        one = score_inputs(config, 1, size.song_s, SENTENCES)
        num_frames = inputs[0].shape[1]
        of_pair = operations.score(1, num_frames, SENTENCES, config.projection_dim, config.num_time_features)
        cases = {
            "all pairs": Case(lambda inputs=inputs: score_sentences(*inputs), None, num_songs**2 * of_pair),
            "naive loop": Case(lambda one=one: [naive_scores(*one) for _ in range(10)], None, 10 * of_pair),
        }
        rows = dict(run_cases(cases, size))
        for name, row in rows.items():
            row |= {"songs": num_songs, "pairs_per_s": cases[name].operations / of_pair / row["seconds"]}
            row["times_slower"] = rows["all pairs"]["pairs_per_s"] / row["pairs_per_s"]
            yield f"{name}, {num_frames} frames a song", row


def score_inputs(config: CollapConfig, num_songs: int, song_s: float, num_sentences: int) -> tuple[Any, ...]:
    """The arguments of `score_sentences`."""
    num_frames, num_features = int(song_s / config.frame_length_s), config.num_time_features
    frames = normalize(torch.randn(num_songs, num_frames, config.projection_dim), dim=-1)
    queries = normalize(torch.randn(num_sentences, config.projection_dim), dim=-1)
    times = time_features(torch.linspace(0, 1, num_frames), num_features).expand(num_songs, -1, -1)
    mask = torch.ones(num_songs, num_frames, dtype=torch.bool)
    return frames, mask, queries, config, times, torch.randn(num_sentences, num_features)


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
