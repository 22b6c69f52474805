# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A picture of what the temporal attention sees: song time against the sentences of a text. Needs matplotlib."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .alignment import Span
from .song_axes import TEXT_INCHES, SongFigure, clock

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


__all__ = ["clock", "plot_attention"]
