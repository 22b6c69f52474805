# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import warnings
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="plots need the extra 'train'")

from collap.evaluation.localization import Span
from collap.evaluation.plots import plot_attention

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


def read_png(path: Path) -> np.ndarray:
    return pytest.importorskip("matplotlib.image").imread(path)[..., :3]


@pytest.mark.parametrize("changes", [{}, {"spans": []}])
def test_one_png_is_written(tmp_path, changes):
    path = tmp_path / "attention.png"
    path.write_bytes(b"an older picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_attention(path, **attention() | changes)
    assert [file.name for file in tmp_path.iterdir()] == ["attention.png"]
    assert read_png(path).shape[1] > 1500


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segment_spans_s": columns(11)}, r"segment_spans_s \(segments, 2\), got \(2, 12\) and \(11, 2\)"),
        ({"sentences": SENTENCES[:1]}, "sentences must have one entry a sentence, 2, got 1"),
        ({"true_spans_s": [None] * 3}, "true_spans_s must have one entry a sentence, 2, got 3"),
    ],
)
def test_shapes_that_do_not_fit(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        plot_attention(tmp_path / "attention.png", **attention() | changes)
