# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Transcripts and their speech, in the layout of LibriSpeech.

A part of it, such as `test-clean`, has a folder for each speaker and in it one for each chapter, with utterances of
some seconds: `61/70968/61-70968-0000.flac`, and `61/70968/61-70968.trans.txt` with a line for each utterance, its name
and its words in capitals. The utterances of a chapter are joined to a long track.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from collap.files import atomic_write

from .converter import (
    NO_AUDIO,
    SetContent,
    SetConverter,
    SetFolders,
    SetSong,
    SetText,
    check_unique,
    find_by_name,
    read_durations,
)

PAUSE_S = 0.3  # silence between the utterances of a track


@dataclass(frozen=True)
class Utterance:
    """A line of a transcript: name, words, and the file if it is there."""

    id: str
    words: str
    file: Path | None


def read(folders: SetFolders, max_s: float | None = None) -> SetContent:
    if max_s is not None and (isinstance(max_s, bool) or not isinstance(max_s, int | float) or max_s <= 0):
        raise ValueError(f"max_s must be more than 0 s, got {max_s!r}.")
    transcripts = sorted(folders.data.rglob("*.trans.txt")) if folders.data.is_dir() else []
    if not transcripts:
        raise ValueError(f"data_dir: {folders.data} must be a folder with transcripts (.trans.txt) in it.")
    check_unique((path.name for path in transcripts), "transcript", folders.data)
    audio = folders.find_audio(())
    chapters = {
        path.name.removesuffix(".trans.txt"): _read_transcript(path, audio / path.parent.relative_to(folders.data))
        for path in transcripts
    }
    utterances = [utterance for chapter in chapters.values() for utterance in chapter]
    files = read_durations(SetSong(one.id, one.id, one.file, None if one.file else NO_AUDIO) for one in utterances)
    tracks = {
        name: track
        for chapter, members in chapters.items()
        for name, track in _cut(chapter, members, files, max_s).items()
    }
    songs = [
        _make_track(name, [files[one.id] for one in track], folders.output / "audio") for name, track in tracks.items()
    ]
    return SetContent(
        folders.data.absolute().name,
        read_durations(songs),
        [SetText(name, [_as_sentence(one.words) for one in track], (name,)) for name, track in tracks.items()],
        "the transcript; each utterance is a sentence, in small letters except the first, with a full stop",
        transcripts,
        details={
            "pause_s": PAUSE_S,
            "speakers": len({chapter.split("-")[0] for chapter in chapters}),
            "chapters": len(chapters),
            "utterances": len(utterances),
        },
    )


def _read_transcript(path: Path, folder: Path) -> list[Utterance]:
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"data_dir: {path} is not text in UTF-8: {error}.") from error
    utterances = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *words = line.split(maxsplit=1)
        if not re.fullmatch(r"[\w-]+", name) or not words:
            raise ValueError(
                f"data_dir: {path}, line {number} must be an utterance's name and words, got {line!r:.80}."
            )
        utterances.append(Utterance(name, words[0].strip(), find_by_name(folder, f"{name}.flac")))
    if not utterances:
        raise ValueError(f"data_dir: {path} has no utterances.")
    check_unique((utterance.id for utterance in utterances), "utterance", path)
    return utterances


def _cut(
    chapter: str, utterances: list[Utterance], files: Mapping[str, SetSong], max_s: float | None
) -> dict[str, list[Utterance]]:
    """A chapter as tracks of at most `max_s`; an utterance that is longer by itself is a track of its own."""
    tracks: list[list[Utterance]] = [[]]
    length_s = 0.0
    for utterance in utterances:
        own_s = files[utterance.id].duration_s or 0.0  # of a missing utterance: its track has no audio then
        if max_s is not None and tracks[-1] and length_s + PAUSE_S + own_s > max_s:
            tracks.append([])
            length_s = 0.0
        length_s += own_s + (PAUSE_S if tracks[-1] else 0.0)
        tracks[-1].append(utterance)
    if len(tracks) == 1:
        return {chapter: tracks[0]}
    return {f"{chapter}_{number}": track for number, track in enumerate(tracks, start=1)}


def _make_track(name: str, utterances: list[SetSong], folder: Path) -> SetSong:
    """A track with its file, which is joined if it is not there yet."""
    path = folder / f"{name}.flac"
    if broken := [utterance for utterance in utterances if utterance.path is None]:
        issue = f"an utterance without audio: {broken[0].id}, {broken[0].issue}"
        return SetSong(name, path.name, issue=issue)
    try:
        join_audio([utterance.path for utterance in utterances], path)
    except ValueError as error:
        return SetSong(name, path.name, issue=str(error))
    return SetSong(name, path.name, path)


def join_audio(files: list[Path], path: Path) -> None:
    """
    Writes recordings one after the other with pauses, as FLAC of 16 bits, completely or not at all.

    A track that is there already with the right length stays: remove it if its recordings have changed.

    Raises:
        ValueError: if the recordings differ in sampling rate or channels, or one cannot be decoded to its end.
    """
    headers = [soundfile.info(file) for file in files]
    rate, channels = headers[0].samplerate, headers[0].channels
    if any((header.samplerate, header.channels) != (rate, channels) for header in headers):
        raise ValueError("utterances of different sampling rates or channels")
    pause = np.zeros((round(PAUSE_S * rate), channels), dtype=np.float32)
    length = sum(header.frames for header in headers) + len(pause) * (len(files) - 1)
    if _has_form(path, (rate, channels, length)):
        return
    with (
        atomic_write(path) as temporary,
        soundfile.SoundFile(temporary, "w", rate, channels, "PCM_16", format="FLAC") as track,
    ):
        for number, file in enumerate(files):
            try:
                samples, _ = soundfile.read(file, dtype="float32", always_2d=True)
            except soundfile.LibsndfileError as error:  # not one of writing
                raise ValueError(f"unreadable audio: {file.name}, {error}") from error
            track.write(np.concatenate([pause, samples]) if number else samples)


def _has_form(path: Path, form: tuple[int, int, int]) -> bool:
    try:
        header = soundfile.info(path)
    except (soundfile.LibsndfileError, OSError):
        return False
    return (header.samplerate, header.channels, header.frames) == form


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
    {"max_s": "longest track in seconds; longer chapters are cut between utterances (default: no limit)"},
)
