# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'train'")

from collap.evaluation.localization import Span
from collap.evaluation.plots import (
    PICTURE_INCHES,
    TEXT_INCHES,
    clock,
    plot_attention,
    plot_frame_attention,
)

SECTIONS = [(0, 3, "intro"), (3, 3.1, "a long label for a short section"), (3.1, 6, "$verse$")]
TRUTH = {"sections": SECTIONS, "true_spans_s": [(0, 3), None], "title": "A $title$"}
SENTENCES = ["A flute for $5, and a long sentence about it. " * 4, "Then a choir."]


def columns(count: int) -> np.ndarray:
    starts = 0.5 * np.arange(count)
    return np.stack([starts, starts + 0.5], axis=1)


def attention() -> dict:
    """Arguments of `plot_attention`: two sentences over twelve segments."""
    weights = np.random.default_rng(0).dirichlet(np.ones(12), size=2)
    spans = [Span(0, 0.0, 3.0, 0.5), Span(1, 3.0, 6.0, 0.5)]
    return {"weights": weights, "segment_spans_s": columns(12), "sentences": SENTENCES, "spans": spans, **TRUTH}


def frame_attention(kernel_size: int = 4) -> dict:
    """Arguments of `plot_frame_attention`: two sentences over five segments of frames of half a second."""
    generator = np.random.default_rng(0)
    return {
        "kernel_attentions": generator.dirichlet(np.ones(kernel_size), size=(2, 5)),
        "temporal_attentions": generator.dirichlet(np.ones(5), size=2),
        "kernel_stride": 2,
        "frame_spans_s": columns(8 + kernel_size),
        "sentences": SENTENCES,
        **TRUTH,
    }


def read_png(path: Path) -> np.ndarray:
    return pytest.importorskip("matplotlib.image").imread(path)[..., :3]


@pytest.mark.parametrize(
    ("plot", "arguments"),
    [
        (plot_attention, attention()),
        (plot_frame_attention, frame_attention()),  # segments overlap
        (plot_frame_attention, frame_attention(kernel_size=1)),  # some frames are in no segment
    ],
)
def test_one_png_is_written(tmp_path, plot, arguments):
    path = tmp_path / "attention.png"
    path.write_bytes(b"an older picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot(path, **arguments)
    assert [file.name for file in tmp_path.iterdir()] == ["attention.png"]
    assert read_png(path).shape[1] > 1500


def test_colour_follows_the_weights(tmp_path):
    """The darkest blue of a single row lies in the segment with the largest weight, and nowhere else."""
    weights = np.full((1, 10), 0.01)
    weights[0, 7] = 0.91
    plot_attention(tmp_path / "one.png", weights, columns(10), ["One."], [], [None], [], "")
    picture = read_png(tmp_path / "one.png")
    dark_blue = (picture[..., 0] < 0.1) & (picture[..., 2] > 0.3) & (picture[..., 2] < 0.5)
    rows = np.arange(len(picture)) < 0.4 * len(picture)  # above the colour bar, which is dark at its end as well
    found = np.flatnonzero(dark_blue[rows].any(0))
    left, right = 150 * TEXT_INCHES, 150 * (TEXT_INCHES + PICTURE_INCHES)  # the edges of the rows, in pixels
    segment = (right - left) / 10
    assert found.min() == pytest.approx(left + 7 * segment, abs=2)
    assert found.max() == pytest.approx(left + 8 * segment, abs=2)


def test_clock():
    assert [clock(seconds) for seconds in (0, 9.4, 59.6, 71.6, 3600)] == ["0:00", "0:09", "1:00", "1:12", "60:00"]


@pytest.mark.parametrize(
    ("plot", "arguments", "message"),
    [
        (plot_attention, attention() | {"segment_spans_s": columns(5)}, r"segment_spans_s .*, got .* \(5, 2\)"),
        (plot_attention, attention() | {"sentences": ["One."]}, "sentences must have one entry a sentence, 2, got 1"),
        (plot_attention, attention() | {"true_spans_s": [None]}, "true_spans_s must have one entry a sentence"),
        (plot_frame_attention, frame_attention() | {"frame_spans_s": np.arange(3)}, "frame_spans_s must have"),
        (plot_frame_attention, frame_attention() | {"true_spans_s": [None]}, "true_spans_s must have one entry"),
        (plot_frame_attention, frame_attention() | {"temporal_attentions": np.ones((2, 3))}, "kernel_attentions must"),
    ],
)
def test_bad_arguments(tmp_path, plot, arguments, message):
    with pytest.raises(ValueError, match=message):
        plot(tmp_path / "x.png", **arguments)
    assert not list(tmp_path.iterdir())
