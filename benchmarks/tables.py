# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Metrics, tables and charts of ranks, as `python -m benchmarks.rank` writes them. Charts need matplotlib."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from collap.evaluation.plots import INK, save_figure
from collap.files import markdown_table
from collap.metrics import MAP_AT, RECALL_AT, bootstrap_intervals

COLOURS = ("#1c5d99", "#d9822b", "#5a8f29", "#8e5ea2", "#a33b3b", "#6b6b6b")
GRID = "#dddddd"
CELL_INCHES = (0.72, 0.46)
MARK = "#d9480f"
MIN_SPAN = 0.1  # of the colours of a heat map, as a part of its largest value


def with_intervals(of_queries: dict[str, np.ndarray], groups: Sequence[int] | None = None) -> dict[str, Any]:
    """`{"value", "interval"}` of metrics of single queries: mean (of `median_rank` the median), 95 % interval."""
    intervals = bootstrap_intervals(of_queries, groups)
    return {
        name: {
            "value": float(np.median(values) if name == "median_rank" else np.mean(values)),
            "interval": list(intervals[name]),
        }
        for name, values in of_queries.items()
    }


def read_metrics(files: Sequence[Path]) -> dict[str, Any]:
    """
    Metrics of one model by the names of the questions, in percent; over several seeds their mean.

    Args:
        files (`Sequence[Path]`): Ranks, one file a seed; a question may be missing in some of them.

    Returns:
        Of each question `recall@k`, each `{"value", "interval", "seeds"}`, `median_rank`, `mrr`, `num_queries`,
        `gallery_size`, `num_cut` (most texts that were cut in a seed). For the interval songs are drawn anew, with
        their group where they come in groups, each with all of its queries.
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
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


def read_shares(file: Path) -> dict[str, dict[str, float]]:
    """The metrics of [`collap.metrics.retrieval_metrics`] by the names of the questions, of one file of ranks."""
    result = {}
    for name, found in json.loads(file.read_text(encoding="utf-8")).items():
        ranks = np.array(found["ranks"])
        shares = {f"recall@{k}": float((ranks <= k).mean()) for k in RECALL_AT}
        shares |= {f"map@{MAP_AT}": float(((ranks <= MAP_AT) / ranks).mean()), "mrr": float((1 / ranks).mean())}
        shares |= {"median_rank": float(np.median(ranks)), "num_queries": float(len(ranks))}
        result[name] = shares | {"gallery_size": float(found["gallery_size"])}
    return result


def format_metrics(found: Mapping[str, Mapping[str, Any]]) -> str:
    """
    A row a question, a column a model with R@1, its 95 % interval and R@5: Markdown.

    Args:
        found (`Mapping`): What [`read_metrics`] gives, by the titles of the models.
    """
    lines = [["R@1 (95 % interval) / R@5", "texts", "gallery", *found]]
    for name, first in next(iter(found.values())).items():
        cells = [name, str(first["num_queries"]), str(first["gallery_size"])]
        for of_model in found.values():
            recall, at_five = of_model[name]["recall@1"], of_model[name].get("recall@5")
            lower, upper = recall["interval"]
            beside = f" / {at_five['value']:.1f}" if at_five else ""
            cells.append(f"{recall['value']:.1f} ({lower:.1f} to {upper:.1f}){beside}")
        lines.append(cells)
    return markdown_table(lines)


def draw_bars(path: Path, found: Mapping[str, Mapping[str, Any]], title: str) -> None:
    """Lying bars of recall@1 with 95 % intervals: a group a question, a colour a model."""
    from matplotlib.figure import Figure

    names = list(next(iter(found.values())))
    height = 0.8 / len(found)
    picture = Figure(figsize=(9, 1.5 + len(names) * max(0.4, 0.24 * len(found))), dpi=130, layout="constrained")
    axes = picture.subplots()
    for number, (model, of_model) in enumerate(found.items()):
        entries = [of_model[name]["recall@1"] for name in names]
        values = np.array([entry["value"] for entry in entries])
        ends = np.array([entry["interval"] for entry in entries])
        places = np.arange(len(names)) - 0.4 + height * (number + 0.5)
        # An interval of several seeds' mean can miss the value by rounding alone.
        spread = np.clip(np.stack([values - ends[:, 0], ends[:, 1] - values]), 0, None)
        bars = {"xerr": spread, "error_kw": {"ecolor": INK, "lw": 0.8}}
        axes.barh(places, values, height * 0.9, color=COLOURS[number % len(COLOURS)], label=model, **bars)
        for place, value, end in zip(places, values, ends[:, 1], strict=True):
            axes.text(max(value, end) + 1, place, f"{value:.1f}", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(0, 110)
    axes.set_xticks(range(0, 101, 20))
    axes.set_xlabel("recall@1 in percent, with 95 % intervals over songs")
    _finish(picture, axes, title, "x")
    save_figure(picture, path)


def draw_lines(
    path: Path,
    panels: Mapping[str, Mapping[str, Sequence[Mapping[str, Any]]]],
    minutes: Sequence[float],
    title: str,
) -> None:
    """
    Recall@1 over the length of the songs, a panel a kind of text, a line a model with its 95 % interval.

    Args:
        panels (`Mapping`): By panel and model the entries `{"value", "interval"}`, one for each of `minutes`.
    """
    from matplotlib.figure import Figure

    rows = (len(panels) + 1) // 2
    picture = Figure(figsize=(9, 3.4 * rows + 0.6), dpi=130, layout="constrained")
    for axes, (panel, models) in zip(picture.subplots(rows, 2, squeeze=False).flat, panels.items(), strict=False):
        for number, (model, entries) in enumerate(models.items()):
            ends = np.array([entry["interval"] for entry in entries])
            colour = COLOURS[number % len(COLOURS)]
            axes.fill_between(minutes, ends[:, 0], ends[:, 1], color=colour, alpha=0.12, lw=0)
            axes.plot(minutes, [entry["value"] for entry in entries], "o-", color=colour, label=model, clip_on=False)
        axes.set_xscale("log")
        axes.set_xticks(minutes, [f"{value:g}" for value in minutes])
        axes.minorticks_off()
        axes.set_ylim(0, 102)
        axes.set_xlabel("minutes of each song searched for")
        axes.set_ylabel("recall@1 in percent")
        _finish(picture, axes, panel, "y")
    picture.suptitle(title)
    save_figure(picture, path)


def _finish(picture: Any, axes: Any, title: str, grid: str) -> None:
    """Grid, title, and one legend a picture."""
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11)
    if not picture.legends:
        handles, labels = axes.get_legend_handles_labels()
        columns = 2 if max(map(len, labels)) > 25 else 3
        picture.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)


def draw_heat_maps(
    path: Path,
    tables: dict[str, np.ndarray],
    row_title: str,
    column_title: str,
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    marked: tuple[int, int],
    lower_is_better: Sequence[str] = (),
    title: str | None = None,
) -> None:
    """
    Heat maps of the same rows and columns, two side by side, with their values in the cells; dark is good in each.

    Args:
        path (`Path`): PNG to write.
        tables (`dict[str, np.ndarray]`): Values `(rows, columns)` by title; NaN leaves a cell blank.
        row_title, column_title (`str`): What rows and columns are.
        row_labels, column_labels (`Sequence[str]`): One each.
        marked (`tuple[int, int]`): Row and column of the cell to frame.
        lower_is_better (`Sequence[str]`): Titles of the tables whose low values are the dark ones.
        title (`str`, *optional*): Line above.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    shape = (len(row_labels), len(column_labels))
    across, down = min(2, len(tables)), math.ceil(len(tables) / 2)
    inner = CELL_INCHES[0] * shape[1], CELL_INCHES[1] * shape[0]
    left, below, above = 0.85, 0.62, 0.4
    top = 0.45 if title else 0.1
    width, height = across * (inner[0] + left) + 0.2, top + down * (inner[1] + below + above)
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    for place, (name, values) in enumerate(tables.items()):
        x = (place % across) * (inner[0] + left) + left
        y = height - top - (place // across + 1) * (inner[1] + below + above) + below
        axes = figure.add_axes((x / width, y / height, inner[0] / width, inner[1] / height))
        goodness = -values if name in lower_is_better else values
        most = np.nanmax(goodness)
        # Values that hardly differ look alike.
        least = min(np.nanmin(goodness), most - MIN_SPAN * max(np.nanmax(np.abs(values)), 1e-9))
        axes.imshow(goodness, cmap="Blues", vmin=least, vmax=most, aspect="auto")
        for row, column in np.argwhere(~np.isnan(values)):
            dark = goodness[row, column] > least + 0.55 * (most - least)
            text = f"{values[row, column]:.2f}" if name in lower_is_better else f"{values[row, column]:.1f}"
            colour = "white" if dark else INK
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
        row, column = marked
        frame = Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=MARK, linewidth=2.2, clip_on=False)
        axes.add_patch(frame)
        frame.set_zorder(3)
        axes.set_xticks(range(shape[1]), column_labels, fontsize=8)
        axes.set_yticks(range(shape[0]), row_labels, fontsize=8)
        axes.tick_params(length=0)
        axes.set_xlabel(column_title, fontsize=8.5, color=INK)
        axes.set_ylabel(row_title, fontsize=8.5, color=INK)
        axes.set_title(name, fontsize=10, color=INK, pad=5)
        for spine in axes.spines.values():
            spine.set_visible(False)
    if title:
        figure.text(0.12 / width, 1 - 0.25 / height, title, fontsize=10, weight="bold", va="center", parse_math=False)
    save_figure(figure, path)
