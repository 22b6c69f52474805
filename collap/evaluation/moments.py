# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Moment retrieval: where in its song is what a text describes, in ranked spans, as CASTELLA asks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object

from collap.metrics import MOMENTS_AT, moment_metrics
from collap.progress import progress_bar

from .evaluation_set import EvaluationSet
from .localization import Span, find_spans
from .retrievers import Retriever

CHANCE_DRAWS = 10  # random rankings of a query, whose mean is the chance level


def find_moments(
    retriever: Retriever,
    evaluation_set: EvaluationSet,
    load_frames: Callable[[int], np.ndarray],
    durations_s: Sequence[float],
    texts: Any,
    state: PartialState,
) -> list[dict[str, Any]]:
    """
    Ranked spans of all texts of the set that have true ones, each in the song that it belongs to.

    Arguments are those of [`collap.evaluation.evaluate.score_songs`]; `durations_s` has the length of each song.

    Returns:
        `list[dict]`, in all processes: for each text and song their ids (`text`, `song`), `spans` of the model, the
        best first, the `metrics` of these ([`collap.metrics.moment_metrics`]), and those of random spans, `chance`.
        Empty if the model has no frames.
    """
    if retriever.frame_times(1, 1.0) is None:
        return []
    queries = retriever.frame_queries(texts)  # (T, d)
    own = [*enumerate(evaluation_set.songs)][state.process_index :: state.num_processes]
    found = []
    for place, song in progress_bar(own, desc="Moments", unit="song", delay=5, disable=not state.is_main_process):
        asked = [(index, text) for index, text in enumerate(evaluation_set.texts) if song in text.spans]
        if not asked:
            continue
        frames, duration_s = load_frames(place).astype(np.float64), durations_s[place]
        times = retriever.frame_times(len(frames), duration_s)
        for index, text in asked:
            spans = [(span.start_s, span.end_s) for span in rank_spans(frames, times, queries[index])]
            metrics = moment_metrics(spans, text.spans[song])
            generator = np.random.default_rng([index, place])
            drawn = np.sort(generator.uniform(0, duration_s, (CHANCE_DRAWS, MOMENTS_AT, 2)))
            random = [moment_metrics(ranking, text.spans[song]) for ranking in drawn]
            chance = {name: float(np.mean([draw[name] for draw in random])) for name in metrics}
            shown = np.round(spans, 2).tolist()
            found.append({"text": text.id, "song": song, "spans": shown, "metrics": metrics, "chance": chance})
    return sorted(gather_object(found), key=lambda row: (row["text"], row["song"]))


def rank_spans(frames: np.ndarray, times: np.ndarray, query: np.ndarray) -> list[Span]:
    """
    Up to 10 spans that fit a text, which do not overlap, the best first.

    The first is that of [`find_spans`] in the whole song. What it leaves before and after it is searched likewise, and
    so on; the next span is always that of the largest score.

    Args:
        frames (`np.ndarray` of shape `(N, d)`), times (`np.ndarray` of shape `(N, 2)`): As in [`find_spans`].
        query (`np.ndarray` of shape `(d,)`): Of the text, see [`Retriever`].
    """
    middles = times.mean(1)
    found: list[Span] = []
    candidates: list[tuple[Span, float, float]] = []  # the span of each part of the song, and the bounds of the part

    def search(start_s: float, end_s: float) -> None:
        part = slice(*np.searchsorted(middles, (start_s, end_s)))  # no frame that starts where the song ends
        if len(middles[part]):
            (span,) = find_spans(frames[part], times[part].clip(start_s, end_s), query[None], in_order=False)
            candidates.append((span, start_s, end_s))

    search(times[0, 0], times[-1, 1])
    while candidates and len(found) < MOMENTS_AT:
        place = max(range(len(candidates)), key=lambda place: candidates[place][0].score)
        span, start_s, end_s = candidates.pop(place)
        found.append(span)
        search(start_s, span.start_s)
        search(span.end_s, end_s)
    return found
