# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Examples from rows: the same in each evaluation; a training draw depends on row and seed only; cached frames."""

import json

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer
from torch.utils.data import DataLoader

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.cache import TensorCache, describe_features
from collap.data.manifest import load_manifest
from collap.encode import extract_features
from collap.training.arguments import CollapTrainingArguments
from collap.training.augmentation import StructureAugmentation
from collap.training.dataset import ContrastiveBatchSampler, SongDataset, SongReader, ids_of
from collap.training.trainer import CollapTrainer

WORDINGS = [["A song.", "Low first.", "High then."], ["Music.", "It is low.", "It is high."]]
RATE = 16_000
ALL = StructureAugmentation(0.5, 0.5, 0.5, 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two songs: a low tone of 1.28 s and then a high one of 2.56 s, with sections; and noise without."""
    folder = tmp_path_factory.mktemp("songs")
    low, high = (np.sin(2 * np.pi * hertz * np.arange(41_000) / RATE) for hertz in (200, 3000))
    soundfile.write(folder / "tones.wav", 0.3 * np.concatenate([low[:20_480], high[:40_960]]), RATE)
    soundfile.write(folder / "noise.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    sections = [
        {"start_s": 0.0, "end_s": 1.28, "texts": [["Low first."], ["It is low."]]},
        {"start_s": 1.28, "end_s": 3.84, "texts": [["High then."], ["It is high."]]},
    ]
    lines = [
        {"audio": "tones.wav", "texts": WORDINGS, "sections": sections, "song_id": "tones"},
        {"audio": "noise.wav", "texts": [["Noise here."]], "sections": None, "song_id": None},
    ]
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def processor() -> CollapProcessor:
    words = " ".join(sentence for text in [*WORDINGS, ["Noise here."]] for sentence in text)
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    return CollapProcessor(extractor, tiny_tokenizer(words), "sentence")


@pytest.fixture(scope="module")
def model() -> CollapModel:
    torch.manual_seed(0)
    return CollapModel(tiny_config(text_granularity="sentence")).eval()


@pytest.fixture
def make(folder, processor, model):
    def make_songs(augmentation=None, features=None) -> SongDataset:
        rows = load_manifest(folder / "songs.jsonl")
        return SongDataset(rows, SongReader(processor, model.config, features, augmentation))

    return make_songs


@pytest.fixture(scope="module")
def store(folder, processor, model) -> TensorCache:
    audio = load_manifest(folder / "songs.jsonl")["audio"]
    extract_features(audio, folder / "features", model.audio_model, processor.feature_extractor)
    return TensorCache(folder / "features", describe_features(model.audio_model, processor.feature_extractor))


def test_the_trainer_draws_the_songs_of_a_group_into_one_batch(make, model, processor, tmp_path):
    songs = make()
    groups = [None if index < 8 else str(index // 2) for index in range(24)]
    rows = songs.rows.select([0, 1] * 12)
    arguments = CollapTrainingArguments(
        output_dir=str(tmp_path), contrastive_batch_size=8, report_to="none", use_cpu=True, seed=3
    )
    for columns, expected in ((rows.add_column("group", groups), groups), (rows, None)):
        dataset = SongDataset(columns, songs.reader)
        trainer = CollapTrainer(model, arguments, train_dataset=dataset, data_collator=CollapDataCollator(processor))
        sampler = ContrastiveBatchSampler(24, 8, dataset.lengths(), seed=3, groups=expected)
        assert list(trainer.get_train_dataloader().batch_sampler) == list(sampler)


def test_evaluation_takes_the_whole_song_and_its_first_text(make, folder):
    songs = make(ALL)
    for _ in range(3):
        example = songs[0]
        assert example["text"] == WORDINGS[0]
        np.testing.assert_array_equal(example["audio"], soundfile.read(folder / "tones.wav", dtype="float32")[0])
    assert songs[0]["song_id"] == "tones"
    assert songs[1]["song_id"] == str(folder / "noise.wav")


def test_a_draw_is_a_function_of_row_and_seed(make):
    songs, again = make(ALL), make(ALL)
    draws = [songs[0, seed] for seed in range(40)]
    torch.manual_seed(99)  # of no account
    for seed in reversed(range(40)):
        example = again[0, seed]
        assert example["text"] == draws[seed]["text"]
        torch.testing.assert_close(example["audio"], draws[seed]["audio"])
    assert len({tuple(draw["text"]) for draw in draws}) > 10
    texts = {sentence for draw in draws for sentence in draw["text"]}
    assert texts == {sentence for wording in WORDINGS for sentence in wording}
    assert {draw["text_id"] for draw in draws} == {songs[0]["text_id"]}  # one description, however it is worded


def test_a_crop_takes_the_audio_that_its_text_describes(make):
    songs = make(StructureAugmentation(section_crop_probability=1.0))
    crops = {}
    for seed in range(20):
        example = songs[0, seed]
        (sentence,) = example["text"]
        spectrum = np.abs(np.fft.rfft(example["audio"].numpy()))
        hertz = spectrum.argmax() * RATE / len(example["audio"])
        crops.setdefault(sentence, set()).add((round(hertz / 100) * 100, len(example["audio"])))
    assert crops == {
        "Low first.": {(200, 20_480)}, "It is low.": {(200, 20_480)},
        "High then.": {(3000, 40_960)}, "It is high.": {(3000, 40_960)},
    }  # fmt: skip
    assert len(songs[1, 0]["text"]) == 1  # without sections nothing is cropped
    assert len(songs[1, 0]["audio"]) == RATE


def test_cached_frames_are_cut_where_the_audio_is(make, store, model):
    """The sections are whole chunks here: but for the fades of 5 ms the encoders get the same input."""
    augmentation = StructureAugmentation(section_crop_probability=0.6, section_reorder_probability=0.6)
    from_audio, from_frames = make(augmentation), make(augmentation, store)
    sizes = set()
    for seed in range(12):
        live, cached = from_audio[0, seed], from_frames[0, seed]
        assert live["text"] == cached["text"]
        inputs = from_audio.reader.processor(audio=live["audio"], sampling_rate=RATE, return_tensors="pt")
        with torch.no_grad():
            expected, _ = model.audio_model.encode(**inputs)
        frames = cached["encoder_frames"].float()
        assert frames.shape == expected[0].shape
        assert torch.cosine_similarity(frames, expected[0], dim=-1).mean() > 0.97
        assert torch.cosine_similarity(frames, expected[0].flip(0), dim=-1).mean() < 0.95
        sizes.add(len(frames))
    assert len(sizes) == 3  # the first section, the second, both


def test_lengths_of_songs_in_chunks(make, store):
    assert make().lengths() == make(features=store).lengths() == [6, 1]  # 3.84 s and 1 s in chunks of 0.64 s
    songs = make()
    songs.rows = songs.rows.add_column("duration_s", [5.0, 7.0])
    assert songs.lengths() == [7, 10]


def test_audio_may_be_bytes(make, folder):
    songs = make(ALL)
    rows = songs.rows.cast_column("audio", Audio(decode=False))
    rows = rows.map(lambda row: {"audio": {"bytes": (folder / "tones.wav").read_bytes(), "path": None}})
    inside = SongDataset(rows, songs.reader)
    assert inside.lengths() == [6, 6]
    torch.testing.assert_close(inside[0]["audio"], songs[0]["audio"])
    torch.testing.assert_close(inside[0, 3]["audio"], songs[0, 3]["audio"])


def test_bytes_are_the_id_of_a_song_not_the_name_beside_them(make, folder):
    rows = make().rows.cast_column("audio", Audio(decode=False))
    for name in ("a.wav", None):
        audio = [{"bytes": (folder / file).read_bytes(), "path": name} for file in ("tones.wav", "noise.wav")]
        audio.append(audio[0])
        first, other, again = (ids_of({"audio": song, "text": "A song."})["song_id"] for song in audio)
        assert first == again != other
    assert ids_of(rows[1])["song_id"] == str(folder / "noise.wav")


def test_a_section_behind_the_longest_song_is_not_trained(make, processor, monkeypatch):
    monkeypatch.setattr(processor.feature_extractor, "max_length_s", 1.0)
    songs = make()
    reader = SongReader(processor, songs.reader.config, truncation=True, with_sections=True)
    example = reader.for_training(songs.rows[0], 0)
    assert (len(example["audio"]), example["section_ids"]) == (RATE, [-1, 0, -1])
    assert reader.find_section_problem(songs.rows[0] | {"duration_s": 3.84}) == (
        "the last section lasts from 1.28 s to 3.84 s, the song ends at 1.0 s"
    )


def test_workers_draw_what_the_process_would(make):
    songs = make(ALL)
    collator = CollapDataCollator(songs.reader.processor)

    def epoch(num_workers: int) -> list[list]:
        sampler = ContrastiveBatchSampler(2, 2)
        loader = DataLoader(songs, batch_sampler=sampler, collate_fn=collator, num_workers=num_workers)
        return [batch["input_ids"].tolist() for _ in range(3) for batch in loader]

    assert epoch(0) == epoch(2)


def test_a_document_keeps_its_order_and_has_no_sections(processor, model, monkeypatch):
    monkeypatch.setattr(processor, "text_granularity", "document")
    reader = SongReader(processor, model.config, augmentation=ALL)
    assert reader.augmentation.sentence_shuffle_probability == 0
    assert reader.augmentation.sentence_drop_probability == 0.5
    with pytest.raises(ValueError, match="section_loss_weight needs text_granularity='sentence'"):
        SongReader(processor, model.config, with_sections=True)


def test_a_song_that_is_not_whole_is_an_error_that_names_the_file(make, folder):
    """Also without sections, where nothing is cropped."""
    songs = make(ALL)
    whole = (folder / "noise.wav").read_bytes()
    (folder / "noise.wav").write_bytes(whole[: len(whole) // 2])
    for key in (1, (1, 0)):
        with pytest.raises(
            ValueError, match=r"^audio \('.*noise\.wav'\) must be whole, but it ends after .*on_bad_audio"
        ):
            songs[key]
