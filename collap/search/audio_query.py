# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Audio as a query: the place in a song that an excerpt fits best."""

import numpy as np

STEPS_PER_FRAME = 2  # places that are tried, a frame of the song: gaps between chunks are parts of frames
BLOCK_STEPS = 512  # steps of the shorter of the two that are compared at a time; bounds the memory


def find_excerpt(
    excerpt: np.ndarray, excerpt_times: np.ndarray, song: np.ndarray, song_times: np.ndarray
) -> tuple[float, float, float]:
    """
    The place of an excerpt in a song where their frames are most alike, found by sliding one along the other.

    Both are laid on one grid of time, half a frame fine, so that the gaps between chunks, which lie elsewhere
    in the excerpt, shift nothing. Every place is tried where the shorter of the two lies inside the longer one: whole
    songs can be compared, too. Of places that are equally good (a loop), the first is given.

    Args:
        excerpt (`np.ndarray` of shape `(M, d)`): Frames of the excerpt, unit rows.
        excerpt_times (`np.ndarray` of shape `(M, 2)`): Start and end of its frames in seconds, from any zero.
        song (`np.ndarray` of shape `(N, d)`): Frames of the song, unit rows.
        song_times (`np.ndarray` of shape `(N, 2)`): Start and end of its frames in seconds.

    Returns:
        The mean cosine at the best place, and where the excerpt starts and ends there in the song, in seconds. What of
        the excerpt lies outside the song does not count.

    Raises:
        ValueError: if there is no frame, or shapes do not fit.
    """
    for name, frames, times in (("excerpt", excerpt, excerpt_times), ("song", song, song_times)):
        if frames.ndim != 2 or not len(frames) or times.shape != (len(frames), 2):
            raise ValueError(
                f"{name} must be frames (N, d) with times (N, 2), N > 0, got {frames.shape} and {times.shape}."
            )
    if excerpt.shape[1] != song.shape[1]:
        raise ValueError(f"excerpt and song must have one width, got {excerpt.shape[1]} and {song.shape[1]}.")
    step_s = float(np.median(song_times[:, 1] - song_times[:, 0])) / STEPS_PER_FRAME
    excerpt_rows, song_rows = _rows_on_grid(excerpt_times, step_s), _rows_on_grid(song_times, step_s)
    if len(excerpt_rows) <= len(song_rows):
        scores = _slide(excerpt, excerpt_rows, song, song_rows)
        first = int(scores.argmax())
    else:
        scores = _slide(song, song_rows, excerpt, excerpt_rows)
        first = -int(scores.argmax())
    song_start, song_end = float(song_times[0, 0]), float(song_times[-1, 1])
    start_s = song_start + first * step_s
    end_s = start_s + float(excerpt_times[-1, 1] - excerpt_times[0, 0])
    return float(scores.max()), max(start_s, song_start), min(end_s, song_end)


def _rows_on_grid(times: np.ndarray, step_s: float) -> np.ndarray:
    """The frame at the middle of each step from the first frame's start to the last one's end; in a gap the next."""
    count = max(1, round(float(times[-1, 1] - times[0, 0]) / step_s))
    middles = times[0, 0] + step_s * (np.arange(count) + 0.5)
    return np.searchsorted(times[:, 1], middles).clip(max=len(times) - 1)


def _slide(short: np.ndarray, short_rows: np.ndarray, long: np.ndarray, long_rows: np.ndarray) -> np.ndarray:
    """Mean cosine of the steps of the short one with those of the long one, at each place inside the long one."""
    num_places = len(long_rows) - len(short_rows) + 1
    total = np.zeros(num_places)
    for start in range(0, len(short_rows), BLOCK_STEPS):
        rows, place_in_block = np.unique(short_rows[start : start + BLOCK_STEPS], return_inverse=True)
        cosines = (short[rows] @ long.T)[:, long_rows]  # (rows, steps of the long one)
        for step, row in enumerate(place_in_block, start=start):
            total += cosines[row, step : step + num_places]
    return total / len(short_rows)
