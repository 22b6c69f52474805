# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Transcripts and their speech, in the layout of LibriSpeech.

A part of it, such as `test-clean`, has a folder for each speaker and in it one for each chapter, with utterances of
some seconds: `61/70968/61-70968-0000.flac`, and `61/70968/61-70968.trans.txt` with a line for each utterance, its name
and its words in capitals. The utterances of a chapter are joined to a long track.
"""

import re
from pathlib import Path

import numpy as np
import soundfile

from collap.data.audio_files import find_by_name
from collap.files import atomic_write
from collap.processing.audio_decoding_collap import decode_audio
from collap.processing.feature_extraction_beats import SAMPLING_RATE

from .converter import SetContent, SetConverter, SetFolders, SetSong, SetText, check_unique, read_durations

PAUSE_S = 0.3  # silence between the utterances of a track
TOLERANCE_S = 0.01  # of the length of a track that is there already


def read(folders: SetFolders) -> SetContent:
    transcripts = {path.name.removesuffix(".trans.txt"): path for path in sorted(folders.data.rglob("*.trans.txt"))}
    if not transcripts:
        raise ValueError(f"data_dir: {folders.data} must be a folder with transcripts (.trans.txt) in it.")
    audio = folders.find_audio(())
    songs, texts, num_utterances = [], [], 0
    for chapter, path in transcripts.items():
        words = _read_transcript(path)
        folder = audio / path.parent.relative_to(folders.data)
        files = read_durations(SetSong(name, name, find_by_name(folder, f"{name}.flac")) for name in words)
        songs.append(_make_track(chapter, list(files.values()), folders.output / "audio"))
        texts.append(SetText(chapter, [_as_sentence(line) for line in words.values()], (chapter,)))
        num_utterances += len(words)
    return SetContent(
        folders.data.absolute().name,
        read_durations(songs),
        texts,
        "the transcript; each utterance is a sentence, in small letters except the first, with a full stop",
        list(transcripts.values()),
        details={
            "pause_s": PAUSE_S,
            "speakers": len({chapter.split("-")[0] for chapter in transcripts}),
            "chapters": len(transcripts),
            "utterances": num_utterances,
        },
    )


def _read_transcript(path: Path) -> dict[str, str]:
    """The words of each utterance by its name."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"data_dir: {path} is not text in UTF-8: {error}.") from error
    utterances = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if not (match := re.fullmatch(r"([\w-]+)\s+(.*\S)\s*", line)):
            raise ValueError(
                f"data_dir: {path}, line {number} must be an utterance's name and words, got {line!r:.80}."
            )
        utterances.append(match.groups())
    if not utterances:
        raise ValueError(f"data_dir: {path} has no utterances.")
    check_unique((name for name, _ in utterances), "utterance", path)
    return dict(utterances)


def _make_track(name: str, utterances: list[SetSong], folder: Path) -> SetSong:
    """A track with its file, which is joined again unless it is as long as its utterances."""
    path = folder / f"{name}.flac"
    if broken := [utterance for utterance in utterances if utterance.path is None]:
        issue = f"an utterance without audio: {broken[0].id}, {broken[0].issue}"
        return SetSong(name, path.name, issue=issue)
    (track,) = read_durations([SetSong(name, path.name, path)]).values()
    length_s = sum(utterance.duration_s for utterance in utterances) + PAUSE_S * (len(utterances) - 1)
    if track.path is None or abs(track.duration_s - length_s) > TOLERANCE_S:
        try:
            join_audio([utterance.path for utterance in utterances], path)
        except ValueError as error:
            return SetSong(name, path.name, issue=str(error))
    return SetSong(name, path.name, path)


def join_audio(files: list[Path], path: Path) -> None:
    """
    Writes recordings one after the other with pauses, as FLAC of 16 bits, 16 kHz and one channel; a ValueError if one
    cannot be decoded to its end.
    """
    pause = np.zeros(round(PAUSE_S * SAMPLING_RATE), dtype=np.float32)
    parts = []
    for file in files:
        decoded = decode_audio(file, SAMPLING_RATE)
        if decoded.problem is not None:
            raise ValueError(f"unreadable audio: {file.name}, {decoded.problem}")
        parts += [pause, decoded.waveform]
    with atomic_write(path) as temporary:
        soundfile.write(temporary, np.concatenate(parts[1:]), SAMPLING_RATE, "PCM_16")


def _as_sentence(words: str) -> str:
    if words != words.upper():  # another corpus may have proper sentences already
        return words
    words = re.sub(r"\bi\b", "I", words.lower())
    return words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


SPEECH_TRANSCRIPTS = SetConverter(
    "speech_transcripts",
    "Transcripts and their speech, joined to long tracks, in the layout of LibriSpeech",
    "LibriSpeech, openslr.org/12 (Panayotov et al., ICASSP 2015), or a corpus in its layout",
    "test-clean.tar.gz of openslr.org/12",
    "CC BY 4.0 (LibriSpeech)",
    "of the kind of its zero-shot transfer, speech transcript to audio; not verified to be its recordings",
    read,
    {},
)
