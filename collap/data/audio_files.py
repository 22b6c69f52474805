# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files of audio: their length, content and hashes, and which of them an id belongs to."""

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import soundfile
import soxr

logger = logging.getLogger(__name__)

HASHES_FILE = "audio_hashes.jsonl"
HASH_LENGTH = 32  # hexadecimal digits, that is 128 bits of the SHA-256


def audio_path(song: str | os.PathLike | Mapping[str, Any]) -> str | None:
    """The absolute path of a song, None if its bytes came along; a TypeError if it has neither."""
    if isinstance(song, Mapping):
        if song.get("bytes") is not None:
            return None
        song = song.get("path")
    if not isinstance(song, str | os.PathLike):
        raise TypeError(f"A song must be a path or a dict with 'bytes' or 'path', got {type(song).__name__}.")
    return os.path.abspath(song)


def audio_name(song: str | os.PathLike | Mapping[str, Any]) -> str:
    """What messages call a song."""
    path = audio_path(song)
    return path or f"{song.get('path') or 'a song'} ({len(song['bytes'])} bytes)"


@contextmanager
def _opened(source: str | os.PathLike | Mapping[str, Any]) -> Iterator[soundfile.SoundFile]:
    """The file for decoding; what fails, inside the block too, becomes a ValueError that names it."""
    name = audio_name(source)
    try:
        with soundfile.SoundFile(audio_path(source) or BytesIO(source["bytes"])) as reader:
            yield reader
    except (OSError, RuntimeError) as error:
        reason = str(error).removeprefix(f"Error opening {name!r}: ").strip().rstrip(".")
        raise ValueError(f"{name}: unreadable audio: {reason}") from error


def audio_duration_s(source: str | os.PathLike | Mapping[str, Any]) -> float:
    """
    Length of a file in seconds, as its header says.

    Raises:
        ValueError: if the file cannot be read.
        TypeError: if the source is neither a path nor a dict with `bytes` or `path`.
    """
    with _opened(source) as reader:
        return reader.frames / reader.samplerate


def read_audio(
    source: str | Mapping[str, Any], sampling_rate: int, start_s: float = 0.0, length_s: float | None = None
) -> tuple[np.ndarray, float]:
    """
    Decodes a file of audio, averages its channels and resamples it to `sampling_rate` Hz.

    Of `length_s` seconds (default: all) from `start_s` on no more than these are decoded; the file may have less.
    Returns the waveform `(num_samples,)` in float32 and the length of the whole file in seconds (of a part, as its
    header says).

    Raises:
        ValueError: if the file cannot be read, holds no sample there, or one that is not finite.
        TypeError: as in [`audio_duration_s`].
    """
    with _opened(source) as reader:
        start = min(round(start_s * reader.samplerate), reader.frames)
        length = -1 if length_s is None else round(length_s * reader.samplerate)
        reader.seek(start)
        channels = reader.read(length, dtype="float32", always_2d=True)  # (samples, channels)
        rate, num_samples = reader.samplerate, reader.frames
    if length_s is None:
        num_samples = start + len(channels)
    waveform = channels.mean(axis=1)
    if len(waveform) and rate != sampling_rate:
        waveform = soxr.resample(waveform, rate, sampling_rate)
    if len(waveform) == 0 or not np.isfinite(waveform).all():
        what = "no sample" if len(waveform) == 0 else "samples that are not finite"
        raise ValueError(f"{audio_name(source)} holds {what} from {start_s:g} s on.")
    if length_s is not None:  # resampling may round up
        waveform = waveform[: round(length_s * sampling_rate)]
    return waveform, num_samples / rate


class AudioHashes:
    r"""
    Hashes of songs. Those of files are remembered in `audio_hashes.jsonl` in `folder`, by path, size and time of the
    last change: to read hundreds of gigabytes at each start of a training would take long.

    The file is only ever appended to; a line that a kill has torn is ignored. Several processes may use it.
    """

    def __init__(self, folder: Path):
        self.file = folder / HASHES_FILE
        self._known: dict[str, dict[tuple[int, int], str]] = {}  # of a path: (size, mtime_ns) -> hash
        self._is_writable = True
        self.read()

    def read(self) -> None:
        """Reads what this process and others have remembered."""
        if not self.file.is_file():
            return
        with self.file.open("rb") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    state = entry["size"], entry["mtime_ns"]
                    self._known.setdefault(entry["path"], {})[state] = entry["hash"]
                except (ValueError, KeyError, TypeError):
                    continue  # torn or blank: its file is hashed again

    def hash(self, song: str | os.PathLike | Mapping[str, Any]) -> str:
        """The hash of a song's bytes; an OSError if its file is not there or cannot be read."""
        path = audio_path(song)
        if path is None:
            return hashlib.sha256(song["bytes"]).hexdigest()[:HASH_LENGTH]
        status = os.stat(path)  # before it is read: what changes meanwhile is hashed again next time
        state = status.st_size, status.st_mtime_ns
        known = self._known.setdefault(path, {})
        if state not in known:
            with open(path, "rb") as audio:
                known[state] = hashlib.file_digest(audio, "sha256").hexdigest()[:HASH_LENGTH]
            self._remember({"path": path, "size": state[0], "mtime_ns": state[1], "hash": known[state]})
        return known[state]

    def earlier_hashes(self, song: str | os.PathLike | Mapping[str, Any]) -> set[str]:
        """All hashes that a song's file was ever seen with."""
        return set(self._known.get(audio_path(song) or "", {}).values())

    def _remember(self, entry: dict[str, Any]) -> None:
        # One write a line, which processes do not interleave; the line break in front ends a torn line.
        line = f"\n{json.dumps(entry)}\n".encode()
        try:
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                file.write(line)
        except OSError as error:
            if self._is_writable:
                logger.warning("Hashes of audio are not remembered, the next start reads all songs again: %s", error)
            self._is_writable = False


# What libsndfile decodes, and what it does not: files of the second kind are named in messages.
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64", ".rf64")
FOREIGN_AUDIO_SUFFIXES = (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".ape")


def visible_files(folder: Path) -> Iterator[Path]:
    """Files in a folder and in all folders below it, without hidden ones."""
    for path in folder.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield path


def find_audio_files(folder: Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> list[Path]:
    """Audio files in a folder and in all folders below it, sorted by path; hidden files are left out."""
    return sorted(path for path in visible_files(folder) if path.suffix.lower() in suffixes)


def find_by_name(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or the one of this name with another suffix; None if there is none."""
    path, suffixes = folder / name, (".mp3", ".flac", ".wav", ".ogg")
    others = [path.with_name(path.name + suffix) for suffix in suffixes] + [path.with_suffix(one) for one in suffixes]
    return next((candidate for candidate in (path, *others) if candidate.is_file()), None)


_YOUTUBE_ID = r"[A-Za-z0-9_-]{11}"
_YOUTUBE_ADDRESS = re.compile(rf"(?:[?&]v=|youtu\.be/|/embed/|/shorts/)({_YOUTUBE_ID})")
# Names of files of YouTube; with a span they hold only these seconds (or milliseconds) of the song.
_YOUTUBE_NAMES = [
    re.compile(rf"Y?(?P<id>{_YOUTUBE_ID})(?P<span>(?:_\d+(?:\.\d+)?){{1,2}})?"),  # AudioSet
    re.compile(rf"\[(?P<id>{_YOUTUBE_ID})\](?P<span>-\[[\d.]+-[\d.]+\])"),  # MusicCaps
    re.compile(rf".+\[(?P<id>{_YOUTUBE_ID})\](?P<span>)"),  # of downloaders, behind a title
]
_NUMBERED = re.compile(r"(\d+)(_.+)?")  # Harmonix Set
_NAME, _UP_TO_DOT, _YOUTUBE, _NUMBER = range(4)  # rules of find_songs

FileIndex = dict[tuple[int, object], list[Path]]  # of a rule and what it compares


def find_songs(ids: Iterable[str], folder: Path) -> tuple[dict[str, Path], dict[str, str]]:
    """
    Finds the audio file of each song id in a folder and the folders below it.

    The first of these rules that finds a file for an id counts. Of an id its suffix and its folders do not count, of a
    YouTube address only the id.
    1. the name without suffix is the id;
    2. the name up to its first dot is the id: `18500.2min.mp3` of Song Describer;
    3. the YouTube id is the same, see [`youtube_id`]; files with seconds in their names are excerpts;
    4. one is a number and the other begins with it: `0001` or `1` and `0001_12step.mp3` of the Harmonix Set.

    Returns the file of each id, and for each other id why it has none: no file, several files, a file that another id
    has by the same rule or a better one, or a format that cannot be decoded. The text up to a colon is the kind of
    issue, the rest is about this id.
    """
    decodable, foreign = (_index_files(folder, suffixes) for suffixes in (AUDIO_SUFFIXES, FOREIGN_AUDIO_SUFFIXES))
    issues: dict[str, str] = {}
    claims: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for song_id in dict.fromkeys(ids):
        rule, files = _look_up(song_id, decodable)
        if len(files) == 1:
            claims[files[0]].append((rule, song_id))
        elif files:
            issues[song_id] = f"several audio files: {', '.join(map(str, files[:3]))}{', ...' * (len(files) > 3)}"
        elif others := _look_up(song_id, foreign)[1]:
            issues[song_id] = f"unreadable audio: {others[0]} has a format that cannot be decoded"
        else:
            issues[song_id] = "no audio file"
    songs = {}
    for file, claimants in claims.items():
        best = min(claimants)[0]
        winners = [song_id for rule, song_id in claimants if rule == best]
        for _, song_id in claimants:
            if winners == [song_id]:
                songs[song_id] = folder / file
            else:
                other = next(winner for winner in winners if winner != song_id)
                issues[song_id] = f"an audio file that another id has: {file}, {other!r}"
    return songs, issues


def _index_files(folder: Path, suffixes: tuple[str, ...]) -> FileIndex:
    index: FileIndex = defaultdict(list)
    for path in find_audio_files(folder, suffixes):
        file = path.relative_to(folder)
        keys = [(_NAME, file.stem), (_UP_TO_DOT, file.name.split(".")[0])]
        if match := _match_youtube(file.stem):
            keys.append((_YOUTUBE, match["id"]))
        if match := _NUMBERED.fullmatch(file.stem):
            keys.append((_NUMBER, (int(match[1]), match[2] is None)))
        for key in keys:
            index[key].append(file)
    return index


def _look_up(song_id: str, index: FileIndex) -> tuple[int, list[Path]]:
    """The first rule that finds files, and the files."""
    name = bare_id(song_id)
    keys = {_NAME: [name], _UP_TO_DOT: [name], _YOUTUBE: [youtube_id(song_id)], _NUMBER: []}
    if match := _NUMBERED.fullmatch(name):
        number = int(match[1])
        keys[_NUMBER] = [(number, True)] if match[2] else [(number, True), (number, False)]
    for rule, compared in keys.items():
        if files := [file for key in compared for file in index.get((rule, key), [])]:
            return rule, files
    return _NUMBER, []


def bare_id(song_id: str) -> str:
    """An id without address, folders and suffix."""
    if match := _YOUTUBE_ADDRESS.search(song_id):
        return match[1]
    name = PurePosixPath(song_id.strip().replace("\\", "/"))
    return name.stem if name.suffix.lower() in (*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES) else name.name


def youtube_id(song_id: str) -> str:
    """The YouTube id in an address or the name of a file (see _YOUTUBE_NAMES), or the bare id if there is none."""
    match = _match_youtube(bare_id(song_id))
    return match["id"] if match else bare_id(song_id)


def is_excerpt(file: Path) -> bool:
    """Whether the name of a file says that it holds only some seconds of a song of YouTube."""
    match = _match_youtube(file.stem)
    return bool(match and match["span"])


def _match_youtube(name: str) -> re.Match | None:
    return next((match for pattern in _YOUTUBE_NAMES if (match := pattern.fullmatch(name))), None)
