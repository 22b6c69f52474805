# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where in a song a sentence belongs: the span that it describes."""

from dataclasses import dataclass

import numpy as np
import torch

from collap.modeling_collap.scoring_collap import time_features

# Windows that spans are found on: frames are pooled to about this many seconds, longer for a song with more windows.
WINDOW_S = 1.0
MAX_WINDOWS = 3000
# A cut of a song into pieces must explain as much variance as this many windows have on average.
CUT_WINDOWS = 2.5
# The pieces beside the best one belong to the span too if they fit the sentence at least this well: 1 is as well as
# the best one, 0 is like the whole song.
EQUAL_FIT = 0.85


@dataclass(frozen=True)
class Span:
    """A part of the song that a sentence describes."""

    sentence: int  # index in the text
    start_s: float
    end_s: float
    score: float  # mean cosine of the sentence with the frames of the span


def find_spans(
    frames: np.ndarray,
    times: np.ndarray,
    query_embeds: np.ndarray,
    in_order: bool,
    time_query_embeds: np.ndarray | None = None,
    temporal_temperature: float = 0.1,
) -> list[Span]:
    """
    The part of a song that each sentence of a text describes.

    The song is cut where its frames change, whatever the text is: into the pieces whose frames are nearest to the mean
    of their piece. Each sentence then gets the piece with the largest mean cosine, and the pieces beside it that fit
    equally well. Sentences in order get the pieces with the largest sum of the cosines that never go back in the song;
    what a piece has in common with all sentences does not count there, and a span takes no piece that is the best one
    of another sentence.

    Pieces are found on windows of about a second, or of 1 / 3000 of a song of more than 50 minutes. Their bounds are
    finer: a window that a bound cuts is a mixture of the two pieces beside it.

    Args:
        frames (`np.ndarray` of shape `(N, d)`): Frames of the song, of unit length.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.
        query_embeds (`np.ndarray` of shape `(S, d)`): Sentences of the text, of unit length.
        in_order (`bool`):
            Whether the text describes the song from its start to its end. If not, each sentence is located on its own.
        time_query_embeds (`np.ndarray` of shape `(S, P)`, *optional*):
            Time queries of the sentences, for a text that is in order in the main: the sentences are located one by
            one by the logits of the model's temporal attention. Not with `in_order`, where the order says as much.
        temporal_temperature (`float`): That of the model's configuration, for the time queries.

    Returns:
        `list[Span]`: one a sentence, in the order of the text.

    Raises:
        ValueError: if shapes do not fit, a number is NaN, or time queries are given with `in_order`.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap.evaluation.localization import find_spans

    >>> frames = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> times = np.array([[0, 5], [5, 10], [10, 15], [15, 20]])
    >>> query_embeds = np.array([[0.8, 0.6], [0.6, 0.8]])
    >>> [(span.start_s, span.end_s) for span in find_spans(frames, times, query_embeds, in_order=True)]
    [(0.0, 10.0), (10.0, 20.0)]

    ```
    """
    frames, times, query_embeds = (np.asarray(values, dtype=float) for values in (frames, times, query_embeds))
    if frames.ndim != 2 or frames.size == 0:
        raise ValueError(f"frames must have shape (frames, width), got {frames.shape}.")
    if times.shape != (len(frames), 2) or not (times[:, 0] < times[:, 1]).any():
        raise ValueError(f"times must be {len(frames)} times a start and a later end, got shape {times.shape}.")
    if query_embeds.ndim != 2 or query_embeds.size == 0 or query_embeds.shape[1] != frames.shape[1]:
        raise ValueError(f"query_embeds must have shape (sentences, {frames.shape[1]}), got {query_embeds.shape}.")
    if time_query_embeds is not None and (in_order or len(time_query_embeds) != len(query_embeds)):
        raise ValueError(
            f"time_query_embeds must be None with in_order, and else have {len(query_embeds)} rows, got "
            f"{len(time_query_embeds)}."
        )
    has_length = times[:, 0] < times[:, 1]  # the last frame may start where the song ends
    windows, times = _pool(frames[has_length], times[has_length])
    similarities = query_embeds @ windows.T  # (S, W)
    if np.isnan(similarities).any():
        raise ValueError("frames and query_embeds: some cosines are NaN; every one must be a number.")
    scores = similarities
    if time_query_embeds is not None:
        relative = torch.from_numpy(times.mean(1) / times[-1, 1])  # as in the model
        features = time_features(relative, np.shape(time_query_embeds)[1]).numpy()  # (W, P)
        scores = similarities + temporal_temperature * (time_query_embeds @ features.T)
    cuts = _cut_into_pieces(windows)
    bounds_s = _bounds_in_seconds(windows, times, cuts)
    fits = np.add.reduceat(scores - scores.mean(1, keepdims=True), cuts[:-1], axis=1) / np.diff(cuts)  # (S, pieces)
    if in_order:
        # Of one sentence alone two thirds are left, of two not only their difference.
        fits = fits - fits.sum(0) / (len(fits) + 2)
    best = _best_in_order(fits) if in_order else fits.argmax(1)
    spans = []
    for sentence, piece in enumerate(best):
        fits_too = fits[sentence] >= EQUAL_FIT * fits[sentence, piece]
        if in_order:
            fits_too[best[best != piece]] = False
        first = piece - _count_true(fits_too[:piece][::-1])
        end = piece + 1 + _count_true(fits_too[piece + 1 :])
        score = float(similarities[sentence, cuts[first] : cuts[end]].mean())
        spans.append(Span(sentence, bounds_s[first], bounds_s[end], score))
    return spans


def _count_true(values: np.ndarray) -> int:
    """How many are True before the first that is not."""
    return int(np.logical_and.accumulate(values).sum())


def _pool(frames: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Windows `(W, d)`, each the mean of some consecutive frames, and their start and end `(W, 2)` in seconds."""
    frame_s = (times[-1, 1] - times[0, 0]) / len(frames)
    size = max(1, round(WINDOW_S / frame_s), -(-len(frames) // MAX_WINDOWS))
    starts = np.arange(0, len(frames), size)
    ends = np.append(starts[1:], len(frames))
    windows = np.add.reduceat(frames, starts) / (ends - starts)[:, None]
    return windows, np.stack([times[starts, 0], times[ends - 1, 1]], axis=1)


def _cut_into_pieces(windows: np.ndarray) -> np.ndarray:
    """
    Bounds `(pieces + 1,)` of the pieces of a song, from 0 to the number of windows.

    They minimize the squared distances of the windows from the mean of their piece, where each piece costs as much as
    `CUT_WINDOWS` windows have on average from the mean of the song (by dynamic programming).
    """
    num_windows = len(windows)
    centred = windows - windows.mean(0)
    sums = np.concatenate([np.zeros((1, windows.shape[1])), centred.cumsum(0)])  # over the first n windows
    squares = np.concatenate([[0.0], (centred**2).sum(1).cumsum()])
    products = sums @ sums.T
    norms = np.diagonal(products)
    penalty = CUT_WINDOWS * squares[-1] / num_windows + 1e-9  # rounding errors must not cut equal windows
    least = np.zeros(num_windows + 1)
    starts = np.zeros(num_windows + 1, dtype=int)  # of the last piece if the pieces end there
    for end in range(1, num_windows + 1):
        lengths = np.arange(end, 0, -1)
        distances = squares[end] - squares[:end] - (norms[end] + norms[:end] - 2 * products[end, :end]) / lengths
        totals = least[:end] + distances + penalty
        starts[end] = totals.argmin()
        least[end] = totals[starts[end]]
    bounds = [num_windows]
    while bounds[-1] > 0:
        bounds.append(starts[bounds[-1]])
    return np.array(bounds[::-1])


def _bounds_in_seconds(windows: np.ndarray, times: np.ndarray, cuts: np.ndarray) -> list[float]:
    """Start of each piece and end of the last one in seconds, between the bounds of windows."""
    means = np.add.reduceat(windows, cuts[:-1]) / np.diff(cuts)[:, None]  # (pieces, d)
    bounds = [float(times[0, 0])]
    for cut, left, right in zip(cuts[1:-1], means[:-1], means[1:], strict=True):
        across = left - right
        # How much of the windows before and behind the cut is the left piece: 1 and 0 if the bound is the cut. Each
        # window is more of its own piece, so that no piece can vanish.
        shares = (windows[cut - 1 : cut + 1] - right) @ across / (across @ across)
        shares = shares.clip([0.5, 0.0], [1.0, 0.5])
        moved = shares.sum() - 1
        length = np.diff(times[cut if moved > 0 else cut - 1])[0]
        bounds.append(float(times[cut, 0] + moved * length))
    return [*bounds, float(times[-1, 1])]


def _best_in_order(fits: np.ndarray) -> np.ndarray:
    """The piece `(S,)` of each sentence, never before that of the sentence before, with the largest sum of `fits`."""
    num_sentences, num_pieces = fits.shape
    places = np.arange(num_pieces)
    came_from = np.zeros((num_sentences, num_pieces), dtype=int)  # the piece of the sentence before
    best = np.zeros(num_pieces)  # of the sentences so far, the last one in each piece
    for sentence in range(num_sentences):
        largest = np.maximum.accumulate(best)
        came_from[sentence] = np.maximum.accumulate(np.where(best >= largest, places, 0))
        best = largest + fits[sentence]
    path = [int(best.argmax())]
    for sentence in range(num_sentences - 1, 0, -1):
        path.append(came_from[sentence, path[-1]])
    return np.array(path[::-1])
