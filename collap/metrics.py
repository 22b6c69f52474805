# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Metrics of retrieval: recall, hit rate, mean average precision, ranks, order accuracy; and their bootstrap intervals.

The rules, the same everywhere: shares lie in [0, 1]; ranks count from 1; a tie goes AGAINST the right answer, so a
model that gives every song one score finds nothing; a score that is not a number is an error.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from collap.files import markdown_table

RECALL_AT = (1, 5, 10, 20, 100)
MAP_AT = 10
QUERIES_AT_ONCE = 256  # so that a table of 5,000 x 5,000 scores is never held several times over


def retrieval_metrics(
    scores: np.ndarray, targets: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, float]:
    """
    Recall, ranks and the sizes they belong to, for queries that each look for something in one gallery.

    Args:
        scores (`np.ndarray` of shape `(queries, gallery)`): Higher is better.
        targets (`np.ndarray` of shape `(queries,)` or bool `(queries, gallery)`):
            The index of the one right answer of each query, or True at each of its right answers.
        recall_at (`Sequence[int]`):
            The numbers `k` of best answers to look at. A `k` of the gallery's size or more is reached by guessing.

    Returns:
        `dict[str, float]`:
        `recall@k`, mean share of a query's right answers that are among its best `k`;
        `hit_rate@k` (only if `targets` is a table, else it is the recall), share of queries with at least one there;
        `map@10`, mean average precision of the best 10, of each query the sum of the precision at its right answers
        there, divided by the number of its right answers (or 10, if they are more); torchmetrics' `RetrievalMAP`
        with `top_k=10` divides by those found among the 10 instead, and so is higher if there are several;
        `median_rank` and `mrr` (mean of 1 / rank) of the best right answer, counted among the wrong ones;
        `num_queries`, `gallery_size`.

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
    of_queries = query_metrics(scores, targets, recall_at)
    metrics = {name: float(values.mean()) for name, values in of_queries.items() if name != "median_rank"}
    metrics["median_rank"] = float(np.median(of_queries["median_rank"]))
    metrics["num_queries"], metrics["gallery_size"] = (float(size) for size in np.shape(scores))
    return metrics


def query_metrics(
    scores: np.ndarray, targets: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, np.ndarray]:
    """
    What each query contributes to the figures of [`retrieval_metrics`]: for intervals, or to compare two models.

    Returns:
        `dict[str, np.ndarray]` of arrays `(queries,)` by the names of the figures: those are their means, and of
        `median_rank`, which holds each query's rank, the median.
    """
    scores = _checked_scores(scores)
    right = _right_answers(targets, scores.shape)
    wrong = [k for k in recall_at if k != int(k) or k < 1]
    if wrong:
        raise ValueError(f"recall_at must hold whole numbers of at least 1, got {wrong}.")
    places = _places(scores, right)  # (queries, most right answers of a query)
    num_right = right.sum(1)  # (queries,)

    metrics = {f"recall@{k}": (places <= k).sum(1) / num_right for k in recall_at}
    if np.ndim(targets) == 2:
        metrics |= {f"hit_rate@{k}": (places[:, 0] <= k).astype(float) for k in recall_at}
    precision = np.arange(1, places.shape[1] + 1) / places  # of the answers down to each right one
    metrics[f"map@{MAP_AT}"] = (precision * (places <= MAP_AT)).sum(1) / np.minimum(num_right, MAP_AT)
    metrics["mrr"] = 1 / places[:, 0]
    metrics["median_rank"] = places[:, 0]
    return metrics


def _places(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Places of the right answers of each query, the best first, counted from 1; inf where another query has more."""
    most = int(right.sum(1).max())
    places = np.empty((len(scores), most))
    for start in range(0, len(scores), QUERIES_AT_ONCE):
        block, is_right = scores[start : start + QUERIES_AT_ONCE], right[start : start + QUERIES_AT_ONCE]
        own = -np.sort(np.where(is_right, -block.astype(float), np.inf), axis=1)[:, :most]  # best first, then -inf
        for number in range(most):
            ahead = ((block >= own[:, number : number + 1]) & ~is_right).sum(1)  # in a tie the wrong ones come first
            there = number < is_right.sum(1)
            places[start : start + len(block), number] = np.where(there, number + 1 + ahead, np.inf)
    return places


def text_to_audio_and_audio_to_text(
    logits_per_audio: np.ndarray, text_song_ids: np.ndarray | Sequence[int], recall_at: Sequence[int] = RECALL_AT
) -> dict[str, dict[str, float]]:
    """
    [`retrieval_metrics`] in both directions, for any number of texts a song.

    A text looks for its one song. A song looks for all of its texts (hence recall and hit rate); a song without a text
    is in the gallery of the texts, but does not search.

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
    searching = owned.any(1)
    return {
        "text_to_audio": retrieval_metrics(scores.T, text_song_ids, recall_at),
        "audio_to_text": retrieval_metrics(scores[searching], owned[searching], recall_at),
    }


def order_accuracy(
    scores: np.ndarray, groups: np.ndarray | Sequence, targets: np.ndarray | Sequence[int] | None = None
) -> float:
    """
    Share of texts whose own song scores strictly higher than every other song of its group.

    The songs of a group hold the same sections in another order, so only a model that knows *when* something sounds
    does better than chance, 1 / (songs of a group).

    Args:
        scores (`np.ndarray` of shape `(texts, songs)`): Higher is better.
        groups (`np.ndarray` of shape `(songs,)`): What group each song belongs to: numbers or names.
        targets (`np.ndarray` of shape `(texts,)`, *optional*): Each text's song; text `i` has song `i` if left out.

    Returns:
        `float`: in [0, 1].

    Raises:
        ValueError: if shapes do not fit, a score is NaN, or a text's song is alone in its group.
    """
    scores = _checked_scores(scores)
    groups = np.asarray(groups)
    if groups.shape != scores.shape[1:]:
        raise ValueError(f"groups must have one entry a song, ({scores.shape[1]},), got shape {groups.shape}.")
    own = _right_answers(np.arange(len(scores)) if targets is None else targets, scores.shape)  # (texts, songs)
    own_song = own.argmax(1)
    rivals = (groups[None, :] == groups[own_song][:, None]) & ~own  # (texts, songs)
    if not rivals.any(1).all():
        alone = int(own_song[~rivals.any(1)][0])
        raise ValueError(f"groups: song {alone} is alone in its group {groups[alone]!r}; a choice needs at least two.")
    best_rival = np.where(rivals, scores, -np.inf).max(1)  # (texts,)
    return float((scores[own] > best_rival).mean())


def chance_level(gallery_size: int, recall_at: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """
    What guessing gives on average in a gallery of `gallery_size` with one right answer: a row for the same table.

    Returns:
        `dict[str, float]`: the keys of [`retrieval_metrics`] but for the number of queries.
    """
    if gallery_size < 1:
        raise ValueError(f"gallery_size must be at least 1, got {gallery_size}.")
    metrics = {f"recall@{k}": min(k / gallery_size, 1.0) for k in recall_at}
    reciprocal = 1 / np.arange(1, gallery_size + 1)
    metrics[f"map@{MAP_AT}"] = float(reciprocal[:MAP_AT].sum() / gallery_size)
    metrics["mrr"] = float(reciprocal.mean())
    metrics["median_rank"] = (gallery_size + 1) / 2
    metrics["gallery_size"] = float(gallery_size)
    return metrics


def format_table(
    rows: Mapping[str, Mapping[str, float]], columns: Sequence[str] | None = None, first: str = ""
) -> str:
    """
    A Markdown table that also reads well in a terminal. Shares are printed in percent.

    Args:
        rows (`Mapping[str, Mapping[str, float]]`): Figures of each row by column; a missing one is left blank.
        columns (`Sequence[str]`, *optional*): Columns to show, in order. Default: all, in the order of the rows.
        first (`str`): Heading of the column of the rows' names.

    Returns:
        `str`: lines without a newline at the end.
    """
    if columns is None:
        columns = list(dict.fromkeys(name for figures in rows.values() for name in figures))

    def cell(name: str, figures: Mapping[str, float]) -> str:
        if name not in figures:
            return ""
        if name in ("num_queries", "gallery_size"):
            return f"{figures[name]:.0f}"
        if name == "median_rank":
            return f"{figures[name]:g}"
        return f"{100 * figures[name]:.1f}"

    table = [[first, *columns], *([row, *(cell(name, figures) for name in columns)] for row, figures in rows.items())]
    return markdown_table(table)


def _checked_scores(scores: np.ndarray) -> np.ndarray:
    scores = np.asarray(scores)
    if scores.ndim != 2 or scores.size == 0:
        raise ValueError(f"scores must be a table with rows and columns, got shape {scores.shape}.")
    num_nan = int(np.isnan(scores).sum())
    if num_nan:
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


def bootstrap_intervals(
    per_query: Mapping[str, np.ndarray],
    groups: Sequence | np.ndarray | None = None,
    num_samples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, tuple[float, float]]:
    """
    Intervals of the figures that [`collap.metrics.query_metrics`] gives the parts of.

    Queries are drawn anew with replacement. Several captions of one song are no independent queries: with `groups`
    songs are drawn, each with all of its queries. The interval says nothing of other seeds of a training.

    Args:
        per_query (`Mapping[str, np.ndarray]`): Arrays `(queries,)`. Figures are means, `median_rank` is the median.
        groups (`Sequence` of length `queries`, *optional*): What each query is drawn together with, such as its song.
        num_samples (`int`): How often to draw.
        seed (`int`): Of the draws: equal seeds give equal intervals.
        level (`float`): Share of the draws inside the interval.

    Returns:
        `dict[str, tuple[float, float]]`: the lower and the upper end by the names of `per_query`.

    Raises:
        ValueError: if arrays differ in length, are empty or hold NaN, `num_samples` is below 1, or `level` lies
            outside of (0, 1).

    Source: Efron and Tibshirani, An Introduction to the Bootstrap (1993), percentile intervals; drawing clusters:
    Davison and Hinkley, Bootstrap Methods and their Application (1997).

    Example:

    ```python
    >>> import numpy as np
    >>> from collap.metrics import bootstrap_intervals

    >>> bootstrap_intervals({"recall@1": np.ones(50)})
    {'recall@1': (1.0, 1.0)}

    ```
    """
    lengths = {name: np.shape(values) for name, values in per_query.items()}
    if not lengths or len(set(lengths.values())) != 1 or next(iter(lengths.values())) in ((), (0,)):
        raise ValueError(f"per_query must hold arrays of one length, and not empty ones; got shapes {lengths}.")
    (num_queries,) = next(iter(lengths.values()))
    if groups is None:
        groups = np.arange(num_queries)
    if len(groups) != num_queries:
        raise ValueError(f"groups must have one entry a query, {num_queries}, got {len(groups)}.")
    lacking = [name for name, values in per_query.items() if np.isnan(values).any()]
    if lacking:
        raise ValueError(f"per_query: {', '.join(lacking)} hold NaN; every query must have a figure.")
    if num_samples < 1:
        raise ValueError(f"num_samples must be at least 1, got {num_samples}.")
    if not 0 < level < 1:
        raise ValueError(f"level must lie between 0 and 1, got {level}.")

    _, group_of_query = np.unique(np.asarray(groups), return_inverse=True)
    num_groups = int(group_of_query.max()) + 1
    generator = np.random.default_rng(seed)
    drawn: dict[str, list[np.ndarray]] = {name: [] for name in per_query}
    for start in range(0, num_samples, SAMPLES_AT_ONCE):
        size = min(SAMPLES_AT_ONCE, num_samples - start)
        times = generator.multinomial(num_groups, np.full(num_groups, 1 / num_groups), size)  # (size, groups)
        weights = times[:, group_of_query].astype(float)  # (size, queries)
        for name, values in per_query.items():
            figure = _medians if name == "median_rank" else _means
            drawn[name].append(figure(np.asarray(values, dtype=float), weights))
    tail = (1 - level) / 2
    ends = {name: np.quantile(np.concatenate(values), (tail, 1 - tail)) for name, values in drawn.items()}
    return {name: (float(lower), float(upper)) for name, (lower, upper) in ends.items()}


def _means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return weights @ values / weights.sum(1)


def _medians(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Medians `(samples,)` of values of which each sample holds `weights[sample]` copies."""
    order = values.argsort()
    values, counts = values[order], weights[:, order].cumsum(1)
    half = counts[:, -1:] / 2
    lower, upper = (counts >= half).argmax(1), (counts > half).argmax(1)
    return (values[lower] + values[upper]) / 2


__all__ = [
    "bootstrap_intervals",
    "chance_level",
    "format_table",
    "order_accuracy",
    "query_metrics",
    "retrieval_metrics",
    "text_to_audio_and_audio_to_text",
]
