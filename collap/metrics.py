# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Metrics of retrieval (recall, hit rate, mean average precision, ranks) and of moments, and their bootstrap intervals.

Shares lie in [0, 1]. Ranks count from 1. A tie counts against the right answer, so a model that gives all songs the
same score finds none. A NaN is an error.
"""

from collections.abc import Mapping, Sequence

import numpy as np

RECALL_AT = (1, 5, 10, 20, 100)
MAP_AT = 10
QUERIES_AT_ONCE = 256  # copies of a large table of scores would take much memory


def retrieval_metrics(
    scores: np.ndarray, targets: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, float]:
    """
    Metrics of queries that search one gallery.

    Args:
        scores (`np.ndarray` of shape `(queries, gallery)`): Higher is better.
        targets (`np.ndarray` of shape `(queries,)` or bool `(queries, gallery)`):
            The index of the one right answer of each query, or True at each of its right answers.
        recall_at (`Sequence[int]`):
            The numbers `k` of best answers. For a `k` of the gallery's size or more the recall is always 1.

    Returns:
        `dict[str, float]`:
        - `recall@k`: mean share of a query's right answers that are among its best `k`;
        - `hit_rate@k` (only if `targets` is a table, else it is the recall): share of queries with at least one there;
        - `map@10`: mean average precision of the best 10: of each query the sum of the precision at its right answers
          there, divided by the number of its right answers (at most 10). `RetrievalMAP(top_k=10)` of torchmetrics
          divides by the number of those found among the 10, and is higher if there are several;
        - `median_rank` and `mrr` (mean of 1 / rank) of the best right answer;
        - `num_queries`, `gallery_size`.

    Raises:
        ValueError: if shapes do not fit, a score is NaN, a query has no right answer in the gallery, or a `k` is no
            whole number of at least 1.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap.metrics import retrieval_metrics

    >>> metrics = retrieval_metrics(np.array([[0.9, 0.1], [0.8, 0.3]]), [0, 1])
    >>> metrics["recall@1"], metrics["median_rank"]
    (0.5, 1.5)

    ```
    """
    metrics = average(query_metrics(scores, targets, recall_at))
    metrics["num_queries"], metrics["gallery_size"] = (float(size) for size in np.shape(scores))
    return metrics


def average(per_query: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Of what [`query_metrics`] gives the means, and of `median_rank` the median."""
    centre = {"median_rank": np.median}
    return {name: float(centre.get(name, np.mean)(values)) for name, values in per_query.items()}


def query_metrics(
    scores: np.ndarray, targets: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, np.ndarray]:
    """
    The parts of [`retrieval_metrics`], for intervals and comparisons; arguments and errors are the same.

    Returns:
        `dict[str, np.ndarray]` of arrays `(queries,)` by the names of the metrics, which are their means;
        `median_rank` is the median of the ranks in its array.
    """
    scores = _checked_scores(scores)
    right = _right_answers(targets, scores.shape)
    if wrong := [k for k in recall_at if k < 1 or k % 1 != 0]:
        raise ValueError(f"recall_at must hold whole numbers of at least 1, got {wrong}.")
    positions = _positions(scores, right)  # (queries, most right answers of a query)
    num_right = right.sum(1)  # (queries,)

    metrics = {f"recall@{k}": (positions <= k).sum(1) / num_right for k in recall_at}
    if np.ndim(targets) == 2:
        metrics |= {f"hit_rate@{k}": (positions[:, 0] <= k).astype(float) for k in recall_at}
    precision = np.arange(1, positions.shape[1] + 1) / positions  # of the answers down to each right one
    metrics[f"map@{MAP_AT}"] = (precision * (positions <= MAP_AT)).sum(1) / np.minimum(num_right, MAP_AT)
    metrics["mrr"] = 1 / positions[:, 0]
    metrics["median_rank"] = positions[:, 0]
    return metrics


def _positions(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Positions of the right answers of each query, the best first, from 1; inf where another query has more."""
    most = int(right.sum(1).max())
    positions = np.empty((len(scores), most))
    for start in range(0, len(scores), QUERIES_AT_ONCE):
        block, is_right = scores[start : start + QUERIES_AT_ONCE], right[start : start + QUERIES_AT_ONCE]
        own = -np.sort(np.where(is_right, -block.astype(float), np.inf), axis=1)[:, :most]  # best first, then -inf
        for number in range(most):
            ahead = ((block >= own[:, number : number + 1]) & ~is_right).sum(1)  # in a tie the wrong ones are first
            there = number < is_right.sum(1)
            positions[start : start + len(block), number] = np.where(there, number + 1 + ahead, np.inf)
    return positions


def text_to_audio_and_audio_to_text(
    logits_per_audio: np.ndarray, text_song_ids: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, dict[str, float]]:
    """
    [`retrieval_metrics`] in both directions. A text has one song, a song any number of texts; songs without a text are
    in the gallery but are no queries.

    Args:
        logits_per_audio (`np.ndarray` of shape `(songs, texts)`): Scores, as `CollapOutput.logits_per_audio`.
        text_song_ids (`np.ndarray` of shape `(texts,)`): Row of the song that each text describes.
        recall_at (`Sequence[int]`): The numbers `k` of best answers to look at.

    Returns:
        `dict` with the keys `text_to_audio` and `audio_to_text`.

    Raises:
        ValueError: if shapes do not fit, a score is NaN, or a text names a song that is not there.
    """
    scores = _checked_scores(logits_per_audio)
    owned = _right_answers(text_song_ids, scores.T.shape).T  # (songs, texts)
    queries = owned.any(1)
    return {
        "text_to_audio": retrieval_metrics(scores.T, text_song_ids, recall_at),
        "audio_to_text": retrieval_metrics(scores[queries], owned[queries], recall_at),
    }


def chance_level(gallery_size: int, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """[`retrieval_metrics`] of random scores, on average, in a gallery with one right answer a query."""
    metrics = {f"recall@{k}": min(k / gallery_size, 1.0) for k in recall_at}
    reciprocal = 1 / np.arange(1, gallery_size + 1)
    metrics[f"map@{MAP_AT}"] = float(reciprocal[:MAP_AT].sum() / gallery_size)
    metrics["mrr"] = float(reciprocal.mean())
    metrics["median_rank"] = (gallery_size + 1) / 2
    metrics["gallery_size"] = float(gallery_size)
    return metrics


MOMENT_IOUS = np.arange(50, 100, 5) / 100  # over which the mean average precision of moments is averaged
MOMENTS_AT = 10  # spans of a query that count


def moment_metrics(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """
    How well ranked spans of one recording fit the spans that a text describes: the protocol of CASTELLA and
    QVHighlights.

    Args:
        predicted (`np.ndarray` of shape `(P, 2)`): Start and end of each span, the best first; the first 10 count.
        true (`np.ndarray` of shape `(M, 2)`): Start and end of all spans that are right.

    Returns:
        `dict[str, float]`; the metrics of a set are their means over its queries:
        - `iou`: intersection over union of the first span with the true one that fits it best; `r1@0.5`, `r1@0.7`:
          whether that is at least 0.5, 0.7;
        - `map@0.5`, `map@0.75`, `map`: average precision where a span is right if its IoU with a true span, which no
          better ranked span has taken, is at least 0.5, 0.75; and its mean over 0.5, 0.55, ... 0.95. Precision is
          interpolated as in Pascal VOC 2011: at each right span the highest from there on.

    Raises:
        ValueError: if shapes do not fit, there is no span, or one does not end after its start.
    """
    predicted, true = np.asarray(predicted, dtype=float)[:MOMENTS_AT], np.asarray(true, dtype=float)
    for name, spans in (("predicted", predicted), ("true", true)):
        if spans.ndim != 2 or spans.shape[1] != 2 or not len(spans) or not (spans[:, 0] < spans[:, 1]).all():
            raise ValueError(f"{name} must be spans (start, end) with start < end, got {spans.tolist()}.")
    ious = _span_ious(predicted, true)  # (P, M)
    precision = dict(zip(MOMENT_IOUS, _average_precisions(ious), strict=True))
    first = float(ious[0].max())
    metrics = {f"r1@{least}": float(first >= least) for least in (0.5, 0.7)}
    metrics |= {f"map@{least}": float(precision[least]) for least in (0.5, 0.75)}
    return metrics | {"map": float(np.mean([*precision.values()])), "iou": first}


def _span_ious(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union `(P, M)` of spans `(P, 2)` and `(M, 2)`."""
    starts, ends = np.maximum.outer(first[:, 0], second[:, 0]), np.minimum.outer(first[:, 1], second[:, 1])
    shared = np.clip(ends - starts, 0, None)
    return shared / (np.add.outer(np.ptp(first, axis=1), np.ptp(second, axis=1)) - shared)


def _average_precisions(ious: np.ndarray) -> np.ndarray:
    """Average precision at each of `MOMENT_IOUS` of ranked spans, by their IoUs `(P, M)` with the true ones."""
    num_predicted, num_true = ious.shape
    taken = np.zeros((len(MOMENT_IOUS), num_true), dtype=bool)
    hits = np.zeros((len(MOMENT_IOUS), num_predicted), dtype=bool)
    for place, row in enumerate(ious):
        free = np.where(taken, -1.0, row)
        hits[:, place] = free.max(1) >= MOMENT_IOUS
        taken[np.arange(len(taken)), free.argmax(1)] |= hits[:, place]
    precision = hits.cumsum(1) / np.arange(1, num_predicted + 1)
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    return (highest * hits).sum(1) / num_true


def _checked_scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores must be a table with rows and columns, got shape {scores.shape}.")
    if num_nan := int(np.isnan(scores).sum()):
        raise ValueError(f"scores: {num_nan} of {scores.size} are NaN; every score must be a number.")
    return scores


def _right_answers(targets: np.ndarray | Sequence[int], shape: tuple[int, int]) -> np.ndarray:
    """Bool table `(queries, gallery)`, at least one True in each row."""
    targets = np.asarray(targets)
    num_queries, gallery_size = shape
    if targets.shape == shape and targets.dtype == bool:
        if not targets.any(1).all():
            raise ValueError(f"targets: query {int(targets.any(1).argmin())} has no right answer in the gallery.")
        return targets
    if targets.shape != (num_queries,) or not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(
            f"targets must be {num_queries} indices into the gallery, or a bool table of shape {shape}; "
            f"got {targets.dtype} of shape {targets.shape}."
        )
    if targets.min() < 0 or targets.max() >= gallery_size:
        raise ValueError(
            f"targets must lie in 0 ... {gallery_size - 1}, they span {targets.min()} ... {targets.max()}."
        )
    return targets[:, None] == np.arange(gallery_size)


SAMPLES_AT_ONCE = 100
TAILS = ((1 - 0.95) / 2, 1 - (1 - 0.95) / 2)


def bootstrap_intervals(
    per_query: Mapping[str, np.ndarray], groups: Sequence | np.ndarray | None = None, num_samples: int = 1000
) -> dict[str, tuple[float, float]]:
    """
    95 % bootstrap intervals of metrics, from the parts that [`query_metrics`] gives; the same each time.

    Queries are drawn with replacement. Several texts of one song are no independent queries: with `groups` songs are
    drawn, each with all of its queries. The interval does not include the variance between training seeds.

    Args:
        per_query (`Mapping[str, np.ndarray]`): Arrays `(queries,)`. Metrics are means, `median_rank` is the median.
        groups (`Sequence` of length `queries`, *optional*): Group of each query, such as its song.
        num_samples (`int`): How often to draw.

    Returns:
        `dict[str, tuple[float, float]]`: the lower and the upper end by the names of `per_query`.

    Raises:
        ValueError: if arrays differ in length, are empty or hold NaN.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals; drawing clusters:
    Davison and Hinkley, Bootstrap Methods and their Application (1997).
    """
    shapes = {np.shape(values) for values in per_query.values()}
    if len(shapes) != 1 or shapes & {(), (0,)}:
        raise ValueError(f"per_query must hold arrays of one length, and not empty ones; got shapes {shapes}.")
    ((num_queries,),) = shapes
    if groups is None:
        groups = np.arange(num_queries)
    if len(groups) != num_queries:
        raise ValueError(f"groups must have one entry a query, {num_queries}, got {len(groups)}.")
    if with_nan := [name for name, values in per_query.items() if np.isnan(values).any()]:
        raise ValueError(f"per_query must have no NaN, got some in {', '.join(with_nan)}.")

    _, group_of_query = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = int(group_of_query.max()) + 1
    generator = np.random.default_rng(0)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in per_query}
    for start in range(0, num_samples, SAMPLES_AT_ONCE):
        size = min(SAMPLES_AT_ONCE, num_samples - start)
        times = generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size)  # (size, groups)
        weights = times[:, group_of_query].astype(float)  # (size, queries)
        for name, values in per_query.items():
            values = np.asarray(values, dtype=float)
            is_median = name == "median_rank"
            drawn[name].append(_medians(values, weights) if is_median else weights @ values / weights.sum(1))
    ends = {name: np.quantile(np.concatenate(values), TAILS) for name, values in drawn.items()}
    return {name: (float(lower), float(upper)) for name, (lower, upper) in ends.items()}


def _medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Medians `(samples,)` of values of which each sample holds `weights[sample]` copies."""
    order = values.argsort()
    values, counts = values[order], weights[:, order].cumsum(1)
    half = counts[:, -1:] / 2
    lower, upper = (counts >= half).argmax(1), (counts > half).argmax(1)
    return (values[lower] + values[upper]) / 2
