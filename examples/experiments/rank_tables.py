# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Figures, tables and charts of the ranks that rank_questions.py writes."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import with_intervals

from collap.files import markdown_table

INK, GRID = "#2b2b2b", "#dddddd"
COLOURS = ("#1c5d99", "#d9822b", "#5a8f29", "#8e5ea2", "#a33b3b", "#6b6b6b")
CUTOFFS = (1, 5, 10, 20, 100)


def figures(files: Sequence[Path]) -> dict[str, Any]:
    """
    Figures of one model by the names of the questions, in percent; over several seeds their mean.

    Args:
        files (`Sequence[Path]`): Ranks, one file a seed; a question may be missing in some of them.

    Returns:
        Of each question `recall@k`, each `{"value", "interval", "seeds"}`, `median_rank`, `mrr`, `num_queries`,
        `gallery_size`, `num_cut` (most texts that a seed could not read whole). The interval is of drawing the songs
        anew, with their group where they come in groups, each with all of its queries.
    """
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    result: dict[str, Any] = {}
    for name in dict.fromkeys(name for of_seed in found for name in of_seed):
        asked = [of_seed[name] for of_seed in found if name in of_seed]
        first = asked[0]
        ranks = np.array([of_seed["ranks"] for of_seed in asked])  # (seeds, queries)
        # A k as large as the gallery says nothing.
        hits = {f"recall@{k}": 100.0 * (ranks <= k) for k in CUTOFFS if k < first["gallery_size"]}
        with_ends = with_intervals({key: values.mean(0) for key, values in hits.items()}, first["units"])
        for key, values in hits.items():
            with_ends[key]["seeds"] = values.mean(1).tolist()
        result[name] = with_ends | {
            "median_rank": float(np.median(ranks)),
            "mrr": float((1 / ranks).mean()),
            "num_queries": ranks.shape[1],
            "gallery_size": first["gallery_size"],
            "num_cut": max(of_seed["num_cut"] for of_seed in asked),
        }
    return result


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """
    A row a question, a column a model with R@1, its 95 % interval and R@5: Markdown.

    Args:
        found (`Mapping`): [`figures`] by the titles of the models.
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


def draw_bars(
    path: Path, found: Mapping[str, Mapping[str, Any]], names: Sequence[str], title: str, key: str = "recall@1"
) -> None:
    """Lying bars with 95 % intervals: a group a question, a colour a model."""
    from matplotlib.figure import Figure

    names = [name for name in names if any(name in of_model for of_model in found.values())]
    height = 0.8 / len(found)
    picture = Figure(figsize=(9, 1.5 + len(names) * max(0.4, 0.24 * len(found))), layout="constrained")
    axes = picture.subplots()
    for number, (model, of_model) in enumerate(found.items()):
        rows = [row for row, name in enumerate(names) if name in of_model]
        entries = [of_model[names[row]][key] for row in rows]
        values = np.array([entry["value"] for entry in entries])
        ends = np.array([entry["interval"] for entry in entries]).reshape(-1, 2)
        places = np.array(rows) - 0.4 + height * (number + 0.5)
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
    _finish(picture, axes, title, "x", path)


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
    picture = Figure(figsize=(9, 3.4 * rows + 0.6), layout="constrained")
    places = picture.subplots(rows, 2, squeeze=False).flat
    for axes, (panel, models) in zip(places, panels.items(), strict=False):
        for number, (model, entries) in enumerate(models.items()):
            ends = np.array([entry["interval"] for entry in entries])
            colour = COLOURS[number % len(COLOURS)]
            axes.fill_between(minutes, ends[:, 0], ends[:, 1], color=colour, alpha=0.12, lw=0)
            axes.plot(minutes, [entry["value"] for entry in entries], "o-", color=colour, label=model, clip_on=False)
        axes.set_xscale("log")
        axes.set_xticks(minutes, [f"{value:g}" for value in minutes])
        axes.minorticks_off()
        axes.set_ylim(0, 102)
        axes.set_xlabel("minutes of each song looked for")
        axes.set_ylabel("recall@1 in percent")
        _finish(picture, axes, panel, "y", None)
    picture.suptitle(title)
    _save(picture, path)


def _finish(picture: Any, axes: Any, title: str, grid: str, path: Path | None) -> None:
    axes.grid(axis=grid, color=GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=11)
    if path is not None:
        handles, labels = axes.get_legend_handles_labels()
        picture.legend(
            handles, labels, loc="outside lower center", ncols=2 if max(map(len, labels)) > 25 else 3, frameon=False
        )
        _save(picture, path)
    elif not picture.legends:
        handles, labels = axes.get_legend_handles_labels()
        picture.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False)


def _save(picture: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=130)


__all__ = ["draw_bars", "draw_lines", "figures", "table"]
