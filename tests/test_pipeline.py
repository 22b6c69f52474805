# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' own pipelines, with nothing of ours but the classes they are given.

Not by its `PipelineTesterMixin`: that one needs `tests/pipelines`, which the source distribution lacks.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import ZeroShotAudioClassificationPipeline, pipeline

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor, CollapTextModel

TASK = "zero-shot-audio-classification"
LABELS = ["a choir", "drums", "a slow piano"]
TEXTS = [f"This is a sound of {label}." for label in LABELS]  # the pipeline's own template

GRANULARITIES = {
    "document": {"text_granularity": "document"},
    "sentence": {"text_granularity": "sentence", "temporal_position": True},
}


@pytest.fixture(params=GRANULARITIES)
def model(request) -> CollapModel:
    model = CollapModel(tiny_config(**GRANULARITIES[request.param])).eval()
    # Larger weights than the initial ones, so that the labels differ and a score given to another one is noticed.
    for weight in (*model.text_model.encoder.parameters(), model.text_model.projection.weight):
        torch.nn.init.normal_(weight, std=0.5)
    return model


@pytest.fixture
def processor(model: CollapModel) -> CollapProcessor:
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    return CollapProcessor(extractor, tiny_tokenizer(*TEXTS), text_granularity=model.config.text_granularity)


@pytest.fixture
def songs() -> list[np.ndarray]:
    """1.7 s and 0.9 s of noise: three chunks and two."""
    return [np.random.uniform(-0.5, 0.5, length).astype(np.float32) for length in (27_200, 14_400)]


@torch.no_grad()
def expected_scores(model: CollapModel, processor: CollapProcessor, song: np.ndarray) -> dict[str, float]:
    batch = processor(text=TEXTS, audio=song, sampling_rate=16_000, return_tensors="pt")
    return dict(zip(LABELS, model(**batch).logits_per_audio.softmax(-1)[0].tolist(), strict=True))


def check(answer: list[dict], expected: dict[str, float], atol: float = 1e-6) -> None:
    scores = {entry["label"]: entry["score"] for entry in answer}
    assert sum(scores.values()) == pytest.approx(1.0, abs=1e-6)
    assert scores == pytest.approx(expected, abs=atol)
    assert list(scores.values()) == sorted(scores.values(), reverse=True)
    assert max(scores.values()) - min(scores.values()) > 0.01  # else any order of labels would do


def test_it_gives_the_scores_of_the_model(model, processor, songs):
    classify = pipeline(
        TASK, model=model, feature_extractor=processor.feature_extractor, tokenizer=processor.tokenizer
    )
    assert type(classify) is ZeroShotAudioClassificationPipeline
    check(classify(songs[0], candidate_labels=LABELS), expected_scores(model, processor, songs[0]))
    answers = classify(songs, candidate_labels=LABELS)
    assert len(answers) == 2
    for answer, song in zip(answers, songs, strict=True):
        check(answer, expected_scores(model, processor, song))


def test_it_finds_everything_in_a_folder(model, processor, songs, tmp_path: Path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    classify = pipeline(TASK, model=str(tmp_path))
    assert isinstance(classify.feature_extractor, CollapFeatureExtractor)
    check(classify(songs[0], candidate_labels=LABELS), expected_scores(model, processor, songs[0]))


def test_songs_of_equally_many_chunks_can_be_batched(model, processor, songs):
    classify = pipeline(
        TASK, model=model, feature_extractor=processor.feature_extractor, tokenizer=processor.tokenizer
    )
    songs = [songs[1], songs[1][:13_500], songs[0][-14_000:]]  # two chunks each
    answers = classify(songs, candidate_labels=LABELS, batch_size=2)
    for answer, song in zip(answers, songs, strict=True):
        check(answer, expected_scores(model, processor, song))


@torch.no_grad()
def test_features_of_texts(model, processor, tmp_path: Path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    extract = pipeline("feature-extraction", model=CollapTextModel.from_pretrained(tmp_path), tokenizer=str(tmp_path))
    for text, features in zip(TEXTS, extract(TEXTS, batch_size=2), strict=True):  # padded in batches, returned whole
        inputs = processor(text=text, return_tensors="pt")
        states = model.get_text_features(**inputs).last_hidden_state[0]
        torch.testing.assert_close(torch.tensor(features)[0, : len(states)], states)
