# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Plots of attention over a song."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collap.files import atomic_write

from .localization import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_CHARACTERS = 64  # of a sentence, which has two lines
FIGURE_INCHES = 12.2  # to the right
ROW_INCHES = 0.36
LETTER_SHARE = 0.0115  # of the picture's width, a letter of a section's label
INK, TRUE, FOUND = "#2b2b2b", "#2b2b2b", "#d9480f"
TICKS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 1200)

Sections = Sequence[tuple[float, float, str]]
Spans = Sequence[tuple[float, float] | None]


def clock(seconds: float) -> str:
    """`m:ss` of a time in seconds, rounded to the second: 71.6 is `1:12`."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def plot_attention(
    path: str | Path,
    weights: np.ndarray,
    segment_spans_s: np.ndarray,
    sentences: Sequence[str],
    sections: Sections,
    true_spans_s: Spans,
    spans: Sequence[Span],
    title: str,
    label: str = "attention of the sentence",
) -> None:
    """
    Draws the attention of each sentence over the song: a row a sentence, song time to the right.

    The colours of a row are relative to its largest weight. Segments that overlap are drawn from each one's start to
    the start of the next.

    Args:
        path (`str` or `Path`): File to write: PNG, or another format of matplotlib by its name.
        weights (`np.ndarray` of shape `(S, L)`):
            Temporal attention of the `S` sentences over the `L` segments, or another weight of segments or frames.
        segment_spans_s (`np.ndarray` of shape `(L, 2)`): Start and end of each segment (or frame) in seconds.
        sentences (`Sequence[str]`): The sentences; long ones are cut to two lines.
        sections (`Sequence[tuple[float, float, str]]`): True sections: start, end in seconds, label.
        true_spans_s (`Sequence[tuple[float, float] | None]`):
            Start and end in seconds of what each sentence describes, or None; drawn as outlines.
        spans (`Sequence[Span]`): What [`find_spans`] found, drawn as bars; may be empty.
        title (`str`): Line above the picture.
        label (`str`): What the colours show, if not the attention.

    Raises:
        ValueError: if shapes do not fit.
    """
    weights, segment_spans_s = np.asarray(weights, dtype=float), np.asarray(segment_spans_s, dtype=float)
    if weights.ndim != 2 or weights.size == 0 or segment_spans_s.shape != (weights.shape[1], 2):
        raise ValueError(
            "weights must have shape (sentences, segments) and segment_spans_s (segments, 2), got "
            f"{weights.shape} and {segment_spans_s.shape}."
        )
    for name, values in (("sentences", sentences), ("true_spans_s", true_spans_s)):
        if len(values) != len(weights):
            raise ValueError(f"{name} must have one entry a sentence, {len(weights)}, got {len(values)}.")
    # Figure without pyplot: no window, no display, no global state.
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    edges = np.append(segment_spans_s[:, 0], segment_spans_s[-1, 1])
    first, last = edges[0], edges[-1]
    letter_s = LETTER_SHARE * (last - first)
    slanted = any(end - start < letter_s * len(name) for start, end, name in sections)
    height = ROW_INCHES * len(sentences) + (2.1 if slanted else 1.5)
    figure = Figure((FIGURE_INCHES, height), dpi=150, facecolor="white", layout="constrained")
    axes = figure.subplots()
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, weight="bold", parse_math=False)
    _label_rows(axes, sentences)
    relative = weights / np.maximum(weights.max(1, keepdims=True), np.finfo(float).tiny)
    rows = np.arange(len(sentences) + 1)
    mesh = axes.pcolormesh(edges, rows, relative, cmap="Blues", vmin=0, vmax=1, rasterized=True)
    axes.hlines(rows[1:-1], first, last, color="white", linewidth=2)
    # Time, sections and spans over the rows.
    step = next((step for step in TICKS_S if last / step <= 10), TICKS_S[-1])
    ticks = np.arange(0, last + 0.01, step)
    axes.set_xticks(ticks, [clock(tick) for tick in ticks], fontsize=8, color=INK)
    axes.set_xlabel("time in the song (m:ss)", fontsize=8, color=INK, loc="left")
    axes.set_xlim(first, last)
    _draw_sections(axes, sections, len(sentences), slanted)
    colour = Rectangle((0, 0), 1, 1, facecolor=mesh.cmap(1.0), label=f"largest {label}")
    _draw_spans(axes, true_spans_s, spans)
    kinds = {patch.get_label(): patch for patch in (colour, *axes.patches)}
    figure.legend(handles=list(kinds.values()), loc="outside lower left", ncols=3, frameon=False, fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def _label_rows(axes: "Axes", sentences: Sequence[str]) -> None:
    wrapped = [textwrap.wrap(text, LINE_CHARACTERS, max_lines=2, placeholder=" …") for text in sentences]
    labels = ["\n".join(lines) for lines in wrapped]
    axes.set_ylim(len(sentences), 0)  # downwards
    axes.set_yticks(np.arange(len(sentences)) + 0.5, labels, fontsize=8, color=INK, linespacing=1.05)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a dollar sign is a dollar sign
    axes.tick_params(axis="y", length=0, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _draw_sections(axes: "Axes", sections: Sections, num_rows: int, slanted: bool) -> None:
    """Boundaries as lines through all rows, labels above them."""
    style = {"rotation": 40, "ha": "left"} if slanted else {"rotation": 0, "ha": "center"}
    for start, end, label in sections:
        lines = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 3)), "alpha": 0.55}
        axes.vlines((start, end), 0, num_rows, **lines)
        above = {"xytext": (0, 5), "textcoords": "offset points", "annotation_clip": False}
        text = {"fontsize": 8.5, "color": INK, "parse_math": False, "va": "bottom", "rotation_mode": "anchor"}
        axes.annotate(label, ((start + end) / 2, 0), **above, **text, **style)


def _draw_spans(axes: "Axes", true_spans_s: Spans, spans: Sequence[Span]) -> None:
    """Outlines of the true spans and bars of those found."""
    from matplotlib.patches import Rectangle

    style = {"fill": False, "edgecolor": TRUE, "linewidth": 1.3, "label": "section that the sentence describes"}
    for row, span in enumerate(true_spans_s):
        if span is not None:
            axes.add_patch(Rectangle((span[0], row + 0.06), span[1] - span[0], 0.88, **style, clip_on=False))
    style = {"facecolor": FOUND, "edgecolor": "white", "linewidth": 0.6, "label": "span found by the alignment"}
    for span in spans:
        axes.add_patch(Rectangle((span.start_s, span.sentence + 0.76), span.end_s - span.start_s, 0.17, **style))
