# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Sections of a song, where its frames change most (Foote, "Automatic audio segmentation ...", 2000)."""

import itertools

import numpy as np

MIN_SECTION_S = 8.0
KERNEL_S = 16.0  # that the checkerboard compares on each side of a boundary
# Of the novelty, whose largest value is 4: two sides whose frames all point to opposite directions.
MIN_NOVELTY = 0.25


def find_boundaries(
    frames: np.ndarray, times: np.ndarray, min_section_s: float = MIN_SECTION_S, kernel_s: float = KERNEL_S
) -> list[tuple[float, float]]:
    """
    Cuts a song into sections at the peaks of the novelty of its frames.

    The frames are centred, their mean over the song is subtracted, and compared by the cosine; scale them before where
    one dimension must not outweigh the others. A peak is a boundary if its novelty is at least 0.25 of 4 and above
    the mean of the song, the highest peaks first.

    Args:
        frames (`np.ndarray` of shape `(N, D)`): Features of frames in the order of time, all about equally long.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.
        min_section_s (`float`): Least length of a section in seconds; a shorter song is one section.
        kernel_s (`float`): Seconds that are compared on each side of a boundary.

    Returns:
        `list[tuple[float, float]]`: start and end of each section in seconds, in order and without gaps, from the
        start of the first frame to the end of the last.

    Raises:
        ValueError: if the shapes do not fit, there is no frame, or a number is not finite.
    """
    frames, times = np.asarray(frames, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if frames.ndim != 2 or len(frames) == 0 or times.shape != (len(frames), 2):
        raise ValueError(f"frames must be (N, D) and times (N, 2), N >= 1, got {frames.shape} and {times.shape}.")
    if not np.isfinite(frames).all() or not np.isfinite(times).all():
        raise ValueError("frames and times must be finite.")
    frame_s = float(np.median(np.diff(times[:, 0]))) if len(times) > 1 else kernel_s
    novelty = compute_novelty(frames, max(2, round(kernel_s / frame_s)))
    start_s, end_s = times[0, 0], times[-1, 1]
    borders = [start_s, end_s]
    least = max(MIN_NOVELTY, novelty.mean())
    reach = max(1, round(min_section_s / 2 / frame_s))  # frames around a peak that are lower
    for place in np.argsort(-novelty, kind="stable"):
        time_s = times[place, 0]
        is_peak = novelty[place] == novelty[max(0, place - reach) : place + reach + 1].max()
        if is_peak and novelty[place] >= least and all(abs(time_s - border) >= min_section_s for border in borders):
            borders.append(time_s)
    borders = [float(border) for border in sorted(borders)]
    return list(itertools.pairwise(borders))


def compute_novelty(frames: np.ndarray, kernel_frames: int) -> np.ndarray:
    """
    Novelty `(N,)` at the start of each frame: how much the frames before and after it differ.

    It is the self-similarity, the cosines of the centred frames `(N, D)`, under a checkerboard of `2 * kernel_frames`
    tapered by a Gaussian: the mean similarity within each side, less that across, added up. The similarity of a frame
    with itself does not count, so that frames of noise have a novelty near 0, however few there are. At the ends of
    the song the frames that are there have all the weight. At most 4; 0 where a side has one frame.
    """
    directions = frames - frames.mean(0)
    norms = np.linalg.norm(directions, axis=1, keepdims=True)
    # A frame at the mean has no direction; what is left of it are errors of rounding.
    is_apart = norms > 1e-9 * np.abs(frames).max()
    directions = np.divide(directions, norms, out=np.zeros_like(directions), where=is_apart)
    taper = np.exp(-2 * ((np.arange(kernel_frames) + 0.5) / kernel_frames) ** 2)  # (kernel_frames,), nearest first
    novelty = np.zeros(len(frames))
    for place in range(2, len(frames) - 1):
        sides = directions[max(0, place - kernel_frames) : place][::-1], directions[place : place + kernel_frames]
        # The kernel is an outer product, so its sums over a square of similarities are products of sums over frames.
        weights = [taper[: len(side)] for side in sides]
        sums = [weight @ side for weight, side in zip(weights, sides, strict=True)]  # (D,) each
        across = sums[0] @ sums[1] / (weights[0].sum() * weights[1].sum())
        within = 0.0
        for side, weight, total in zip(sides, weights, sums, strict=True):
            own = weight**2 @ (side**2).sum(1)
            within += (total @ total - own) / (weight.sum() ** 2 - (weight**2).sum())
        novelty[place] = within - 2 * across
    return novelty
