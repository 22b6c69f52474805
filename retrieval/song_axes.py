# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What pictures of a song have in common: time to the right, one row a sentence, sections marked. Needs matplotlib."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .alignment import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LINE_CHARACTERS = 64  # of a sentence beside the picture, which gets two lines
PICTURE_INCHES = 7.6
TEXT_INCHES = 4.3
INK, TRUE, FOUND = "#2b2b2b", "#2b2b2b", "#d9480f"
TICKS_S = (5, 10, 15, 20, 30, 60, 120, 300, 600, 1200)


class SongFigure:
    """
    A picture with sentences to the left and song time to the right, and margins in inches: it keeps its proportions
    from one sentence to forty.

    Args:
        sentences (`Sequence[str]`): One a row.
        spans_s (`np.ndarray` of shape `(columns, 2)`): Start and end in seconds of what a row shows side by side.
        sections (`Sequence[tuple[float, float, str]]`, *optional*): Start, end in seconds, label.
        title (`str`, *optional*): Line above the picture.
        row_inches (`float`): Height of a row.
        right_inches (`float`): Margin to the right, where labels do not need more.

    Attributes:
        figure, axes: What is drawn on; time in seconds, and a unit a row, downwards.
        edges (`np.ndarray` of shape `(columns + 1,)`): The times between the columns.
        width, height, right (`float`): In inches.
    """

    def __init__(
        self,
        sentences: Sequence[str],
        spans_s: np.ndarray,
        sections: Sequence[tuple[float, float, str]] | None,
        title: str | None,
        row_inches: float,
        right_inches: float,
    ):
        # The Figure is made without pyplot: no window, no display, no state left behind.
        from matplotlib.figure import Figure

        self.sections, self.num_rows = sections, len(sentences)
        self.slanted = sections is not None and _labels_are_tight(sections, spans_s)
        above = 0.15 + (0.45 if title else 0.0) + (0.0 if sections is None else 0.75 if self.slanted else 0.25)
        below, self.right = 0.95, 0.95 if self.slanted else right_inches
        rows = row_inches * self.num_rows
        self.width, self.height = TEXT_INCHES + PICTURE_INCHES + self.right, above + rows + below
        self.figure = Figure(figsize=(self.width, self.height), dpi=150, facecolor="white")
        self.axes = self.figure.add_axes(self.place(TEXT_INCHES, below, PICTURE_INCHES, rows))
        self.edges = np.append(spans_s[:, 0], spans_s[-1, 1])
        _label_rows(self.axes, sentences)
        if title:
            left, bottom, _, _ = self.place(0.12, self.height - 0.3, 0, 0)
            self.figure.text(left, bottom, title, fontsize=12, weight="bold", va="center", parse_math=False)

    def place(self, left: float, bottom: float, width: float, height: float) -> tuple[float, float, float, float]:
        """Inches to shares of the picture."""
        return left / self.width, bottom / self.height, width / self.width, height / self.height

    def finish(
        self,
        true_spans_s: Sequence[tuple[float, float] | None] | None,
        spans: Sequence[Span] | None,
        legend_left: float,
        path: Path,
    ) -> None:
        """Time, sections and spans over what has been drawn, a legend so many inches from the left; and writes it."""
        _label_time(self.axes, self.edges[-1])
        self.axes.set_xlim(self.edges[0], self.edges[-1])
        if self.sections is not None:
            _draw_sections(self.axes, self.sections, self.num_rows, self.slanted)
        handles = _draw_spans(self.axes, true_spans_s, spans)
        if handles:
            corner = self.place(legend_left, 0.08, 0, 0)[:2]
            self.figure.legend(
                handles=handles, loc="lower left", bbox_to_anchor=corner, ncols=2, frameon=False, fontsize=8
            )
        save_figure(self.figure, path)


def save_figure(figure: "Figure", path: Path) -> None:
    """Writes a picture as a whole or not at all."""
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
    """Sentences beside the rows, cut to two lines."""
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
    """Ticks of song time."""
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
    """Outlines what each sentence describes, and bars for what was found; gives what a legend shows of them."""
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


__all__ = [
    "INK",
    "PICTURE_INCHES",
    "TEXT_INCHES",
    "SongFigure",
    "clock",
    "save_figure",
]
