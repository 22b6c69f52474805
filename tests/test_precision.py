# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Encoders in lower precision give nearly the same frames, the same ones in every batch, and are never mixed up."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_library import save_tiny_model
from tiny_retrieval import tiny_collap, write_songs
from torch import nn
from torch.nn.functional import cosine_similarity
from transformers import WhisperFeatureExtractor, WhisperModel

from collap.data.audio_files import read_audio
from collap.data.cache import hash_weights
from collap.evaluation.retrievers import CollapRetriever
from collap.modeling_collap.modeling_beats import SmallLinear
from collap.precision import Int8Linear, is_faster_on_this_cpu, lower_precision
from collap.search.cli import index_songs
from collap.search.index import SongIndex, _stamp, _write_settings
from collap.search.query import Query

SHARED = Path(__file__).parents[2] / "shared"
needs_int8 = pytest.mark.skipif(not is_faster_on_this_cpu("int8"), reason="PyTorch has no int8 products on this CPU")
precisions = pytest.mark.parametrize("precision", ["bfloat16", pytest.param("int8", marks=needs_int8)])


@pytest.fixture
def any_cpu(monkeypatch):
    """Every precision is computed, however slowly."""
    monkeypatch.setattr("collap.precision.is_faster_on_this_cpu", lambda precision: True)


@needs_int8
@pytest.mark.parametrize("bias", [True, False])
def test_int8_layer_is_rounded_inputs_times_rounded_weights(bias):
    torch.manual_seed(0)
    linear = nn.Linear(24, 8, bias=bias)
    inputs = torch.randn(2, 5, 24) * torch.tensor([1e-3, 1.0, 1.0, 50.0, 0.0])[:, None]
    layer = Int8Linear(linear)

    weight_steps = linear.weight.abs().amax(1, keepdim=True) / 127
    weight = (linear.weight / weight_steps).round() * weight_steps
    steps = inputs.abs().amax(-1, keepdim=True) * 2 / 127  # 7 bits from minus to plus the largest
    rounded = torch.where(steps > 0, (inputs / steps).round().nan_to_num() * steps, 0.0)
    expected = rounded @ weight.T + (linear.bias if bias else 0.0)
    # A value in the middle of two steps may go to either, so the parity is that of a step.
    error = (layer(inputs) - expected).abs() / (inputs.abs().amax(-1, keepdim=True) + 1e-12)
    assert error.max() < 0.02
    torch.testing.assert_close(layer(inputs)[:, 4], expected[:, 4])  # rows of zeros give the bias


@needs_int8
def test_int8_layer_of_whole_numbers_is_exact():
    linear = nn.Linear(3, 2)
    linear.weight.data = torch.tensor([[127.0, -1.0, 0.0], [2.0, 127.0, -64.0]])
    linear.bias.data = torch.tensor([0.5, 0.0])
    inputs = torch.tensor([[63.5, 1.2, 0.0]])  # steps of 1: 63.5 is rounded to 64, 1.2 to 1
    torch.testing.assert_close(Int8Linear(linear)(inputs), torch.tensor([[64 * 127 - 1 + 0.5, 64 * 2.0 + 127]]))


@needs_int8
def test_int8_rows_do_not_depend_on_others():
    layer, inputs = Int8Linear(nn.Linear(24, 8)), torch.randn(40, 24)
    inputs[7] *= 1000
    together = layer(inputs)
    for row in range(40):
        assert torch.equal(layer(inputs[row : row + 1])[0], together[row])


@precisions
def test_frames_are_nearly_those_of_float32(precision, any_cpu, tmp_path):
    songs = list(write_songs(tmp_path, (1.5, 0.4, 2.0)).values())
    exact = [CollapRetriever(*tiny_collap()).embed_song(song).frames for song in songs]
    retriever = CollapRetriever(*tiny_collap(), precision=precision)
    frames = [retriever.embed_song(song).frames for song in songs]
    for own, other in zip(frames, exact, strict=True):
        assert own.dtype == np.float32
        assert not np.array_equal(own, other)
        assert (own * other).sum(-1).min() > 0.99  # cosines
    batch = retriever.processor(audio=songs, return_tensors="pt")
    with torch.no_grad():
        together = retriever.model.get_audio_features(**batch)
    for own, row, mask in zip(frames, together.last_hidden_state, together.frame_mask, strict=True):
        torch.testing.assert_close(torch.from_numpy(own), row[mask], rtol=0, atol=0.02)


def test_only_the_encoders_are_converted(any_cpu):
    model = tiny_collap()[0].audio_model
    assert lower_precision(model, "bfloat16") == "bfloat16"
    assert {model.music_model.dtype, model.speech_model.dtype} == {torch.bfloat16}
    assert model.adapter.weight.dtype == torch.float32
    assert not any(parameter.requires_grad for parameter in model.music_model.parameters())
    assert model.adapter.weight.requires_grad


@needs_int8
def test_int8_layers_are_the_large_ones_and_count_in_hashes():
    model, other = tiny_collap()[0].audio_model, tiny_collap()[0].audio_model
    with torch.no_grad():
        other.music_model.encoder.layers[0].fc1.weight[0, 0] += 1
    for own in (model, other):
        lower_precision(own, "int8")
        kinds = {type(module) for module in own.music_model.modules() if "Linear" in type(module).__name__}
        assert kinds == {Int8Linear, SmallLinear}
    assert type(model.adapter) is nn.Linear
    assert hash_weights(model) != hash_weights(other)


def test_a_cpu_that_is_not_faster_stays_in_float32(monkeypatch, caplog):
    monkeypatch.setattr("collap.precision.is_faster_on_this_cpu", lambda precision: False)
    model = tiny_collap()[0].audio_model
    with caplog.at_level(logging.WARNING):
        assert lower_precision(model, "bfloat16") is None
    assert "this CPU is not faster in bfloat16" in caplog.text
    assert model.music_model.dtype == torch.float32


def test_bad_precision_is_refused():
    model, _ = tiny_collap()
    with pytest.raises(ValueError, match="precision must be one of bfloat16, float16, int8, got 'int4'"):
        lower_precision(model.audio_model, "int4")
    with pytest.raises(ValueError, match="int8 is for CPUs"):
        lower_precision(model.audio_model.to("meta"), "int8")


@precisions
def test_an_index_keeps_its_precision(precision, any_cpu, tmp_path, capsys):
    model, music, folder = tmp_path / "model", tmp_path / "music", tmp_path / "index"
    save_tiny_model(model)
    music.mkdir()
    write_songs(music, (3.0, 4.0))
    assert index_songs([str(music), "--model", str(model), "--index", str(folder), "--precision", precision]) == 0
    assert "2 songs in 2 files" in capsys.readouterr().out
    index = SongIndex.create(folder, str(model))  # the precision is that of the index
    assert index.song_retriever.precision == SongIndex.open(folder).song_retriever.precision == precision
    with pytest.raises(ValueError, match=f"precision: '{precision}' in the index, 'float16' here"):
        SongIndex.create(folder, str(model), precision="float16")
    assert SongIndex.create(folder, str(model), rebuild=True).retriever.precision is None
    with pytest.raises(ValueError, match="precision: 'that of the checkpoint' in the index, 'float16' here"):
        SongIndex.create(folder, str(model), precision="float16")


@precisions
def test_an_index_is_searched_where_its_precision_is_not(precision, tmp_path, monkeypatch):
    monkeypatch.setattr("collap.precision.is_faster_on_this_cpu", lambda _: True)
    model, folder = save_tiny_model(tmp_path / "model"), tmp_path / "index"
    songs = write_songs(tmp_path, (3.0, 4.0))
    SongIndex.create(folder, model, precision=precision).update([tmp_path])
    like = Query(like=songs["song-1"])
    here = [SongIndex.open(folder).search(query) for query in (Query(["drums"]), like)]
    monkeypatch.setattr("collap.precision.is_faster_on_this_cpu", lambda _: False)
    there = [SongIndex.open(folder).search(query) for query in (Query(["drums"]), like)]
    for own, other, tolerance in zip(here, there, (0, 0.02), strict=True):
        assert [match.song for match in own.matches] == [match.song for match in other.matches]
        scores = [[match.score for match in result.matches] for result in (own, other)]
        np.testing.assert_allclose(*scores, rtol=0, atol=tolerance)
    with pytest.raises(ValueError, match=f"precision: '{precision}' in the index, 'that of the checkpoint' here"):
        SongIndex.open(folder).update()


@precisions
def test_an_index_that_was_stamped_in_its_precision_goes_on(precision, any_cpu, tmp_path):
    model, folder = save_tiny_model(tmp_path / "model"), tmp_path / "index"
    write_songs(tmp_path, (3.0,))
    index = SongIndex.create(folder, model, precision=precision)
    index.update([tmp_path])
    with index._database(write=True) as database, database:  # as it was before
        _write_settings(database, {"stamp": _stamp(index.song_retriever)})
    assert SongIndex.open(folder).search(Query(["drums"])).matches
    assert SongIndex.open(folder).update().num_songs == 1


@needs_int8
def test_real_whisper_in_int8():
    if not SHARED.is_dir():
        pytest.skip("needs shared/models and shared/data")
    folder = SHARED / "models" / "whisper-tiny.en"
    encoder = WhisperModel.from_pretrained(folder, dtype=torch.float32).encoder.eval()
    song = next((SHARED / "data" / "recordings").glob("hungarian*"))
    waveform, _ = read_audio(str(song), 16_000, length_s=30.0)
    features = WhisperFeatureExtractor.from_pretrained(folder)(waveform, sampling_rate=16_000, return_tensors="pt")
    with torch.no_grad():
        exact = encoder(**features).last_hidden_state
        for name, layer in list(encoder.named_modules()):
            if type(layer) is nn.Linear:
                encoder.set_submodule(name, Int8Linear(layer))
        rounded = encoder(**features).last_hidden_state
    pooled = [nn.functional.avg_pool1d(frames.transpose(1, 2), 64).transpose(1, 2) for frames in (exact, rounded)]
    assert cosine_similarity(*pooled, dim=-1).min() > 0.99
