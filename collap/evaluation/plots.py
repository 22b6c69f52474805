# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Plots of attention over a song."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collap.files import atomic_write

from .localization import Span, Spans

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_CHARACTERS = 64  # of a sentence, which has two lines
PICTURE_INCHES = 7.6
TEXT_INCHES = 4.3
ROW_INCHES = 0.36
LETTER_INCHES = 0.085  # of a section's label
INK, TRUE, FOUND = "#2b2b2b", "#2b2b2b", "#d9480f"
TICKS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 1200)

Sections = Sequence[tuple[float, float, str]]


class SongFigure:
    """Sentences to the left, song time (seconds, with columns between `edges`) to the right; margins in inches."""

    def __init__(self, sentences: Sequence[str], spans_s: np.ndarray, sections: Sections, title: str):
        # Figure without pyplot: no window, no display, no global state.
        from matplotlib.figure import Figure

        self.sections, self.num_rows = sections, len(sentences)
        self.edges = np.append(spans_s[:, 0], spans_s[-1, 1])
        scale = PICTURE_INCHES / (self.edges[-1] - self.edges[0])
        self.slanted = any((end - start) * scale < LETTER_INCHES * len(label) for start, end, label in self.sections)
        above = 0.6 + (0.75 if self.slanted else 0.25)
        below, self.right = 0.95, 0.95 if self.slanted else 0.25
        rows = ROW_INCHES * self.num_rows
        self.width, self.height = TEXT_INCHES + PICTURE_INCHES + self.right, above + rows + below
        self.figure = Figure(figsize=(self.width, self.height), dpi=150, facecolor="white")
        self.axes = self.figure.add_axes(self.place(TEXT_INCHES, below, PICTURE_INCHES, rows))
        self._label_rows(sentences)
        left, bottom, _, _ = self.place(0.12, self.height - 0.3, 0, 0)
        self.figure.text(left, bottom, title, fontsize=12, weight="bold", va="center", parse_math=False)

    def place(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Inches as fractions of the figure."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def add_colour_bar(self, mesh: object, label: str) -> None:
        bar = self.figure.add_axes(self.place(self.width - self.right - 2.3, 0.32, 2.0, 0.1))
        self.figure.colorbar(mesh, cax=bar, orientation="horizontal")
        bar.set_xticks([0, 1], ["none", "largest"])
        bar.tick_params(labelsize=7, length=0, pad=1)
        bar.set_title(label, fontsize=7.5, pad=2)

    def finish(self, true_spans_s: Spans, spans: Sequence[Span], path: Path) -> None:
        """Draws time, sections and spans over the rows, and a legend; writes the file."""
        step = next((step for step in TICKS_S if self.edges[-1] / step <= 10), TICKS_S[-1])
        ticks = np.arange(0, self.edges[-1] + 0.01, step)
        self.axes.set_xticks(ticks, [clock(tick) for tick in ticks], fontsize=8, color=INK)
        self.axes.set_xlabel("time in the song (m:ss)", fontsize=8, color=INK, loc="left")
        self.axes.set_xlim(self.edges[0], self.edges[-1])
        self._draw_sections()
        handles = _draw_spans(self.axes, true_spans_s, spans)
        corner = self.place(TEXT_INCHES, 0.08, 0, 0)[:2]
        self.figure.legend(
            handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=2, frameon=False, fontsize=8
        )
        save_figure(self.figure, path)

    def _label_rows(self, sentences: Sequence[str]) -> None:
        wrapped = [textwrap.wrap(text, LINE_CHARACTERS, max_lines=2, placeholder=" …") for text in sentences]
        labels = ["\n".join(lines) for lines in wrapped]
        self.axes.set_ylim(len(sentences), 0)  # downwards
        self.axes.set_yticks(np.arange(len(sentences)) + 0.5, labels, fontsize=8, color=INK, linespacing=1.05)
        for label in self.axes.get_yticklabels():
            label.set_parse_math(False)  # a dollar sign is a dollar sign
        self.axes.tick_params(axis="y", length=0, pad=6)
        for side in ("top", "right", "left"):
            self.axes.spines[side].set_visible(False)

    def _draw_sections(self) -> None:
        """Boundaries as lines through all rows, labels above them."""
        style = {"rotation": 40, "ha": "left"} if self.slanted else {"rotation": 0, "ha": "center"}
        for start, end, label in self.sections:
            lines = {"color": INK, "linewidth": 0.8, "linestyle": (0, (4, 3)), "alpha": 0.55}
            self.axes.vlines((start, end), 0, self.num_rows, **lines)
            above = {"xytext": (0, 5), "textcoords": "offset points", "annotation_clip": False}
            text = {"fontsize": 8.5, "color": INK, "parse_math": False, "va": "bottom", "rotation_mode": "anchor"}
            self.axes.annotate(label, ((start + end) / 2, 0), **above, **text, **style)


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a figure as a whole or not at all."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary)


def clock(seconds: float) -> str:
    """`m:ss` of a time in seconds, rounded to the second: 71.6 is `1:12`."""
    return f"{round(seconds) // 60}:{round(seconds) % 60:02d}"


def _draw_spans(axes: "Axes", true_spans_s: Spans, spans: Sequence[Span]) -> list:
    """Outlines of the true spans and bars of those found; returns the handles of a legend."""
    from matplotlib.patches import Rectangle

    style = {"fill": False, "edgecolor": TRUE, "linewidth": 1.3}
    for row, span in enumerate(true_spans_s):
        if span is not None:
            axes.add_patch(Rectangle((span[0], row + 0.06), span[1] - span[0], 0.88, **style, clip_on=False))
    is_known = any(span is not None for span in true_spans_s)
    handles = [Rectangle((0, 0), 1, 1, **style, label="section that the sentence describes")] * is_known
    if spans:
        style = {"facecolor": FOUND, "edgecolor": "white", "linewidth": 0.6}
        for span in spans:
            axes.add_patch(Rectangle((span.start_s, span.sentence + 0.76), span.end_s - span.start_s, 0.17, **style))
        handles.append(Rectangle((0, 0), 1, 1, **style, label="span found by the alignment"))
    return handles


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
    picture = SongFigure(sentences, segment_spans_s, sections, title)
    relative = weights / np.maximum(weights.max(1, keepdims=True), np.finfo(float).tiny)
    mesh = picture.axes.pcolormesh(
        picture.edges, np.arange(len(sentences) + 1), relative, cmap="Blues", vmin=0, vmax=1, rasterized=True
    )
    first, last = picture.edges[0], picture.edges[-1]
    picture.axes.hlines(np.arange(1, len(sentences)), first, last, color="white", linewidth=2)
    picture.add_colour_bar(mesh, label)
    picture.finish(true_spans_s, spans, Path(path))
