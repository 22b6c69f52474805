# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Heat maps side by side, with their values in the cells. Needs matplotlib."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from collap.evaluation.plots import INK, save_figure

CELL_INCHES = (0.72, 0.46)
MARK = "#d9480f"
MIN_SPAN = 0.1  # the colours' range, at least, in parts of the largest value


def plot_heat_maps(
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
    Draws tables of the same rows and columns, two side by side; dark is good in each.

    Args:
        path (`Path`): PNG to write.
        tables (`dict[str, np.ndarray]`): Values `(rows, columns)` by title; NaN leaves a cell blank.
        row_title, column_title (`str`): What rows and columns are.
        row_labels, column_labels (`Sequence[str]`): One each.
        marked (`tuple[int, int]`): Row and column of the cell to frame.
        lower_is_better (`Sequence[str]`): Titles of the tables whose low values are the dark ones.
        title (`str`, *optional*): Line above.

    Raises:
        ValueError: if a table has other rows or columns than there are labels.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    shape = (len(row_labels), len(column_labels))
    for name, values in tables.items():
        if values.shape != shape:
            raise ValueError(f"tables: {name!r} must have the shape {shape} of the labels, got {values.shape}.")
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


__all__ = ["plot_heat_maps"]
