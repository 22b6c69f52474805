# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A public set becomes a manifest and `provenance.json`: what all converters share."""

import csv
import hashlib
import inspect
import json
import logging
import os
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from collap.data.audio_files import audio_duration_s, audio_name, find_songs
from collap.files import atomic_write, read_object, write_json

logger = logging.getLogger(__name__)

MANIFEST = "manifest.jsonl"
PROVENANCE = "provenance.json"
SHORT_S = 30.0  # shorter recordings are excerpts rather than songs
MAX_LISTED = 20  # rows without a text that provenance.json lists one by one


@dataclass(frozen=True)
class SetSong:
    """A song of a set."""

    id: str
    name: str  # what the published files call it
    path: Path | None = None
    issue: str = "no audio file"  # why it has no path, if so; up to a colon the same for all such songs
    duration_s: float | None = None  # from `read_durations`


@dataclass(frozen=True)
class SetFolders:
    """Where a converter reads and writes."""

    data: Path  # folder of the published files, or the one file that matters
    audio: Path | None  # folder of the songs, if it is not in `data`
    output: Path

    def find_file(self, name: str, subfolders: Sequence[str] = ("",)) -> Path:
        """A published file: `data` itself if it is a file, else `name` in one of its subfolders."""
        if not self.data.exists():
            raise ValueError(f"data_dir: there is no file or folder {self.data}.")
        if self.data.is_file():
            return self.data
        for subfolder in subfolders:
            if (self.data / subfolder / name).is_file():
                return self.data / subfolder / name
        raise ValueError(f"data_dir: {self.data} must contain {name!r}.")

    def find_audio(self, names: Sequence[str] = ("audio",)) -> Path:
        """The folder of the songs: `audio`, or the first of `names` in `data`, or `data` itself."""
        if self.audio is not None and not self.audio.is_dir():
            raise ValueError(f"audio_dir: there is no folder {self.audio}.")
        folder = self.data.parent if self.data.is_file() else self.data
        return self.audio or next((folder / name for name in names if (folder / name).is_dir()), folder)

    def find_songs(self, ids: Iterable[str], names: Sequence[str] = ("audio",)) -> dict[str, SetSong]:
        """Songs whose files are named by their ids, see [`find_songs`], in the folder of `find_audio`."""
        files, issues = find_songs(ids, self.find_audio(names))
        return read_durations(
            SetSong(song, song, files[song]) if song in files else SetSong(song, song, issue=issues[song])
            for song in ids
        )


@dataclass(frozen=True)
class SetText:
    """A text of a set, a string or a list of sentences, with further columns of its rows."""

    id: str
    text: str | list[str]
    song_ids: tuple[str, ...]
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class SetContent:
    """What a converter has read."""

    variant: str  # which part of the set: for the name of the manifest and the published counts
    songs: Mapping[str, SetSong]  # from `read_durations`
    texts: Sequence[SetText]  # also those of songs without audio
    captions: str  # which texts these are, in a sentence
    files: Sequence[Path]  # the published files that were read
    left_out: Sequence[tuple[str, str]] = ()  # place and reason of each row that gave no text
    section_query: bool = False  # whether a text describes a section and not the whole song
    notes: Sequence[str] = ()  # what else the warning says
    details: Mapping[str, Any] = field(default_factory=dict)  # what else provenance.json has


@dataclass(frozen=True)
class SetConverter:
    """A public set, and how its published files become a manifest."""

    name: str  # what commands call it
    summary: str  # what it is, in a line
    source: str  # who publishes it where, and the paper on it
    download: str  # what to get from where
    licence: str  # of the texts and of the audio
    paper_row: str  # which evaluation of the paper of CoLLAP (arXiv 2410.02271) it is
    read: Callable[..., SetContent]  # read(folders, **options)
    options: Mapping[str, str]  # the options of `read` and what they mean
    choices: Mapping[str, Sequence[str]] = field(default_factory=dict)  # the values of an option, where they are few
    published: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # songs and texts of each variant

    def convert(
        self, data_dir: str | Path, output_dir: str | Path, audio_dir: str | Path | None = None, **options: Any
    ) -> Path:
        """
        Writes `manifest.jsonl` (a row for each text of a song, for [`load_manifest`]) and `provenance.json`, and warns
        of all that is missing or differs. Returns the path of the manifest.

        Args:
            data_dir (`str` or `Path`): Folder of the published files, or the one file that matters.
            output_dir (`str` or `Path`): Folder of the manifest, made if it is not there.
            audio_dir (`str` or `Path`, *optional*): Folder of the songs, if it is not in `data_dir`.
            options: See `options`.

        Raises:
            ValueError: if an option is unknown or has a wrong value, if a published file or column is missing or
                contradicts itself, or if no song with a text has usable audio.
        """
        folders = SetFolders(Path(data_dir), None if audio_dir is None else Path(audio_dir), Path(output_dir))
        try:
            call = inspect.signature(self.read).bind(folders, **options)
        except TypeError as error:
            raise ValueError(f"{self.name}: {error}; its options are {', '.join(self.options)}.") from error
        call.apply_defaults()
        given = {name: call.arguments[name] for name in self.options}
        for name, choices in self.choices.items():
            if given[name] not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {given[name]!r}.")
        return _write(self, self.read(*call.args, **call.kwargs), folders.output, given)

    def describe(self) -> str:
        """All that a user needs to know before the download, in lines."""
        counts = [f"{part}: {songs:,} songs, {texts:,} texts" for part, (songs, texts) in self.published.items()]
        lines = [
            f"{self.name}: {self.summary}",
            f"Source: {self.source}",
            f"Download: {self.download}",
            f"Licence: {self.licence}",
            f"In the paper: {self.paper_row}",
            f"Published: {'; '.join(counts) or 'no counts'}",
        ]
        return "\n".join([*lines, *(f"Option {name}: {meaning}" for name, meaning in self.options.items())])


def _write(converter: SetConverter, content: SetContent, output_dir: Path, options: Mapping[str, Any]) -> Path:
    def relative(song: SetSong) -> str:
        return os.path.relpath(song.path, output_dir).replace(os.sep, "/")

    name = f"{converter.name} {content.variant}"
    songs, texts = content.songs, content.texts
    usable = {song.id: song for song in songs.values() if song.path is not None}
    missing = [song for song in songs.values() if song.path is None]
    rows = [
        {
            "audio": relative(usable[song_id]),
            "song_id": song_id,
            "duration_s": round(usable[song_id].duration_s, 3),
            "text": text.text,
            "text_ids": [text.id],
            **text.extra,
        }
        for text in texts
        for song_id in text.song_ids
        if song_id in usable
    ]
    if not rows:
        first = f", the first is {missing[0].name} ({missing[0].issue})" if missing else ""
        raise ValueError(
            f"{name}: no song with a text has usable audio. {len(missing)} of {len(songs)} songs are missing{first}."
        )
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    described = {row["song_id"] for row in rows}
    num_texts = len({row["text_ids"][0] for row in rows})
    published = converter.published.get(content.variant)
    seconds = [song.duration_s for song in usable.values()]
    short = sum(length < SHORT_S for length in seconds)
    left_out = Counter(reason for _, reason in content.left_out)

    notes = []
    if published is not None and published != (len(songs), len(texts)):
        counts = f"{published[0]} songs and {published[1]} texts are published"
        notes.append(f"{counts}, the files name {len(songs)} and {len(texts)}.")
    if missing:
        issues = Counter(song.issue.split(":")[0] for song in missing)
        notes.append(
            f"{len(missing)} of {len(songs)} songs have no usable audio ({_join(issues)}), {len(texts) - num_texts} "
            f"of {len(texts)} texts are left out with them. Metrics on fewer songs are higher than those on all."
        )
    if left_out:
        notes.append(f"{left_out.total()} rows gave no text ({_join(left_out)}).")
    if short:
        notes.append(f"{short} of {len(usable)} recordings are shorter than {SHORT_S:g} s.")
    notes += content.notes
    with atomic_write(output_dir / MANIFEST) as temporary:
        temporary.write_bytes(lines)
    provenance = {
        "name": name,
        "set": converter.name,
        "options": options,
        "source": converter.source,
        "licence": converter.licence,
        "paper_row": converter.paper_row,
        "captions": content.captions,
        "section_query": content.section_query,
        **content.details,
        "published": published and {"songs": published[0], "texts": published[1]},
        "in_files": {"songs": len(songs), "texts": len(texts)},
        "in_manifest": {"songs": len(described), "texts": num_texts, "rows": len(rows)},
        "identical_texts": _count_identical(texts),
        "audio": {
            "hours": round(sum(seconds) / 3600, 3),
            "median_s": round(statistics.median(seconds), 2),
            f"shorter_than_{SHORT_S:g}_s": short,
        },
        "songs_without_text": [
            {"song_id": song.id, "audio": relative(song)} for song in usable.values() if song.id not in described
        ],
        "missing": [{"id": song.id, "path": song.name, "reason": song.issue} for song in missing],
        "rows_left_out": {
            "count": left_out.total(),
            "by_reason": dict(left_out.most_common()),
            "first": [f"{place}: {reason}" for place, reason in content.left_out[:MAX_LISTED]],
        },
        "files": [{"name": path.name, "sha256": _hash(path.read_bytes())} for path in content.files],
        "manifest": {"name": MANIFEST, "sha256": _hash(lines)},
        "notes": notes,
    }
    write_json(output_dir / PROVENANCE, provenance)
    if notes:
        logger.warning("%s: %s", name, " ".join(notes))
    return output_dir / MANIFEST


def read_provenance(manifest: Path) -> tuple[dict[str, Any], list[str]]:
    """Content and notes of the `provenance.json` beside a manifest; nothing if that belongs to another manifest."""
    file = (manifest if manifest.is_dir() else manifest.parent) / PROVENANCE
    try:
        provenance = read_object(file) if file.is_file() else {}
    except ValueError as error:
        raise ValueError(f"manifest: {file} beside it cannot be read: {error}.") from error
    described = provenance.get("manifest", {})
    if described.get("name", manifest.name) != manifest.name:
        provenance, described = {}, {}
    notes = provenance.pop("notes", [])
    if not isinstance(notes, list):
        raise ValueError(f"manifest: notes in {file} beside it must be a list of strings, got {notes!r}.")
    if manifest.is_file():
        digest = _hash(manifest.read_bytes())
        if described.get("sha256", digest) != digest:
            notes.append(f"{manifest.name} has changed since {PROVENANCE} was written.")
        provenance["manifest"] = {"name": manifest.name, "sha256": digest}
    return provenance, notes


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _join(reasons: Counter[str]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in reasons.most_common())


def _count_identical(texts: Sequence[SetText]) -> int:
    """Texts with the words of a text of another song: no model can rank more than one of these songs first."""
    songs: dict[str, set[str]] = defaultdict(set)
    whole = [text.text if isinstance(text.text, str) else " ".join(text.text) for text in texts]
    words = [" ".join(text.lower().split()) for text in whole]
    for key, text in zip(words, texts, strict=True):
        songs[key].update(text.song_ids)
    return sum(songs[key] > set(text.song_ids) for key, text in zip(words, texts, strict=True))


def read_durations(songs: Iterable[SetSong]) -> dict[str, SetSong]:
    """Songs by their ids, with the durations of their files; unreadable files are removed."""

    def read(song: SetSong) -> SetSong:
        try:
            duration_s = None if song.path is None else audio_duration_s(song.path)
        except ValueError as error:
            reason = str(error).removeprefix(f"{audio_name(song.path)}: ")
            return replace(song, path=None, issue=f"unreadable audio: {reason}")
        return replace(song, duration_s=duration_s)

    with ThreadPoolExecutor() as pool:
        return {song.id: song for song in pool.map(read, songs)}


def read_table(
    path: Path, columns: Iterable[str] = (), unique: str | None = None, path_column: str | None = None
) -> list[dict[str, str]]:
    """
    Rows of a CSV (or `.tsv`) with a header, every cell as text.

    Raises:
        ValueError: if it is none, lacks a column, has a cell of the column `unique` twice, or has a path in
            `path_column` that leads out of the folder that it is relative to.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True)
            rows, names = list(reader), list(reader.fieldnames or [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"data_dir: {path} cannot be read as a CSV in UTF-8: {error}.") from error
    if not rows:
        raise ValueError(f"data_dir: {path} has no rows.")
    if len(set(names)) < len(names):
        raise ValueError(f"data_dir: the first line of {path} must be a header with different names, got {names}.")
    if lacking := [name for name in columns if name not in names]:
        raise ValueError(f"data_dir: {path} must have the columns {lacking} too, it has {names}.")
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise ValueError(f"data_dir: row {number} of {path} has more or fewer cells than the header.")
        if path_column is not None and not _is_inside(name := row[path_column]):
            place = f"{path.name}, row {number}: {path_column}"
            raise ValueError(f"data_dir: {place} must be a path inside the audio folder, got {name!r}.")
    if unique is not None:
        check_unique((row[unique].strip() for row in rows), unique, path)
    return rows


def _is_inside(name: str) -> bool:
    """Whether a path of a published table leads nowhere out of the folder that it is relative to."""
    path = PurePosixPath(name.replace("\\", "/"))
    is_absolute = path.is_absolute() or re.match(r"[A-Za-z]:[\\/]", name)
    return bool(path.parts) and not is_absolute and ".." not in path.parts and "\0" not in name


def read_flag(cell: str, place: str) -> bool:
    """A cell that says yes or no; an empty one says no."""
    flags = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False, "": False}
    if (flag := flags.get(cell.strip().lower())) is None:
        raise ValueError(f"data_dir: {place} must be True, False or empty, got {cell!r}.")
    return flag


def check_unique(ids: Iterable[str], what: str, path: Path) -> None:
    """Raises a ValueError if an id occurs twice."""
    if repeated := [one for one, count in Counter(ids).items() if count > 1]:
        raise ValueError(f"data_dir: {path} has the {what} {repeated[0]!r} twice.")
