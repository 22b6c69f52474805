# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Spoken digits: what the tracks hold, who is in which manifest, which prompts are kept back, and the command."""

import json

import numpy as np
import pytest
import soundfile
import transformers

from benchmarks.spoken_digits import __main__ as command
from benchmarks.spoken_digits.recordings import LOUDNESS, WORDS, load_digits, load_prompts, split_by_words
from benchmarks.spoken_digits.tracks import PHRASE_PAUSE_S, SPEAKERS, make_track

PROMPTS = "; Prompts\nhello: Hello, world!\ncall: Call now 7.\npress: Press 10.\nnone: Nothing.\nletters/a: a\n"


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """Half a second of a tone for each digit: 400 Hz and 100 Hz more for each, at 8 kHz; takes 0 (test) and 7."""
    folder = tmp_path_factory.mktemp("recordings")
    time = np.arange(4000) / 8000
    for speaker in SPEAKERS:
        for digit in range(10):
            for take in (0, 7):
                tone = 0.3 * np.sin(2 * np.pi * (400 + 100 * digit) * time)
                soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", tone, 8000)
    return folder


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    """Half a second of noise for each prompt but one, with the transcripts."""
    folder = tmp_path_factory.mktemp("prompts")
    (folder / "core-sounds-en.txt").write_text(PROMPTS)
    (folder / "letters").mkdir()
    for name in ("hello", "call", "press", "letters/a"):
        soundfile.write(folder / f"{name}.wav", 0.1 * np.random.default_rng(0).standard_normal(4000), 8000)
    return folder


def read(corpus, name):
    return [json.loads(line) for line in (corpus / f"{name}.jsonl").read_text().splitlines()]


def test_a_track_tells_what_is_spoken_when(recordings):
    """The pitch of the tones in each section spells the sentence; between the sections there is silence."""
    rate = 16000
    for seed in range(3):
        digits = load_digits(recordings, "lucas", "test")
        waveform, line = make_track(digits, (20.0, 30.0), np.random.default_rng(seed))
        assert len(waveform) == round(line["duration_s"] * rate)
        assert 20 <= line["duration_s"] <= 30
        spoken = np.zeros(len(waveform), dtype=bool)
        for number, (sentence, section) in enumerate(zip(line["text"], line["sections"], strict=True)):
            assert section["sentences"] == [number]
            start, end = round(section["start_s"] * rate), round(section["end_s"] * rate)
            assert not spoken[max(0, start - round(PHRASE_PAUSE_S[0] * rate)) : start].any()
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


def test_takes_of_the_test_are_not_for_training(recordings, tmp_path):
    assert [len(load_digits(recordings, "lucas", split)["three"]) for split in ("train", "test")] == [1, 2]
    with pytest.raises(ValueError, match=r"data_dir: .* has no 0_lucas"):
        load_digits(tmp_path, "lucas", "train")


def test_a_phrase_of_longer_recordings_ends_with_the_one_that_fills_it():
    """Recordings of three words: two make at least 4 to 6 words, three at least 7 or 8."""
    line = make_track({"one two three": [np.ones(800, np.float32)]}, (30.0, 30.0), np.random.default_rng(0))[1]
    assert {len(sentence.split()) for sentence in line["text"]} == {6, 9}


def test_prompts_are_split_by_their_words(prompts):
    pools = load_prompts(prompts)  # no file, a letter and 10, which has two readings, are left out
    assert [[*pool] for pool in pools.values()] == [["hello world"], ["call now seven"], ["call now seven"]]
    pools = split_by_words({text: [] for text in ("your call", "call now", "zero", "try again")})
    # "now", "try" and "again" are kept from the training
    texts = {name: [*pool] for name, pool in pools.items()}
    assert texts == {"seen": ["your call", "zero"], "unseen": ["call now", "try again"], "new": ["try again"]}


@pytest.mark.slow
def test_the_command_on_a_handful_of_tracks(recordings, folder, tmp_path, capsys):
    """Tracks, features, trainings and ranks with tiny towers; a second call finds all done and prints the same."""
    given = ["--data_dir", str(recordings), "--output_dir", str(tmp_path), "--held_out", "lucas", "--seeds", "0"]
    given += ["--speech_model", str(folder / "encoders" / "speech"), "--num_tracks", "6", "3"]
    given += ["--results", str(tmp_path / "results.json")]
    printed = []
    for _ in range(2):
        command.main(given)
        printed.append([line for line in capsys.readouterr().out.splitlines() if line.startswith("|")])
    assert printed[0] == printed[1]
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert [*rows] == [*command.ROWS]
    assert rows["document attention (the paper)"]["questions"]["audio to text"]["gallery_size"] == 3

    corpus = tmp_path / "corpus"
    train, test = read(corpus, "lucas/train"), read(corpus, "lucas/test")
    assert [line["audio"].split("/")[2] for line in train] == sorted(["george", "jackson", "nicolas"] * 6)
    assert [line["audio"].split("/")[2] for line in test] == ["lucas"] * 3
    lengths = [[[len(text.split()) for text in line[key]] for line in test] for key in ("text", "text_other")]
    assert lengths[0] == lengths[1]
    assert [line["text"] for line in test] != [line["text_other"] for line in test]
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "text" / "0")
    ids = tokenizer(" ".join(WORDS) + ".")["input_ids"]
    assert len(set(ids) - {tokenizer.unk_token_id}) == 13  # ten words, the full stop, start and end
