# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Spoken digits: what the tracks hold, the text tower, and the control."""

import json

import numpy as np
import pytest
import soundfile
import transformers

from benchmarks.spoken_digits.__main__ import build_text_tower, exchange_digits
from benchmarks.spoken_digits.tracks import LOUDNESS, WORDS, Settings, compose, load_recordings

SETTINGS = Settings(min_s=20.0, max_s=30.0, train_speakers=("ann", "bob"), test_speakers=("eve",))
NUM_TRACKS = {"train": 3, "validation": 1, "test": 2}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Half a second of a tone for each digit: 400 Hz and 100 Hz more for each, at 8 kHz; takes 0 (test) and 7."""
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(4000) / 8000
    for speaker in ("ann", "bob", "eve"):
        for digit in range(10):
            for take in (0, 7):
                tone = 0.3 * np.sin(2 * np.pi * (400 + 100 * digit) * time)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", tone, 8000)
    return folder


@pytest.fixture(scope="module")
def corpus(recordings, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("digits")
    compose(recordings, output_dir, NUM_TRACKS, SETTINGS)
    return output_dir


def read(output_dir, split):
    return [json.loads(line) for line in (output_dir / f"{split}.jsonl").read_text().splitlines()]


def test_splits_and_their_speakers(corpus, recordings):
    speakers = {split: [line["speaker"] for line in read(corpus, split)] for split in NUM_TRACKS}
    assert speakers == {"train": ["ann", "bob", "ann"], "validation": ["ann"], "test": ["eve", "eve"]}
    assert len({" ".join(line["text"]) for split in NUM_TRACKS for line in read(corpus, split)}) == 6
    for split, takes in (("train", 1), ("validation", 1), ("test", 2)):  # take 0 is not for training
        assert len(load_recordings(recordings, "ann", split)[3]) == takes


def test_manifest_tells_what_is_spoken_when(corpus):
    """The pitch of the tones in each section spells the sentence; between the sections there is silence."""
    for line in read(corpus, "train"):
        waveform, rate = soundfile.read(corpus / line["audio"])
        assert rate == 16000
        assert len(waveform) == round(line["duration_s"] * rate)
        assert 20 <= line["duration_s"] <= 30
        spoken = np.zeros(len(waveform), dtype=bool)
        for sentence, section in zip(line["text"], line["sections"], strict=True):
            start, end = round(section["start_s"] * rate), round(section["end_s"] * rate)
            spoken[start:end] = True
            found = []
            loud = np.flatnonzero(np.abs(waveform[start:end]) > 1e-3)
            for word in np.split(loud, np.flatnonzero(np.diff(loud) > 200) + 1):  # parted by at least 20 ms
                tone = waveform[start:end][word[0] : word[-1] + 1]
                pitch = np.abs(np.fft.rfft(tone)).argmax() * rate / len(tone)
                found.append(WORDS[round((pitch - 400) / 100)])
                assert np.sqrt(np.mean(tone**2)) == pytest.approx(LOUDNESS, rel=0.05)
            assert found == sentence.removesuffix(".").split()
            assert 4 <= len(found) <= 8
        assert not waveform[~spoken].any()


def test_a_larger_set_begins_with_the_smaller_one(recordings, corpus, tmp_path):
    compose(recordings, tmp_path, NUM_TRACKS | {"train": 4}, SETTINGS)
    first = {path.name: path.read_bytes() for path in (corpus / "train").iterdir()}
    assert {name: (tmp_path / "train" / name).read_bytes() for name in first} == first  # the seed decides
    assert read(tmp_path, "train")[:3] == read(corpus, "train")
    assert len(read(tmp_path, "train")) == 4


def test_the_text_tower_can_be_loaded(tmp_path):
    build_text_tower(tmp_path / "text", seed=0)
    transformers.RobertaModel.from_pretrained(tmp_path / "text", add_pooling_layer=False)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "text")
    ids = tokenizer(" ".join(WORDS) + ".")["input_ids"]
    assert len(set(ids) - {tokenizer.unk_token_id}) == 13  # ten words, the full stop, start and end


def test_the_control_has_other_digits_in_phrases_of_the_same_lengths(corpus, tmp_path):
    exchange_digits(corpus / "test.jsonl", tmp_path / "control.jsonl", seed=0)
    control, tracks = read(tmp_path, "control"), read(corpus, "test")
    lengths = [[[len(text.split()) for text in line["text"]] for line in lines] for lines in (control, tracks)]
    assert lengths[0] == lengths[1]
    assert [line["text"] for line in control] != [line["text"] for line in tracks]
