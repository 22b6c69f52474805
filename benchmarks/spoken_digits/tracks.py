# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Writes long spoken tracks of each speaker, and manifests for each speaker who is held out; a step of __main__.py."""

import itertools
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import soundfile

from collap.files import atomic_write, write_jsonl
from collap.progress import progress_bar

from .recordings import SAMPLING_RATE, Recordings, load_digits, load_prompts

SPEAKERS = ("george", "jackson", "lucas", "nicolas")
# Shortest and longest track in s. Longer tracks have longer transcripts: those of the test are equally long.
LENGTHS_S = {"train": (60.0, 120.0), "test": (120.0, 120.0)}
PHRASE_WORDS = (4, 8)  # fewest and most words of a phrase; a last recording of several words may exceed them
PAUSE_S = (0.02, 0.20)  # between recordings
PHRASE_PAUSE_S = (0.50, 1.20)


def compose_digits(data_dir: Path, corpus: Path, num_train: int, num_test: int) -> None:
    """Writes tracks of each speaker, and `{speaker}/{train,test}.jsonl`: training tracks are those of the others."""
    train = {}
    for speaker in SPEAKERS:
        tracks = compose(load_digits(data_dir, speaker, "test"), corpus, speaker, "test", num_test)
        write_jsonl(corpus / speaker / "test.jsonl", tracks)
        train[speaker] = compose(load_digits(data_dir, speaker, "train"), corpus, speaker, "train", num_train)
    for held_out in SPEAKERS:
        others = (train[speaker] for speaker in SPEAKERS if speaker != held_out)
        write_jsonl(corpus / held_out / "train.jsonl", itertools.chain(*others))


def compose_prompts(prompts: Path, corpus: Path, num_train: int, num_test: int) -> None:
    """
    Writes tracks and `{pool}/test.jsonl` of each pool of prompts, and `seen/train.jsonl`: tracks of the seen ones, and
    the digits of all speakers but nicolas, which have to be there.
    """
    pools = load_prompts(prompts)
    for name, recordings in pools.items():
        write_jsonl(corpus / name / "test.jsonl", compose(recordings, corpus, name, "test", num_test))
    digits = [json.loads(line) for line in (corpus / "nicolas" / "train.jsonl").read_text("utf-8").splitlines()]
    write_jsonl(corpus / "seen" / "train.jsonl", digits + compose(pools["seen"], corpus, "seen", "train", num_train))


def compose(recordings: Recordings, corpus: Path, name: str, split: str, num_tracks: int) -> list[dict]:
    """
    Writes `tracks/{name}/{split}/{number}.flac`; returns their lines of a manifest in a folder beside `tracks`. Their
    `text_other` has other words in phrases of the same lengths: what still finds its track does so by the rhythm.
    """
    words, lines = " ".join(recordings).split(), []
    for number in progress_bar(range(num_tracks), unit="track", desc=f"{name}, {split}"):
        # A stream of its own for each track: a larger corpus begins with the tracks of the smaller one.
        random = np.random.default_rng([zlib.crc32(f"{name}, {split}".encode()), number])
        waveform, line = make_track(recordings, LENGTHS_S[split], random)
        path = Path("tracks", name, split, f"{number:05d}.flac")
        with atomic_write(corpus / path) as temporary:
            soundfile.write(temporary, waveform, SAMPLING_RATE, "PCM_16")
        line["text_other"] = [" ".join(random.choice(words, size=text.count(" ") + 1)) + "." for text in line["text"]]
        lines.append({"audio": f"../{path.as_posix()}", **line})
    return lines


def make_track(
    recordings: Recordings, length_s: tuple[float, float], random: np.random.Generator
) -> tuple[np.ndarray, dict]:
    """
    Draws a length and as many phrases as fit into it. Returns the waveform, float32 in [-1, 1], and what a manifest
    says of it: `text`, a sentence a phrase, `duration_s`, and `sections`, when each phrase is spoken.
    """

    def draw(bounds_s: tuple[float, float]) -> int:
        return round(random.uniform(*bounds_s) * SAMPLING_RATE)

    waveform = np.zeros(draw(length_s), dtype=np.float32)
    sentences, sections, texts = [], [], list(recordings)
    time = draw(PHRASE_PAUSE_S)
    while True:
        words, starts, spoken = [], [], []
        size = random.integers(PHRASE_WORDS[0], PHRASE_WORDS[1] + 1)
        for text in (texts[index] for index in random.integers(0, len(texts), size=size)):
            if len(words) < size:
                starts.append(time)
                spoken.append(recordings[text][random.integers(len(recordings[text]))])
                words += text.split()
                end = time + len(spoken[-1])
                time = end + draw(PAUSE_S)
        time += draw(PHRASE_PAUSE_S)
        if time > len(waveform):  # whole phrases only; a few seconds of silence fill the rest
            return waveform, {"text": sentences, "duration_s": len(waveform) / SAMPLING_RATE, "sections": sections}
        for start, recording in zip(starts, spoken, strict=True):
            waveform[start : start + len(recording)] = recording
        start_s, end_s = starts[0] / SAMPLING_RATE, end / SAMPLING_RATE
        sections.append({"start_s": start_s, "end_s": end_s, "sentences": [len(sentences)]})  # indices into the text
        sentences.append(" ".join(words) + ".")


if __name__ == "__main__":
    write = {"digits": compose_digits, "prompts": compose_prompts}[sys.argv[1]]
    write(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
