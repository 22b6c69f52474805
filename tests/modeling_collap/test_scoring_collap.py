# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The scoring against numbers that can be checked by hand, and against a slow loop that can be checked by eye."""

import math
from types import SimpleNamespace

import pytest
import torch

from collap.modeling_collap.scoring_collap import (
    attend_segments,
    count_segments,
    mean_over_sentences,
    score_sentences,
    time_features,
)


def make_config(**changes) -> SimpleNamespace:
    fields = {
        "kernel_size": 4,
        "kernel_stride": 4,
        "kernel_weight": 0.3,
        "temporal_weight": 0.7,
        "kernel_temperature": 0.1,
        "temporal_temperature": 0.2,
        "score_block_size": 1_000_000,
    }
    return SimpleNamespace(**{**fields, **changes})


def naive_score(frames, query, config, frame_times=None, time_query=None):
    """One song (a list of frames, no padding) against one sentence, step by step; the reference of this file."""
    segments, start = [], 0
    while True:
        segments.append(list(range(start, min(start + config.kernel_size, len(frames)))))
        start += config.kernel_stride
        covered = start >= len(frames) or segments[-1][-1] == len(frames) - 1
        if covered:
            break
    scores, logits = [], []
    for segment in segments:
        cosines = [torch.dot(frames[n], query) for n in segment]
        times = [
            frames.new_zeros(()) if time_query is None else torch.dot(frame_times[n], time_query) for n in segment
        ]
        weights = [
            torch.exp(cosine / config.kernel_temperature + time) for cosine, time in zip(cosines, times, strict=True)
        ]
        total = sum(weights)
        scores.append(sum(weight / total * cosine for weight, cosine in zip(weights, cosines, strict=True)))
        time = sum(weight / total * time for weight, time in zip(weights, times, strict=True))
        logits.append(scores[-1] / config.temporal_temperature + time)
    global_alignment = sum(scores) / len(scores)
    weights = [torch.exp(logit) for logit in logits]
    temporal_alignment = sum(weight * score for weight, score in zip(weights, scores, strict=True)) / sum(weights)
    return config.kernel_weight * global_alignment + config.temporal_weight * temporal_alignment


def random_unit(*shape: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, dtype=torch.float64), dim=-1)


class TestByHand:
    def test_two_segments_of_two_frames(self):
        # Cosines 1, 0 | 1, 1 and temperatures of 1 / log 3, so that exp(cosine / tau) is 3 for a cosine of 1.
        tau = 1 / math.log(3)
        frames = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.0]]])
        config = make_config(
            kernel_size=2, kernel_stride=2, kernel_temperature=tau, temporal_temperature=tau, kernel_weight=0.5
        )
        # Segment 1: weights 3/4 and 1/4, score 3/4. Segment 2: weights 1/2 and 1/2, score 1.
        cosines = torch.tensor([[[1.0], [0.0], [1.0], [1.0]]])
        attention = attend_segments(cosines, torch.ones(1, 4, dtype=bool), config)
        expected = torch.tensor([[[[0.75, 0.25], [0.5, 0.5]]]])
        torch.testing.assert_close(attention.kernel_attentions, expected)
        torch.testing.assert_close(attention.segment_scores, torch.tensor([[[0.75, 1.0]]]))
        # Temporal weights are as 3 ** 0.75 to 3 ** 1.
        beta = 3**0.75 / (3**0.75 + 3)
        torch.testing.assert_close(attention.temporal_attentions, torch.tensor([[[beta, 1 - beta]]]))
        score = score_sentences(frames, torch.ones(1, 4, dtype=bool), torch.tensor([[1.0, 0.0]]), config)
        torch.testing.assert_close(score, torch.tensor([[0.5 * 0.875 + 0.7 * (0.75 * beta + 1 - beta)]]))

    @pytest.mark.parametrize(
        ("num_frames", "size", "stride", "expected"),
        [
            *[(1, 4, 4, 1), (4, 4, 4, 1), (5, 4, 4, 2), (8, 4, 4, 2), (9, 4, 4, 3)],  # side by side, a short tail
            *[(10, 8, 2, 2), (11, 8, 2, 3), (8, 8, 2, 1)],  # overlapping
            *[(5, 4, 8, 1), (8, 4, 8, 1), (9, 4, 8, 2)],  # with gaps
        ],
    )
    def test_number_of_segments(self, num_frames: int, size: int, stride: int, expected: int):
        assert count_segments(torch.tensor(num_frames), size, stride) == expected

    def test_time_features_at_start_middle_and_end(self):
        features = time_features(torch.tensor([0.0, 0.5, 1.0]), 4)  # sin pi t, sin 2 pi t, cos pi t, cos 2 pi t
        expected = torch.tensor([[0.0, 0, 1, 1], [1, 0, 0, -1], [0, 0, -1, 1]])
        torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)


SHAPES = [(4, 4), (5, 2), (3, 5), (1, 1), (64, 64)]


@pytest.mark.parametrize("with_time", [False, True], ids=["paper", "time"])
@pytest.mark.parametrize(("size", "stride"), SHAPES, ids=["side by side", "overlapping", "gaps", "single", "one long"])
@pytest.mark.parametrize("block", [1_000_000, 40, 1], ids=["one block", "some blocks", "single pairs"])
def test_scores_and_gradients_equal_the_naive_loop(size: int, stride: int, block: int, with_time: bool):
    torch.manual_seed(0)
    lengths, counts = [13, 1, 8, 3], torch.tensor([2, 1, 4])
    config = make_config(kernel_size=size, kernel_stride=stride, score_block_size=block)
    frames = random_unit(4, 13, 6).requires_grad_()
    queries = random_unit(7, 6).requires_grad_()
    times = torch.randn(4, 13, 4, dtype=torch.float64) if with_time else None
    time_queries = torch.randn(7, 4, dtype=torch.float64).requires_grad_() if with_time else None
    mask = torch.arange(13) < torch.tensor(lengths)[:, None]
    inputs = [frames, queries] + ([time_queries] if with_time else [])
    weights = torch.randn(4, 3, dtype=torch.float64)

    fast = score_sentences(
        frames.float() * mask[..., None],
        mask,
        queries.float(),
        config,
        None if times is None else times.float(),
        None if time_queries is None else time_queries.float(),
    )
    fast = mean_over_sentences(fast, counts)
    fast_gradients = torch.autograd.grad((fast * weights).sum(), inputs)

    rows = []
    for song, length in enumerate(lengths):
        scores = [
            naive_score(
                frames[song, :length],
                queries[sentence],
                config,
                None if times is None else times[song],
                None if time_queries is None else time_queries[sentence],
            )
            for sentence in range(7)
        ]
        rows.append(torch.stack([sum(scores[:2]) / 2, scores[2], sum(scores[3:]) / 4]))
    slow = torch.stack(rows)
    slow_gradients = torch.autograd.grad((slow * weights).sum(), inputs)

    torch.testing.assert_close(fast, slow.float(), atol=1e-6, rtol=0)
    for fast_gradient, slow_gradient in zip(fast_gradients, slow_gradients, strict=True):
        torch.testing.assert_close(fast_gradient, slow_gradient, atol=2e-6, rtol=2e-6)


def test_padding_changes_nothing_and_has_no_gradient():
    torch.manual_seed(0)
    frames, queries = random_unit(1, 9, 5).float(), random_unit(3, 5).float()
    config = make_config()
    alone = score_sentences(frames, torch.ones(1, 9, dtype=bool), queries, config)
    padded = torch.cat((frames, torch.full((1, 30, 5), 100.0)), dim=1).requires_grad_()
    mask = torch.arange(39)[None] < 9
    in_batch = score_sentences(padded, mask, queries, config)
    torch.testing.assert_close(in_batch, alone, atol=1e-6, rtol=0)
    (gradient,) = torch.autograd.grad(in_batch.sum(), padded)
    assert gradient[:, 9:].abs().max() == 0


def test_memory_is_bounded_by_the_block():
    """No tensor of the forward or backward pass may be larger than a block (the inputs' gradients apart)."""
    num_songs, num_frames, num_sentences, width = 6, 50, 40, 8
    config = make_config(score_block_size=1_000)
    frames, queries = random_unit(num_songs, num_frames, width).float(), random_unit(num_sentences, width).float()
    frames.requires_grad_()
    largest = 0

    def record(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(record, lambda tensor: tensor):
        score_sentences(frames, torch.ones(num_songs, num_frames, dtype=bool), queries, config).sum().backward()
    # The songs are saved too, padded to whole kernels: 52 frames instead of 50.
    assert largest <= max(1_000, num_songs * 52 * width) < num_songs * num_frames * num_sentences
