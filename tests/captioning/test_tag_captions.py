# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tempo, key and level of synthetic signals, and the captions of a tiny random classifier."""

from pathlib import Path

import numpy as np
import pytest
from tiny_captioners import save_tiny_tagger

from collap.captioning import tags
from collap.captioning.tags import TagCaptioner, estimate_key, estimate_tempo, level_db

RATE = 16_000
TRIADS = {"major": (0, 4, 7), "minor": (0, 3, 7)}


def clicks(beats_a_minute: float, seconds: float = 20.0) -> np.ndarray:
    """Short bursts of noise, one a beat, over a little noise."""
    generator = np.random.default_rng(0)
    waveform = 0.001 * generator.standard_normal(int(seconds * RATE))
    for time_s in np.arange(0.1, seconds - 0.1, 60 / beats_a_minute):
        start = round(time_s * RATE)
        waveform[start : start + 400] += 0.3 * generator.standard_normal(400)
    return waveform.astype(np.float32)


def chords(*chords_of: tuple[int, str]) -> np.ndarray:
    """Triads of 1 s, each a root, in semitones above C, and a mode; three harmonics a note."""
    time = np.arange(RATE) / RATE
    waveform = []
    for root, mode in chords_of:
        pitches = [261.626 * 2 ** ((root + note) / 12) for note in TRIADS[mode]]
        waveform.append(sum(np.sin(2 * np.pi * k * pitch * time) / k for pitch in pitches for k in (1, 2, 3)))
    return (0.1 * np.concatenate(waveform)).astype(np.float32)


@pytest.mark.parametrize("beats_a_minute", [72, 90, 120, 128, 150])
def test_tempo_of_clicks(beats_a_minute: int) -> None:
    assert estimate_tempo(clicks(beats_a_minute)) == pytest.approx(beats_a_minute, abs=1)


def test_noise_silence_and_short_songs_have_no_tempo() -> None:
    noise = np.random.default_rng(0).standard_normal(20 * RATE).astype(np.float32)
    assert estimate_tempo(0.1 * noise) is None
    assert estimate_tempo(np.zeros(20 * RATE, np.float32)) is None
    assert estimate_tempo(clicks(120, seconds=4.0)) is None


@pytest.mark.parametrize("tonic", range(12))
def test_key_of_cadences(tonic: int) -> None:
    """I IV V I of each major key, i iv V i of each minor key."""
    fourth, fifth = (tonic + 5) % 12, (tonic + 7) % 12
    major = chords((tonic, "major"), (fourth, "major"), (fifth, "major"), (tonic, "major"))
    minor = chords((tonic, "minor"), (fourth, "minor"), (fifth, "major"), (tonic, "minor"))
    assert estimate_key(major) == f"{tags.NOTES[tonic]} major"
    assert estimate_key(minor) == f"{tags.NOTES[tonic]} minor"


def test_noise_silence_and_short_songs_have_no_key() -> None:
    noise = np.random.default_rng(0).standard_normal(20 * RATE).astype(np.float32)
    assert estimate_key(noise) is None
    assert estimate_key(np.zeros(20 * RATE, np.float32)) is None
    assert estimate_key(noise[:1000]) is None


def test_level() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
    assert level_db(tone) == pytest.approx(-3.01, abs=0.01)
    assert level_db(0.1 * tone) == pytest.approx(-23.01, abs=0.01)
    assert level_db(np.zeros(10)) == -100


def two_parts() -> np.ndarray:
    """24 s of quiet clicks at 120 beats a minute, then 24 s of chords, 20 dB louder."""
    first = clicks(120, 24)
    second = np.tile(chords((0, "major"), (5, "major"), (7, "major"), (0, "major")), 6)
    return np.concatenate([first * 0.1 * second.std() / first.std(), second]).astype(np.float32)


@pytest.mark.parametrize("model_type", ["audio-spectrogram-transformer", "wav2vec2"])
def test_caption_of_a_random_classifier(tmp_path: Path, model_type: str) -> None:
    captioner = TagCaptioner(save_tiny_tagger(tmp_path, model_type), batch_size=2)
    song, refused = captioner.caption(two_parts())
    (first, second) = song["sections"]
    sentences = song["text"][: -len(first["text"] + second["text"])]
    assert sentences[0].startswith("A recording with ")
    assert sentences[-1] == "The key is C major."
    assert first["start_s"] == 0
    assert first["end_s"] == second["start_s"] == pytest.approx(24, abs=0.5)
    assert second["end_s"] == 48
    assert first["text"][0].startswith("It begins with ")
    assert first["text"][-1] == "This part is quieter than the song as a whole, by about 17 dB."
    assert second["text"][0].startswith("It ends with ")
    assert (song["coverage"], refused) == (1, [])


def test_tags_are_means_over_windows_that_cover_the_section(tmp_path: Path) -> None:
    captioner = TagCaptioner(save_tiny_tagger(tmp_path, "wav2vec2"))
    waveform = two_parts()[: 25 * RATE]
    # Windows of 10 s at 0, 7.5 and 15 s.
    windows = [waveform[start : start + 10 * RATE] for start in (0, 120_000, 240_000)]
    alone = [
        {tag["label"].lower(): tag["score"] for tag in captioner.tagger(window, top_k=None)} for window in windows
    ]
    assert captioner._tag(waveform) == pytest.approx(
        {name: np.mean([own[name] for own in alone]) for name in alone[0]}
    )


def test_changes_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The classifier replaced by known scores."""
    captioner = TagCaptioner(save_tiny_tagger(tmp_path, "wav2vec2"))
    scores = [
        {"guitar": 0.5, "singing": 0.4, "bass": 0.3, "drums": 0.0},
        {"guitar": 0.5, "singing": 0.0, "bass": 0.3, "drums": 0.45},
    ]
    monkeypatch.setattr(captioner, "_tag", lambda part: scores.pop(0))
    song, _ = captioner.caption(two_parts())
    assert song["text"][0] == "A recording with guitar, bass and drums."
    assert song["sections"][0]["text"][0] == "It begins with guitar, singing and bass."
    assert song["sections"][1]["text"][:2] == [
        "It ends with guitar, drums and bass.",
        "The part before has singing, and this one has drums instead.",
    ]
