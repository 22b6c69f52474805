# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A manifest, as training takes it, is a set to evaluate on."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.data.sets.assembling import assemble
from collap.data.sets.tables import check_choice, hash_file

COLUMNS = ("all", "text", "texts")


def load_manifest_set(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    split: str | None = None,
    column: str = "all",
    name: str | None = None,
) -> EvaluationSet:
    """
    Loads what [`collap.data.manifest.load_manifest`] reads: songs with a text, or several.

    Rows of the same `song_id` are the same song, heard as in the first of them; each wording of `texts` is a query.
    A text that stands in several rows is one query, and each of their songs is a right answer.

    Args:
        data_dir (`str` or `Path`): The manifest (JSON lines, CSV, Parquet), or a folder of songs with texts beside.
        audio_dir (`str` or `Path`, *optional*): What paths in a manifest are relative to, in place of its folder. Not
            for a folder of songs.
        split (`str`, *optional*): Of a data set that has several.
        column (`str`): `"all"`, or only the queries of `"text"` or of `"texts"`.
        name (`str`, *optional*): Of the set. Default: that of the manifest.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: as `load_manifest`; if songs are no files but bytes in a data set; if `audio_dir` is of no use; or
            if no song is there.
    """
    from collap.data.manifest import load_manifest  # brings `datasets`, which the other sets do without

    check_choice("column", column, COLUMNS)
    path = Path(data_dir)
    if not path.exists():
        raise ValueError(f"data_dir: there is no manifest {path}.")
    if audio_dir is not None and path.is_dir():
        raise ValueError(
            f"audio_dir must be left out for a folder of songs, which says where they are; got {audio_dir}."
        )
    if audio_dir is not None and not Path(audio_dir).is_dir():
        raise ValueError(f"audio_dir: there is no folder {audio_dir}.")
    rows = load_manifest(path, split=split, check_audio=False)
    there = ["all", *(one for one in COLUMNS if one in rows.column_names)]
    if column not in there:
        raise ValueError(f"column must be one of {', '.join(there)} for {path}, got {column!r}.")
    songs: dict[str, Path | MissingSong] = {}
    texts: dict[str | tuple[str, ...], EvaluationText] = {}
    counts: dict[str, int] = {}
    files: list[Path] = []
    for number, row in enumerate(rows, start=1):
        file = _file_of(row["audio"], path, audio_dir, number)
        files.append(file)
        song = row["song_id"] if row.get("song_id") is not None else _relative(file, path, audio_dir)
        songs.setdefault(song, file if file.is_file() else MissingSong(song, str(file), "no file of audio"))
        for text in _texts_of(row, column):
            words = tuple(text) if isinstance(text, list) else text
            if (known := texts.get(words)) is None:
                counts[song] = counts.get(song, 0) + 1
                texts[words] = EvaluationText(f"{song}#{counts[song]}", text, (song,))
            elif song not in known.song_ids:
                texts[words] = replace(known, song_ids=(*known.song_ids, song))
    if audio_dir is not None and all(Path(audio_dir) not in song.parents for song in files):
        raise ValueError(f"audio_dir must be left out: no path in {path} is relative to its folder; got {audio_dir}.")
    description = {
        "source": f"the manifest {path.name}",
        "licence": "as its owner says",
        "texts_of_several_songs": sum(len(text.song_ids) > 1 for text in texts.values()),
        "captions": "each wording of each row a query" if column == "all" else f"those of {column!r}, each a query",
        "files": [hash_file(path)] if path.is_file() else [],
        "section_query": False,
    }
    return assemble(name or f"manifest {path.stem}", songs, texts.values(), description)


def _file_of(audio: Any, manifest: Path, audio_dir: str | Path | None, number: int) -> Path:
    if isinstance(audio, dict):
        if not audio.get("path") or audio.get("bytes") is not None:
            raise ValueError(
                f"data_dir: {manifest}, row {number} must name a file of audio, it holds bytes: write them to files."
            )
        audio = audio["path"]
    if audio_dir is None:
        return Path(audio)
    # The manifest's reader has made the path absolute: undo that, to lay it into the other folder.
    relative = Path(os.path.relpath(audio, manifest.absolute().parent))
    return Path(audio) if relative.parts[0] == ".." else Path(audio_dir) / relative


def _relative(file: Path, manifest: Path, audio_dir: str | Path | None) -> str:
    """A name for a song that is the same wherever the songs lie."""
    folder = Path(audio_dir) if audio_dir is not None else manifest if manifest.is_dir() else manifest.parent
    return os.path.relpath(file.absolute(), folder.absolute()).replace(os.sep, "/")


def _texts_of(row: dict[str, Any], column: str) -> list[str | list[str]]:
    single = [row["text"]] if column != "texts" and row.get("text") is not None else []
    several = row["texts"] if column != "text" and row.get("texts") is not None else []
    found = []
    for text in [*single, *several]:
        if text not in found:  # a text is often the first of the texts as well
            found.append(text)
    return found


__all__ = ["load_manifest_set"]
