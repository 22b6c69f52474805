# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Transcripts and the speech they are of, in the layout of LibriSpeech (Panayotov et al., ICASSP 2015; openslr.org/12).

A part of it, such as `test-clean`, has a folder a speaker and in it one a chapter, with utterances of some seconds:
`61/70968/61-70968-0000.flac`, and `61/70968/61-70968.trans.txt` with a line an utterance, its name and its words in
capitals. Long tracks are made of them: the utterances of a chapter, one after the other.
"""

import inspect
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong, find_audio
from collap.data.sets.assembling import assemble, read_lengths
from collap.data.sets.manifest import load_manifest_set
from collap.data.sets.tables import check_choice, check_unique, find_audio_folder

MANIFESTS = (".jsonl", ".json", ".csv", ".parquet")
UNITS = ("chapter", "utterance")
CASES = {
    "sentence": "each utterance a sentence, in small letters but for the first, with a full stop",
    "published": "as it is published, in capitals and without punctuation",
}
DESCRIPTION = {
    "source": "LibriSpeech, openslr.org/12, or a corpus in its layout",
    "paper": "Panayotov et al., ICASSP 2015",
    "licence": "CC BY 4.0",
}


@dataclass(frozen=True)
class Utterance:
    """One line of a transcript: its name, its words, and its file, if it is there."""

    id: str
    text: str
    file: Path | None


def load_speech_transcripts(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    unit: str = "chapter",
    max_s: float | None = None,
    pause_s: float = 0.3,
    case: str = "sentence",
    joined_dir: str | Path | None = None,
) -> EvaluationSet:
    """
    Loads transcripts as queries for their speech.

    A chapter lacks no utterance: it is missing as a whole if one of them is.

    Args:
        data_dir (`str` or `Path`):
            Folder with `{speaker}-{chapter}.trans.txt` somewhere in it, such as `LibriSpeech/test-clean`. Or a
            manifest, such as the `test.jsonl` of benchmarks/spoken_digits: [`load_manifest_set`] then reads it, and
            the arguments after `audio_dir`, which are about how tracks are made, must not be given.
        audio_dir (`str` or `Path`, *optional*): Folder of the utterances, if they are not beside the transcripts.
        unit (`str`): `"chapter"`: utterances joined to a track, written to `joined_dir`; `"utterance"`: each alone.
        max_s (`float`, *optional*): Longest track; a longer chapter becomes several, cut between utterances.
        pause_s (`float`): Silence between utterances of a track, in seconds.
        case (`str`): How the transcript is written: `"sentence"` or `"published"`.
        joined_dir (`str` or `Path`, *optional*):
            Default: a folder beside that of the utterances, with both lengths in its name:
            `test-clean_joined_pause_0.3s`, or `..._pause_0.3s_max_60s`.

    Returns:
        [`EvaluationSet`], with the utterances of a track as the sentences of its text.

    Raises:
        ValueError: if there are no transcripts, a line is none, an utterance occurs twice, all audio is missing, or an
            argument is out of range or of no use for a manifest.
    """
    if Path(data_dir).suffix.lower() in MANIFESTS:
        _refuse_for_manifest(unit=unit, max_s=max_s, pause_s=pause_s, case=case, joined_dir=joined_dir)
        evaluation_set = load_manifest_set(data_dir, audio_dir, name=f"speech_transcripts {Path(data_dir).stem}")
        evaluation_set.description["captions"] = "the transcript, as the manifest has it"
        return evaluation_set
    check_choice("unit", unit, UNITS)
    check_choice("case", case, tuple(CASES))
    if max_s is not None and not (_is_number(max_s) and max_s > 0):
        raise ValueError(f"max_s must be more than 0 s, got {max_s!r}.")
    if not (_is_number(pause_s) and 0 <= pause_s < float("inf")):
        raise ValueError(f"pause_s must be seconds and not negative, got {pause_s!r}.")
    folder = Path(data_dir)
    transcripts = sorted(folder.rglob("*.trans.txt")) if folder.is_dir() else []
    if not transcripts:
        raise ValueError(f"data_dir: {folder} must be a folder with transcripts (.trans.txt) in it, or a manifest.")
    audio = find_audio_folder(folder, audio_dir, ())
    chapters = {
        path.name.removesuffix(".trans.txt"): _read_transcript(path, audio / path.parent.relative_to(folder))
        for path in transcripts
    }
    if len(chapters) < len(transcripts):
        check_unique((path.name for path in transcripts), "transcript", folder)
    songs: dict[str, Path | MissingSong] = {}
    texts = []
    if joined_dir is None:
        lengths = f"pause_{pause_s:g}s" + ("" if max_s is None else f"_max_{max_s:g}s")
        joined_dir = audio.absolute().parent / f"{audio.absolute().name}_joined_{lengths}"
    joined = Path(joined_dir)
    for chapter, utterances in chapters.items():
        if unit == "utterance":
            tracks = {utterance.id: [utterance] for utterance in utterances}
        else:
            tracks = _cut(chapter, utterances, max_s, pause_s)
        for track, parts in tracks.items():
            songs[track] = _find_track(track, parts, pause_s, joined if unit == "chapter" else None)
            texts.append(EvaluationText(track, [_write(part.text, case) for part in parts], (track,)))
    description = {
        **DESCRIPTION,
        "part": folder.absolute().name,
        "unit": unit,
        "captions": f"the transcript; {CASES[case]}",
        "longest_track_s": max_s,
        "pause_between_utterances_s": pause_s if unit == "chapter" else None,
        "speakers": len({chapter.split("-")[0] for chapter in chapters}),
        "chapters": len(chapters),
        "utterances": sum(len(utterances) for utterances in chapters.values()),
        "section_query": False,
    }
    return assemble(f"speech_transcripts {folder.absolute().name} {unit}", songs, texts, description)


def _read_transcript(path: Path, folder: Path) -> list[Utterance]:
    """Utterances of a chapter in their order, with their files in `folder`."""
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
        utterances.append(Utterance(name, words[0].strip(), find_audio(folder, f"{name}.flac")))
    if not utterances:
        raise ValueError(f"data_dir: {path} has no utterances.")
    check_unique((utterance.id for utterance in utterances), "utterance", path)
    return utterances


def _cut(
    chapter: str, utterances: Sequence[Utterance], max_s: float | None, pause_s: float
) -> dict[str, list[Utterance]]:
    """A chapter as tracks of at most `max_s`, or of one utterance that is longer by itself."""
    if max_s is None:
        return {chapter: list(utterances)}
    lengths = read_lengths(utterance.file for utterance in utterances if utterance.file is not None)
    tracks: list[list[Utterance]] = [[]]
    length_s = 0.0
    for utterance in utterances:
        own = lengths.get(utterance.file, 0.0) if utterance.file is not None else 0.0
        own_s = own if isinstance(own, float) else 0.0  # what can't be read makes its track missing
        if tracks[-1] and length_s + pause_s + own_s > max_s:
            tracks.append([])
            length_s = 0.0
        length_s += own_s + (pause_s if tracks[-1] else 0.0)
        tracks[-1].append(utterance)
    if len(tracks) == 1:
        return {chapter: tracks[0]}
    return {f"{chapter}_{number}": track for number, track in enumerate(tracks, start=1)}


def _find_track(
    track: str, utterances: list[Utterance], pause_s: float, joined_dir: Path | None
) -> Path | MissingSong:
    """The file of a track, joined if it has not been; of a single utterance its own, if `joined_dir` is None."""
    lacking = [utterance.id for utterance in utterances if utterance.file is None]
    if lacking:
        reason = f"no file of audio for {len(lacking)} of {len(utterances)} utterances"
        return MissingSong(track, f"{lacking[0]}.flac", reason)
    files = [utterance.file for utterance in utterances if utterance.file is not None]
    if joined_dir is None:
        return files[0]
    path = joined_dir / f"{track}.flac"
    try:
        join_audio(files, path, pause_s)
    except ValueError as error:
        return MissingSong(track, str(path), f"unreadable audio: {error}")
    return path


def join_audio(files: Sequence[Path], path: Path, pause_s: float) -> None:
    """
    Writes recordings one after the other, as FLAC of 16 bits.

    A track of the right length that is there already stays: remove it if its recordings were changed.

    Args:
        files (`Sequence[Path]`): Of one sampling rate and number of channels.
        path (`Path`): Where to; whole or not at all, also if several processes write it at once.
        pause_s (`float`): Silence between them.

    Raises:
        ValueError: if the recordings differ in form, or one can't be read.
        OSError, soundfile.LibsndfileError: if the track can't be written.
    """
    heads = [_read_or_refuse(soundfile.info, file) for file in files]
    forms = {(head.samplerate, head.channels) for head in heads}
    if len(forms) > 1:
        raise ValueError(f"the utterances differ in sampling rate and channels: {sorted(forms)}")
    rate, channels = forms.pop()
    pause = round(pause_s * rate)
    length = sum(head.frames for head in heads) + pause * (len(files) - 1)
    if _has_form(path, rate, channels, length):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with soundfile.SoundFile(unfinished, "w", rate, channels, "PCM_16", format="FLAC") as track:
            for number, file in enumerate(files):
                if number and pause:
                    track.write(np.zeros((pause, channels), dtype=np.float32))
                samples, _ = _read_or_refuse(soundfile.read, file, dtype="float32", always_2d=True)
                track.write(samples)
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _read_or_refuse(read: Callable[..., Any], file: Path, **options: Any) -> Any:
    """What `read` makes of a recording; a ValueError if it can't."""
    try:
        return read(file, **options)
    except soundfile.LibsndfileError as error:
        raise ValueError(str(error)) from error


def _has_form(path: Path, rate: int, channels: int, length: int) -> bool:
    """Whether a track is there, by its head; one that can't be read is made anew."""
    if not path.is_file():
        return False
    try:
        head = soundfile.info(path)
    except soundfile.LibsndfileError:
        return False
    return (head.samplerate, head.channels, head.frames) == (rate, channels, length)


def _refuse_for_manifest(**arguments: Any) -> None:
    """Raises a ValueError if an argument has another value than its default: a manifest's tracks are made already."""
    defaults = inspect.signature(load_speech_transcripts).parameters
    given = [name for name, value in arguments.items() if value != defaults[name].default]
    if given:
        raise ValueError(f"{', '.join(given)} must be left out for a manifest, whose tracks are made already.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _write(words: str, case: str) -> str:
    if case == "published" or words != words.upper():  # another corpus may write its transcripts as one should
        return words
    words = re.sub(r"\bi\b", "I", words.lower())
    return words[0].upper() + words[1:] + ("" if words.endswith((".", "!", "?")) else ".")


__all__ = ["join_audio", "load_speech_transcripts"]
