# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a model is evaluated on: songs, texts, and which belong together, read from a manifest."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from collap.data.manifest import load_manifest
from collap.data.sets.converter import read_provenance

SECTIONS = "sections."  # in front of the name of a key of sections
SPANS = "spans_s"  # column: what the texts of a row describe, pairs of start and end in seconds
TimeSpan = tuple[float, float]


@dataclass(frozen=True)
class EvaluationText:
    """One query: a text or its sentences, with an id that is unique in the set and the songs that it describes."""

    id: str
    text: str | list[str]
    song_ids: tuple[str, ...]
    spans: Mapping[str, list[TimeSpan]] = field(default_factory=dict)  # where in a song it is right, in seconds


@dataclass(frozen=True)
class MissingSong:
    """A song that belongs to the set and that cannot be evaluated."""

    id: str
    path: str
    reason: str


@dataclass
class EvaluationSet:
    """
    Songs and texts to evaluate retrieval on, see [`load_evaluation_set`].

    Raises:
        ValueError: if there is no song or no text, a text id occurs twice, or a text has no song in the gallery.
    """

    name: str
    songs: dict[str, str]  # the gallery: path of the audio of each song by its id
    texts: list[EvaluationText]  # the queries; each belongs to one or more songs of the gallery
    provenance: dict[str, Any] = field(default_factory=dict)  # content of `provenance.json`
    missing: list[MissingSong] = field(default_factory=list)  # songs that belong to the set, but not to the gallery
    notes: list[str] = field(default_factory=list)  # what readers of a result must know
    section_query: bool = False  # whether a text describes a section of its song and not the whole song

    def __post_init__(self) -> None:
        if not self.songs or not self.texts:
            missing = "".join(f"; {song.path} is missing ({song.reason})" for song in self.missing[:1])
            raise ValueError(
                f"{self.name} has {len(self.songs)} songs and {len(self.texts)} texts to evaluate{missing}."
            )
        if repeated := [text_id for text_id, count in Counter(text.id for text in self.texts).items() if count > 1]:
            raise ValueError(f"{self.name} has the text id {repeated[0]!r} twice.")
        for text in self.texts:
            if not text.song_ids or not set(text.song_ids) <= set(self.songs):
                raise ValueError(f"{self.name}: text {text.id!r} needs songs of the gallery, got {text.song_ids}.")

    def targets(self) -> np.ndarray:
        """Bool table `(texts, songs)`: which songs are right answers to which text."""
        columns = {song: column for column, song in enumerate(self.songs)}
        table = np.zeros((len(self.texts), len(self.songs)), dtype=bool)
        for row, text in enumerate(self.texts):
            table[row, [columns[song] for song in text.song_ids]] = True
        return table

    @property
    def manifest_hash(self) -> str:
        """16 hex digits of the ids, texts, pairs and spans, wherever the audio lies: equal for the same task."""
        spans = {text.id: [sorted(text.spans.items())] if text.spans else [] for text in self.texts}
        texts = sorted([text.id, text.text, sorted(text.song_ids), *spans[text.id]] for text in self.texts)
        content = json.dumps([sorted(self.songs), texts], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def keep_songs(self, songs: Iterable[str], note: str, missing: Sequence[MissingSong] = ()) -> "EvaluationSet":
        """The set with only some of its songs and their texts; `note` says why."""
        songs = {song: self.songs[song] for song in songs}
        missing, notes = [*self.missing, *missing], [*self.notes, note]
        return replace(self, songs=songs, texts=_texts_of_songs(self.texts, songs), missing=missing, notes=notes)


def load_evaluation_set(manifest: str | Path, text_column: str | None = None) -> EvaluationSet:
    """
    Reads a manifest ([`collap.data.manifest.load_manifest`]) and the `provenance.json` beside it, if there is one.

    Rows with the same `song_id` (by default the path of the audio) are one song; each text of a row is a query. Texts
    with the same id (`text_ids`, one id a text), or equal texts without ids, are one query with several right songs.
    `spans_s` of a row, pairs of start and end in seconds, says where its song is what its texts describe.

    Args:
        manifest (`str` or `Path`): A manifest, or a folder of songs with their texts beside them; no name on the Hub.
        text_column (`str`, *optional*):
            Another column that holds a text or several, or `sections.NAME` for the key `NAME` of the row's sections,
            each of which is a section query with the span of its section then. Default: `text` and `texts`.

    Raises:
        ValueError: as `load_manifest` and [`EvaluationSet`]; if there is no such column, songs are no files, or
            `text_ids` do not fit the texts, or `spans_s` has other than pairs of a start and a later end.
    """
    path = Path(manifest)
    if not path.exists():
        raise ValueError(f"manifest: there is no file or folder {path}; it cannot be a name on the Hub.")
    rows = load_manifest(path, keep_extra_columns=True, check_audio=False)
    folder = (path if path.is_dir() else path.parent).absolute()
    provenance, notes = read_provenance(path)

    files = {song["song_id"]: str(folder / song["audio"]) for song in provenance.pop("songs_without_text", [])}
    texts: dict[Any, EvaluationText] = {}
    num_texts: Counter[str] = Counter()
    num_without = 0
    for number, row in enumerate(rows, start=1):
        if not isinstance(row["audio"], str):
            raise ValueError(f"manifest: row {number} of {path} must have the path of a file in 'audio'.")
        song = row.get("song_id") or os.path.relpath(row["audio"], folder).replace(os.sep, "/")
        files.setdefault(song, row["audio"])
        found = _texts_of_row(row, text_column, _read_spans(row.get(SPANS) or [], f"manifest: row {number} of {path}"))
        num_without += not found
        ids = row.get("text_ids") if text_column is None else None
        if ids is not None and len(ids) != len(found):
            raise ValueError(f"manifest: row {number} of {path} has {len(found)} texts but {len(ids)} text_ids.")
        for index, (text, spans) in enumerate(found):
            key = json.dumps(text) if ids is None else (ids[index],)
            if key not in texts:
                num_texts[song] += 1
                texts[key] = EvaluationText(ids[index] if ids else f"{song}#{num_texts[song]}", text, (song,))
            elif texts[key].text != text:
                raise ValueError(f"manifest: row {number} of {path} has another text of the id {ids[index]!r}.")
            elif song not in texts[key].song_ids:
                texts[key] = replace(texts[key], song_ids=(*texts[key].song_ids, song))
            if spans:
                merged = sorted({*texts[key].spans.get(song, []), *spans})
                texts[key] = replace(texts[key], spans={**texts[key].spans, song: merged})
    if not texts:
        columns = ", ".join(rows.column_names)
        raise ValueError(f"text_column must name texts in {path}, which has {columns}; got {text_column!r}.")
    if num_without:
        notes.append(f"{num_without} of {len(rows)} rows have no {text_column}.")

    missing = [MissingSong(**song) for song in provenance.pop("missing", [])]
    missing += [MissingSong(song, file, "no such file") for song, file in files.items() if not os.path.isfile(file)]
    songs = {song: file for song, file in files.items() if os.path.isfile(file)}
    name = provenance.get("name", path.stem)
    is_section = provenance.get("section_query", False) if text_column is None else text_column.startswith(SECTIONS)
    is_section = is_section or all(text.spans for text in texts.values())
    return EvaluationSet(
        name if text_column is None else f"{name} {text_column}",
        songs,
        _texts_of_songs(texts.values(), songs),
        provenance,
        missing,
        notes,
        is_section,
    )


def _read_spans(pairs: Any, place: str) -> list[TimeSpan]:
    try:
        if all(0 <= float(start) < float(end) for start, end in pairs):
            return [(float(start), float(end)) for start, end in pairs]
    except (TypeError, ValueError):
        pass
    raise ValueError(f"{place} must have pairs of 0 <= start < end in {SPANS}, got {pairs!r:.80}.")


def _texts_of_row(
    row: dict[str, Any], text_column: str | None, spans: list[TimeSpan]
) -> list[tuple[str | list[str], list[TimeSpan]]]:
    """All different texts of a row, each with the spans that it describes: the row's, or that of its section."""
    if text_column is None:
        found = [(text, spans) for text in (row.get("text"), *(row.get("texts") or []))]
    elif text_column.startswith(SECTIONS):
        sections, key = row.get("sections") or [], text_column.removeprefix(SECTIONS)
        found = [(section.get(key), [(section["start_s"], section["end_s"])]) for section in sections]
    else:
        content = row.get(text_column)
        found = [(text, spans) for text in (content if text_column.startswith("texts") and content else [content])]
    return [entry for index, entry in enumerate(found) if entry[0] and entry not in found[:index]]


def _texts_of_songs(texts: Iterable[EvaluationText], songs: dict[str, str]) -> list[EvaluationText]:
    """The texts of these songs, which belong to no others then."""
    found = []
    for text in texts:
        spans = {song: spans for song, spans in text.spans.items() if song in songs}
        found.append(replace(text, song_ids=tuple(song for song in text.song_ids if song in songs), spans=spans))
    return [text for text in found if text.song_ids]
