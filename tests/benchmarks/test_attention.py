# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where the attention's weight falls, on a tiny benchmark."""

import json
import re

import numpy as np
import pytest

from benchmarks.long_form import attention
from benchmarks.questions import read_songs
from benchmarks.rank import embed_songs, score
from collap.evaluation.localization import frame_weights, kernel_mass_at_boundaries, mass_inside, peak_inside
from collap.evaluation.retrievers import load_retriever

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")


def test_shares_inside_by_hand():
    times = np.array([[0.0, 5.0], [5.0, 10.0], [10.0, 20.0]])
    weights = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
    # First: the section ends in the middle of the second segment, 0.5 + 0.3 / 2. Second: half of the last.
    inside, even = mass_inside(weights, times, [(0.0, 7.5), (10.0, 15.0), None])
    np.testing.assert_allclose(inside, [0.65, 0.3, np.nan])
    np.testing.assert_allclose(even, [7.5 / 20, 5 / 20, np.nan])
    # The middles of the largest weights are at 2.5 s and 15 s; a section's end belongs to the next one.
    np.testing.assert_array_equal(peak_inside(weights, times, [(0, 3), (10, 15), None]), [1, 0, np.nan])


def test_frame_weights_by_hand():
    kernel = np.array([[[0.9, 0.1], [0.5, 0.5], [1.0, 0.0]]])
    # Frame 1 lies in the first and the second segment; the third segment's second frame is behind the end.
    weights = frame_weights(kernel, np.array([[0.2, 0.3, 0.5]]), kernel_stride=1, num_frames=3)
    np.testing.assert_allclose(weights, [[0.18, 0.02 + 0.15, 0.15 + 0.5]])
    skipping = frame_weights(np.array([[[1.0], [1.0]]]), np.array([[0.4, 0.6]]), kernel_stride=2, num_frames=3)
    np.testing.assert_allclose(skipping, [[0.4, 0.0, 0.6]])


def test_kernel_mass_by_hand():
    kernel = np.array([[[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]], [[0.5, 0.5]] * 3, [[0.5, 0.5]] * 3])
    frame_times = np.stack([np.arange(6.0), np.arange(6.0) + 1], axis=1)
    # Frames 0 to 2 are inside: segment 1 (frames 2, 3) is cut, 0.8 on the right side. At 2.0 no segment is cut.
    inside, even = kernel_mass_at_boundaries(kernel, 2, frame_times, [(0.0, 3.0), (0.0, 2.0), None])
    np.testing.assert_allclose(inside, [0.8, np.nan, np.nan])
    np.testing.assert_allclose(even, [0.5, np.nan, np.nan])


@pytest.fixture(scope="module")
def retriever(folder):
    return load_retriever(str(folder / "models" / "ours-0"), features=folder / "features", truncate_texts=True)


@pytest.fixture(scope="module")
def songs(folder):
    return read_songs(folder / "corpus" / "content.jsonl")


def test_the_weights_are_those_of_the_score(retriever, songs):
    """The frames' weights times their cosines give the temporal alignment of section queries."""
    model = retriever.model
    for song, frames in zip(songs, embed_songs(retriever, songs), strict=True):
        texts = attention.make_texts(retriever, song, "new", attention.SECTIONS)
        weights = frame_weights(
            *attention.attend(retriever, frames, texts), model.config.kernel_stride, len(frames)
        )  # (sections, N)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
        queries = retriever.embed_texts([section["query_new"] for section in song["sections"]])
        expected = score(retriever, [frames], queries, section_query=True)[:, 0]
        expected = expected / (model.config.kernel_weight + model.config.temporal_weight)
        found = (weights * (texts.embedded.query_embeds.numpy() @ frames.T)).sum(1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_script_writes_metrics_and_pictures(folder, tmp_path, capsys):
    attention.main(["--benchmark_dir", str(folder), "--num_songs", "3", "--output_dir", str(tmp_path)])
    models = json.loads((tmp_path / "attention.json").read_text())["models"]
    assert models.keys() == {"ours-0", "document-0"}
    assert list(models["ours-0"]) == [attention.WITH_TIME, attention.WITHOUT_TIME, attention.SECTIONS]
    assert list(models["document-0"]) == [attention.SECTIONS]
    assert list(models["document-0"][attention.SECTIONS]) == ["seen", "new", "paraphrase"]
    pictures = {"ours-0-sentences.png", "ours-0-sections.png", "document-0-sections.png"}
    assert {file.name for file in tmp_path.iterdir()} == pictures | {"attention.json"}
    assert len(re.findall(r"\n\| document-0 +\| +one-section queries \|", capsys.readouterr().out)) == 3
