# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
How CoLLAP scores a song against a sentence: kernel-wise attention, temporal attention, fusion.

The paper names two attentions, both conditioned on the text, and fuses their similarities with factors gamma_K and
gamma_T; it gives no equations. This is our reading. For a song with frames `u_n` and a sentence `q`, all of unit
length, cut into segments of `K` frames:

    logit of a frame        z_n   = <u_n, q> / tau_K + <phi(t_n), r>
    kernel-wise attention   alpha = softmax of z over the K frames of a segment
    score of a segment      c_l   = sum over its frames of alpha_n <u_n, q>
    global alignment        s_K   = mean over l of c_l
    temporal attention      beta  = softmax over l of  c_l / tau_T + sum over its frames of alpha_n <phi(t_n), r>
    temporal alignment      s_T   = sum over l of beta_l c_l
    fused score                     gamma_K s_K + gamma_T s_T

The terms with `phi` (sines and cosines of relative time) and `r` (the time query of the sentence) are ours. Everything
follows from the dot products `(songs, sentences, frames)`; no tensor has songs, sentences, segments and joint width.

Shapes: `B` songs, `N` frames, `S` sentences, `T` texts, `L` segments, `K` frames a segment, `d` joint width, `P` time
features.
"""

import math
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from .configuration_collap import CollapConfig
from .outputs_collap import CollapAttentions

# The most pairs of frame and sentence at a time on a CPU: several times as fast while they fit a core's cache. With a
# graph each block costs a recomputation of its own.
CPU_BLOCK_SIZE = 262_144
CPU_TRAINING_BLOCK_SIZE = 4_194_304


def count_segments(num_frames: Any, kernel_size: int, kernel_stride: int) -> Any:
    """
    Number of segments of songs with `num_frames` frames (whole numbers or tensors of them): one starts every
    `kernel_stride` until the song is covered.

    The last segment may be short, it is never dropped. With stride > kernel the frames between segments are skipped.
    """
    # The number of strides from the end of the first segment to the end of the song, rounded up, never negative.
    uncovered = num_frames - max(kernel_size, kernel_stride)
    return 1 + (uncovered > 0) * ((uncovered + kernel_stride - 1) // kernel_stride)


def time_features(relative_time: torch.Tensor, num_features: int) -> torch.Tensor:
    """
    Sines and cosines `(..., num_features)` of times in [0, 1] (0 = start of the song or text, 1 = end).

    Whole and half periods, so that the features of the end differ from those of the start.
    """
    frequencies = math.pi * torch.arange(1, num_features // 2 + 1, device=relative_time.device, dtype=torch.float32)
    angles = relative_time.float().unsqueeze(-1) * frequencies  # (..., P / 2)
    return torch.cat((angles.sin(), angles.cos()), dim=-1)


def attend_segments(
    similarities: torch.Tensor, frame_mask: torch.Tensor, config: CollapConfig, time_logits: torch.Tensor | None = None
) -> CollapAttentions:
    """
    Kernel-wise and temporal attention over the segments of songs.

    `similarities` `(B, N, S)` are the cosines of frames and sentences; `time_logits` of the same shape are added to
    the logits of the frames. In `frame_mask` `(B, N)` real frames come first.
    """
    segments_per_song = count_segments(frame_mask.sum(-1), config.kernel_size, config.kernel_stride)
    # The lowest finite number, not -inf: a segment of padding only must not become 0 / 0. And not 0, which is higher
    # than every negative logit.
    lowest = torch.finfo(similarities.dtype).min
    logits = similarities / config.kernel_temperature
    if time_logits is not None:
        logits = logits + time_logits
    logits = cut_into_segments(logits, config).masked_fill(~cut_into_segments(frame_mask, config)[..., None], lowest)
    kernel_attentions = logits.softmax(1)  # (B, K, L, S)
    segment_scores = (kernel_attentions * cut_into_segments(similarities, config)).sum(1)  # (B, L, S)

    num_segments = segment_scores.shape[1]
    segment_mask = torch.arange(num_segments, device=frame_mask.device) < segments_per_song[:, None]  # (B, L)
    segment_logits = segment_scores / config.temporal_temperature
    if time_logits is not None:
        segment_logits = segment_logits + (kernel_attentions * cut_into_segments(time_logits, config)).sum(1)
    temporal_attentions = segment_logits.masked_fill(~segment_mask[..., None], lowest).softmax(1)  # (B, L, S)
    return CollapAttentions(
        kernel_attentions=kernel_attentions.permute(0, 3, 2, 1),
        temporal_attentions=temporal_attentions.transpose(1, 2),
        segment_scores=segment_scores.transpose(1, 2),
        segment_mask=segment_mask,
        similarities=similarities.transpose(1, 2),
    )


def cut_into_segments(values: torch.Tensor, config: CollapConfig) -> torch.Tensor:
    """
    Values of frames `(B, N, ...)` to those of the frames of segments `(B, K, L, ...)`, padded with zeros to whole
    segments. Segments that overlap share their memory.
    """
    size, stride = config.kernel_size, config.kernel_stride
    covered = (count_segments(values.shape[1], size, stride) - 1) * stride + size
    # With stride > kernel some of the last frames may lie after the last segment: they are cut off.
    values = nn.functional.pad(values, (0, 0) * (values.dim() - 2) + (0, covered - values.shape[1]))
    return values.unfold(1, size, stride).movedim(-1, 1)


def attend_frames(
    frame_embeds: torch.Tensor,
    frame_mask: torch.Tensor,
    query_embeds: torch.Tensor,
    config: CollapConfig,
    frame_time_features: torch.Tensor | None = None,
    time_query_embeds: torch.Tensor | None = None,
) -> CollapAttentions:
    """The attentions over songs; arguments as in [`score_sentences`]."""
    # Sentences are the last dimension: softmax and sums over the few frames of a segment then run over long rows of
    # memory, which takes a fifth of the time on a CPU.
    similarities = frame_embeds @ query_embeds.T  # (B, N, S)
    time_logits = None if frame_time_features is None else frame_time_features @ time_query_embeds.T
    return attend_segments(similarities, frame_mask, config, time_logits)


def _score_block(
    frame_embeds: torch.Tensor,
    frame_mask: torch.Tensor,
    query_embeds: torch.Tensor,
    config: CollapConfig,
    frame_time_features: torch.Tensor | None,
    time_query_embeds: torch.Tensor | None,
    temporal_only: bool,
) -> torch.Tensor:
    """Fused scores of some songs against some sentences, `(B, S)`; arguments as in [`score_sentences`]."""
    attention = attend_frames(frame_embeds, frame_mask, query_embeds, config, frame_time_features, time_query_embeds)
    temporal_alignment = (attention.temporal_attentions * attention.segment_scores).sum(-1)  # (B, S)
    if temporal_only:
        return (config.kernel_weight + config.temporal_weight) * temporal_alignment
    real = attention.segment_mask[:, None]  # (B, 1, L)
    global_alignment = (attention.segment_scores * real).sum(-1) / real.sum(-1)  # (B, S)
    return config.kernel_weight * global_alignment + config.temporal_weight * temporal_alignment


def score_sentences(
    frame_embeds: torch.Tensor,
    frame_mask: torch.Tensor,
    query_embeds: torch.Tensor,
    config: CollapConfig,
    frame_time_features: torch.Tensor | None = None,
    time_query_embeds: torch.Tensor | None = None,
    temporal_only: bool = False,
) -> torch.Tensor:
    """
    Fused score of every song with every sentence, in blocks.

    A block has at most `config.score_block_size` pairs of frame and sentence. Under autograd each block is recomputed
    in the backward pass, so that the bound holds in training too.

    Args:
        frame_embeds (`torch.Tensor` of shape `(B, N, d)`): Frames of unit length.
        frame_mask (`torch.Tensor` of shape `(B, N)`): True where a frame is real; real frames come first.
        query_embeds (`torch.Tensor` of shape `(S, d)`): Sentences of unit length.
        config ([`CollapConfig`]): Its sizes, temperatures, weights and `score_block_size` are used.
        frame_time_features (`torch.Tensor` of shape `(B, N, P)`, *optional*): Time features of the frames.
        time_query_embeds (`torch.Tensor` of shape `(S, P)`, *optional*): Time queries of the sentences.
        temporal_only (`bool`): Whether the temporal alignment takes the weight of the global alignment too.

    Returns:
        `torch.Tensor` of shape `(B, S)` in float32, between minus and plus `kernel_weight + temporal_weight`.
    """
    # bf16 has three digits, too few for cosines times a factor of up to 100: float32, also in autocast.
    with torch.autocast(device_type=frame_embeds.device.type, enabled=False):
        frame_embeds = frame_embeds.float()
        query_embeds = query_embeds.to(frame_embeds)
        if time_query_embeds is not None:
            time_query_embeds = time_query_embeds.to(frame_embeds)
        num_songs, num_frames, _ = frame_embeds.shape
        num_sentences = query_embeds.shape[0]
        block_size = config.score_block_size
        if frame_embeds.device.type == "cpu" and not torch.compiler.is_compiling():
            block_size = min(block_size, CPU_TRAINING_BLOCK_SIZE if torch.is_grad_enabled() else CPU_BLOCK_SIZE)
        num_segments = count_segments(num_frames, config.kernel_size, config.kernel_stride)
        frames_per_pair = config.kernel_size * num_segments  # those of overlapping segments several times
        # In a graph a number of blocks fixes the numbers of songs, frames and sentences: one block, if it is allowed.
        if torch.compiler.is_exporting() or num_songs * num_sentences * frames_per_pair <= block_size:
            times = (frame_time_features, time_query_embeds)
            return _score_block(frame_embeds, frame_mask, query_embeds, config, *times, temporal_only)
        sentences_at_once = min(num_sentences, max(1, block_size // frames_per_pair))
        songs_at_once = min(num_songs, max(1, block_size // (frames_per_pair * sentences_at_once)))
        recompute = torch.is_grad_enabled()
        rows = []
        frame_counts = frame_mask.sum(-1).tolist() if songs_at_once < num_songs else [num_frames] * num_songs
        for song in range(0, num_songs, songs_at_once):
            longest = max(1, *frame_counts[song : song + songs_at_once])  # without the padding of other blocks
            songs = (slice(song, song + songs_at_once), slice(longest))
            frames, mask = frame_embeds[songs], frame_mask[songs]
            frame_times = None if frame_time_features is None else frame_time_features[songs]
            row = []
            for sentence in range(0, num_sentences, sentences_at_once):
                sentences = slice(sentence, sentence + sentences_at_once)
                times = None if time_query_embeds is None else time_query_embeds[sentences]
                block = (frames, mask, query_embeds[sentences], config, frame_times, times, temporal_only)
                row.append(
                    checkpoint(_score_block, *block, use_reentrant=False) if recompute else _score_block(*block)
                )
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows, dim=0)


def text_of_each_sentence(sentence_counts: torch.Tensor, num_sentences: int) -> torch.Tensor:
    """Index `(S,)` of the text of each of `num_sentences` sentences, which come text by text; a shape known ahead."""
    if torch.compiler.is_exporting():  # ONNX cannot repeat to a number of rows known ahead
        sentences = torch.arange(num_sentences, device=sentence_counts.device)
        return (sentences[:, None] >= sentence_counts.cumsum(0)).sum(-1)
    texts = torch.arange(sentence_counts.shape[0], device=sentence_counts.device)
    return texts.repeat_interleave(sentence_counts, output_size=num_sentences)


def mean_over_sentences(values: torch.Tensor, sentence_counts: torch.Tensor) -> torch.Tensor:
    """
    Mean `(..., T)` over the sentences of each text of values `(..., S)`, text by text.

    `sentence_counts` `(T,)` sum to `S`.
    """
    text_of_sentence = text_of_each_sentence(sentence_counts, values.shape[-1])
    sums = values.new_zeros(*values.shape[:-1], sentence_counts.shape[0]).index_add(-1, text_of_sentence, values)
    return sums / sentence_counts
