# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Where in the song does each sentence of a text happen?

Both functions read nothing but the cosines of sentences and frames, `CollapModel.attend(...).similarities` of one song
without its padding, and the frames' times, `CollapModel.frame_times`; means over segments with the segments' times
do as well. The attention itself is a poor ruler: it finds the section but peaks inside it, so that spans cut from it
are far too short. Nothing here was trained on times, and the paper has no such step: it is ours.

Shapes: `S` sentences, `N` frames (or segments), `G` groups of sentences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

# Two groups of sentences describe one section if each of them fits the other's span at least this well, where 1 is as
# well as its own span and 0 is like the rest of the song.
SHARED_SECTION = 0.6
# The level that a sentence reaches in its section: a quantile of its cosines rather than the single largest one.
PEAK_QUANTILE = 0.95
# A further span of the same sentence is worth showing from this share of the first one's weight on.
REPEAT_SHARE = 0.25


@dataclass(frozen=True)
class Span:
    """A stretch of the song that a sentence describes."""

    sentence: int  # its place in the text, from 0
    start_s: float
    end_s: float
    score: float  # mean cosine of the sentence with the frames of the span


def align_in_order(
    similarities: np.ndarray, times: np.ndarray, groups: Sequence[int | None] | None = None
) -> list[Span]:
    """
    Spans for all sentences of a text that tells the song from its start to its end, found together.

    The song is cut into consecutive spans, each is given to one group of sentences, groups follow each other as in the
    text, and the sum of the cosines is the largest that any such cut reaches (exactly, by dynamic programming). A
    group that the best cut leaves out (a sentence on the whole song, say) shares the span before or after it,
    whichever suits it better.

    Each sentence counts by how far it lies above its own mean over the song, since some sentences are close to every
    frame. A softmax over the sentences at each frame changes nothing: its logarithm subtracts the same number from
    all sentences at that frame, and every cut counts every frame once.

    Args:
        similarities (`np.ndarray` of shape `(S, N)`): Cosines of the sentences with the frames.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.
        groups (`Sequence[int | None]` of length `S`, *optional*):
            Consecutive sentences with the same number describe one section; `None` marks a sentence on the whole song.
            If left out, the groups are found: neighbours that fit each other's spans are joined, the most alike first.

    Returns:
        `list[Span]`: one for each sentence, in the order of the text.

    Raises:
        ValueError: if shapes do not fit, a cosine is NaN, or `groups` has no group at all.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap.retrieval.alignment import align_in_order

    >>> similarities = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.3, 0.7]])
    >>> times = np.array([[0, 5], [5, 10], [10, 15], [15, 20]])
    >>> [(span.start_s, span.end_s) for span in align_in_order(similarities, times)]
    [(0.0, 10.0), (10.0, 20.0)]

    ```
    """
    similarities, times = _checked(similarities, times)
    centred = similarities - similarities.mean(1, keepdims=True)  # (S, N)
    frames = [(0, similarities.shape[1])] * len(similarities)
    if groups is None:
        members = [[sentence] for sentence in range(len(similarities))]
        bounds = _segment(centred)
        while (neighbours := _most_alike(centred, members, bounds)) is not None:
            first, second = neighbours
            members[first : second + 1] = [[*chain.from_iterable(members[first : second + 1])]]
            bounds = _segment(_group_means(centred, members))
    else:
        members = _members(groups, len(similarities))
        bounds = _segment(_group_means(centred, members))
    for group, span in zip(members, _shared(centred, members, bounds), strict=True):
        for sentence in group:
            frames[sentence] = span
    return [_span(sentence, *span, similarities, times) for sentence, span in enumerate(frames)]


def locate(similarities: np.ndarray, times: np.ndarray, max_spans: int = 1) -> list[Span]:
    """
    Spans for each sentence on its own: single queries, texts that do not tell the song in order, repeated sections.

    A frame speaks for a sentence by how far its cosine lies above the level half way between the sentence's mean over
    the song and its peaks, and against it below; the span is the stretch with the largest sum.

    Args:
        similarities (`np.ndarray` of shape `(S, N)`): Cosines of the sentences with the frames.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.
        max_spans (`int`): The most spans for one sentence; a second is found only where the section comes again.

    Returns:
        `list[Span]`: at least one for each sentence, in the order of the sentences, the best span of each first.

    Raises:
        ValueError: if shapes do not fit or a cosine is NaN.
    """
    similarities, times = _checked(similarities, times)
    if max_spans < 1:
        raise ValueError(f"max_spans must be at least 1, got {max_spans}.")
    peaks = np.quantile(similarities, PEAK_QUANTILE, axis=1)  # (S,)
    levels = (similarities.mean(1) + peaks) / 2
    spans = []
    for sentence, votes in enumerate(similarities - levels[:, None]):
        least = -np.inf
        for _ in range(max_spans):
            start, end, weight = _largest_sum(votes)
            if weight < least:
                break
            spans.append(_span(sentence, start, end, similarities, times))
            votes[start:end] = -np.inf
            least = REPEAT_SHARE * max(weight, 0.0) if least == -np.inf else least
            if not np.isfinite(votes).any():
                break
    return spans


def _segment(scores: np.ndarray) -> np.ndarray:
    """
    The cut of the frames into spans, one for each group in order, with the largest sum of scores.

    Args:
        scores (`np.ndarray` of shape `(G, N)`): What each frame is worth to each group.

    Returns:
        `np.ndarray` of shape `(G + 1,)`: group `g` has the frames from `bounds[g]` up to `bounds[g + 1]`, maybe none.
    """
    num_groups, num_frames = scores.shape
    sums = np.concatenate([np.zeros((num_groups, 1)), scores.cumsum(1)], axis=1)  # (G, N + 1), before each frame
    places = np.arange(num_frames + 1)
    starts = np.zeros((num_groups, num_frames + 1), dtype=int)  # where group g starts if it ends before frame n
    best = np.full(num_frames + 1, -np.inf)  # of the groups so far, over the first n frames
    best[0] = 0.0
    for group in range(num_groups):
        value = best - sums[group]  # of starting group g before frame n
        largest = np.maximum.accumulate(value)
        starts[group] = np.maximum.accumulate(np.where(value >= largest, places, 0))
        best = largest + sums[group]
    bounds = np.empty(num_groups + 1, dtype=int)
    bounds[-1] = num_frames
    for group in range(num_groups - 1, -1, -1):
        bounds[group] = starts[group, bounds[group + 1]]
    return bounds


def _most_alike(centred: np.ndarray, members: list[list[int]], bounds: np.ndarray) -> tuple[int, int] | None:
    """The two neighbours in time that share a section most clearly; groups left out by the cut do not part them."""
    scores = _group_means(centred, members)
    sums = np.concatenate([np.zeros((len(scores), 1)), scores.cumsum(1)], axis=1)  # (G, N + 1)
    present = np.flatnonzero(np.diff(bounds))
    best, likeness = None, SHARED_SECTION
    for first, second in pairwise(present):
        start, cut, end = bounds[first], bounds[second], bounds[second + 1]

        def fit(group: int, own: slice, other: slice, start: int = start, end: int = end) -> float:
            """How well a group suits the other's span: 1 as its own span, 0 as the rest of the song."""
            rest = scores.shape[1] - (end - start)
            inside = sums[group, end] - sums[group, start]
            background = (sums[group, -1] - inside) / rest if rest else scores[group].min()
            own_contrast = scores[group, own].mean() - background
            return (scores[group, other].mean() - background) / max(own_contrast, 1e-6)

        left, right = slice(start, cut), slice(cut, end)
        value = min(fit(first, left, right), fit(second, right, left))
        if value >= likeness:
            best, likeness = (int(first), int(second)), value
    return best


def _shared(centred: np.ndarray, members: list[list[int]], bounds: np.ndarray) -> list[tuple[int, int]]:
    """Frames `[start, end)` of each group; a group without any takes the better one of its neighbours' spans."""
    scores = _group_means(centred, members)
    present = np.flatnonzero(np.diff(bounds))
    spans = []
    for group in range(len(members)):
        before, after = present[present <= group][-1:], present[present >= group][:1]
        choices = [(int(bounds[g]), int(bounds[g + 1])) for g in (*before, *after)]
        spans.append(max(choices, key=lambda span: scores[group, slice(*span)].mean()))
    return spans


def _group_means(centred: np.ndarray, members: list[list[int]]) -> np.ndarray:
    return np.stack([centred[group].mean(0) for group in members])  # (G, N)


def _members(groups: Sequence[int | None], num_sentences: int) -> list[list[int]]:
    if len(groups) != num_sentences:
        raise ValueError(f"groups must have one entry a sentence, {num_sentences}, got {len(groups)}.")
    members: list[list[int]] = []
    last = None
    for sentence, label in enumerate(groups):
        if label is None:
            continue
        if not members or label != last:
            members.append([])
        members[-1].append(sentence)
        last = label
    if not members:
        raise ValueError("groups: no sentence belongs to a group, all are None.")
    return members


def _largest_sum(votes: np.ndarray) -> tuple[int, int, float]:
    """Start, end and sum of the stretch `[start, end)` with the largest sum; -inf parts stretches."""
    best = (0, 1, -np.inf)
    finite = np.isfinite(votes)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], finite, [False]]).astype(int)))
    for left, right in edges.reshape(-1, 2):
        sums = np.concatenate([[0.0], votes[left:right].cumsum()])
        gains = sums[1:] - np.minimum.accumulate(sums)[:-1]  # of the best stretch that ends with each frame
        end = int(gains.argmax()) + 1
        if gains[end - 1] > best[2]:
            best = (int(left) + int(sums[:end].argmin()), int(left) + end, float(gains[end - 1]))
    return best


def _span(sentence: int, start: int, end: int, similarities: np.ndarray, times: np.ndarray) -> Span:
    score = float(similarities[sentence, start:end].mean())
    return Span(sentence, float(times[start, 0]), float(times[end - 1, 1]), score)


def _checked(similarities: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    similarities, times = np.asarray(similarities, dtype=float), np.asarray(times, dtype=float)
    if similarities.ndim != 2 or similarities.size == 0:
        raise ValueError(f"similarities must have shape (sentences, frames), got {similarities.shape}.")
    if times.shape != (similarities.shape[1], 2):
        raise ValueError(f"times must have shape ({similarities.shape[1]}, 2), got {times.shape}.")
    if np.isnan(similarities).any():
        raise ValueError("similarities: some are NaN; every cosine must be a number.")
    return similarities, times


__all__ = ["Span", "align_in_order", "locate"]
