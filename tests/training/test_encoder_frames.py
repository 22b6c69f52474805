# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Kept frames of frozen encoders: the right ones, once, and never those of another model or song."""

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config

from collap import CollapFeatureExtractor, CollapModel
from collap.training import encoder_frames
from collap.training.encoder_frames import keep_encoder_frames, load_encoder_frames


@pytest.fixture
def songs(tmp_path) -> list[str]:
    paths = []
    for index, seconds in enumerate((1.5, 0.4, 2.0)):
        path = tmp_path / f"{index}.wav"
        soundfile.write(path, 0.1 * np.random.default_rng(index).standard_normal(int(16_000 * seconds)), 16_000)
        paths.append(str(path))
    return paths


@pytest.fixture
def model() -> CollapModel:
    return CollapModel(tiny_config()).eval()


@pytest.fixture
def extractor() -> CollapFeatureExtractor:
    return CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)


def test_frames_are_those_of_the_model(songs, model, extractor, tmp_path):
    files = keep_encoder_frames(songs, tmp_path / "frames", model.audio_model, extractor)
    with torch.no_grad():
        expected, mask = model.audio_model.encode(**extractor(songs, return_tensors="pt"))
    for index, path in enumerate(songs):
        frames = load_encoder_frames(files[path])
        assert frames.dtype == torch.float16
        torch.testing.assert_close(frames.float(), expected[index][mask[index]], atol=2e-3, rtol=1e-3)


def test_each_song_is_encoded_once(songs, model, extractor, tmp_path, monkeypatch):
    written = []
    write = encoder_frames._write
    monkeypatch.setattr(encoder_frames, "_write", lambda file, frames: (written.append(file), write(file, frames)))
    first = keep_encoder_frames([*songs, songs[0]], tmp_path / "frames", model.audio_model, extractor)
    assert len(written) == 3
    first[songs[1]].unlink()  # as after a run that was interrupted
    second = keep_encoder_frames(songs, tmp_path / "frames", model.audio_model, extractor)
    assert len(written) == 4
    assert first == second
    assert not list((tmp_path / "frames").glob("*.tmp"))


def test_other_encoders_settings_or_songs_have_other_frames(songs, model, extractor, tmp_path):
    def files(model=model, extractor=extractor, **options) -> set:
        return set(keep_encoder_frames(songs, tmp_path / "frames", model.audio_model, extractor, **options).values())

    first = files()
    model.text_projection.weight.data.add_(1)  # not part of the frames
    model.audio_model.adapter.weight.data.add_(1)
    assert files() == first
    assert not first & files(extractor=CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=3.0))
    assert not first & files(model=CollapModel(tiny_config(frame_pooling=4)))
    model.audio_model.speech_model.layer_norm.weight.data[0] += 1e-3
    assert not first & files()


def test_trainable_encoders_are_refused(songs, extractor, tmp_path):
    model = CollapModel(tiny_config(freeze_speech_model=False))
    with pytest.raises(ValueError, match="speech_model is trainable, so its frames change"):
        keep_encoder_frames(songs, tmp_path / "frames", model.audio_model, extractor)
