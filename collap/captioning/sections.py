# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Sections of a song, where its frames change most (Foote, "Automatic audio segmentation ...", 2000)."""

import itertools
import math

import numpy as np
import torch

from collap.processing.feature_extraction_beats import SAMPLING_RATE, kaldi_fbank

Spans = list[tuple[float, float]]  # start and end in seconds
MEL_FRAMES = 50  # of 10 ms, pooled to one frame of find_sections


def find_sections(waveform: np.ndarray) -> Spans:
    """The sections of a song, `(samples,)` at 16 kHz, by [`find_boundaries`] on its log-mel filter bank."""
    mel = kaldi_fbank(torch.from_numpy(waveform)).numpy()  # (mel frames, 128)
    starts = np.arange(0, max(1, len(mel) - MEL_FRAMES + 1), MEL_FRAMES)
    frames = np.stack([mel[start : start + MEL_FRAMES].mean(0) for start in starts])  # (N, 128)
    edges_s = np.append(starts / 100, len(waveform) / SAMPLING_RATE)
    return find_boundaries(frames, np.stack([edges_s[:-1], edges_s[1:]], axis=1), kernel_s=10.0)


def split_long(sections: Spans, longest_s: float) -> Spans:
    """Sections of at most `longest_s` seconds: longer ones are cut into equal parts."""
    parts = []
    for start_s, end_s in sections:
        number = math.ceil((end_s - start_s) / longest_s)
        parts += itertools.pairwise(np.linspace(start_s, end_s, number + 1).tolist())
    return parts


def cut(waveform: np.ndarray, spans: Spans) -> list[np.ndarray]:
    """The samples of each span."""
    return [waveform[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)] for start, end in spans]


def find_boundaries(frames: np.ndarray, times: np.ndarray, least_s: float = 8.0, kernel_s: float = 12.0) -> Spans:
    """
    Start and end of the sections of a song in seconds: in order, without gaps, none shorter than `least_s`.

    They meet at peaks of the novelty of `frames`, `(N, D)`, that are at least 0.25 of 4 and above its mean, the
    highest first. Frames, all about equally long, are centred and compared by the cosine: scale dimensions before.
    `times`, `(N, 2)`, are their starts and ends in seconds; `kernel_s` seconds are compared on each side. A ValueError
    says that the shapes do not fit, that there is no frame, or that a number is not finite.
    """
    frames, times = np.asarray(frames, dtype=np.float64), np.asarray(times, dtype=np.float64)
    if frames.ndim != 2 or len(frames) == 0 or times.shape != (len(frames), 2):
        raise ValueError(f"frames must be (N, D) and times (N, 2), N >= 1, got {frames.shape} and {times.shape}.")
    if not np.isfinite(frames.sum() + times.sum()):
        raise ValueError("frames and times must be finite.")
    frame_s = float(np.median(np.diff(times[:, 0]))) if len(times) > 1 else kernel_s
    novelty = compute_novelty(frames, max(2, round(kernel_s / frame_s)))
    borders = [times[0, 0], times[-1, 1]]
    lowest = max(0.25, novelty.mean())
    reach = max(1, round(least_s / 2 / frame_s))  # frames around a peak that are lower
    for place in np.argsort(-novelty, kind="stable"):
        time_s = times[place, 0]
        is_peak = novelty[place] >= max(lowest, novelty[max(0, place - reach) : place + reach + 1].max())
        if is_peak and all(abs(time_s - border) >= least_s for border in borders):
            borders.append(time_s)
    return list(itertools.pairwise(sorted(map(float, borders))))


def compute_novelty(frames: np.ndarray, kernel_frames: int) -> np.ndarray:
    """
    Novelty `(N,)` at the start of each frame: how much the frames before and after it differ.

    It is the self-similarity, the cosines of the centred frames `(N, D)`, under a checkerboard of `2 * kernel_frames`
    tapered by a Gaussian: the mean similarity within each side, added up, less twice that across. A frame's with
    itself does not count, so that noise has a novelty near 0. At most 4; 0 where a side has one frame.
    """
    directions = frames - frames.mean(0)
    directions /= np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    taper = np.exp(-2 * ((np.arange(kernel_frames) + 0.5) / kernel_frames) ** 2)  # (kernel_frames,), nearest first
    novelty = np.zeros(len(frames))
    for place in range(2, len(frames) - 1):
        sides = directions[max(0, place - kernel_frames) : place][::-1], directions[place : place + kernel_frames]
        means = []
        for side in sides:  # the kernel is an outer product: its sums over similarities are products of sums of frames
            weights = taper[: len(side)]
            total, own = weights @ side, weights**2 @ (side**2).sum(1)
            novelty[place] += (total @ total - own) / (weights.sum() ** 2 - (weights**2).sum())
            means.append(total / weights.sum())  # (D,)
        novelty[place] -= 2 * means[0] @ means[1]
    return novelty
