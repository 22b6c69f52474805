# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Moment retrieval: where in its song is what a text describes, in ranked spans, as CASTELLA asks."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from collap.metrics import MOMENTS_AT, moment_metrics

from .evaluation_set import EvaluationSet, EvaluationText
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

    Args:
        retriever ([`Retriever`]): The model that encoded songs and texts. Without frames it finds nothing.
        load_frames (`Callable[[int], np.ndarray]`): Gives the frames `(N, d)` of a song by its index.
        durations_s (`Sequence[float]`): Of each song.
        texts: What `retriever.embed_texts` gave for the texts of the set.
        state (`PartialState`): The processes that split the work.

    Returns:
        `list[dict]`, in all processes: for each text and song their ids (`text`, `song`), `spans` of the model, the
        best first, the `metrics` of these ([`collap.metrics.moment_metrics`]), and those of random spans, `chance`.
    """
    asked: dict[str, list[tuple[int, EvaluationText]]] = {}
    for index, text in enumerate(evaluation_set.texts):
        for song in text.spans:
            asked.setdefault(song, []).append((index, text))
    if not asked or retriever.frame_times(1, 1.0) is None:
        return []
    queries = retriever.frame_queries(texts)  # (T, d)
    songs = [(place, song) for place, song in enumerate(evaluation_set.songs) if song in asked]
    own = songs[state.process_index :: state.num_processes]
    found = []
    for place, song in tqdm(own, desc="Moments", unit="song", delay=5, disable=not state.is_main_process):
        frames, duration_s = load_frames(place), durations_s[place]
        times = retriever.frame_times(len(frames), duration_s)
        for index, text in asked[song]:
            spans = rank_spans(frames.astype(np.float64) @ queries[index], times)
            generator = np.random.default_rng([index, place])
            drawn = np.sort(generator.uniform(0, duration_s, (CHANCE_DRAWS, MOMENTS_AT, 2)))
            random = [moment_metrics(ranking, text.spans[song]) for ranking in drawn]
            row = {"text": text.id, "song": song, "spans": spans.round(2).tolist()}
            row["metrics"] = moment_metrics(spans, text.spans[song])
            row["chance"] = {name: float(np.mean([draw[name] for draw in random])) for name in random[0]}
            found.append((index, place, row))
    return [row for _, _, row in sorted(gather_object(found), key=lambda entry: entry[:2])]


def rank_spans(similarities: np.ndarray, times: np.ndarray) -> np.ndarray:
    """
    The spans that fit a text best, which do not overlap.

    The first has the largest sum of what exceeds the mean of the song, the next ones are found likewise in what is
    left.

    Args:
        similarities (`np.ndarray` of shape `(N,)`): Of the text with each frame.
        times (`np.ndarray` of shape `(N, 2)`): Start and end of each frame in seconds.

    Returns:
        `np.ndarray` of shape `(P, 2)`, with 1 to 10 starts and ends in seconds.
    """
    excess = similarities - similarities.mean()
    barrier = -np.abs(excess).sum() - 1.0  # no span pays for crossing one
    spans = []
    while len(spans) < MOMENTS_AT:
        sums = np.concatenate([[0.0], excess.cumsum()])  # before each frame
        gains = sums[1:] - np.minimum.accumulate(sums)[:-1]  # of the best span that ends with each frame
        end = int(gains.argmax()) + 1
        if gains[end - 1] <= 0:
            break
        start = int(sums[:end].argmin())
        spans.append((times[start, 0], times[end - 1, 1]))
        excess[start:end] = barrier
    return np.array(spans or [(times[0, 0], times[-1, 1])])
