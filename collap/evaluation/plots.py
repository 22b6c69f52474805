# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Pictures of attention over a song."""

import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from collap.evaluation.localization import Span, frame_weights

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


ROW_INCHES = 0.36


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
    weights, segment_spans_s = np.asarray(weights, dtype=float), np.asarray(segment_spans_s, dtype=float)
    _check(weights, segment_spans_s, sentences, true_spans_s, spans)
    picture = SongFigure(sentences, segment_spans_s, sections, title, ROW_INCHES, right_inches=0.25)
    relative = weights / np.maximum(weights.max(1, keepdims=True), np.finfo(float).tiny)
    mesh = picture.axes.pcolormesh(
        picture.edges, np.arange(len(sentences) + 1), relative, cmap="Blues", vmin=0, vmax=1, rasterized=True
    )
    first, last = picture.edges[0], picture.edges[-1]
    picture.axes.hlines(np.arange(1, len(sentences)), first, last, color="white", linewidth=2)
    bar = picture.figure.add_axes(picture.place(picture.width - picture.right - 2.3, 0.32, 2.0, 0.11))
    picture.figure.colorbar(mesh, cax=bar, orientation="horizontal", ticks=[0, 1])
    bar.set_xticklabels(["none", "largest"])
    bar.tick_params(labelsize=7, length=0, pad=1)
    bar.set_title("attention of the sentence", fontsize=7.5, pad=2)
    picture.finish(true_spans_s, spans, TEXT_INCHES, Path(path))


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


FRAME_ROW_INCHES = 0.5
STRIPS = (  # symbol, what it is, colours, top and bottom in the row
    ("β", "temporal", "Blues", (0.08, 0.34)),
    ("α", "kernel-wise", "Oranges", (0.37, 0.63)),
    ("αβ", "product", "Purples", (0.66, 0.92)),
)


def plot_frame_attention(
    path: str | Path,
    kernel_attentions: np.ndarray,
    temporal_attentions: np.ndarray,
    kernel_stride: int,
    frame_spans_s: np.ndarray,
    sentences: Sequence[str],
    sections: Sequence[tuple[float, float, str]] | None = None,
    true_spans_s: Sequence[tuple[float, float] | None] | None = None,
    title: str | None = None,
) -> None:
    """
    Draws three strips a sentence, song time to the right.

    From above: the temporal attention over the segments, the kernel-wise attention over the frames inside each
    segment, and their product, what each frame counts. The first and the last are coloured relative to the sentence's
    own largest weight, the kernel-wise weights as they are. Where segments overlap, each one's kernel-wise weights are
    drawn up to the start of the next.

    Args:
        path (`str` or `Path`): File to write, PNG by its name (or another format that matplotlib knows).
        kernel_attentions (`np.ndarray` of shape `(S, L, K)`): As `CollapModel.attend` gives it, of one song.
        temporal_attentions (`np.ndarray` of shape `(S, L)`): The same.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        frame_spans_s (`np.ndarray` of shape `(N, 2)`): Start and end of each frame of the song in seconds.
        sentences (`Sequence[str]`): The sentences; long ones are cut to two lines.
        sections (`Sequence[tuple[float, float, str]]`, *optional*): True sections: start, end in seconds, label.
        true_spans_s (`Sequence[tuple[float, float] | None]`, *optional*):
            The stretch that each sentence describes, outlined; None where it describes none in particular.
        title (`str`, *optional*): Line above the picture.

    Raises:
        ValueError: if shapes do not fit.
    """
    frame_spans_s = np.asarray(frame_spans_s, dtype=float)
    if frame_spans_s.ndim != 2 or frame_spans_s.shape[1] != 2 or not len(frame_spans_s):
        raise ValueError(f"frame_spans_s must have the shape (frames, 2), got {frame_spans_s.shape}.")
    for name, values in (("sentences", sentences), ("true_spans_s", true_spans_s)):
        if values is not None and len(values) != len(kernel_attentions):
            raise ValueError(f"{name} must have one entry a sentence, {len(kernel_attentions)}, got {len(values)}.")
    num_frames = len(frame_spans_s)
    joint = frame_weights(kernel_attentions, temporal_attentions, kernel_stride, num_frames)  # (S, N)
    segment, place = _segments_of_frames(num_frames, *kernel_attentions.shape[1:], kernel_stride)
    skipped = place >= kernel_attentions.shape[2]
    kernel = kernel_attentions[:, segment, np.where(skipped, 0, place)]  # (S, N)
    rows = [temporal_attentions[:, segment], kernel, joint]

    picture = SongFigure(sentences, frame_spans_s, sections, title, FRAME_ROW_INCHES, right_inches=0.45)
    axes = picture.axes
    largest_kernel = float(kernel[:, ~skipped].max())
    for strip, ((symbol, name, colours, (top, bottom)), values) in enumerate(zip(STRIPS, rows, strict=True)):
        if symbol != "α":
            values = values / np.maximum(values.max(1, keepdims=True), np.finfo(float).tiny)
        shown = np.where(skipped & (symbol != "β"), np.nan, values)
        largest = largest_kernel if symbol == "α" else 1.0
        for row in range(len(sentences)):
            mesh = axes.pcolormesh(
                picture.edges,
                [row + top, row + bottom],
                shown[row : row + 1],
                cmap=colours,
                vmin=0,
                vmax=largest,
                rasterized=True,
            )
            axes.text(
                1.005,
                row + (top + bottom) / 2,
                symbol,
                fontsize=6.5,
                color=INK,
                va="center",
                transform=axes.get_yaxis_transform(),
            )
        ticks = {0.0: "0", largest: f"{largest:.2f}"} if symbol == "α" else {0.0: "none", 1.0: "largest"}
        even = 1 / kernel_attentions.shape[2]
        if symbol == "α" and 0.25 * largest < even < 0.75 * largest:
            ticks[even] = f"even {even:.2f}"
        _colour_bar(picture, mesh, strip, f"{symbol}, {name}", ticks)
    picture.finish(true_spans_s, None, 0.12, Path(path))


def _segments_of_frames(
    num_frames: int, num_segments: int, kernel_size: int, kernel_stride: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segment of each frame, the last that has begun, and the frame's place in it; both `(N,)`."""
    frames = np.arange(num_frames)
    segment = np.minimum(frames // kernel_stride, num_segments - 1)
    return segment, frames - segment * kernel_stride


def _colour_bar(picture: SongFigure, mesh: object, strip: int, title: str, ticks: dict[float, str]) -> None:
    bar = picture.figure.add_axes(picture.place(TEXT_INCHES + 1.9 + strip * 2.0, 0.26, 1.6, 0.1))
    picture.figure.colorbar(mesh, cax=bar, orientation="horizontal")
    bar.set_xticks(list(ticks), list(ticks.values()))
    bar.tick_params(labelsize=7, length=0, pad=1)
    bar.set_title(title, fontsize=7.5, pad=2)


__all__ = [
    "INK",
    "PICTURE_INCHES",
    "TEXT_INCHES",
    "SongFigure",
    "clock",
    "plot_attention",
    "plot_frame_attention",
    "save_figure",
]
