# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Metrics and tables of the ranks that `python -m benchmarks.rank` writes.

    python -m benchmarks.tables benchmarks/results/long_form_{all_seeds,text_models}.json  (those of docs/benchmark.md)

Of several files the rows stand in one table.
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collap.files import markdown_table
from collap.metrics import MAP_AT, RECALL_AT, average, bootstrap_intervals

from .questions import OTHER_SPLITS, WORDING_COLUMNS, validation_questions

MAIN = ("content", "order", "shuffled", "near-duplicates", "one section")
Columns = dict[str, tuple[str, str]]  # a question and a metric by the heading


def with_intervals(of_queries: dict[str, np.ndarray], groups: Sequence[int] | None = None) -> dict[str, Any]:
    """`{"value", "interval"}` of metrics of single queries: mean (of `median_rank` the median), 95 % interval."""
    intervals = bootstrap_intervals(of_queries, groups)
    return {name: {"value": value, "interval": [*intervals[name]]} for name, value in average(of_queries).items()}


def read_metrics(files: Sequence[Path | Sequence[Path]]) -> dict[str, Any]:
    """
    Metrics of one model by the names of the questions, in percent; over several seeds, their mean. A seed has a file,
    or several whose queries are taken together.

    Returns:
        Of each question `recall@k`, each `{"value", "interval", "seeds"}`, `median_rank`, `mrr`, `num_queries`,
        `gallery_size`, `num_cut` (most texts that were cut in a seed). For the interval songs are drawn anew, with
        their group where they come in groups, each with all of its queries.
    """
    found = [_read_ranks([of_seed] if isinstance(of_seed, Path) else of_seed) for of_seed in files]
    result: dict[str, Any] = {}
    for name in dict.fromkeys(name for of_seed in found for name in of_seed):
        of_seeds = [of_seed[name] for of_seed in found if name in of_seed]
        first = of_seeds[0]
        ranks = np.array([of_seed["ranks"] for of_seed in of_seeds])  # (seeds, queries)
        # A k as large as the gallery says nothing.
        hits = {f"recall@{k}": 100.0 * (ranks <= k) for k in RECALL_AT if k < first["gallery_size"]}
        metrics = with_intervals({key: values.mean(0) for key, values in hits.items()}, first["units"])
        for key, values in hits.items():
            metrics[key]["seeds"] = values.mean(1).tolist()
        result[name] = metrics | {
            "median_rank": float(np.median(ranks)),
            "mrr": float((1 / ranks).mean()),
            "num_queries": ranks.shape[1],
            "gallery_size": first["gallery_size"],
            "num_cut": max(of_seed["num_cut"] for of_seed in of_seeds),
        }
    return result


def _read_ranks(files: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """The ranks of several files with the same questions, one after the other."""
    parts = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    joined = parts[0]
    for number, part in enumerate(parts[1:], start=1):
        for name, found in part.items():
            joined[name]["ranks"] += found["ranks"]
            joined[name]["units"] += [f"{number}: {unit}" for unit in found["units"]]
            joined[name]["num_cut"] += found["num_cut"]
    return joined


def read_shares(file: Path) -> dict[str, dict[str, float]]:
    """The metrics of [`collap.metrics.retrieval_metrics`] by the names of the questions, of one file of ranks."""
    result = {}
    for name, found in json.loads(file.read_text(encoding="utf-8")).items():
        ranks = np.array(found["ranks"])
        of_queries = {f"recall@{k}": ranks <= k for k in RECALL_AT} | {f"map@{MAP_AT}": (ranks <= MAP_AT) / ranks}
        shares = average(of_queries | {"mrr": 1 / ranks, "median_rank": ranks})
        result[name] = shares | {"num_queries": float(len(ranks)), "gallery_size": float(found["gallery_size"])}
    return result


def as_table(result: dict[str, Any], columns: Columns, cell: Callable[[Any], str]) -> str:
    """A row a model that has any of the metrics; `cell` formats one."""
    lines = [["", *columns]]
    for row in result["rows"].values():
        found = [row["questions"].get(question, {}).get(metric) for question, metric in columns.values()]
        if any(metric is not None for metric in found):
            lines.append([row["title"], *("" if metric is None else cell(metric) for metric in found)])
    return markdown_table(lines)


def spread(metric: dict[str, Any] | float) -> str:
    """Of several seeds the mean, and in brackets the lowest and the highest."""
    if not isinstance(metric, dict):
        return f"{metric:g}"
    seeds = metric["seeds"]
    return f"{metric['value']:.1f}" + (f" ({min(seeds):.1f} to {max(seeds):.1f})" if len(seeds) > 1 else "")


def _interval(metric: dict[str, Any]) -> str:
    """The 95 % interval of the mean over the seeds, from drawing the songs anew."""
    lower, upper = metric["interval"]
    return f"{lower:.1f} to {upper:.1f}"


def format_benchmark(result: dict[str, Any]) -> str:
    """All tables of a result of the long-form benchmark as Markdown."""
    questions: dict[str, bool] = {}  # whether any row has several seeds of it
    for row in result["rows"].values():
        for question, found in row["questions"].items():
            questions[question] = questions.get(question, False) or len(found["recall@1"]["seeds"]) > 1
    parts: list[tuple[str, Columns]] = []
    for wording in WORDING_COLUMNS:
        content = f"content, {wording}"
        columns = {f"content R@{k}": (content, f"recall@{k}") for k in (1, 5, 10)}
        columns["median rank"] = (content, "median_rank")
        columns["order, 1 of 4"] = (f"order, {wording}", "recall@1")
        columns["shuffled R@1"] = (f"shuffled, {wording}", "recall@1")
        columns["near-duplicates R@1"] = (f"near-duplicates, {wording}", "recall@1")
        columns |= {f"one section R@{k}": (f"one section, {wording}", f"recall@{k}") for k in (1, 10)}
        parts.append((f"{wording.capitalize()} wording" if wording != "clock times" else "Clock times", columns))
    others = {f"{split.replace('_', ' ')} R@1": (f"{split}, new", "recall@1") for split in OTHER_SPLITS}
    others |= {f"freehand, one section R@{k}": ("one section, freehand", f"recall@{k}") for k in (1, 10)}
    parts.append(("Structures, pairs of instruments, lengths and words not trained on", others))
    names = [question.name.removeprefix("validation, ") for question in validation_questions()]
    parts.append(("Validation songs", {f"{name} R@1": (f"validation, {name}", "recall@1") for name in names}))
    tables = []
    for title, columns in parts:
        present = {heading: column for heading, column in columns.items() if column[0] in questions}
        if present:
            several = any(questions[question] for question, _ in present.values())
            tables.append(f"### {title}{'' if several else ' (one seed)'}\n\n{as_table(result, present, spread)}")
    of_songs = {name: (f"{name}, new", "recall@1") for name in MAIN if f"{name}, new" in questions}
    if of_songs:
        tables.append(f"### 95 % intervals over songs, R@1, new wording\n\n{as_table(result, of_songs, _interval)}")
    cut = [
        f"{row['title']}, {name}: {found['num_cut']} of {found['num_queries']}"
        for row in result["rows"].values()
        for name, found in row["questions"].items()
        if found["num_cut"]
    ]
    if cut:
        tables.append(f"Texts cut to the tokens that the model takes: {'; '.join(cut)}.")
    return "\n\n".join(tables)


if __name__ == "__main__":
    found = [json.loads(Path(name).read_text(encoding="utf-8"))["rows"] for name in sys.argv[1:]]
    print(format_benchmark({"rows": {name: row for rows in found for name, row in rows.items()}}))
