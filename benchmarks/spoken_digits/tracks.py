# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Composes long spoken tracks with their transcripts from the Free Spoken Digit Dataset, one manifest a split."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm.auto import tqdm

from collap.files import atomic_write

SAMPLING_RATE = 16_000  # Hz
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SPLITS = ("train", "validation", "test")
TEST_TAKES = range(5)  # of each digit and speaker, the data set's own test split
PHRASE_DIGITS = (4, 8)  # fewest and most digits of a phrase
DIGIT_PAUSE_S = (0.02, 0.20)
PHRASE_PAUSE_S = (0.50, 1.20)
LOUDNESS = 0.05  # root mean square of a recording in the track; a speaker must not be known by the microphone's gain
PEAK = 0.95

Recordings = dict[int, list[np.ndarray]]  # of one speaker, by digit


@dataclass(frozen=True)
class Settings:
    """What a track depends on, beside its split and number."""

    min_s: float = 60.0  # 20 at least: room for the longest phrase of the slowest speaker
    max_s: float = 300.0
    seed: int = 0
    train_speakers: tuple[str, ...] = ("george", "jackson", "lucas")
    test_speakers: tuple[str, ...] = ("nicolas",)


class Event(NamedTuple):
    """One spoken digit in a track."""

    start: int  # sample of the track
    digit: int
    recording: np.ndarray


class Track(NamedTuple):
    """What is said when."""

    length: int  # samples
    phrases: list[list[Event]]


def compose(data_dir: Path, output_dir: Path, num_tracks: dict[str, int], settings: Settings) -> None:
    """Writes `{split}/{number}.flac` and `{split}.jsonl`; a ValueError if a recording is missing."""
    speakers = {split: settings.test_speakers if split == "test" else settings.train_speakers for split in SPLITS}
    with tqdm(total=sum(num_tracks.values()), unit="track", desc="spoken digits") as bar:
        for split, count in num_tracks.items():
            voices = {speaker: load_recordings(data_dir, speaker, split) for speaker in speakers[split]}
            lines = []
            for number in range(count):
                # A stream of its own for each track: a larger corpus begins with the tracks of the smaller one.
                random = np.random.default_rng([settings.seed, SPLITS.index(split), number])
                speaker = speakers[split][number % len(speakers[split])]
                track = plan_track(voices[speaker], settings, random)
                path = output_dir / split / f"{number:05d}.flac"
                with atomic_write(path) as temporary:
                    soundfile.write(temporary, render_track(track), SAMPLING_RATE, "PCM_16")
                line = {"audio": f"{split}/{path.name}", "speaker": speaker, **describe_track(track)}
                lines.append(json.dumps(line))
                bar.update()
            with atomic_write(output_dir / f"{split}.jsonl") as temporary:
                temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def load_recordings(data_dir: Path, speaker: str, split: str) -> Recordings:
    """
    The recordings of a speaker, at 16 kHz and of one loudness: for training the takes that are not in the data set's
    own test split, for validation those that are, for the test all.
    """
    recordings: Recordings = {}
    for digit in range(10):
        paths = sorted(data_dir.glob(f"{digit}_{speaker}_*.wav"))
        if split != "test":
            takes = {path: int(path.stem.split("_")[-1]) for path in paths}
            paths = [path for path in paths if (takes[path] in TEST_TAKES) == (split == "validation")]
        if not paths:
            raise ValueError(f"data_dir: {data_dir} has no {digit}_{speaker}_(take).wav for the {split} split.")
        recordings[digit] = [_read(path) for path in paths]
    return recordings


def plan_track(recordings: Recordings, settings: Settings, random: np.random.Generator) -> Track:
    """Draws a length and as many phrases as fit into it; each track has its own."""

    def draw(bounds_s: tuple[float, float]) -> int:
        return round(random.uniform(*bounds_s) * SAMPLING_RATE)

    length = draw((settings.min_s, settings.max_s))
    phrases = []
    time = draw(PHRASE_PAUSE_S)
    while True:
        phrase = []
        for digit in random.integers(0, 10, size=random.integers(PHRASE_DIGITS[0], PHRASE_DIGITS[1] + 1)).tolist():
            take = int(random.integers(len(recordings[digit])))
            phrase.append(Event(time, digit, recordings[digit][take]))
            time += len(phrase[-1].recording) + draw(DIGIT_PAUSE_S)
        time += draw(PHRASE_PAUSE_S)
        if time > length:  # whole phrases only; a few seconds of silence fill the rest
            return Track(length, phrases)
        phrases.append(phrase)


def render_track(track: Track) -> np.ndarray:
    """The waveform of a track, float32 in [-1, 1]."""
    waveform = np.zeros(track.length, dtype=np.float32)
    for event in (event for phrase in track.phrases for event in phrase):
        waveform[event.start : event.start + len(event.recording)] = event.recording
    return waveform


def describe_track(track: Track) -> dict:
    """The transcript, a sentence a phrase, and when each phrase is spoken."""
    sentences, sections = [], []
    for phrase in track.phrases:
        sentences.append(" ".join(WORDS[event.digit] for event in phrase) + ".")
        end = phrase[-1].start + len(phrase[-1].recording)
        section = {"start_s": phrase[0].start / SAMPLING_RATE, "end_s": end / SAMPLING_RATE}
        sections.append({**section, "sentences": [len(sentences) - 1]})  # indices into the text
    return {"text": sentences, "duration_s": track.length / SAMPLING_RATE, "sections": sections}


def _read(path: Path) -> np.ndarray:
    waveform, rate = soundfile.read(path, dtype="float32")
    waveform = soxr.resample(waveform, rate, SAMPLING_RATE)
    gain = LOUDNESS / max(float(np.sqrt(np.mean(waveform**2))), 1e-6)
    return waveform * min(gain, PEAK / max(float(np.abs(waveform).max()), 1e-6))
