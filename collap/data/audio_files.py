# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files of audio: their length, content and hashes, and which of them an id belongs to."""

import hashlib
import json
import logging
import os
import re
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from collap.processing.audio_decoding_collap import check_file, decode_audio

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


def audio_duration_s(song: str | os.PathLike | Mapping[str, Any]) -> float:
    """Length of a song in seconds, counted without decoding it; a ValueError as in [`read_audio`]."""
    counted = decode_audio(audio_path(song) or song["bytes"], length_s=0.0)
    if counted.problem is not None:
        raise ValueError(f"{audio_name(song)}: {counted.problem}.")
    return counted.duration_s


def read_audio(
    song: str | os.PathLike | Mapping[str, Any],
    sampling_rate: int,
    start_s: float = 0.0,
    length_s: float | None = None,
) -> tuple[np.ndarray, float]:
    """
    The waveform `(num_samples,)` of a whole song or of a part of it at `sampling_rate` Hz, and the length of the song
    in seconds; arguments as in [`decode_audio`]. A ValueError also says that the song is damaged, or has no sample
    there, or one that is not finite.
    """
    decoded = decode_audio(audio_path(song) or song["bytes"], sampling_rate, start_s, length_s)
    problem = decoded.problem
    if len(decoded.waveform) == 0:
        problem = problem or f"it has no sample from {start_s:g} s on"
    elif not np.isfinite(decoded.waveform).all():
        problem = "it has samples that are not finite"
    if problem is not None:
        raise ValueError(f"{audio_name(song)}: {problem}.")
    return decoded.waveform, decoded.duration_s


class AudioHashes:
    r"""
    Hashes of songs. Those of files are remembered in `audio_hashes.jsonl` in `folder`, by path, size and time of the
    last change: to read hundreds of gigabytes at each start of a training would take long.

    The file is only ever appended to; a line that is torn or damaged is ignored. Several processes may use it.
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
                    if entry.pop("checksum") == zlib.crc32(json.dumps(entry).encode()):
                        self._known.setdefault(entry["path"], {})[entry["size"], entry["mtime_ns"]] = entry["hash"]
                except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                    continue  # torn, damaged or blank: its file is hashed again

    def hash(self, song: str | os.PathLike | Mapping[str, Any], again: bool = False) -> str:
        """The hash of a song's bytes, read `again` or remembered; an OSError if its file is none or cannot be read."""
        path = audio_path(song)
        if path is None:
            return hashlib.sha256(song["bytes"]).hexdigest()[:HASH_LENGTH]
        check_file(path)
        status = os.stat(path)  # before it is read: what changes meanwhile is hashed again next time
        state = status.st_size, status.st_mtime_ns
        known = self._known.setdefault(path, {})
        if again or state not in known:
            with open(path, "rb") as audio:
                song_hash = hashlib.file_digest(audio, "sha256").hexdigest()[:HASH_LENGTH]
            if song_hash != known.get(state):
                known[state] = song_hash
                self._remember({"path": path, "size": state[0], "mtime_ns": state[1], "hash": song_hash})
        return known[state]

    def earlier_hashes(self, song: str | os.PathLike | Mapping[str, Any]) -> set[str]:
        """All hashes that a song's file was ever seen with."""
        return set(self._known.get(audio_path(song) or "", {}).values())

    def path(self, song_hash: str) -> str | None:
        """A file that was seen with a hash."""
        return next((path for path, hashes in self._known.items() if song_hash in hashes.values()), None)

    def _remember(self, entry: dict[str, Any]) -> None:
        entry["checksum"] = zlib.crc32(json.dumps(entry).encode())
        # One write a line, which processes do not interleave; the line break in front ends a torn line.
        line = f"\n{json.dumps(entry)}\n".encode()
        try:
            with self.file.open("ab", buffering=0) as file:
                file.write(line)
        except OSError as error:
            if self._is_writable:
                logger.warning("Hashes of audio are not remembered, the next start reads all songs again: %s", error)
            self._is_writable = False


# What is looked for in folders; a file that a manifest names may have any suffix.
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".w64", ".rf64")
AUDIO_SUFFIXES += (".m4a", ".mp4", ".aac", ".wma", ".webm", ".mka", ".mkv", ".ape", ".wv", ".ac3", ".mov", ".avi")


def find_audio_files(folder: Path, leave_out: Callable[[str, str], object] | None = None) -> list[Path]:
    """The audio files among those of [`list_folder`]; what is left out is a warning by default."""
    files = list_folder(folder, leave_out or (lambda _, reason: logger.warning("%s", reason)))
    return [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()]


def list_folder(folder: Path, leave_out: Callable[[str, str], object]) -> list[Path]:
    """
    What is in a folder and the folders below it, sorted by path, without what is hidden. `leave_out` gets the path of
    each folder that cannot be read or is a link, and a sentence that says so.
    """
    files: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=lambda error: leave_out(error.filename, str(error))):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for path in filter(os.path.islink, [os.path.join(parent, name) for name in folders]):
            leave_out(path, f"{path} is a link to a folder, which is not followed")
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(files)


def find_by_name(folder: Path, name: str) -> Path | None:
    """The file `name` in `folder`, or the one of this name with another suffix; None if there is none."""
    path = folder / name
    others = [path.with_name(path.name + suffix) for suffix in AUDIO_SUFFIXES]
    others += [path.with_suffix(suffix) for suffix in AUDIO_SUFFIXES]
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

    Returns the file of each id, and for each other id why it has none: no file, several files, or a file that another
    id has by the same rule or a better one. The text up to a colon is the kind of issue, the rest is about this id.
    """
    index = _index_files(folder)
    issues: dict[str, str] = {}
    claims: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for song_id in dict.fromkeys(ids):
        rule, files = _look_up(song_id, index)
        if len(files) == 1:
            claims[files[0]].append((rule, song_id))
        elif files:
            issues[song_id] = f"several audio files: {', '.join(map(str, files[:3]))}{', ...' * (len(files) > 3)}"
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


def _index_files(folder: Path) -> FileIndex:
    index: FileIndex = defaultdict(list)
    for path in find_audio_files(folder):
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
    return name.stem if name.suffix.lower() in AUDIO_SUFFIXES else name.name


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
