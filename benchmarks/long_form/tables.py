# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The metrics of the long-form benchmark from the ranks of all rows and seeds, as JSON and as tables.

    python -m benchmarks.long_form.tables benchmarks/results/long_form_all_seeds.json    (docs/benchmark.md shows them)
"""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from collap.files import markdown_table

from ..pipeline import Pipeline
from ..questions import LONG_SPLITS, WORDING_COLUMNS, validation_questions
from ..speed.common import describe_machine
from ..tables import read_metrics
from .rows import CLAP_WINDOWS, ROWS

MAIN = ("content", "order", "shuffled", "near-duplicates", "one section")
OTHER_SPLITS = ("structures", "instrument_pairs", *LONG_SPLITS)
Columns = dict[str, tuple[str, str]]  # a question and a metric by the heading


def collect(pipeline: Pipeline, runs: Sequence[tuple[str, int]], kind: str) -> dict[str, Any]:
    """
    All metrics of the runs `(row, seed)`.

    Args:
        kind (`str`): How the names of the ranks begin.
    """
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in runs):
        seeds = [seed for row, seed in runs if row == name]
        stages = ("clap-clips", "clap") if name == "clap" else (name,)
        trainings = [[pipeline.model(f"{stage}-{seed}") / "seconds.json" for stage in stages] for seed in seeds]
        titles = {f"clap-{window}": title for window, title in CLAP_WINDOWS.items()}
        for row, title in (titles if name == "clap" else {name: ROWS[name].title}).items():
            rows[row] = {
                "title": title,
                "seeds": seeds,
                "training_cpu_seconds": [
                    round(sum(json.loads(file.read_text())["cpu_seconds"] for file in files), 1) for files in trainings
                ],
                "questions": read_metrics([pipeline.ranks(f"{kind}-{row}-{seed}") for seed in seeds]),
            }
    return {"machine": describe_machine(), "rows": rows}


def _table(result: dict[str, Any], columns: Columns, cell: Callable[[Any], str]) -> str:
    """A row a model that has any of the metrics; `cell` formats one."""
    lines = [["", *columns]]
    for row in result["rows"].values():
        found = [row["questions"].get(question, {}).get(metric) for question, metric in columns.values()]
        if any(metric is not None for metric in found):
            lines.append([row["title"], *("" if metric is None else cell(metric) for metric in found)])
    return markdown_table(lines)


def _seeds(metric: dict[str, Any] | float) -> str:
    """Of several seeds the mean, and in brackets the lowest and the highest."""
    if not isinstance(metric, dict):
        return f"{metric:g}"
    seeds = metric["seeds"]
    return f"{metric['value']:.1f}" + (f" ({min(seeds):.1f} to {max(seeds):.1f})" if len(seeds) > 1 else "")


def _interval(metric: dict[str, Any]) -> str:
    """The 95 % interval of the mean over the seeds, from drawing the songs anew."""
    lower, upper = metric["interval"]
    return f"{lower:.1f} to {upper:.1f}"


def format_all(result: dict[str, Any]) -> str:
    """All tables as Markdown."""
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
            tables.append(f"### {title}{'' if several else ' (one seed)'}\n\n{_table(result, present, _seeds)}")
    of_songs = {name: (f"{name}, new", "recall@1") for name in MAIN if f"{name}, new" in questions}
    if of_songs:
        tables.append(f"### 95 % intervals over songs, R@1, new wording\n\n{_table(result, of_songs, _interval)}")
    cut = [
        f"{row['title']}, {name}: {found['num_cut']} of {found['num_queries']}"
        for row in result["rows"].values()
        for name, found in row["questions"].items()
        if found["num_cut"]
    ]
    if cut:
        tables.append(f"Texts cut to the tokens that the model takes: {'; '.join(cut)}.")
    return "\n\n".join(tables)


def main() -> None:
    print(format_all(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
