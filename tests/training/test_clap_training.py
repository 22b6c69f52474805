# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A ClapModel with the interface of a CoLLAP, and the windows that it is trained on."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Dataset
from tiny_clap import RATE, WINDOW, tiny_clap
from torch.nn.functional import cross_entropy
from transformers import ClapModel, ClapProcessor

from collap import CollapAudioOutput, CollapTextOutput
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.training.clap import (
    ClapDataCollator,
    ClapSongReader,
    TrainableClap,
    lacks_mel_statistics,
    measure_mel_statistics,
)
from collap.training.dataset import SongDataset
from collap.training.loss import split_ids

NUM_SONGS = 6
TEXTS = [f"a choir sings part {index}" for index in range(NUM_SONGS)]


@pytest.fixture(scope="module")
def processor() -> ClapProcessor:
    return tiny_clap(*TEXTS)[1]


@pytest.fixture(scope="module")
def songs(tmp_path_factory, processor) -> SongDataset:
    folder = tmp_path_factory.mktemp("songs")
    generator = np.random.default_rng(0)
    for index in range(NUM_SONGS):
        soundfile.write(folder / f"{index}.wav", 0.1 * generator.standard_normal(RATE + 2_400 * index), RATE)
    rows = [{"audio": str(folder / f"{index}.wav"), "text": text} for index, text in enumerate(TEXTS)]
    return SongDataset(Dataset.from_list(rows), ClapSongReader(processor))


@pytest.fixture(scope="module")
def model() -> TrainableClap:
    clap = tiny_clap(*TEXTS)[0]
    model = TrainableClap(clap.config)
    model.load_state_dict(clap.state_dict())
    return model.eval()


@pytest.fixture
def batch(songs, processor):
    return ClapDataCollator(processor, 16)([songs[index] for index in range(NUM_SONGS)])


def test_similarity_by_hand(model):
    songs = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    audio = CollapAudioOutput(last_hidden_state=songs[:, None], frame_mask=torch.ones(2, 1, dtype=torch.bool))
    queries = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]])
    text = CollapTextOutput(query_embeds=queries, sentence_counts=torch.ones(3, dtype=torch.long))
    expected = torch.tensor([[0.0, 1.0, 0.8], [0.8, 0.6, 0.96]])
    torch.testing.assert_close(model.similarity(audio, text), expected)
    torch.testing.assert_close(model.similarity(audio, text, use_time=False, section_query=True), expected)


def test_the_loss_has_both_directions(model, batch):
    output = model(**split_ids(batch)[0])
    plain = ClapModel(model.config).eval()
    plain.load_state_dict(model.state_dict())
    inputs = {name: batch[name] for name in ("input_features", "input_ids", "attention_mask")}
    factor_a, factor_t = plain.logit_scale_a.exp(), plain.logit_scale_t.exp()
    assert (factor_a / factor_t - 1).abs() > 0.01
    logits = plain(**inputs).logits_per_audio / factor_a * (factor_a * factor_t).sqrt()
    found = output.logit_scale * model.similarity(output.audio_model_output, output.text_model_output)
    torch.testing.assert_close(found, logits, rtol=1e-4, atol=1e-4)
    labels = torch.arange(NUM_SONGS)
    expected = (cross_entropy(logits, labels) + cross_entropy(logits.T, labels)) / 2
    loss = contrastive_loss(found)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-4)
    loss.backward()
    assert model.logit_scale_a.grad == model.logit_scale_t.grad != 0


def test_mel_statistics_are_those_of_all_frames(processor, songs):
    model = tiny_clap(*TEXTS)[0]
    assert lacks_mel_statistics(model)
    collator = ClapDataCollator(processor, 16)
    measure_mel_statistics(model, songs, collator, seed=3)
    assert not lacks_mel_statistics(model)
    norm = model.audio_model.audio_encoder.batch_norm
    windows = collator([songs[index, 3 + index] for index in range(NUM_SONGS)])["input_features"]
    frames = windows.flatten(0, 2)  # (songs x frames, bins)
    torch.testing.assert_close(norm.running_mean, frames.mean(0), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(norm.running_var, frames.var(0, correction=0), rtol=1e-3, atol=1e-3)


@pytest.fixture
def row(tmp_path: Path) -> dict:
    ramp = np.arange(3 * WINDOW) / (3 * WINDOW)  # a sample tells its time
    soundfile.write(tmp_path / "ramp.wav", ramp, RATE, subtype="FLOAT")
    return {"audio": str(tmp_path / "ramp.wav"), "texts": ["one", ["two", "three"]]}


def test_a_seed_draws_window_and_text(processor, row):
    reader = ClapSongReader(processor)
    first, again = reader.for_training(row, 5), reader.for_training(row, 5)
    np.testing.assert_array_equal(first["window"], again["window"])
    assert first["text"] == again["text"]
    drawn = [reader.for_training(row, seed) for seed in range(60)]
    starts = np.array([example["window"][0] * 3 for example in drawn])  # seconds
    assert {len(example["window"]) for example in drawn} == {WINDOW}
    assert {example["text"] for example in drawn} == {"one", "two three"}
    assert starts.min() < 0.2
    assert 1.8 < starts.max() <= 2.0
    assert abs(starts.mean() - 1.0) < 0.3


def test_a_clip_lies_in_the_section_that_its_text_describes(processor, row):
    row["sections"] = [
        {"start_s": 0.0, "end_s": 0.5, "texts": [["in"], ["i", "n"]]},
        {"start_s": 0.5, "end_s": 3.0, "texts": [["out"], ["o", "ut"]]},
    ]
    drawn = [ClapSongReader(processor, section_probability=1.0).for_training(row, seed) for seed in range(60)]
    first = [example for example in drawn if example["text"] in ("in", "i n")]
    assert 2 <= len(first) <= 25  # a sixth of the song
    for example in drawn:
        start_s, end_s = (example["window"][place] * 3 for place in (0, -1))
        if example["text"] in ("in", "i n"):
            assert len(example["window"]) == WINDOW // 2
            assert end_s <= 0.5
        else:
            assert example["text"] in ("out", "o ut")
            assert len(example["window"]) == WINDOW
            assert start_s >= 0.499
    assert len({example["text"] for example in drawn}) == 4
    assert len({example["text_id"] for example in drawn}) == 2
    assert {example["song_id"] for example in drawn} == {row["audio"]}


def test_a_clip_ends_with_the_song(processor, row):
    row["sections"] = [
        {"start_s": start_s, "end_s": 9.0, "texts": [text, text]}
        for start_s, text in ((2.5, "in"), (2.9, "out"), (3, "b"))
    ]
    drawn = [ClapSongReader(processor, section_probability=1.0).for_training(row, seed) for seed in range(5)]
    assert {(example["text"], len(example["window"])) for example in drawn} == {("in", WINDOW // 2)}


def test_evaluation_takes_the_first_window_and_text(processor, row):
    example = ClapSongReader(processor).for_evaluation(row)
    assert example["window"][0] == 0
    assert len(example["window"]) == WINDOW
    assert example["text"] == "one"
    assert example["song_id"] == row["audio"]
