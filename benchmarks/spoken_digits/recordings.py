# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Recordings of single words and short prompts by what is said, at 16 kHz and of one loudness."""

import re
import zlib
from pathlib import Path

import numpy as np

from collap.data.audio_files import audio_duration_s, read_audio

SAMPLING_RATE = 16_000  # Hz
LOUDNESS = 0.05  # root mean square; a speaker must not be known by the microphone's gain
PEAK = 0.95
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_TAKES = range(5)  # of each digit and speaker, the data set's own test split
LONGEST_PROMPT_S = 6.0
KEPT = 7  # one word in so many is kept from the training: a third of the prompts have such a word
POOLS = ("seen", "unseen", "new")

Recordings = dict[str, list[np.ndarray]]


def load_digits(folder: Path, speaker: str, split: str) -> Recordings:
    """
    The digits of a speaker in the Free Spoken Digit Dataset: for training the takes that are not in the data set's own
    test split, for the test all; a ValueError if a digit is missing.
    """
    recordings: Recordings = {}
    for digit, word in enumerate(WORDS):
        paths = sorted(folder.glob(f"{digit}_{speaker}_*.wav"))
        if split == "train":
            paths = [path for path in paths if int(path.stem.split("_")[-1]) not in TEST_TAKES]
        if not paths:
            raise ValueError(f"data_dir: {folder} has no {digit}_{speaker}_(take).wav for the {split} split.")
        recordings[word] = [_read(path) for path in paths]
    return recordings


def load_prompts(folder: Path) -> dict[str, Recordings]:
    """
    Asterisk's core sounds in English, prompts of a telephone exchange in one voice, split by their words: `seen`
    prompts have no word that is kept from the training, `unseen` ones have at least one, and `new` ones share no word
    with the seen ones. Tones, letters, and prompts with signs or numbers that have no one reading are left out.
    """
    recordings: Recordings = {}
    for line in (folder / "core-sounds-en.txt").read_text(encoding="utf-8").splitlines():
        name, _, text = line.partition(": ")
        path = folder / f"{name.removesuffix('.wav')}.wav"
        words = re.findall(r"[a-z']+", re.sub(r"\d", lambda digit: WORDS[int(digit[0])], text.lower()))
        is_plain = len("".join(words)) > 1 and not re.search(r"[^\w\s.,;!?'-]|\d\d", text)
        if is_plain and path.is_file() and audio_duration_s(path) <= LONGEST_PROMPT_S:
            recordings.setdefault(" ".join(words), []).append(_read(path))
    return split_by_words(recordings)


def split_by_words(recordings: Recordings) -> dict[str, Recordings]:
    """The pools of `load_prompts`. Digits are never kept from the training, as all speakers' tracks have them."""
    kept = {word for word in " ".join(recordings).split() if zlib.crc32(word.encode()) % KEPT == 0} - {*WORDS}
    seen = {text for text in recordings if kept.isdisjoint(text.split())}
    unseen = recordings.keys() - seen
    new = {text for text in unseen if set(text.split()).isdisjoint(" ".join(seen).split())}
    pools = zip(POOLS, (seen, unseen, new), strict=True)
    return {name: {text: recordings[text] for text in recordings if text in pool} for name, pool in pools}


def _read(path: Path) -> np.ndarray:
    waveform, _ = read_audio(path, SAMPLING_RATE)
    gain = LOUDNESS / max(float(np.sqrt(np.mean(waveform**2))), 1e-6)
    return waveform * min(gain, PEAK / max(float(np.abs(waveform).max()), 1e-6))
