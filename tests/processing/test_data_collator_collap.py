# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config

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
def collator(processor) -> CollapDataCollator:
    return CollapDataCollator(processor)


def assert_same(first, second) -> None:
    assert list(first) == list(second)
    for key in first:
        if isinstance(first[key], torch.Tensor):
            torch.testing.assert_close(first[key], second[key], rtol=0, atol=0)
        else:
            assert first[key] == second[key]


def test_batch_of_songs(processor, collator, tmp_path):
    soundfile.write(tmp_path / "song.wav", noise(1.5, 2), RATE, subtype="FLOAT")
    examples = [
        {"audio": noise(1.0, 1), "sampling_rate": RATE, "text": TEXTS[0], "id": "first"},
        {"audio": str(tmp_path / "song.wav"), "sampling_rate": None, "text": ["piano starts .", "drums set in ."]},
    ]
    batch = collator(examples)
    assert batch.pop("return_loss") is True
    assert batch.pop("text_ids").shape == (2,)
    songs = [noise(1.0, 1), noise(1.5, 2)]
    assert_same(batch, processor(text=TEXTS, audio=songs, sampling_rate=RATE, return_tensors="pt"))
    assert [record.duration_s for record in batch.audio_coverage] == [1.0, 1.5]
    assert [len(record.sentences) for record in batch.text_coverage] == [2, 2]


@pytest.mark.parametrize("granularity", ["document", "sentence"])
def test_frames_of_frozen_encoders_give_the_loss_of_the_songs(processor, granularity):
    model = CollapModel(tiny_config(text_granularity=granularity))
    processor.text_granularity = granularity
    collator = CollapDataCollator(processor)
    songs = [noise(1.5, 1), noise(0.4, 2)]
    from_audio = collator([{"audio": s, "sampling_rate": RATE, "text": t} for s, t in zip(songs, TEXTS, strict=True)])
    examples = []
    for song, text in zip(songs, TEXTS, strict=True):
        inputs = processor(audio=song, sampling_rate=RATE, return_tensors="pt")
        frames, mask = model.audio_model.encode(**inputs)
        examples.append({"encoder_frames": frames[mask].detach().double().numpy(), "text": text})
    from_frames = collator(examples)
    num_frames = [len(example["encoder_frames"]) for example in examples]
    assert list(from_frames)[:2] == ["encoder_frames", "frame_mask"]
    assert from_frames["encoder_frames"].shape[:2] == from_frames["frame_mask"].shape == (2, max(num_frames))
    assert from_frames["encoder_frames"].dtype == torch.float32
    assert from_frames["frame_mask"].dtype == torch.bool
    assert from_frames["frame_mask"].sum(-1).tolist() == num_frames
    assert (from_frames.audio_coverage, len(from_frames.text_coverage)) == ([], 2)

    model.eval()
    loss = model(**from_frames).loss
    torch.testing.assert_close(loss, model(**from_audio).loss, rtol=0, atol=1e-5)
    loss.backward()


# --- what belongs together ----------------------------------------------------------------------------------------


def test_ids_say_which_pairs_share_a_song_or_a_text(collator, tmp_path):
    frames = {"encoder_frames": torch.zeros(1, 4)}
    batch = collator(
        [
            {**frames, "text": "Piano. Drums.", "song_id": "a"},
            {**frames, "text": "A choir.", "song_id": "a"},
            {**frames, "text": ["Piano.", "Drums."], "song_id": "b"},
            {**frames, "text": "It fades.", "song_id": "c", "text_id": "Piano. Drums."},
        ]
    )
    songs, texts = batch["song_ids"], batch["text_ids"]
    assert songs.dtype == texts.dtype == torch.int64
    assert (songs[:, None] == songs).int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
    assert (texts[:, None] == texts).int().tolist() == [[1, 0, 1, 1], [0, 1, 0, 0], [1, 0, 1, 1], [1, 0, 1, 1]]
    assert songs.min() >= 0
    # The same in every process and on every day, other than by `hash`.
    assert songs[0] == int.from_bytes(bytes.fromhex("ca978112ca1bbdca"), "big") >> 1


def test_a_path_is_an_id_and_an_array_is_none(collator, tmp_path):
    path = str(tmp_path / "song.wav")
    soundfile.write(path, noise(1.0), RATE)
    same = collator([{"audio": path, "text": "piano"}, {"audio": path, "text": "drums"}])["song_ids"]
    assert same[0] == same[1]
    forms = (
        {"audio": Path(path)},
        {"audio": {"path": path}},
        {"audio": noise(1.0), "sampling_rate": RATE, "song_id": path},
    )
    assert (collator([{**form, "text": "piano"} for form in forms])["song_ids"] == same[0]).all()
    numbered = [{"audio": path, "text": "piano", "song_id": number} for number in (1, np.int64(1))]
    assert len(collator(numbered)["song_ids"].unique()) == 1
    inside = {"path": "a name", "array": noise(1.0), "sampling_rate": RATE}
    assert "song_ids" not in collator([{"audio": inside, "text": "piano"}])
    batch = collator([{"audio": path, "text": "piano"}, {"audio": noise(1.0), "sampling_rate": RATE, "text": "drums"}])
    assert "song_ids" not in batch


# --- errors ---------------------------------------------------------------------------------------------------------

FRAMES = torch.zeros(3, 4)


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        (
            [{"audio": noise(1.0)}],
            r"^examples must all hold 'text', and all 'audio' or all .*; got examples\[0\] with \['audio'\]",
        ),
        (
            [{"text": "a choir", "encoder_frames": FRAMES}, {"text": "a choir", "audio": noise(1.0)}],
            r"; got examples\[1\] with \['text', 'audio'\]",
        ),
        (
            [{"text": "a choir", "encoder_frames": FRAMES}, {"text": "a choir", "encoder_frames": FRAMES[:, :2]}],
            r"^encoder_frames of examples\[1\] must have the shape \(num_frames, width\), .* got \(3, 2\)",
        ),
        ([{"text": "a choir", "encoder_frames": FRAMES[:0]}], r"^encoder_frames of examples\[0\] .* got \(0, 4\)"),
    ],
)
def test_errors(collator, examples, message):
    with pytest.raises(ValueError, match=message):
        collator(examples)


def test_songs_and_texts_are_cut_each_by_its_own_wish(collator):
    examples = [{"text": [" ".join(["piano"] * 40)], "encoder_frames": FRAMES}]
    (record,) = replace(collator, truncate_texts=True)(examples).text_coverage
    assert (record.num_tokens, record.num_encoded_tokens) == (42, 32)
    with pytest.raises(ValueError, match=r"text\[0\] must have at most 32 tokens"):
        replace(collator, truncate_songs=True)(examples)
    collator.processor.feature_extractor.max_length_s = 1.0
    examples = [{"text": "piano", "audio": noise(1.5), "sampling_rate": RATE}]
    (record,) = replace(collator, truncate_songs=True)(examples).audio_coverage
    assert (record.duration_s, record.chunks) == (1.5, 2)
    assert record.encoded_s <= 1.0
    with pytest.raises(ValueError, match=r"^audio\[0\] must be no longer than max_length_s=1"):
        replace(collator, truncate_texts=True)(examples)
