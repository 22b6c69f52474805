# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CLAP and PE-Audio as retrievers: their own scores, of all of a song, the same each time."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_clap import POSITIONS, RATE, WINDOW, tiny_clap
from tiny_pe_audio import tiny_pe_audio
from transformers import ClapFeatureExtractor, PeAudioFrameLevelModel

from collap.baselines.clap import ClapRetriever, clap_features
from collap.baselines.pe_audio import PeAudioFrameRetriever, PeAudioRetriever
from collap.data.audio_files import read_audio
from collap.evaluation.retrievers import load_retriever

TEXTS = ["a slow piano then a choir", "drums", "a choir hums low"]


def write_song(path, seconds: float, seed: int = 0) -> str:
    """Noise that grows louder and shifts in pitch, so that each second sounds different."""
    generator = np.random.default_rng(seed)
    times = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (200 + 100 * (seed + times)) * times) * 0.2 * (1 + np.floor(times))
    signal = (tone + 0.02 * generator.standard_normal(len(times))).clip(-0.9, 0.9)
    soundfile.write(path, signal, RATE, subtype="FLOAT")
    return str(path)


@pytest.fixture(scope="module", params=[False, True], ids=["unfused", "fused"])
def clap(request):
    return tiny_clap(*TEXTS, fusion=request.param)


@pytest.fixture(scope="module")
def unfused():
    return tiny_clap(*TEXTS)


class TestClap:
    def test_scores_are_those_of_the_model_before_its_factor(self, clap, tmp_path):
        model, processor = clap
        paths = [write_song(tmp_path / f"{seed}.wav", 1.0, seed) for seed in range(3)]
        audio = [read_audio(path, RATE)[0] for path in paths]
        inputs = processor(text=TEXTS, audio=audio, sampling_rate=RATE, padding=True, return_tensors="pt")
        inputs["is_longer"] = torch.zeros(3, 1, dtype=torch.bool)  # a random one is marked
        with torch.no_grad():
            expected = model(**inputs).logits_per_audio.numpy()
        retriever = ClapRetriever(model, processor)
        songs = [retriever.embed_song(path).frames for path in paths]
        scores = retriever.score(songs, retriever.embed_texts(TEXTS))
        assert scores.dtype == np.float32
        assert np.ptp(expected / model.logit_scale_a.exp().item()) > 0.05
        np.testing.assert_allclose(scores * model.logit_scale_a.exp().item(), expected, atol=1e-4)

    @pytest.mark.parametrize("windows", ["first", "mean"])
    def test_nothing_is_random(self, clap, tmp_path, windows):
        retriever = ClapRetriever(*clap, windows=windows)
        path = write_song(tmp_path / "song.wav", 3.4)
        np.random.seed(1)
        first = retriever.embed_song(path).frames
        np.random.seed(2)
        np.testing.assert_array_equal(first, retriever.embed_song(path).frames)

    def test_mean_encodes_all_and_weighs_each_window_by_its_seconds(self, unfused, tmp_path, monkeypatch):
        monkeypatch.setattr("collap.baselines.clap.BATCH_SIZE", 3)
        retriever = ClapRetriever(*unfused, windows="mean")
        path = write_song(tmp_path / "song.wav", 3.5)
        audio = soundfile.read(path, dtype="float32")[0]
        single = ClapRetriever(*unfused, windows="first")
        vectors = []
        for number in range(4):
            part = tmp_path / f"{number}.wav"
            soundfile.write(part, audio[number * WINDOW : (number + 1) * WINDOW], RATE, subtype="FLOAT")
            vectors.append(single.embed_song(str(part)).frames[0])
        expected = vectors[0] + vectors[1] + vectors[2] + 0.5 * vectors[3]
        embedding = retriever.embed_song(path)
        np.testing.assert_allclose(embedding.frames[0], expected / np.linalg.norm(expected), atol=1e-5)
        assert (embedding.encoded_s, embedding.duration_s) == (3.5, 3.5)
        assert np.abs(np.array(vectors[0]) - vectors[3]).max() > 0.01

    def test_long_texts_are_cut_and_counted_once_each(self, unfused):
        retriever = ClapRetriever(*unfused)
        limit = POSITIONS - 2
        long = " ".join(["piano"] * (limit - 1))  # with begin and end one token too many
        fits = " ".join(["piano"] * (limit - 2))
        texts = retriever.embed_texts([long, fits, "drums", long])
        np.testing.assert_allclose(texts[0], texts[1], atol=1e-6)
        assert retriever.num_truncated_texts == 1
        retriever.embed_texts([long + " drums"])
        assert retriever.num_truncated_texts == 2

    def test_sentences_are_joined_and_texts_cut_into_blocks(self, unfused, monkeypatch):
        monkeypatch.setattr("collap.baselines.clap.BATCH_SIZE", 2)
        retriever = ClapRetriever(*unfused)
        texts = retriever.embed_texts([["a slow piano", "then a choir"], *TEXTS])
        np.testing.assert_allclose(texts[0], texts[1], atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(texts, axis=1), 1, atol=1e-5)
        assert len(texts) == 4

    def test_the_revision_changes_with_weights_and_windows_only(self, unfused, tmp_path):
        model, processor = unfused
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        first = ClapRetriever(model, processor)
        again = load_retriever(tmp_path, windows="first")
        assert isinstance(again, ClapRetriever)
        assert first.revision == again.revision
        assert again.name == f"ClapModel {tmp_path} (first 1 s)"
        assert ClapRetriever(model, processor, windows="mean").revision != first.revision
        with torch.no_grad():
            again.model.text_projection.linear2.bias.add_(1e-3)
        assert ClapRetriever(again.model, processor).revision != first.revision

    def test_bad_input_is_named(self, unfused, tmp_path):
        retriever = ClapRetriever(*unfused)
        (tmp_path / "words.wav").write_text("no audio")
        with pytest.raises(ValueError, match=r"words\.wav"):
            retriever.embed_song(str(tmp_path / "words.wav"))
        with pytest.raises(ValueError, match=r"texts\[1\] must not be empty"):
            retriever.check_texts(["a flute", [" "]])


def test_a_part_of_a_file_is_decoded(tmp_path):
    path = write_song(tmp_path / "song.wav", 2.5)
    samples = soundfile.read(path, dtype="float32")[0]
    excerpt, duration_s = read_audio(path, RATE, start_s=1.25, length_s=0.5)
    np.testing.assert_array_equal(excerpt, samples[10_000:14_000])
    assert duration_s == 2.5
    assert len(read_audio(path, RATE, start_s=2.25, length_s=0.5)[0]) == 2000
    content = {"bytes": (tmp_path / "song.wav").read_bytes(), "path": "elsewhere.wav"}
    np.testing.assert_array_equal(read_audio(content, RATE)[0], samples)
    assert len(read_audio(path, 11_025, length_s=1.0)[0]) == 11_025
    with pytest.raises(TypeError, match="'bytes' or 'path'"):
        read_audio({"array": samples}, RATE)


@pytest.mark.parametrize(
    ("truncation", "padding"), [("rand_trunc", "repeatpad"), ("fusion", "repeat"), ("fusion", "pad")]
)
def test_features_are_those_of_the_extractor(truncation, padding):
    extractor = ClapFeatureExtractor(truncation=truncation, padding=padding, max_length_s=1)
    generator = np.random.default_rng(0)
    windows = [0.1 * generator.standard_normal(length).astype(np.float32) for length in (48_000, 47_999, 20_000, 700)]
    windows.append(np.zeros(1000, dtype=np.float32))
    features = clap_features(extractor, windows)
    expected = extractor(windows, sampling_rate=48_000, return_tensors="pt")["input_features"]
    assert features["input_features"].dtype == expected.dtype
    torch.testing.assert_close(features["input_features"], expected, rtol=0, atol=1e-3)  # dB
    assert not features["is_longer"].any()


@pytest.fixture(scope="module")
def pe_audio():
    return tiny_pe_audio(*TEXTS)


def logits_of(model, processor, path: str) -> np.ndarray:
    """What the model itself gives for a song and `TEXTS`."""
    clip = processor.feature_extractor(read_audio(path, RATE)[0], sampling_rate=RATE, return_tensors="pt")
    tokens = processor.tokenizer(TEXTS, padding=True, return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        return model(**clip, **tokens).logits_audio_text.numpy()


class TestPeAudio:
    def test_scores_are_those_of_the_model_before_its_factor(self, pe_audio, tmp_path):
        model, processor = pe_audio
        path = write_song(tmp_path / "song.wav", 0.3)
        retriever = PeAudioRetriever(model, processor)
        expected = logits_of(model, processor, path)
        scores = retriever.score([retriever.embed_song(path).frames], retriever.embed_texts(TEXTS))
        assert np.ptp(expected) > 0.1
        np.testing.assert_allclose(3 * scores - 1, expected, atol=1e-4)

    def test_it_encodes_whole_songs_or_windows(self, pe_audio, tmp_path, monkeypatch):
        monkeypatch.setattr("collap.baselines.pe_audio.WINDOW_S", 0.2)
        path = write_song(tmp_path / "song.wav", 0.5)
        vectors = {}
        for windows in PeAudioRetriever.WINDOWS:
            retriever = PeAudioRetriever(*pe_audio, windows=windows)
            embedding = retriever.embed_song(path)
            np.testing.assert_array_equal(embedding.frames, retriever.embed_song(path).frames)
            assert embedding.duration_s == 0.5
            assert embedding.encoded_s == (0.2 if windows == "first" else 0.5)
            vectors[windows] = embedding.frames
        assert np.abs(vectors["whole"] - vectors["mean"]).max() > 1e-3
        assert np.abs(vectors["first"] - vectors["mean"]).max() > 1e-3

    def test_a_saved_one_is_loaded(self, pe_audio, tmp_path):
        model, processor = pe_audio
        model.save_pretrained(tmp_path)
        processor.save_pretrained(tmp_path)
        loaded = load_retriever(tmp_path)
        assert isinstance(loaded, PeAudioRetriever)
        assert loaded.revision == PeAudioRetriever(model, processor).revision
        np.testing.assert_array_equal(loaded.embed_texts(TEXTS), PeAudioRetriever(model, processor).embed_texts(TEXTS))


@pytest.fixture(scope="module")
def frame_level():
    return tiny_pe_audio(*TEXTS, model_class=PeAudioFrameLevelModel)


class TestPeAudioFrames:
    def test_dot_products_are_the_models_before_its_factor(self, frame_level, tmp_path):
        model, processor = frame_level
        path = write_song(tmp_path / "song.wav", 0.3)
        retriever = PeAudioFrameRetriever(model, processor)
        (expected,) = logits_of(model, processor, path)  # (texts, frames)
        song, texts = retriever.embed_song(path), retriever.embed_texts(TEXTS)
        products = retriever.frame_queries(texts) @ song.frames.T
        assert np.ptp(expected, axis=1).min() > 0.1
        np.testing.assert_allclose(3 * products - 1, expected, atol=1e-4)
        np.testing.assert_allclose(3 * retriever.score([song.frames], texts)[0] - 1, expected.max(1), atol=1e-4)

    def test_times_of_frames(self, frame_level, tmp_path):
        # A frame of 2 x 4 samples: 1 ms. The last of 300.5 ms is a half one.
        retriever = PeAudioFrameRetriever(*frame_level)
        song = retriever.embed_song(write_song(tmp_path / "song.wav", 0.3005))
        times = retriever.frame_times(len(song.frames), song.duration_s)
        assert times.shape == (301, 2)
        np.testing.assert_allclose(times[[0, 1, 300]], [[0, 0.001], [0.001, 0.002], [0.3, 0.3005]])

    def test_a_saved_one_is_loaded(self, frame_level, tmp_path):
        for part in frame_level:
            part.save_pretrained(tmp_path)
        loaded = load_retriever(tmp_path)
        assert isinstance(loaded, PeAudioFrameRetriever)
        assert "PeAudioFrameLevelModel" in loaded.name
        with pytest.raises(ValueError, match="windows must be one of 'whole', got 'mean'"):
            load_retriever(tmp_path, windows="mean")
