# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import subprocess
import sys
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the picture needs the extra 'train'")

from collap.evaluation.localization import Span
from collap.evaluation.plots import PICTURE_INCHES, TEXT_INCHES, clock, plot_attention


def example(num_sentences=4, num_segments=12):
    starts = 5.0 * np.arange(num_segments)
    weights = np.random.default_rng(0).dirichlet(np.ones(num_segments), size=num_sentences)
    sentences = [f"Sentence {number}, about $5 and a long tale. " * 4 for number in range(num_sentences)]
    return weights, np.stack([starts, starts + 5], axis=1), sentences


def read_png(path):
    return pytest.importorskip("matplotlib.image").imread(path)[..., :3]


def test_writes_one_png_and_nothing_else(tmp_path):
    weights, segments, sentences = example()
    path = tmp_path / "attention.png"
    path.write_bytes(b"an older picture")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_attention(
            path,
            weights,
            segments,
            sentences,
            sections=[(0, 20, "intro"), (20, 21, "a long label for one second"), (21, 60, "$verse$")],
            true_spans_s=[(0, 20), None, (20, 60), (21, 60)],
            spans=[Span(0, 0.0, 20.0, 0.5), Span(3, 25.0, 60.0, 0.5)],
            title="A $title$",
        )
    assert [file.name for file in tmp_path.iterdir()] == ["attention.png"]
    assert read_png(path).shape[1] > 1500


def test_colour_follows_the_weights(tmp_path):
    """The darkest blue of a single row lies in the segment with the largest weight, and nowhere else."""
    weights = np.full((1, 10), 0.01)
    weights[0, 7] = 0.91
    starts = 5.0 * np.arange(10)
    plot_attention(tmp_path / "one.png", weights, np.stack([starts, starts + 5], axis=1), ["One."])
    picture = read_png(tmp_path / "one.png")
    dark_blue = (picture[..., 0] < 0.1) & (picture[..., 2] > 0.3) & (picture[..., 2] < 0.5)
    rows = np.arange(len(picture)) < 0.4 * len(picture)  # above the colour bar, which is dark at its end as well
    columns = np.flatnonzero(dark_blue[rows].any(0))
    left, right = 150 * TEXT_INCHES, 150 * (TEXT_INCHES + PICTURE_INCHES)  # the edges of the rows, in pixels
    segment = (right - left) / 10
    assert columns.min() == pytest.approx(left + 7 * segment, abs=2)
    assert columns.max() == pytest.approx(left + 8 * segment, abs=2)


def test_failed_write_leaves_the_old_picture(tmp_path):
    weights, segments, sentences = example()
    path = tmp_path / "attention.nonsense"
    path.write_text("old")
    with pytest.raises(ValueError, match="nonsense"):
        plot_attention(path, weights, segments, sentences)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text() == "old"


def test_import_needs_no_matplotlib():
    code = "import sys, collap.evaluation.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_clock():
    assert [clock(seconds) for seconds in (0, 9.4, 59.6, 71.6, 3600)] == ["0:00", "0:09", "1:00", "1:12", "60:00"]


def test_faults(tmp_path):
    weights, segments, sentences = example()
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match=r"weights must have shape .* each of the 3 sentences, got \(4, 12\)"):
        plot_attention(path, weights, segments, sentences[:3])
    with pytest.raises(ValueError, match=r"segment_spans_s must have shape \(12, 2\)"):
        plot_attention(path, weights, segments[:5], sentences)
    with pytest.raises(ValueError, match="true_spans_s must have one entry a sentence"):
        plot_attention(path, weights, segments, sentences, true_spans_s=[None])
    with pytest.raises(ValueError, match=r"spans must name sentences 0 \.\.\. 3"):
        plot_attention(path, weights, segments, sentences, spans=[Span(4, 0.0, 1.0, 0.5)])
    assert not path.exists()
