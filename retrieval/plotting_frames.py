# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A picture of both attentions: the weights of the segments, of the frames inside each, and their product."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .frame_attention import frame_weights
from .song_axes import INK, TEXT_INCHES, SongFigure

ROW_INCHES = 0.5
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

    picture = SongFigure(sentences, frame_spans_s, sections, title, ROW_INCHES, right_inches=0.45)
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


__all__ = ["plot_frame_attention"]
