# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Results of several models on the same songs, side by side, and their differences query by query."""

from collections.abc import Sequence

import numpy as np

from .bootstrap import bootstrap_intervals
from .markdown_table import markdown_table
from .results import DIRECTIONS, EvaluationResult

HITS_AT = (1, 5, 10)


def compare(
    results: Sequence[EvaluationResult],
    direction: str = "text_to_audio",
    columns: Sequence[str] = ("recall@1", "recall@5", "recall@10", "map@10", "median_rank"),
) -> str:
    """
    A table with a row for each model, and one of how far the others are from the first.

    The differences are of the same queries, so that their intervals are narrower than those of two figures side by
    side: one that does not hold 0 says that the models differ, as far as these songs can tell. A hit is a query whose
    best right answer is among the first k.

    Args:
        results (`Sequence[EvaluationResult]`): Of the same songs, recordings and texts.
        direction (`str`): `"text_to_audio"` or `"audio_to_text"`.
        columns (`Sequence[str]`): Figures of the first table, as far as all results have them.

    Raises:
        ValueError: if the results are not of the same songs and texts, there are none, or there is no such direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}.")
    if not results:
        raise ValueError("results must hold at least one result, got none.")
    for kind, name in (("songs or texts", "manifest_hash"), ("recordings", "audio_hash")):
        hashes = [f"{result.model} {getattr(result, name)} ({result.gallery_size} songs)" for result in results]
        if len({getattr(result, name) for result in results}) > 1:
            raise ValueError(f"results are of different {kind} and can't be compared; {name}: {', '.join(hashes)}.")
    present = [name for name in columns if all(name in result.figures[direction] for result in results)]
    rows = [["", *present]]
    names = _distinct_names(results)
    for row, result in zip(names, results, strict=True):
        rows.append([row, *(result.cell(direction, name) for name in present)])
    if len(results) == 1:
        return markdown_table(rows)
    return f"{markdown_table(rows)}\n\n{markdown_table(_differences(results, names, direction))}"


def _differences(results: Sequence[EvaluationResult], names: Sequence[str], direction: str) -> list[list[str]]:
    """A heading, and a row for each result but the first, with what it has more than that."""
    first, ranks = results[0], results[0].ranks[direction]
    cutoffs = [k for k in HITS_AT if f"recall@{k}" in first.figures[direction]]
    rows = [[f"minus {names[0]}", *(f"hits@{k}" for k in cutoffs), "mrr"]]
    songs = [first.song_of_text.get(query, query) for query in ranks]
    before = np.array([*ranks.values()])
    for name, result in zip(names[1:], results[1:], strict=True):
        after = np.array([result.ranks[direction][query] for query in ranks])
        values = {f"hits@{k}": (after <= k) * 1.0 - (before <= k) for k in cutoffs} | {"mrr": 1 / after - 1 / before}
        ends = bootstrap_intervals(values, songs)
        means = [(100 * values[key].mean(), 100 * lower, 100 * upper) for key, (lower, upper) in ends.items()]
        rows.append([name, *("{:+.1f} [{:+.1f}, {:+.1f}]".format(*cell) for cell in means)])
    return rows


def _distinct_names(results: Sequence[EvaluationResult]) -> list[str]:
    """The models' names; where one occurs more often, with the options and the revision that tell its rows apart."""
    names = []
    for result in results:
        namesakes = [other for other in results if other.model == result.model]
        differing = [
            f"{key}={value}"
            for key, value in result.options.items()
            if any(other.options.get(key) != value for other in namesakes)
        ]
        if any(other.revision != result.revision for other in namesakes):
            differing.append(result.revision)
        names.append(f"{result.model} ({', '.join(differing)})" if differing else result.model)
    return names


__all__ = ["compare"]
