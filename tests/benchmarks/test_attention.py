# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Where the attention's weight falls, on a tiny benchmark."""

import json
import re

import numpy as np
import pytest
import torch
from tiny_models import tiny_config

from benchmarks.long_form import attention
from benchmarks.questions import read_songs
from benchmarks.rank import embed_songs, embed_texts, load_model
from collap import CollapAudioOutput
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.evaluation.localization import frame_weights, kernel_mass_at_boundaries, mass_inside, peak_inside

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")


def texts_of(folder, name: str, way: str):
    model, processor = load_model(folder / "models" / name)
    songs = read_songs(folder / "corpus" / "content.jsonl")
    audio = embed_songs(model, processor, songs, folder / "features")
    return model, processor, songs, audio, attention.make_texts(model, processor, songs, "new", way)


class TestByHand:
    times = np.array([[0.0, 5.0], [5.0, 10.0], [10.0, 20.0]])

    def test_mass_inside(self):
        weights = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
        # First: the section ends in the middle of the second segment, 0.5 + 0.3 / 2. Second: half of the last.
        inside, even = mass_inside(weights, self.times, [(0.0, 7.5), (10.0, 15.0), None])
        np.testing.assert_allclose(inside, [0.65, 0.5, np.nan])
        np.testing.assert_allclose(even, [7.5 / 20, 5 / 20, np.nan])

    def test_peak_inside(self):
        weights = np.array([[0.5, 0.3, 0.2], [0.2, 0.2, 0.6], [1.0, 0.0, 0.0]])
        # The middles of the largest weights are at 2.5 s and 15 s; a section's end belongs to the next one.
        np.testing.assert_array_equal(peak_inside(weights, self.times, [(0, 3), (10, 15), None]), [1, 0, np.nan])

    def test_frames_of_overlapping_segments_add_up(self):
        kernel = np.array([[[0.9, 0.1], [0.5, 0.5], [1.0, 0.0]]])
        weights = frame_weights(kernel, np.array([[0.2, 0.3, 0.5]]), kernel_stride=1, num_frames=3)
        # Frame 1 lies in the first and the second segment; the third segment's second frame is behind the end.
        np.testing.assert_allclose(weights, [[0.18, 0.02 + 0.15, 0.15 + 0.5]])

    def test_skipped_frames_have_no_weight(self):
        weights = frame_weights(np.array([[[1.0], [1.0]]]), np.array([[0.4, 0.6]]), kernel_stride=2, num_frames=3)
        np.testing.assert_allclose(weights, [[0.4, 0.0, 0.6]])

    def test_kernel_mass_counts_only_segments_that_a_boundary_cuts(self):
        kernel = np.array([[[0.5, 0.5], [0.8, 0.2], [0.1, 0.9]], [[0.5, 0.5]] * 3, [[0.5, 0.5]] * 3])
        frame_times = np.stack([np.arange(6.0), np.arange(6.0) + 1], axis=1)
        # Frames 0 to 2 are inside: segment 1 (frames 2, 3) is cut, 0.8 on the right side. At 2.0 no segment is cut.
        inside, even = kernel_mass_at_boundaries(kernel, 2, frame_times, [(0.0, 3.0), (0.0, 2.0), None])
        np.testing.assert_allclose(inside, [0.8, np.nan, np.nan])
        np.testing.assert_allclose(even, [0.5, np.nan, np.nan])

    @pytest.mark.parametrize("spans", [[], [(0, 1), (0, 1)]])
    def test_a_span_each(self, spans):
        with pytest.raises(ValueError, match="spans must have one entry a sentence, 1"):
            mass_inside(np.ones((1, 3)) / 3, self.times, spans)

    def test_shapes(self):
        with pytest.raises(ValueError, match=r"times \(segments, 2\)"):
            mass_inside(np.ones((1, 2)) / 2, self.times, [None])
        with pytest.raises(ValueError, match="kernel_attentions must have"):
            frame_weights(np.ones((1, 2, 3)), np.ones((1, 3)), 1, 4)


def test_the_weights_are_those_of_the_score(folder):
    """The frames' weights times their cosines give the temporal alignment of one-section queries."""
    model, processor, songs, audio, texts = texts_of(folder, "ours-0", attention.SECTIONS)
    scale = model.config.kernel_weight + model.config.temporal_weight
    for index, song in enumerate(songs):
        own = attention.attend(model, audio, index, texts, index)
        count = len(own.frame_times)
        weights = frame_weights(own.kernel, own.temporal, model.config.kernel_stride, count)  # (sections, N)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
        frames = audio.last_hidden_state[index, :count]
        queries = texts.embedded.select(index, index + 1).output.query_embeds
        alone = CollapAudioOutput(last_hidden_state=frames[None], frame_mask=torch.ones(1, count, dtype=torch.bool))
        text, _ = embed_texts(model, processor, [section["query_new"] for section in song["sections"]])
        expected = model.similarity(alone, text, section_query=True)[0].detach() / scale
        found = (weights * (queries @ frames.T).detach().numpy()).sum(1)
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_time_moves_the_attention_of_sentences(folder):
    with_time = texts_of(folder, "ours-0", attention.WITH_TIME)
    without = texts_of(folder, "ours-0", attention.WITHOUT_TIME)
    own = [attention.attend(model, audio, 0, texts, 0).temporal for model, _, _, audio, texts in (with_time, without)]
    assert np.abs(own[0] - own[1]).max() > 1e-4


def test_sentences_on_the_whole_song_are_left_out(folder):
    model, _, songs, audio, texts = texts_of(folder, "ours-0", attention.WITHOUT_TIME)
    metrics = attention.measure(model, audio, texts)
    assert metrics["num_sentences"] == 2 * len(songs)
    assert all(spans[0] is None for spans in texts.spans_s)
    assert metrics["even"]["value"] == pytest.approx(0.5, abs=1e-6)  # the two sections are the song
    assert metrics["num_songs"] == len(songs)
    by_song = []
    for index, spans in enumerate(texts.spans_s):
        own = attention.attend(model, audio, index, texts, index)
        by_song += list(mass_inside(own.temporal, own.segment_times, spans)[0][1:])
    assert metrics["temporal"]["value"] == pytest.approx(np.mean(by_song))
    lower, upper = metrics["temporal"]["interval"]
    assert lower <= metrics["temporal"]["value"] <= upper


def test_the_script_writes_metrics_and_pictures(folder, tmp_path, capsys):
    command = ["--benchmark_dir", str(folder), "--num_songs", "3", "--output_dir", str(tmp_path)]
    attention.main([*command, "--wordings", "seen", "new"])
    result = json.loads((tmp_path / "attention.json").read_text())
    assert result["models"].keys() == {"ours-0", "document-0"}
    assert list(result["models"]["ours-0"]) == [attention.WITH_TIME, attention.WITHOUT_TIME, attention.SECTIONS]
    assert list(result["models"]["document-0"]) == [attention.SECTIONS]
    assert list(result["models"]["document-0"][attention.SECTIONS]) == ["seen", "new"]
    pictures = {"ours-0-sentences.png", "ours-0-sections.png", "document-0-sections.png"}
    assert {file.name for file in tmp_path.iterdir()} == pictures | {"attention.json"}
    assert len(re.findall(r"\n\| document-0 +\| +one-section queries \|", capsys.readouterr().out)) == 2


def test_what_cannot_be_texts_says_so(folder, tmp_path):
    model = MeanPoolingCollap(tiny_config())
    with pytest.raises(ValueError, match="models: "):
        attention.ways_of(model)
    with pytest.raises(ValueError, match=r"num_songs must lie in 2 \.\.\. 6"):
        attention.main(["--benchmark_dir", str(folder), "--output_dir", str(tmp_path / "none")])
