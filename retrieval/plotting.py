# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A picture of what the temporal attention sees: song time against the sentences of a text. Needs matplotlib."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .alignment import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINE_CHARACTERS = 64  # of a sentence beside the picture, which gets two lines
ROW_INCHES = 0.36
PICTURE_INCHES = 7.6
TEXT_INCHES = 4.3
INK, TRUE, FOUND = "#2b2b2b", "#2b2b2b", "#d9480f"
TICKS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 1200)


def plot_attention(
    path: str | Path,
    weights: np.ndarray,
    segment_spans_s: np.ndarray,
    sentences: Sequence[str],
    sections: Sequence[tuple[float, float, str]] | None = None,
    true_spans_s: Sequence[tuple[float, float] | None] | None = None,
    spans: Sequence[Span] | None = None,
    title: str | None = None,
) -> None:
    """
    Draws the attention of each sentence over the song: one row a sentence, song time to the right.

    A row is coloured relative to its own largest weight, so that each sentence shows where it looks. Segments that
    overlap are drawn from each one's start to the next one's.

    Args:
        path (`str` or `Path`): File to write, PNG by its name (or another format that matplotlib knows).
        weights (`np.ndarray` of shape `(S, L)`): Temporal attention of the `S` sentences over the `L` segments.
        segment_spans_s (`np.ndarray` of shape `(L, 2)`): Start and end of each segment in seconds.
        sentences (`Sequence[str]`): The sentences; long ones are cut to two lines.
        sections (`Sequence[tuple[float, float, str]]`, *optional*): True sections: start, end in seconds, label.
        true_spans_s (`Sequence[tuple[float, float] | None]`, *optional*):
            The stretch that each sentence describes, outlined; None where it describes none in particular.
        spans (`Sequence[Span]`, *optional*): What the alignment found, drawn as bars.
        title (`str`, *optional*): Line above the picture.

    Raises:
        ValueError: if shapes do not fit.
    """
    # The Figure is made without pyplot: no window, no display, no state left behind.
    from matplotlib.figure import Figure

    weights, segment_spans_s = np.asarray(weights, dtype=float), np.asarray(segment_spans_s, dtype=float)
    _check(weights, segment_spans_s, sentences, true_spans_s, spans)
    path = Path(path)

    # All margins in inches: the picture keeps its proportions from one sentence to forty.
    slanted = sections is not None and _labels_are_tight(sections, segment_spans_s)
    above = 0.15 + (0.45 if title else 0.0) + (0.0 if sections is None else 0.75 if slanted else 0.25)
    below, right = 0.95, 0.95 if slanted else 0.25
    rows = ROW_INCHES * len(sentences)
    width, height = TEXT_INCHES + PICTURE_INCHES + right, above + rows + below
    figure = Figure(figsize=(width, height), dpi=150, facecolor="white")
    axes = figure.add_axes((TEXT_INCHES / width, below / height, PICTURE_INCHES / width, rows / height))

    edges = np.append(segment_spans_s[:, 0], segment_spans_s[-1, 1])
    relative = weights / np.maximum(weights.max(1, keepdims=True), np.finfo(float).tiny)
    mesh = axes.pcolormesh(
        edges, np.arange(len(sentences) + 1), relative, cmap="Blues", vmin=0, vmax=1, rasterized=True
    )
    axes.hlines(np.arange(1, len(sentences)), edges[0], edges[-1], color="white", linewidth=2)
    _label_rows(axes, sentences)
    _label_time(axes, edges[-1])
    axes.set_xlim(edges[0], edges[-1])
    if sections is not None:
        _draw_sections(axes, sections, len(sentences), slanted)
    handles = _draw_spans(axes, true_spans_s, spans)
    if title:
        figure.text(0.12 / width, 1 - 0.3 / height, title, fontsize=12, weight="bold", va="center", parse_math=False)
    if handles:
        legend_place = (TEXT_INCHES / width, 0.08 / height)
        figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=legend_place, ncols=2, frameon=False, fontsize=8
        )
    bar = figure.add_axes(((width - right - 2.3) / width, 0.32 / height, 2.0 / width, 0.11 / height))
    figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=[0, 1])
    bar.set_xticklabels(["none", "largest"])
    bar.tick_params(labelsize=7, length=0, pad=1)
    bar.set_title("attention of the sentence", fontsize=7.5, pad=2)

    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        figure.savefig(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def clock(seconds: float) -> str:
    """`m:ss` of a time in seconds, rounded to the second: 71.6 is `1:12`."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _label_rows(axes: "Axes", sentences: Sequence[str]) -> None:
    labels = [
        "\n".join(textwrap.wrap(sentence, LINE_CHARACTERS, max_lines=2, placeholder=" …")) for sentence in sentences
    ]
    axes.set_ylim(len(sentences), 0)  # the text reads downwards
    axes.set_yticks(np.arange(len(sentences)) + 0.5, labels, fontsize=8, color=INK, linespacing=1.05)
    for label in axes.get_yticklabels():
        label.set_parse_math(False)  # a dollar sign in a text is a dollar sign
    axes.tick_params(axis="y", length=0, pad=6)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def _label_time(axes: "Axes", duration_s: float) -> None:
    step = next((step for step in TICKS_S if duration_s / step <= 10), TICKS_S[-1])
    ticks = np.arange(0, duration_s + 0.01, step)
    axes.set_xticks(ticks, [clock(tick) for tick in ticks], fontsize=8, color=INK)
    axes.set_xlabel("time in the song (m:ss)", fontsize=8, color=INK, loc="left")


def _labels_are_tight(sections: Sequence[tuple[float, float, str]], segment_spans_s: np.ndarray) -> bool:
    """Whether some section is too short for its label (about 0.085 inches a letter)."""
    inches_a_second = PICTURE_INCHES / (segment_spans_s[-1, 1] - segment_spans_s[0, 0])
    return any((end - start) * inches_a_second < 0.085 * len(label) for start, end, label in sections)


def _draw_sections(axes: "Axes", sections: Sequence[tuple[float, float, str]], num_rows: int, slanted: bool) -> None:
    """Boundaries as lines through all rows, labels above them."""
    for start, end, label in sections:
        axes.vlines((start, end), 0, num_rows, color=INK, linewidth=0.8, linestyle=(0, (4, 3)), alpha=0.55)
        axes.annotate(
            label,
            ((start + end) / 2, 0),
            xytext=(0, 5),
            textcoords="offset points",
            ha="left" if slanted else "center",
            va="bottom",
            rotation=40 if slanted else 0,
            rotation_mode="anchor",
            fontsize=8.5,
            color=INK,
            parse_math=False,
            annotation_clip=False,
        )


def _draw_spans(
    axes: "Axes", true_spans_s: Sequence[tuple[float, float] | None] | None, spans: Sequence[Span] | None
) -> list:
    from matplotlib.patches import Rectangle

    handles = []
    if true_spans_s is not None:
        style = {"fill": False, "edgecolor": TRUE, "linewidth": 1.3}
        for row, span in enumerate(true_spans_s):
            if span is not None:
                axes.add_patch(Rectangle((span[0], row + 0.06), span[1] - span[0], 0.88, **style, clip_on=False))
        handles.append(Rectangle((0, 0), 1, 1, **style, label="section that the sentence describes"))
    if spans is not None:
        style = {"facecolor": FOUND, "edgecolor": "white", "linewidth": 0.6}
        for span in spans:
            axes.add_patch(Rectangle((span.start_s, span.sentence + 0.76), span.end_s - span.start_s, 0.17, **style))
        handles.append(Rectangle((0, 0), 1, 1, **style, label="span found by the alignment"))
    return handles


def _check(
    weights: np.ndarray,
    segment_spans_s: np.ndarray,
    sentences: Sequence[str],
    true_spans_s: Sequence[tuple[float, float] | None] | None,
    spans: Sequence[Span] | None,
) -> None:
    if weights.ndim != 2 or weights.size == 0 or len(sentences) != len(weights):
        raise ValueError(
            f"weights must have shape (sentences, segments) with a row for each of the {len(sentences)} sentences, "
            f"got {weights.shape}."
        )
    if segment_spans_s.shape != (weights.shape[1], 2):
        raise ValueError(f"segment_spans_s must have shape ({weights.shape[1]}, 2), got {segment_spans_s.shape}.")
    if true_spans_s is not None and len(true_spans_s) != len(sentences):
        raise ValueError(f"true_spans_s must have one entry a sentence, {len(sentences)}, got {len(true_spans_s)}.")
    if spans is not None and any(not 0 <= span.sentence < len(sentences) for span in spans):
        raise ValueError(f"spans must name sentences 0 ... {len(sentences) - 1}.")


__all__ = ["clock", "plot_attention"]
