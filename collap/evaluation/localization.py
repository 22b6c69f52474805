# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where in a song a sentence belongs: attention by frame, and spans found from cosines."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

Spans = Sequence[tuple[float, float] | None]


def frame_weights(
    kernel_attentions: np.ndarray, temporal_attentions: np.ndarray, kernel_stride: int, num_frames: int
) -> np.ndarray:
    """
    The weight of each frame of a song in the temporal alignment.

    Args:
        kernel_attentions (`np.ndarray` of shape `(S, L, K)`): Of one song, from `CollapModel.attend`.
        temporal_attentions (`np.ndarray` of shape `(S, L)`): The same.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        num_frames (`int`): Frames `N` of the song, without padding.

    Returns:
        `np.ndarray` of shape `(S, N)`: each row sums to 1. A frame in several segments has the sum of its weights,
        one in no segment (`kernel_stride` larger than `K`) has 0.

    Raises:
        ValueError: if shapes do not fit.
    """
    frames = _frames_of_segments(kernel_attentions, temporal_attentions, kernel_stride)  # (L, K)
    real = frames < num_frames
    joint = np.where(real, kernel_attentions * temporal_attentions[..., None], 0.0)  # (S, L, K)
    weights = np.zeros((len(joint), num_frames))
    for row, values in zip(weights, joint, strict=True):
        np.add.at(row, np.where(real, frames, 0), values)
    return weights


def _frames_of_segments(
    kernel_attentions: np.ndarray, temporal_attentions: np.ndarray, kernel_stride: int
) -> np.ndarray:
    """Index `(L, K)` of each frame of each segment, also behind the song's end. Checks the shapes."""
    if np.ndim(kernel_attentions) != 3 or np.shape(kernel_attentions)[:2] != np.shape(temporal_attentions):
        raise ValueError(
            "kernel_attentions must have the shape (sentences, segments, kernel_size) and temporal_attentions "
            f"(sentences, segments), got {np.shape(kernel_attentions)} and {np.shape(temporal_attentions)}."
        )
    _, num_segments, kernel_size = kernel_attentions.shape
    return kernel_stride * np.arange(num_segments)[:, None] + np.arange(kernel_size)


def mass_inside(weights: np.ndarray, times: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    """
    Share of each sentence's attention inside the span that it describes, and that of uniform attention.

    A frame or segment that a boundary cuts counts in part.

    Args:
        weights (`np.ndarray` of shape `(S, M)`): Attention; each row sums to 1.
        times (`np.ndarray` of shape `(M, 2)`): Start and end of each frame or segment in seconds.
        spans (`Sequence` of length `S`): Start and end in seconds of what each sentence describes, or None.

    Returns:
        Two `np.ndarray` of shape `(S,)`; NaN where a sentence has no span.

    Raises:
        ValueError: if shapes do not fit.
    """
    weights, times = _check_weights(weights, times, spans)
    lengths = times[:, 1] - times[:, 0]  # (M,)
    ends = np.array([(np.nan, np.nan) if span is None else span for span in spans], dtype=float)  # (S, 2)
    overlap = np.minimum(times[:, 1], ends[:, 1:]) - np.maximum(times[:, 0], ends[:, :1])  # (S, M)
    overlap = np.where(np.isnan(overlap), np.nan, np.clip(overlap, 0, None))
    return (weights * overlap / lengths).sum(1), overlap.sum(1) / lengths.sum()


def peak_inside(weights: np.ndarray, times: np.ndarray, spans: Spans) -> np.ndarray:
    """Whether the largest weight of each sentence has its middle in the span; else as [`mass_inside`], 1, 0 or NaN."""
    weights, times = _check_weights(weights, times, spans)
    middles = times.mean(1)[weights.argmax(1)]  # (S,)
    pairs = zip(middles, spans, strict=True)
    return np.array([np.nan if span is None else float(span[0] <= middle < span[1]) for middle, span in pairs])


def kernel_mass_at_boundaries(
    kernel_attentions: np.ndarray, kernel_stride: int, frame_times: np.ndarray, spans: Spans
) -> tuple[np.ndarray, np.ndarray]:
    """
    Share of the kernel-wise attention inside the span that a sentence describes, in segments that its boundary cuts.

    A frame is inside if its middle is.

    Args:
        kernel_attentions (`np.ndarray` of shape `(S, L, K)`): Each segment's row sums to 1.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        frame_times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame of the song in seconds.
        spans (`Sequence` of length `S`): As in [`mass_inside`].

    Returns:
        Two `np.ndarray` of shape `(S,)`: the mean share over the sentence's cut segments, and that of uniform
        attention. NaN where a sentence has no span or its boundaries cut no segment.

    Raises:
        ValueError: if shapes do not fit.
    """
    frames = _frames_of_segments(kernel_attentions, kernel_attentions[..., 0], kernel_stride)  # (L, K)
    _check_spans(spans, len(kernel_attentions))
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


def _check_weights(weights: np.ndarray, times: np.ndarray, spans: Spans) -> tuple[np.ndarray, np.ndarray]:
    weights, times = np.asarray(weights, dtype=float), np.asarray(times, dtype=float)
    if weights.ndim != 2 or weights.size == 0 or times.shape != (weights.shape[1], 2):
        raise ValueError(
            "weights must have the shape (sentences, segments) and times (segments, 2), got "
            f"{weights.shape} and {times.shape}."
        )
    _check_spans(spans, len(weights))
    return weights, times


def _check_spans(spans: Spans, num_sentences: int) -> None:
    if len(spans) != num_sentences:
        raise ValueError(f"spans must have one entry a sentence, {num_sentences}, got {len(spans)}.")


# Two groups of sentences describe one section if each fits the other's span at least this well: 1 is as well as its
# own span, 0 is like the rest of the song.
SHARED_SECTION = 0.6
PEAK_QUANTILE = 0.95  # of a sentence's cosines: its level in its section


@dataclass(frozen=True)
class Span:
    """A part of the song that a sentence describes."""

    sentence: int  # index in the text
    start_s: float
    end_s: float
    score: float  # mean cosine of the sentence with the frames of the span


def find_spans(frames: np.ndarray, times: np.ndarray, query_embeds: np.ndarray, in_order: bool) -> list[Span]:
    """
    The part of a song that each sentence of a text describes.

    Args:
        frames (`np.ndarray` of shape `(N, d)`): Frames of the song, of unit length.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.
        query_embeds (`np.ndarray` of shape `(S, d)`): Sentences of the text, of unit length.
        in_order (`bool`):
            Whether the text describes the song from its start to its end. If so, all sentences are aligned together;
            if not, each sentence is located on its own.

    Returns:
        `list[Span]`: one a sentence, in the order of the text.

    Raises:
        ValueError: if shapes do not fit or a number is NaN.

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
    if times.shape != (len(frames), 2):
        raise ValueError(f"times must have shape ({len(frames)}, 2), got {times.shape}.")
    if query_embeds.ndim != 2 or query_embeds.size == 0 or query_embeds.shape[1] != frames.shape[1]:
        raise ValueError(f"query_embeds must have shape (sentences, {frames.shape[1]}), got {query_embeds.shape}.")
    similarities = query_embeds @ frames.T  # (S, N)
    if np.isnan(similarities).any():
        raise ValueError("frames and query_embeds: some cosines are NaN; every one must be a number.")
    bounds = _align(similarities) if in_order else _locate(similarities)
    return [
        Span(sentence, float(times[start, 0]), float(times[end - 1, 1]), float(values[start:end].mean()))
        for sentence, (values, (start, end)) in enumerate(zip(similarities, bounds, strict=True))
    ]


def _locate(similarities: np.ndarray) -> list[tuple[int, int]]:
    """
    Frames `[start, end)` of each sentence alone.

    They have the largest sum of what the cosines exceed a level by, which lies half way between the sentence's mean
    over the song and its peaks.
    """
    levels = (similarities.mean(1) + np.quantile(similarities, PEAK_QUANTILE, axis=1)) / 2  # (S,)
    spans = []
    for votes in similarities - levels[:, None]:
        sums = np.concatenate([[0.0], votes.cumsum()])
        gains = sums[1:] - np.minimum.accumulate(sums)[:-1]  # of the best part that ends with each frame
        end = int(gains.argmax()) + 1
        spans.append((int(sums[:end].argmin()), end))
    return spans


def _align(similarities: np.ndarray) -> list[tuple[int, int]]:
    """
    Frames `[start, end)` of each sentence of a text that describes the song from its start to its end.

    The song is cut into consecutive spans, one for each group of sentences in the order of the text, so that the sum
    of the cosines is the largest possible (by dynamic programming). Neighbours that fit each other's spans are joined
    to one group, the most similar first. A group that this cut leaves out, such as a sentence on the whole song, gets
    the better one of the two spans beside it.

    Cosines count relative to the sentence's mean over the song, as some sentences are close to every frame. A softmax
    over the sentences would change nothing: it subtracts the same number from all sentences of a frame.
    """
    centred = similarities - similarities.mean(1, keepdims=True)  # (S, N)
    groups = [[sentence] for sentence in range(len(similarities))]
    scores = centred  # (G, N)
    bounds = _segment(scores)
    while (neighbours := _most_similar(scores, bounds)) is not None:
        first, second = neighbours
        groups[first : second + 1] = [[*chain.from_iterable(groups[first : second + 1])]]
        scores = np.stack([centred[group].mean(0) for group in groups])
        bounds = _segment(scores)
    spans = zip(groups, _spans_of_groups(scores, bounds), strict=True)
    return [span for group, span in spans for _ in group]


def _segment(scores: np.ndarray) -> np.ndarray:
    """Bounds `(G + 1,)` of the spans, some empty, of the groups in order with the largest sum of `scores` `(G, N)`."""
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


def _most_similar(scores: np.ndarray, bounds: np.ndarray) -> tuple[int, int] | None:
    """The two groups with consecutive spans that are most similar; None if none share a section."""
    sums = np.concatenate([np.zeros((len(scores), 1)), scores.cumsum(1)], axis=1)  # (G, N + 1)
    present = np.flatnonzero(np.diff(bounds))
    best, similarity = None, SHARED_SECTION
    for first, second in pairwise(present):
        start, cut, end = bounds[first], bounds[second], bounds[second + 1]

        def fit(group: int, own: slice, other: slice, start: int = start, end: int = end) -> float:
            """How well a group fits the other's span: 1 as its own span, 0 as the rest of the song."""
            rest = scores.shape[1] - (end - start)
            inside = sums[group, end] - sums[group, start]
            background = (sums[group, -1] - inside) / rest if rest else scores[group].min()
            own_contrast = scores[group, own].mean() - background
            return (scores[group, other].mean() - background) / max(own_contrast, 1e-6)

        left, right = slice(start, cut), slice(cut, end)
        value = min(fit(first, left, right), fit(second, right, left))
        if value >= similarity:
            best, similarity = (int(first), int(second)), value
    return best


def _spans_of_groups(scores: np.ndarray, bounds: np.ndarray) -> list[tuple[int, int]]:
    """Frames `[start, end)` of each group; a group without any gets the better one of the spans beside it."""
    present = np.flatnonzero(np.diff(bounds))
    spans = []
    for group, values in enumerate(scores):
        before, after = present[present <= group][-1:], present[present >= group][:1]
        choices = [(int(bounds[g]), int(bounds[g + 1])) for g in (*before, *after)]
        spans.append(max(choices, key=lambda span: values[slice(*span)].mean()))
    return spans
