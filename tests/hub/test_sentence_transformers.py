# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A published folder in sentence-transformers: texts and audio to the vectors of the first search stage."""

import shutil

import numpy as np
import pytest
import torch
from publish_helpers import TEXTS, save_trained, write
from tiny_retrieval import write_songs

from collap import CollapModel, CollapProcessor

sentence_transformers = pytest.importorskip("sentence_transformers")

WAVEFORM = 0.1 * np.random.default_rng(0).standard_normal(20_000).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("publish")
    save_trained(folder / "trained")
    return write(folder / "trained", folder / "published")


@pytest.fixture(scope="module")
def model(folder):
    return sentence_transformers.SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return list(write_songs(tmp_path_factory.mktemp("songs"), (1.0, 2.5)).values())


@torch.no_grad()
def expected(folder, **inputs):
    model, processor = CollapModel.from_pretrained(folder), CollapProcessor.from_pretrained(folder)
    encode = model.get_text_features if "text" in inputs else model.get_audio_features
    return encode(**processor(**inputs, return_tensors="pt")).pooler_output.numpy()


def test_texts(model, folder):
    assert set(model.modalities) == {"text", "audio"}
    np.testing.assert_allclose(model.encode(TEXTS), expected(folder, text=TEXTS), atol=1e-5)
    np.testing.assert_allclose(model.encode(TEXTS[0], batch_size=1), expected(folder, text=TEXTS[0])[0], atol=1e-5)


def test_audio_as_path_array_and_dict(model, folder, songs, tmp_path):
    np.testing.assert_allclose(model.encode(songs), expected(folder, audio=songs), atol=1e-5)
    array = expected(folder, audio=WAVEFORM, sampling_rate=16_000)
    given = {"array": WAVEFORM, "sampling_rate": 16_000}
    np.testing.assert_allclose(model.encode([given]), array, atol=1e-5)
    rate = {"audio": {"sampling_rate": 16_000}}
    np.testing.assert_allclose(model.encode([WAVEFORM], processing_kwargs=rate), array, atol=1e-5)
    with pytest.raises(ValueError, match=r"sampling_rate must be given for audio\[0\]"):
        model.encode([WAVEFORM])


@pytest.mark.parametrize("name", ["song.opus", "missing.ogg"])
def test_a_file_that_it_takes_for_a_text_is_refused(name, model, folder, songs, tmp_path):
    """So it takes .m4a and .opus, and files that are not there."""
    path = tmp_path / name
    if name == "song.opus":
        shutil.copy(songs[0], path)  # the content tells what it is, not the name
    with pytest.raises(
        ValueError, match=rf'got the name of a file, .*{name}.*sentence-transformers as \{{"audio": path'
    ):
        model.encode([str(path)])
    if name == "song.opus":
        found = model.encode([{"audio": str(path)}])
        np.testing.assert_allclose(found, expected(folder, audio=songs[:1]), atol=1e-5)


def test_a_text_that_is_too_long_is_refused(model):
    with pytest.raises(ValueError, match=r"sentence 0 of text\[0\] must have at most 60 tokens"):
        model.encode(["piano " * 100])
