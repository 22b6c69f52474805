# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import pickle
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config
from torch.utils.data import DataLoader

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor

RATE = 16000
TEXTS = ["a choir sings. it fades!", "piano starts . drums set in ."]
SENTENCES = ["piano starts .", "drums set in .", "a choir sings .", "it fades !", "then piano .", "then drums ."]


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * RATE)).astype(np.float32)


@pytest.fixture
def processor(tokenizer) -> CollapProcessor:
    return CollapProcessor(
        CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S), tokenizer, text_granularity="sentence"
    )


@pytest.fixture
def in_order(processor) -> CollapDataCollator:
    return CollapDataCollator(processor, sentence_shuffle_probability=0.0)


def assert_same(first, second) -> None:
    assert list(first) == list(second)
    for key in first:
        if isinstance(first[key], torch.Tensor):
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0)
        else:
            assert first[key] == second[key]


def test_batch_of_songs(processor, in_order, tmp_path):
    soundfile.write(tmp_path / "song.wav", noise(1.5, 2), RATE, subtype="FLOAT")
    examples = [
        {"audio": noise(1.0, 1), "sampling_rate": RATE, "text": TEXTS[0], "id": "first"},
        {"audio": str(tmp_path / "song.wav"), "sampling_rate": None, "text": ["piano starts .", "drums set in ."]},
    ]
    batch = in_order(examples)
    assert batch.pop("return_loss") is True
    songs = [noise(1.0, 1), noise(1.5, 2)]
    assert_same(batch, processor(text=TEXTS, audio=songs, sampling_rate=RATE, return_tensors="pt"))
    assert [(record.seconds_given, record.sentences) for record in batch.coverage] == [(1.0, 2), (1.5, 2)]


@pytest.mark.parametrize("granularity", ["document", "sentence"])
def test_frames_of_frozen_encoders_give_the_loss_of_the_songs(processor, granularity):
    model = CollapModel(tiny_config(text_granularity=granularity))
    processor.text_granularity = granularity
    collator = CollapDataCollator(processor, sentence_shuffle_probability=0.0)
    songs = [noise(1.5, 1), noise(0.4, 2)]
    from_audio = collator([{"audio": s, "sampling_rate": RATE, "text": t} for s, t in zip(songs, TEXTS, strict=True)])
    examples = []
    for song, text in zip(songs, TEXTS, strict=True):
        inputs = processor(audio=song, sampling_rate=RATE, return_tensors="pt")
        frames, mask = model.audio_model.encode(**inputs)
        examples.append({"encoder_frames": frames[mask].detach().double().numpy(), "text": text, "audio": "gone.wav"})
    from_frames = collator(examples)
    num_frames = [len(example["encoder_frames"]) for example in examples]
    assert list(from_frames)[:2] == ["encoder_frames", "frame_mask"]
    assert from_frames["encoder_frames"].shape[:2] == from_frames["frame_mask"].shape == (2, max(num_frames))
    assert from_frames["encoder_frames"].dtype == torch.float32
    assert from_frames["frame_mask"].dtype == torch.bool
    assert from_frames["frame_mask"].sum(-1).tolist() == num_frames
    assert [record.seconds_given for record in from_frames.coverage] == [None, None]

    model.eval()
    loss = model(**from_frames).loss
    torch.testing.assert_close(loss, model(**from_audio).loss, rtol=0, atol=1e-5)
    loss.backward()


# --- shuffling ------------------------------------------------------------------------------------------------------


def rows_of(batch) -> list[tuple[int, ...]]:
    return [tuple(row) for row in batch["input_ids"].tolist()]


def text_examples(count: int, text=SENTENCES) -> list[dict]:
    return [{"encoder_frames": torch.zeros(1, 4), "text": text} for _ in range(count)]


def test_sentences_of_a_share_of_the_texts_are_shuffled(processor):
    in_order = rows_of(CollapDataCollator(processor, sentence_shuffle_probability=0.0)(text_examples(1)))
    for probability, low, high in ((0.0, 0, 0), (0.5, 70, 130), (1.0, 190, 200)):
        batch = CollapDataCollator(processor, probability)(text_examples(200))
        rows = rows_of(batch)
        texts = [rows[start : start + len(SENTENCES)] for start in range(0, len(rows), len(SENTENCES))]
        assert all(Counter(text) == Counter(in_order) for text in texts)  # shuffled, none lost, none from elsewhere
        assert low <= sum(text != in_order for text in texts) <= high
        assert batch["sentence_counts"].tolist() == [len(SENTENCES)] * 200


def test_strings_are_split_before_they_are_shuffled(processor):
    collator = CollapDataCollator(processor, sentence_shuffle_probability=1.0)
    orders = {tuple(rows_of(collator(text_examples(1, "Piano. Drums! Choir?")))) for _ in range(60)}
    assert len(orders) == 6


def test_a_document_stays_as_it_is(processor):
    processor.text_granularity = "document"
    batch = CollapDataCollator(processor, sentence_shuffle_probability=1.0)(text_examples(20))
    assert batch["sentence_counts"].tolist() == [1] * 20
    assert len(set(rows_of(batch))) == 1


def test_evaluation_shuffles_nothing(processor):
    collator = CollapDataCollator(processor)
    evaluation = replace(collator, sentence_shuffle_probability=0.0)
    assert_same(evaluation(text_examples(50)), evaluation(text_examples(50)))
    assert evaluation.processor is processor


def test_same_seed_same_batches_in_the_workers_of_a_data_loader(processor):
    def epochs(workers: int) -> list[list[tuple[int, ...]]]:
        torch.manual_seed(7)
        loader = DataLoader(
            text_examples(8), batch_size=4, num_workers=workers, collate_fn=CollapDataCollator(processor)
        )
        return [[rows_of(batch) for batch in loader] for _ in range(2)]

    first, second = epochs(workers=2), epochs(workers=2)
    assert first == second
    assert first[0] != first[1]  # another order in each epoch
    assert first[0][0] != first[0][1]  # and in each worker
    assert epochs(workers=0) == epochs(workers=0)


def test_pickle(in_order):
    """Data loaders that spawn their workers send them the collator; the workers send back batches."""
    examples = [{"audio": noise(1.0), "sampling_rate": RATE, "text": TEXTS[0]}]
    batch = in_order(examples)
    copied = pickle.loads(pickle.dumps(in_order))
    returned = pickle.loads(pickle.dumps(copied(examples)))
    assert_same(returned, batch)
    assert returned.coverage == batch.coverage


# --- errors ---------------------------------------------------------------------------------------------------------

FRAMES = torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (
            [{"audio": noise(1.0)}],
            r"^examples must all hold 'text', and all 'audio' or all .*; got examples\[0\] with \['audio'\]",
        ),
        ([{"text": "a choir", "audio": None}], r"; got examples\[0\] with \['text'\]"),
        (
            [{"text": "a choir", "encoder_frames": FRAMES}, {"text": "a choir", "audio": noise(1.0)}],
            r"; got examples\[1\] with \['text', 'audio'\]",
        ),
        (
            [{"text": "a choir", "encoder_frames": FRAMES}, {"text": "a choir", "encoder_frames": FRAMES[:, :2]}],
            r"^encoder_frames of examples\[1\] must have the shape \(num_frames, width\), .* got \(3, 2\)",
        ),
        ([{"text": "a choir", "encoder_frames": FRAMES[:0]}], r"^encoder_frames of examples\[0\] .* got \(0, 4\)"),
        ([{"text": "a choir", "encoder_frames": FRAMES[0, 0]}], r"^encoder_frames of examples\[0\] .* got \(\)"),
        ([{"text": "a choir", "audio": noise(1.0)}], r"^sampling_rate must be given for audio\[0\]"),
        ([{"text": "", "encoder_frames": FRAMES}], r"^text\[0\] must hold words"),
        (
            [{"text": [" ".join(["piano"] * 40)], "encoder_frames": FRAMES}],
            r"^sentence 0 of text\[0\] must have at most 32 tokens, got 42",
        ),
    ],
)
def test_errors(in_order, examples, message):
    with pytest.raises(ValueError, match=message):
        in_order(examples)


def test_truncation(in_order):
    examples = [{"text": [" ".join(["piano"] * 40)], "encoder_frames": FRAMES}]
    (record,) = replace(in_order, truncation=True)(examples).coverage
    assert (record.tokens_given, record.tokens_kept) == (42, 32)


@pytest.mark.parametrize("probability", [-0.1, 1.5])
def test_probability_out_of_range(processor, probability):
    with pytest.raises(ValueError, match=rf"sentence_shuffle_probability must lie in \[0, 1\], got {probability}"):
        CollapDataCollator(processor, sentence_shuffle_probability=probability)
