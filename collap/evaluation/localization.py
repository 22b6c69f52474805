# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where in a song a sentence happens: attention frame by frame, and spans found from cosines."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

Spans = Sequence[tuple[float, float] | None]


def frame_weights(
    kernel_attentions: np.ndarray, temporal_attentions: np.ndarray, kernel_stride: int, num_frames: int
) -> np.ndarray:
    """
    How much each frame of a song counts in the temporal alignment.

    Args:
        kernel_attentions (`np.ndarray` of shape `(S, L, K)`): As `CollapModel.attend` gives it, of one song.
        temporal_attentions (`np.ndarray` of shape `(S, L)`): The same.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        num_frames (`int`): Frames `N` of the song, without padding.

    Returns:
        `np.ndarray` of shape `(S, N)`: each row sums to 1. A frame that lies in several segments has the sum of its
        weights, one that lies in none (`kernel_stride` larger than `K`) has 0.

    Raises:
        ValueError: if shapes do not fit.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap.evaluation.localization import frame_weights

    >>> kernel = np.array([[[0.9, 0.1], [0.5, 0.5]]])
    >>> frame_weights(kernel, np.array([[0.2, 0.8]]), kernel_stride=2, num_frames=4).round(2)
    array([[0.18, 0.02, 0.4 , 0.4 ]])

    ```
    """
    frames = frames_of_segments(kernel_attentions, temporal_attentions, kernel_stride)  # (L, K)
    real = frames < num_frames
    joint = np.where(real, kernel_attentions * temporal_attentions[..., None], 0.0)  # (S, L, K)
    weights = np.zeros((len(joint), num_frames))
    for row, values in zip(weights, joint, strict=True):
        np.add.at(row, np.where(real, frames, 0), values)
    return weights


def frames_of_segments(
    kernel_attentions: np.ndarray, temporal_attentions: np.ndarray, kernel_stride: int
) -> np.ndarray:
    """Number `(L, K)` of the frame at each place of each segment; behind the song's end too. Checks the shapes."""
    if np.ndim(kernel_attentions) != 3 or np.shape(kernel_attentions)[:2] != np.shape(temporal_attentions):
        raise ValueError(
            "kernel_attentions must have the shape (sentences, segments, kernel_size) and temporal_attentions "
            f"(sentences, segments), got {np.shape(kernel_attentions)} and {np.shape(temporal_attentions)}."
        )
    if kernel_stride < 1:
        raise ValueError(f"kernel_stride must be at least 1, got {kernel_stride}.")
    _, num_segments, kernel_size = kernel_attentions.shape
    return kernel_stride * np.arange(num_segments)[:, None] + np.arange(kernel_size)


def mass_inside(weights: np.ndarray, times: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """
    Share of each sentence's attention that falls on the stretch it describes, and what even attention would give.

    Weight counts as spread evenly over its frame or segment, so one that a boundary cuts counts in part.

    Args:
        weights (`np.ndarray` of shape `(S, M)`): Attention; each row sums to 1.
        times (`np.ndarray` of shape `(M, 2)`): Start and end of each frame or segment in seconds.
        spans (`Sequence` of length `S`): Start and end in seconds of what each sentence describes, or None.

    Returns:
        Two `np.ndarray` of shape `(S,)`: the shares, and those of even attention. NaN where a sentence describes no
        stretch.

    Raises:
        ValueError: if shapes do not fit.
    """
    weights, times = _checked(weights, times, spans)
    lengths = times[:, 1] - times[:, 0]  # (M,)
    ends = np.array([(np.nan, np.nan) if span is None else span for span in spans], dtype=float)  # (S, 2)
    overlap = np.minimum(times[:, 1], ends[:, 1:]) - np.maximum(times[:, 0], ends[:, :1])  # (S, M)
    overlap = np.where(np.isnan(overlap), np.nan, np.clip(overlap, 0, None))
    return (weights * overlap / lengths).sum(1), overlap.sum(1) / lengths.sum()


def peak_inside(weights: np.ndarray, times: np.ndarray, spans: Spans) -> np.ndarray:
    """
    Whether the middle of the largest weight of each sentence lies in the stretch that it describes.

    Args and errors as in [`mass_inside`].

    Returns:
        `np.ndarray` of shape `(S,)`: 1, 0, or NaN where a sentence describes no stretch.
    """
    weights, times = _checked(weights, times, spans)
    middles = times.mean(1)[weights.argmax(1)]  # (S,)
    return np.array(
        [
            np.nan if span is None else float(span[0] <= middle < span[1])
            for middle, span in zip(middles, spans, strict=True)
        ]
    )


def kernel_mass_at_boundaries(
    kernel_attentions: np.ndarray, kernel_stride: int, frame_times: np.ndarray, spans: Spans
) -> tuple[np.ndarray, np.ndarray]:
    """
    Share of the kernel-wise attention on the sentence's side of the boundary, in segments that a boundary cuts.

    Elsewhere the frames of a segment lie all inside or all outside, and the kernel-wise attention cannot go wrong.
    A frame is inside if its middle is.

    Args:
        kernel_attentions (`np.ndarray` of shape `(S, L, K)`): Each segment's row sums to 1.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        frame_times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame of the song in seconds.
        spans (`Sequence` of length `S`): As in [`mass_inside`].

    Returns:
        Two `np.ndarray` of shape `(S,)`: the mean share over the sentence's cut segments, and that of even attention.
        NaN where a sentence describes no stretch or its boundaries cut no segment.

    Raises:
        ValueError: if shapes do not fit.
    """
    frames = frames_of_segments(kernel_attentions, kernel_attentions[..., 0], kernel_stride)  # (L, K)
    if len(spans) != len(kernel_attentions):
        raise ValueError(f"spans must have one entry a sentence, {len(kernel_attentions)}, got {len(spans)}.")
    real = frames < len(frame_times)
    middles = np.asarray(frame_times, dtype=float).mean(1)[np.where(real, frames, 0)]  # (L, K)
    shares = np.full((2, len(spans)), np.nan)
    for sentence, span in enumerate(spans):
        if span is None:
            continue
        inside = real & (span[0] <= middles) & (middles < span[1])
        cut = inside.any(1) & (real & ~inside).any(1)  # (L,)
        if cut.any():
            shares[0, sentence] = (kernel_attentions[sentence] * inside).sum(1)[cut].mean()
            shares[1, sentence] = (inside.sum(1)[cut] / real.sum(1)[cut]).mean()
    return shares[0], shares[1]


def _checked(weights: np.ndarray, times: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    weights, times = np.asarray(weights, dtype=float), np.asarray(times, dtype=float)
    if weights.ndim != 2 or weights.size == 0 or times.shape != (weights.shape[1], 2):
        raise ValueError(
            "weights must have the shape (sentences, segments) and times (segments, 2), got "
            f"{weights.shape} and {times.shape}."
        )
    if len(spans) != len(weights):
        raise ValueError(f"spans must have one entry a sentence, {len(weights)}, got {len(spans)}.")
    return weights, times


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
    >>> from collap.evaluation.localization import align_in_order

    >>> similarities = np.array([[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.3, 0.7]])
    >>> times = np.array([[0, 5], [5, 10], [10, 15], [15, 20]])
    >>> [(span.start_s, span.end_s) for span in align_in_order(similarities, times)]
    [(0.0, 10.0), (10.0, 20.0)]

    ```
    """
    similarities, times = _checked_similarities(similarities, times)
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
    similarities, times = _checked_similarities(similarities, times)
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


def _checked_similarities(similarities: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    similarities, times = np.asarray(similarities, dtype=float), np.asarray(times, dtype=float)
    if similarities.ndim != 2 or similarities.size == 0:
        raise ValueError(f"similarities must have shape (sentences, frames), got {similarities.shape}.")
    if times.shape != (similarities.shape[1], 2):
        raise ValueError(f"times must have shape ({similarities.shape[1]}, 2), got {times.shape}.")
    if np.isnan(similarities).any():
        raise ValueError("similarities: some are NaN; every cosine must be a number.")
    return similarities, times


__all__ = [
    "Span",
    "align_in_order",
    "frame_weights",
    "frames_of_segments",
    "kernel_mass_at_boundaries",
    "locate",
    "mass_inside",
    "peak_inside",
]
