# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files of audio: what their content hashes to, and which of them an id belongs to."""

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from collap.data.manifest import AUDIO_SUFFIXES, FOREIGN_AUDIO_SUFFIXES, find_audio_files

logger = logging.getLogger(__name__)

HASHES_FILE = "audio_hashes.jsonl"
HASH_LENGTH = 32  # hexadecimal digits, that is 128 bits of the SHA-256


def audio_path(song: str | os.PathLike | Mapping[str, Any]) -> str | None:
    """
    The absolute path of a song, `None` if its bytes came along.

    Raises:
        TypeError: if the song is neither a path nor a dict with `bytes` or `path`.
    """
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


class AudioHashes:
    r"""
    Hashes of songs. Those of files are kept in `folder`, by path, size and time of the last change: reading hundreds
    of gigabytes at each start of a training would take long.

    The file is only ever appended to, a line of JSON a hash; a line that a kill has torn is passed over. Processes may
    share it.

    Args:
        folder (`Path`): Holds `audio_hashes.jsonl`.
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
        """
        The hash of a song's bytes.

        Raises:
            OSError: if it is a file that is not there or cannot be read.
        """
        path = audio_path(song)
        if path is None:
            return hashlib.sha256(song["bytes"]).hexdigest()[:HASH_LENGTH]
        status = os.stat(path)  # before it is read: what changes meanwhile is hashed again next time
        state = status.st_size, status.st_mtime_ns
        known = self._known.get(path, {})
        if state not in known:
            with open(path, "rb") as audio:
                digest = hashlib.file_digest(audio, "sha256").hexdigest()[:HASH_LENGTH]
            self._remember(path, state, digest)
            return digest
        return known[state]

    def earlier_hashes(self, song: str | os.PathLike | Mapping[str, Any]) -> set[str]:
        """All hashes that a song's file was ever seen with."""
        return set(self._known.get(audio_path(song) or "", {}).values())

    def _remember(self, path: str, state: tuple[int, int], digest: str) -> None:
        self._known.setdefault(path, {})[state] = digest
        entry = {"path": path, "size": state[0], "mtime_ns": state[1], "hash": digest}
        # One write a line, which processes do not interleave; the line break in front ends a torn line.
        line = f"\n{json.dumps(entry)}\n".encode()
        try:
            descriptor = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
        except OSError as error:
            if self._is_writable:
                logger.warning("Hashes of audio are not remembered, the next start reads all songs again: %s", error)
            self._is_writable = False


LEAST_CONTAINED = 6  # letters of an id that is looked for inside of names: shorter ones are in many
_YOUTUBE_ID = r"[A-Za-z0-9_-]{11}"
_YOUTUBE_ADDRESS = re.compile(rf"(?:[?&]v=|youtu\.be/|/embed/|/shorts/)({_YOUTUBE_ID})")
_BRACKETED_ID = rf".\[({_YOUTUBE_ID})\]$"  # behind a title
_SPAN = r"(?P<span>(?:_\d+(?:\.\d+)?){1,2})?"  # seconds or milliseconds where an excerpt begins and ends


@dataclass(frozen=True)
class SongFile:
    """
    The file of a song.

    Args:
        path (`Path`): Where it is.
        rule (`str`): What its name and the id have in common.
        is_excerpt (`bool`): Whether its name says that it holds only some seconds of the song.
    """

    path: Path
    rule: str
    is_excerpt: bool = False


def find_songs(ids: Iterable[str], folder: Path) -> tuple[dict[str, SongFile], dict[str, str]]:
    """
    Finds the file of each song in a folder and the folders in it.

    The first of these rules that finds a file for an id counts:
    1. the id is a path, and that of the file ends with it: `00/18500.mp3`;
    2. the name without suffix is the id (of an id with a suffix, or an address of YouTube, what is left without);
    3. so is the name up to its first dot: `18500.2min.mp3` of Song Describer;
    4. the name is a YouTube id with a `Y` before it, or with seconds behind it, as files of AudioSet are often called:
       `Y-0abcDEF_12.wav`, `-0abcDEF_12_30.000_40.000.wav`; the latter are excerpts;
    5. the name ends with the YouTube id, as downloaders call files: `A title [-0abcDEF_12].opus`, or with a hyphen
       before it and without brackets;
    6. one is a number and the other begins with it: `0001` or `1` and `0001_12step.mp3` of the Harmonix Set;
    7. the name holds an id of six letters or more, with no letter or digit next to it.

    Args:
        ids (`Iterable[str]`): As the table has them.
        folder (`Path`): Where the files are.

    Returns:
        The file of each id, and for each of the others why it has none: no file, several, one that another id claims
        by the same rule or a better one, or one of a format that soundfile does not read. What comes after a colon
        is particular to the id.
    """
    readable = _Names(folder, AUDIO_SUFFIXES)
    unreadable = _Names(folder, FOREIGN_AUDIO_SUFFIXES)
    candidates: dict[str, list[tuple[int, SongFile]]] = {}
    problems: dict[str, str] = {}
    ids = list(dict.fromkeys(ids))
    contained = readable.find_contained(ids)
    for song_id in ids:
        found = readable.find(song_id, contained)
        if found:
            candidates[song_id] = found
        elif others := unreadable.find(song_id, {}):
            problems[song_id] = f"unreadable audio: soundfile does not read {others[0][1].path.relative_to(folder)}"
        else:
            problems[song_id] = "no file of audio"

    claims: dict[Path, list[tuple[int, str]]] = defaultdict(list)
    for song_id, found in candidates.items():
        if len(found) > 1:
            names = ", ".join(str(file.path.relative_to(folder)) for _, file in found[:3])
            problems[song_id] = f"several files of audio: {names}{', ...' if len(found) > 3 else ''}"
        else:
            claims[found[0][1].path].append((found[0][0], song_id))
    songs = {}
    for path, claimants in claims.items():
        best = min(rank for rank, _ in claimants)
        winners = [song_id for rank, song_id in claimants if rank == best]
        for _, song_id in claimants:
            if winners == [song_id]:
                songs[song_id] = candidates[song_id][0][1]
            else:
                other = next(winner for winner in winners if winner != song_id)
                problems[song_id] = f"a file that another id claims: {path.relative_to(folder)}, {other!r}"
    return songs, problems


class _Names:
    """The names of a folder's files, by what ids are compared with."""

    def __init__(self, folder: Path, suffixes: tuple[str, ...]):
        self.files = [path.relative_to(folder) for path in find_audio_files(folder, suffixes)]
        self.folder = folder
        self.rules: list[tuple[str, Callable[[str], Iterable[object]], dict[object, list[Path]]]] = [
            (rule, of_id, _index(self.files, of_file))
            for rule, of_id, of_file in (
                ("the id is its path", _path_of_id, _paths_of_file),
                ("the id is its name", lambda song_id: [bare_id(song_id)], lambda file: [file.stem]),
                ("the id is its name up to a dot", lambda song_id: [bare_id(song_id)], _up_to_dot),
                (
                    "a YouTube id with Y or seconds",
                    lambda song_id: [bare_id(song_id)],
                    lambda file: _audioset_ids(file.stem),
                ),
                ("a YouTube id behind a title", lambda song_id: [bare_id(song_id)], _ids_behind_titles),
                ("the number is the same", _numbers_of_id, _numbers_of_file),
            )
        ]

    def find(self, song_id: str, contained: dict[str, list[Path]]) -> list[tuple[int, SongFile]]:
        """Files of the first rule that finds any, each with the number of the rule."""
        for rank, (rule, of_id, index) in enumerate(self.rules):
            files = list(dict.fromkeys(file for key in of_id(song_id) for file in index.get(key, [])))
            if files:
                return [(rank, SongFile(self.folder / file, rule, _is_excerpt(file))) for file in files]
        files = contained.get(song_id, [])
        return [(len(self.rules), SongFile(self.folder / file, "the id is in its name")) for file in files]

    def find_contained(self, ids: Iterable[str]) -> dict[str, list[Path]]:
        """Files whose names hold an id; looked up by windows of the names, so the time does not go by the product."""
        by_length: dict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for song_id in ids:
            if len(bare := bare_id(song_id)) >= LEAST_CONTAINED:
                by_length[len(bare)][bare].append(song_id)
        found: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            for length, names in by_length.items():
                for start in range(len(file.stem) - length + 1):
                    neighbours = file.stem[max(0, start - 1) : start] + file.stem[start + length : start + length + 1]
                    if not any(letter.isalnum() for letter in neighbours):
                        for song_id in names.get(file.stem[start : start + length], []):
                            found[song_id].append(file)
        return found


def _index(files: list[Path], keys: Callable[[Path], Iterable[object]]) -> dict[object, list[Path]]:
    index = defaultdict(list)
    for file in files:
        for key in keys(file):
            index[key].append(file)
    return dict(index)


def bare_id(song_id: str) -> str:
    """An id without address, folders and suffix."""
    if match := _YOUTUBE_ADDRESS.search(song_id):
        return match[1]
    name = PurePosixPath(song_id.strip().replace("\\", "/")).name
    is_file = PurePosixPath(name).suffix.lower() in (*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES)
    return PurePosixPath(name).stem if is_file else name


def youtube_id(song_id: str) -> str:
    """
    The YouTube id in an id, or the bare id if there is none in it.

    It is found in an address and in names such as `Y-0abcDEF_12.wav`, `-0abcDEF_12_30.000_40.000.wav` (AudioSet),
    `[-0abcDEF_12]-[30-40].wav` (MusicCaps) and `A title [-0abcDEF_12].opus`.
    """
    bare = bare_id(song_id)
    if ids := _audioset_ids(bare):
        return ids[0]
    match = re.search(_BRACKETED_ID, bare) or re.fullmatch(rf"\[({_YOUTUBE_ID})\]-\[[\d.]+-[\d.]+\]", bare)
    return match[1] if match else bare


def _path_of_id(song_id: str) -> list[str]:
    path = song_id.strip().replace("\\", "/").lstrip("./")
    return [path] if "/" in path and "://" not in path else []


def _paths_of_file(file: Path) -> list[str]:
    parts = file.as_posix().split("/")
    return ["/".join(parts[start:]) for start in range(len(parts) - 1)]


def _up_to_dot(file: Path) -> list[str]:
    return [file.name.split(".")[0]]


def _audioset_ids(name: str) -> list[str]:
    matches = [re.fullmatch(rf"{prefix}(?P<id>{_YOUTUBE_ID}){_SPAN}", name) for prefix in ("Y", "")]
    return [match["id"] for match in matches if match]


def _is_excerpt(file: Path) -> bool:
    match = re.fullmatch(rf"Y?{_YOUTUBE_ID}{_SPAN}", file.stem)
    return match is not None and match["span"] is not None


def _ids_behind_titles(file: Path) -> list[str]:
    match = re.search(rf"{_BRACKETED_ID}|..-({_YOUTUBE_ID})$", file.stem)
    return [match[1] or match[2]] if match else []


def _numbers_of_id(song_id: str) -> list[tuple[str, int]]:
    match = re.fullmatch(r"(\d+)(_.+)?", bare_id(song_id))
    if match is None:
        return []
    number = int(match[1])
    return [("number", number)] if match[2] else [("number", number), ("beginning", number)]


def _numbers_of_file(file: Path) -> list[tuple[str, int]]:
    match = re.fullmatch(r"(\d+)(_.+)?", file.stem)
    return [("beginning" if match[2] else "number", int(match[1]))] if match else []


__all__ = ["AudioHashes", "SongFile", "audio_name", "audio_path", "bare_id", "find_songs", "youtube_id"]
