# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The figures of the long-form benchmark from the ranks of all rows and seeds, as JSON and as tables."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rows import CLAP_WINDOWS, ROWS

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parents[1] / "examples" / "experiments"))
sys.path.append(str(HERE.parent))
from machine import describe_machine  # noqa: E402 - after the path
from questions import LONG_SPLITS, WORDING_COLUMNS, validation_questions  # noqa: E402
from rank_tables import figures  # noqa: E402

from collap.files import markdown_table  # noqa: E402

MAIN = ("content", "order", "shuffled", "near-duplicates", "one section")
OTHER_SPLITS = ("structures", "instrument_pairs", *LONG_SPLITS)


def collect(out: Path, runs: Sequence[tuple[str, int]], ranks: str) -> dict[str, Any]:
    """
    All figures of the runs `(row, seed)` in the folder `out`.

    Args:
        ranks (`str`): How the files of ranks in the models' folders begin.
    """
    rows: dict[str, Any] = {}
    for name in dict.fromkeys(name for name, _ in runs):
        seeds = [seed for row, seed in runs if row == name]
        folders = [out / "models" / f"{name}-{seed}" for seed in seeds]
        trainings = [[folder] for folder in folders]
        if name == "clap":  # in two stages
            trainings = [[out / "models" / f"{part}-{seed}" for part in ("clap-clips", "clap")] for seed in seeds]
        cpu_seconds = [round(sum(_seconds(folder) for folder in parts), 1) for parts in trainings]
        heard = CLAP_WINDOWS if name == "clap" else {"": ROWS[name].title}
        for suffix, title in heard.items():
            rows[f"{name}-{suffix}" if suffix else name] = {
                "title": title,
                "seeds": seeds,
                "training_cpu_seconds": cpu_seconds,
                "questions": figures([folder / f"{ranks}{suffix}.json" for folder in folders]),
            }
    return {"machine": describe_machine(), "rows": rows}


def _seconds(folder: Path) -> float:
    return json.loads((folder / "seconds.json").read_text())["cpu_seconds"]


def _table(
    result: dict[str, Any], columns: dict[str, tuple[str, str]], cell: Callable[[Any], str] | None = None
) -> str:
    """A row a model that was asked; `columns` name a question and a figure each, `cell` says how one is written."""
    lines = [["", *columns]]
    for row in result["rows"].values():
        found = [row["questions"].get(question, {}).get(figure) for question, figure in columns.values()]
        cells = ["" if figure is None else (cell or _seeds)(figure) for figure in found]
        if any(cells):
            lines.append([row["title"], *cells])
    return markdown_table(lines)


def _seeds(figure: dict[str, Any] | float) -> str:
    """Of several seeds the mean, and in brackets the lowest and the highest."""
    if not isinstance(figure, dict):
        return f"{figure:g}"
    seeds = figure["seeds"]
    return f"{figure['value']:.1f}" + (f" ({min(seeds):.1f} to {max(seeds):.1f})" if len(seeds) > 1 else "")


def _seeds_of(result: dict[str, Any], columns: dict[str, tuple[str, str]]) -> list[list[float]]:
    """R@1 by seed, of all models and all questions of a table."""
    questions = {question for question, _ in columns.values()}
    return [
        found["recall@1"]["seeds"]
        for row in result["rows"].values()
        for name, found in row["questions"].items()
        if name in questions
    ]


def _interval(figure: dict[str, Any]) -> str:
    """The 95 % interval of the mean over the seeds, from drawing the songs anew."""
    lower, upper = figure["interval"]
    return f"{lower:.1f} to {upper:.1f}"


def format_all(result: dict[str, Any]) -> str:
    """All tables as Markdown."""
    asked = {question for row in result["rows"].values() for question in row["questions"]}
    parts = []
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
        present = {heading: column for heading, column in columns.items() if column[0] in asked}
        if present:
            several = any(len(seeds) > 1 for seeds in _seeds_of(result, present))
            tables.append(f"### {title}{'' if several else ' (one seed)'}\n\n{_table(result, present)}")
    of_songs = {name: (f"{name}, new", "recall@1") for name in MAIN}
    of_songs = {heading: column for heading, column in of_songs.items() if column[0] in asked}
    if of_songs:
        table = _table(result, of_songs, _interval)
        tables.append(f"### 95 % intervals over songs, R@1, new wording\n\n{table}")
    cut = [
        f"{row['title']}, {name}: {found['num_cut']} of {found['num_queries']}"
        for row in result["rows"].values()
        for name, found in row["questions"].items()
        if found["num_cut"]
    ]
    if cut:
        tables.append(f"Texts cut to the tokens that the model reads: {'; '.join(cut)}.")
    return "\n\n".join(tables)


def main() -> None:
    """Prints the tables of a result file, as docs/benchmark.md shows them."""
    print(format_all(json.loads(Path(sys.argv[1]).read_text())))


if __name__ == "__main__":
    main()
