# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where an excerpt is found in a song."""

import numpy as np
import pytest

from collap.search import audio_query
from collap.search.audio_query import find_excerpt


def unit_frames(count: int, seed: int = 0, width: int = 16) -> np.ndarray:
    frames = np.random.default_rng(seed).standard_normal((count, width))
    return (frames / np.linalg.norm(frames, axis=1, keepdims=True)).astype(np.float32)


def even_times(count: int, frame_s: float = 1.0, start_s: float = 0.0) -> np.ndarray:
    starts = start_s + frame_s * np.arange(count)
    return np.stack((starts, starts + frame_s), axis=1)


def test_an_excerpt_is_found_where_it_was_cut() -> None:
    song = unit_frames(60)
    score, start_s, end_s = find_excerpt(song[20:30], even_times(10), song, even_times(60))
    assert score == pytest.approx(1)
    assert (start_s, end_s) == (20, 30)


def test_the_times_of_an_excerpt_may_begin_anywhere() -> None:
    song = unit_frames(60)
    found = find_excerpt(song[20:30], even_times(10, start_s=75.0), song, even_times(60))
    assert found[1:] == (20, 30)


def test_numbers_by_hand() -> None:
    """Frames of 4 s along two axes: the excerpt fits the first frame in full, the second not at all."""
    song = np.eye(2, dtype=np.float32)
    score, start_s, end_s = find_excerpt(song[:1], even_times(1, 4.0), song, even_times(2, 4.0))
    assert (score, start_s, end_s) == (1, 0, 4)
    # An excerpt of 2 s of the first and 2 s of the second axis lies across the border.
    score, start_s, end_s = find_excerpt(song, even_times(2, 2.0), song, even_times(2, 4.0))
    assert (score, start_s, end_s) == (1, 2, 6)


def test_an_excerpt_between_two_frames_is_found_to_half_a_frame() -> None:
    fine = unit_frames(240)  # frames of 0.25 s, of which a song has the mean of four, and so has its excerpt
    song = fine.reshape(60, 4, -1).mean(1)
    excerpt = fine[82:122].reshape(10, 4, -1).mean(1)  # from 20.5 s
    _, start_s, _ = find_excerpt(excerpt, even_times(10), song, even_times(60))
    assert abs(start_s - 20.5) <= 0.5


def test_gaps_between_chunks_shift_nothing() -> None:
    """Frames of 1 s with a gap of 1 s after every fourth, in the song and, elsewhere, in the excerpt."""
    seconds = unit_frames(100)
    song_seconds = np.array([second for second in range(100) if second % 5 != 4])
    excerpt_seconds = np.array([second for second in range(30) if second % 5 != 1])
    song_times = np.stack((song_seconds, song_seconds + 1.0), axis=1)
    excerpt_times = np.stack((excerpt_seconds, excerpt_seconds + 1.0), axis=1)
    _, start_s, _ = find_excerpt(seconds[40 + excerpt_seconds], excerpt_times, seconds[song_seconds], song_times)
    assert start_s == 40


def test_a_song_may_be_shorter_than_the_excerpt() -> None:
    excerpt = unit_frames(60)
    score, start_s, end_s = find_excerpt(excerpt, even_times(60), excerpt[20:30], even_times(10))
    assert score == pytest.approx(1)
    assert (start_s, end_s) == (0, 10)  # what of it lies outside does not count


def test_whole_songs_are_compared() -> None:
    song, other = unit_frames(50, seed=1), unit_frames(40, seed=2)
    variant = 0.8 * song[5:45] + 0.2 * other  # of other length
    variant /= np.linalg.norm(variant, axis=1, keepdims=True)
    times = even_times(50)
    near = find_excerpt(song, times, variant, even_times(40))[0]
    far = find_excerpt(song, times, other, even_times(40))[0]
    assert near > 0.9 > 0.5 > far


def test_parity_with_a_loop_over_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audio_query, "BLOCK_STEPS", 7)
    excerpt, song = unit_frames(9, seed=3), unit_frames(31, seed=4)
    excerpt_times, song_times = even_times(9, 1.3), even_times(31)

    def frame_at(times: np.ndarray, second: float) -> int:
        return next(index for index, (start_s, end_s) in enumerate(times) if start_s <= second < end_s)

    best = (-2.0, 0.0)
    num_steps, num_places = round(9 * 1.3 / 0.5), 31 * 2 - round(9 * 1.3 / 0.5) + 1
    for place in range(num_places):
        cosines = []
        for step in range(num_steps):
            one = excerpt[frame_at(excerpt_times, (step + 0.5) * 0.5)]
            other = song[frame_at(song_times, (place + step + 0.5) * 0.5)]
            cosines.append(float(one @ other))
        best = max(best, (float(np.mean(cosines)), place * 0.5), key=lambda found: found[0])

    score, start_s, end_s = find_excerpt(excerpt, excerpt_times, song, song_times)
    assert score == pytest.approx(best[0], abs=1e-6)
    assert start_s == best[1]
    assert end_s == pytest.approx(start_s + 9 * 1.3)


def test_bad_input_is_named() -> None:
    song, times = unit_frames(5), even_times(5)
    with pytest.raises(ValueError, match="excerpt must be frames"):
        find_excerpt(song[:0], times[:0], song, times)
    with pytest.raises(ValueError, match="song must be frames"):
        find_excerpt(song, times, song, times[:3])
    with pytest.raises(ValueError, match="one width"):
        find_excerpt(song[:, :4], times, song, times)
