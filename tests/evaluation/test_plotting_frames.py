# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import warnings

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the picture needs the extra 'train'")

from collap.evaluation.plots import FRAME_ROW_INCHES, PICTURE_INCHES, TEXT_INCHES, plot_frame_attention

SENTENCES = ["A flute for $5.", "Then a choir."]


def example(kernel_size=4, kernel_stride=2):
    """Both attentions of two sentences over five segments, and the times of their frames of half a second."""
    generator = np.random.default_rng(0)
    kernel = generator.dirichlet(np.ones(kernel_size), size=(2, 5))
    temporal = generator.dirichlet(np.ones(5), size=2)
    starts = 0.5 * np.arange(4 * kernel_stride + kernel_size)
    return kernel, temporal, kernel_stride, np.stack([starts, starts + 0.5], axis=1)


def read_png(path):
    return pytest.importorskip("matplotlib.image").imread(path)[..., :3]


@pytest.mark.parametrize("kernel_size", [4, 1])  # segments that overlap, and frames that lie in none
def test_writes_one_png_and_nothing_else(tmp_path, kernel_size):
    path = tmp_path / "frames.png"
    path.write_bytes(b"an older picture")
    sections = [(0, 3, "intro"), (3, 3.1, "a long label for a moment")]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plot_frame_attention(path, *example(kernel_size), SENTENCES, sections, [(0, 3), None], title="A $title$")
    assert [file.name for file in tmp_path.iterdir()] == ["frames.png"]
    assert read_png(path).shape[1] > 1500


def test_each_strip_has_its_colour(tmp_path):
    """At the largest temporal weight the uppermost strip is blue, and white where the weight is 0."""
    kernel, temporal = np.full((1, 5, 2), 0.5), np.zeros((1, 5))
    temporal[0, 3] = 1.0
    starts = 0.5 * np.arange(10)
    plot_frame_attention(tmp_path / "x.png", kernel, temporal, 2, np.stack([starts, starts + 0.5], 1), SENTENCES[:1])
    picture = read_png(tmp_path / "x.png")
    top, row, left, width = (
        150 * inches for inches in (0.15, FRAME_ROW_INCHES, TEXT_INCHES, PICTURE_INCHES)
    )  # in pixels
    heights = {"temporal": 0.2, "kernel-wise": 0.5, "product": 0.8}  # of the strips' middles in the row
    red, green, blue = (
        {name: picture[int(top + height * row), int(left + 0.7 * width), channel] for name, height in heights.items()}
        for channel in range(3)
    )
    assert red["temporal"] < green["temporal"] < blue["temporal"]
    assert red["kernel-wise"] > green["kernel-wise"] > blue["kernel-wise"]
    assert green["product"] < red["product"] < blue["product"]
    elsewhere = picture[int(top + heights["temporal"] * row), int(left + 0.3 * width)]
    assert elsewhere.min() > 0.9


def test_faults(tmp_path):
    kernel, temporal, stride, times = example()
    path = tmp_path / "x.png"
    with pytest.raises(ValueError, match=r"frame_spans_s must have the shape \(frames, 2\), got \(12,\)"):
        plot_frame_attention(path, kernel, temporal, stride, times[:, 0], SENTENCES)
    with pytest.raises(ValueError, match="sentences must have one entry a sentence, 2, got 1"):
        plot_frame_attention(path, kernel, temporal, stride, times, SENTENCES[:1])
    with pytest.raises(ValueError, match="true_spans_s must have one entry a sentence, 2, got 1"):
        plot_frame_attention(path, kernel, temporal, stride, times, SENTENCES, true_spans_s=[None])
    with pytest.raises(ValueError, match="kernel_attentions must have the shape"):
        plot_frame_attention(path, kernel, temporal[:, :3], stride, times, SENTENCES)
    assert not path.exists()
