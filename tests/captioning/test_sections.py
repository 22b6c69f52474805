# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Sections of synthetic songs, whose boundaries are known."""

import itertools

import numpy as np
import pytest

from collap.captioning.sections import compute_novelty, find_boundaries


def times_of(num_frames: int, frame_s: float = 0.5, start_s: float = 0.0) -> np.ndarray:
    starts = start_s + frame_s * np.arange(num_frames)
    return np.stack([starts, starts + frame_s], axis=1)


def song_of(lengths: list[int], kinds: list[int], noise: float = 0.1) -> np.ndarray:
    """Frames of sections, each near the unit vector of its kind."""
    frames = np.repeat(np.eye(16)[kinds], lengths, axis=0)
    return frames + noise * np.random.default_rng(0).standard_normal(frames.shape)


@pytest.mark.parametrize("start_s", [0.0, 3.0])
def test_sections_of_a_song_with_known_boundaries(start_s: float) -> None:
    frames = song_of([40, 60, 50, 30], [0, 1, 0, 2])
    sections = find_boundaries(frames, times_of(180, start_s=start_s))
    expected = [[0, 20], [20, 50], [50, 75], [75, 90]]
    np.testing.assert_allclose(sections, np.array(expected) + start_s, atol=0.5)


def test_long_frames() -> None:
    """Frames of 2.99 s, as those of taggers."""
    sections = find_boundaries(song_of([10, 20, 12], [0, 1, 2]), times_of(42, 2.99))
    np.testing.assert_allclose(sections, [[0, 29.9], [29.9, 89.7], [89.7, 125.58]])


def test_a_song_without_change_is_one_section() -> None:
    noise = np.random.default_rng(0).standard_normal((400, 16))
    assert find_boundaries(noise, times_of(400)) == [(0.0, 200.0)]
    assert find_boundaries(np.ones((400, 3)), times_of(400)) == [(0.0, 200.0)]
    assert find_boundaries(np.ones((1, 3)), times_of(1)) == [(0.0, 0.5)]


def test_no_section_is_shorter_than_asked() -> None:
    frames = song_of([12, 4, 60, 6, 40, 10], [0, 1, 2, 3, 0, 1])
    for least in (8.0, 20.0):
        sections = find_boundaries(frames, times_of(132), least_s=least)
        assert all(end - start >= least for start, end in sections)
        assert [sections[0][0], sections[-1][1]] == [0.0, 66.0]
        assert all(one[1] == other[0] for one, other in itertools.pairwise(sections))
    assert find_boundaries(song_of([7, 7], [0, 1]), times_of(14)) == [(0.0, 7.0)]


def test_the_novelty_is_that_of_the_checkerboard() -> None:
    """The slow way: the whole self-similarity, and the kernel as a picture."""
    frames, half = np.random.default_rng(1).standard_normal((30, 5)), 6
    units = frames - frames.mean(0)
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    similarity = units @ units.T  # (N, N)
    offsets = np.arange(-half, half) + 0.5
    taper = np.exp(-2 * (offsets / half) ** 2)
    kernel = np.outer(np.sign(offsets) * taper, np.sign(offsets) * taper)
    np.fill_diagonal(kernel, 0)  # a frame with itself
    for is_within in (kernel > 0, kernel < 0):
        kernel[is_within] *= 2 / np.abs(kernel[is_within]).sum()
    novelty = compute_novelty(frames, half)
    for place in range(half, 30 - half + 1):
        block = similarity[place - half : place + half, place - half : place + half]
        assert novelty[place] == pytest.approx((kernel * block).sum())


@pytest.mark.parametrize(
    ("frames", "times"),
    [(np.ones((3, 2)), np.ones((2, 2))), (np.ones(3), np.ones((3, 2))), (np.ones((0, 2)), np.ones((0, 2)))],
)
def test_shapes_that_do_not_fit(frames: np.ndarray, times: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be \(N, D\) and times \(N, 2\)"):
        find_boundaries(frames, times)
    with pytest.raises(ValueError, match="finite"):
        find_boundaries(np.full((3, 2), np.nan), times_of(3))
