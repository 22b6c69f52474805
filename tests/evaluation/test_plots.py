# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'train'")

from collap.evaluation.localization import Span
from collap.evaluation.plots import (
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
