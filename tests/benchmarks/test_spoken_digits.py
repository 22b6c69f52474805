# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json

import numpy as np
import pytest
import soundfile
import torch
import transformers

from benchmarks.spoken_digits import __main__ as run_module
from benchmarks.spoken_digits import pretrain, tracks


@pytest.fixture(scope="module")
def compose():
    return tracks


@pytest.fixture(scope="module")
def pretrain_encoder():
    return pretrain


@pytest.fixture(scope="module")
def run_example():
    return run_module


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


def run(compose, recordings, output_dir, *more):
    compose.main(
        [
            *("--data_dir", str(recordings), "--output_dir", str(output_dir), "--min_s", "20", "--max_s", "30"),
            *("--train_speakers", "ann", "bob", "--test_speakers", "eve"),
            *("--num_train_tracks", "3", "--num_validation_tracks", "1", "--num_test_tracks", "2", *more),
        ]
    )


def read(output_dir, split):
    return [json.loads(line) for line in (output_dir / f"{split}.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def corpus(compose, recordings, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("digits")
    run(compose, recordings, output_dir)
    return output_dir


def test_splits_and_their_speakers(corpus):
    assert [line["speaker"] for line in read(corpus, "train")] == ["ann", "bob", "ann"]
    assert [line["speaker"] for line in read(corpus, "validation")] == ["ann"]
    assert [line["speaker"] for line in read(corpus, "test")] == ["eve", "eve"]
    texts = [" ".join(line["text"]) for split in ("train", "validation", "test") for line in read(corpus, split)]
    assert len(set(texts)) == 6


def test_manifest_tells_what_is_spoken_when(compose, corpus):
    """The pitch of the tones in each section spells the sentence; between the sections there is silence."""
    for line in read(corpus, "train"):
        waveform, rate = soundfile.read(corpus / line["audio"])
        assert rate == 16000
        assert len(waveform) == round(line["duration_s"] * rate)
        assert 20 <= line["duration_s"] <= 30
        assert len(line["text"]) == len(line["sections"])
        spoken = np.zeros(len(waveform), dtype=bool)
        for sentence, section in zip(line["text"], line["sections"], strict=True):
            start, end = round(section["start_s"] * rate), round(section["end_s"] * rate)
            spoken[start:end] = True
            words = sentence.removesuffix(".").split()
            assert 4 <= len(words) <= 8
            heard = []
            loud = np.flatnonzero(np.abs(waveform[start:end]) > 1e-3)
            for word in np.split(loud, np.flatnonzero(np.diff(loud) > 200) + 1):  # parted by at least 20 ms
                tone = waveform[start:end][word[0] : word[-1] + 1]
                pitch = np.abs(np.fft.rfft(tone)).argmax() * rate / len(tone)
                heard.append(compose.WORDS[round((pitch - 400) / 100)])
                assert np.sqrt(np.mean(tone**2)) == pytest.approx(compose.LOUDNESS, rel=0.05)
            assert heard == words
        assert not waveform[~spoken].any()


def test_takes_of_the_official_test_split_are_not_for_training(compose, recordings):
    for split, takes in (("train", 1), ("validation", 1), ("test", 2)):
        assert len(compose.load_recordings(recordings, "ann", split)[3]) == takes


def test_resumes_and_grows(compose, recordings, corpus, tmp_path):
    run(compose, recordings, tmp_path)
    first = {path.name: path.read_bytes() for path in (tmp_path / "train").iterdir()}
    assert first == {path.name: path.read_bytes() for path in (corpus / "train").iterdir()}  # the seed decides
    (tmp_path / "train" / "00001.flac").unlink()
    untouched = tmp_path / "train" / "00000.flac"
    modified = untouched.stat().st_mtime_ns
    run(compose, recordings, tmp_path, "--num_train_tracks", "4")
    assert untouched.stat().st_mtime_ns == modified
    assert {name: (tmp_path / "train" / name).read_bytes() for name in first} == first
    assert len(list((tmp_path / "train").iterdir())) == 4
    assert read(tmp_path, "train")[:3] == read(corpus, "train")


def test_loads_as_a_manifest(corpus):
    pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")
    from collap.data.manifest import load_manifest

    songs = load_manifest(corpus / "train.jsonl", keep_extra_columns=True)
    assert songs["text"][0] == read(corpus, "train")[0]["text"]
    assert soundfile.info(songs[0]["audio"]).samplerate == 16000
    assert [section["text"] for section in songs[0]["sections"]] == [[sentence] for sentence in songs[0]["text"]]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--seed", "1"), "holds tracks of other settings"),
        (("--min_s", "5"), "20.0 <= min_s <= max_s, got 5.0 and 30.0"),
        (("--test_speakers", "ann"), r"test_speakers must be held out, .*\['ann'\]"),
        (("--num_test_tracks", "-1"), "num_test_tracks must not be negative"),
    ],
)
def test_faults(compose, recordings, corpus, more, message):
    with pytest.raises(ValueError, match=message):
        run(compose, recordings, corpus, *more)


def test_missing_recordings(compose, recordings, tmp_path):
    with pytest.raises(ValueError, match=r"has no recording 0_zoe_\(take\).wav for the test split"):
        run(compose, recordings, tmp_path, "--test_speakers", "zoe")


@pytest.mark.parametrize("augment", [False, True])
def test_pretraining_is_told_the_digit_that_sounds(compose, pretrain_encoder, recordings, augment):
    """Loud vectors have a digit and quiet ones none; neighbours in time are neighbours in the phrase."""
    voices = [compose.load_recordings(recordings, "ann", "train")]
    features, digits = next(pretrain_encoder.batches(voices, 2, augment, seed=0))
    assert features.shape == (8, 80, 256)
    assert digits.shape == (8, 128, 3)
    assert torch.isfinite(features).all()
    before, now, after = digits.unbind(-1)
    spoken = now != pretrain_encoder.NO_DIGIT
    assert 0.4 < spoken.float().mean() < 0.95
    for place in range(1, digits.shape[1]):
        changes = spoken[:, place - 1] & spoken[:, place] & (now[:, place - 1] != now[:, place])
        assert (before[changes, place] == now[changes, place - 1]).all()
        assert (after[changes, place - 1] == now[changes, place]).all()
    if not augment:
        loud = features.unflatten(-1, (128, 2)).mean(-1).amax(1)  # (8, 128)
        inside = spoken[:, 1:-1] & spoken[:, :-2] & spoken[:, 2:]
        outside = ~(spoken[:, 1:-1] | spoken[:, :-2] | spoken[:, 2:])
        assert loud[:, 1:-1][inside].min() > loud[:, 1:-1][outside].max()


def test_a_pretrained_encoder_is_a_whisper(pretrain_encoder, recordings, tmp_path):
    sizes = {"num_tracks": 1, "hidden_size": 32, "num_layers": 1}
    pretrain_encoder.pretrain(recordings, tmp_path, ("ann", "bob"), num_steps=2, **sizes)
    whisper = transformers.WhisperModel.from_pretrained(tmp_path)
    assert whisper.config.max_source_positions == 128


def test_text_tower_knows_each_word(run_example, compose, tmp_path):
    run_example.build_text_tower(tmp_path, seed=0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer(" ".join(compose.WORDS) + ".")["input_ids"]
    assert len(set(ids)) == 13  # ten words, the full stop, start and end
    assert tokenizer.unk_token_id not in ids
    transformers.RobertaModel.from_pretrained(tmp_path, add_pooling_layer=False)


def test_baselines(run_example, corpus, capsys):
    blind = run_example.chance(50)
    assert blind["text_to_audio_recall@5"] == pytest.approx(0.1)
    by_length = run_example.guess_by_length(corpus / "train.jsonl")
    run_example.print_table({"chance": blind, "length": by_length})
    assert "| chance | 2.0 | 10.0 | 25.5 | 2.0 | 10.0 | 25.5 |" in capsys.readouterr().out


def test_real_recordings(compose, shared_data, tmp_path):
    counts = {"train": 3, "validation": 0, "test": 1}
    compose.compose(shared_data / "spoken_digits", tmp_path, counts, compose.Settings())
    tracks = read(tmp_path, "train") + read(tmp_path, "test")
    assert [track["speaker"] for track in tracks] == ["george", "jackson", "lucas", "nicolas"]
    for track in tracks:
        assert 60 <= track["duration_s"] <= 300
        waveform, _ = soundfile.read(tmp_path / track["audio"])
        assert 0.01 < np.sqrt(np.mean(waveform**2)) < 0.05
        assert np.abs(waveform).max() < 1
