# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Captions of FUTGA (arXiv 2407.20445; `JoshuaW1997/FUTGA` on the Hub, Apache-2.0) as queries.

The repository holds AudioSet-Eval.csv, AudioSet-Train.csv, Harmonixset.csv, MusicCaps.csv and SongDescriber.csv. What
their columns are called is not verified against the release: [`detect_columns`] tells them by names and contents, and
they are logged and kept in the description of the set.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collap.data.audio_files import find_songs
from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.data.futga import detect_columns, parse_caption
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.tables import check_choice, find_file, hash_file, read_rows

logger = logging.getLogger(__name__)

TIMES = ("removed", "kept")
RULES = {
    "removed": "FUTGA's, written by a language model; in sentences, markup and the sections' times taken out, as in "
    "training with manifests of prepare_futga.py",
    "kept": "FUTGA's, written by a language model; as they are, with markup and the sections' times",
}
WHOLE_SONGS = "FUTGA describes whole songs: on clips and excerpts of them its captions tell of what is not heard."


@dataclass(frozen=True)
class FutgaTexts:
    """
    A table of FUTGA, its ids joined with files.

    Args:
        songs (`dict[str, Path | MissingSong]`): File of each id, or why there is none.
        texts (`list[EvaluationText]`): Captions of all of them.
        left_out (`list[LeftOut]`): Rows that give no text.
        description (`dict[str, Any]`): The caption rule, the columns that were taken, and the table's hash.
    """

    songs: dict[str, Path | MissingSong]
    texts: list[EvaluationText]
    left_out: list[LeftOut]
    description: dict[str, Any]


def read_futga(
    data_dir: str | Path,
    names: Sequence[str],
    audio_dir: Path,
    times: str = "removed",
    id_column: str | None = None,
    caption_column: str | None = None,
    aliases: Mapping[str, str] | None = None,
    argument: str = "data_dir",
) -> FutgaTexts:
    """
    Reads a table and finds its songs.

    Args:
        data_dir (`str` or `Path`): The table, or the folder that it is in.
        names (`Sequence[str]`): What it may be called there.
        audio_dir (`Path`): Folder of the songs, named by ids in one of the ways that [`find_songs`] knows.
        times (`str`): `"removed"`: sentences without markup and section times; `"kept"`: the captions as they are.
        id_column, caption_column (`str`, *optional*): If [`detect_columns`] can't tell them.
        aliases (`Mapping[str, str]`, *optional*): Other names of ids, for files that are not found by the first.
        argument (`str`): What `data_dir` is called by who calls, for messages.

    Raises:
        ValueError: if the table or a column of it is not there.
    """
    check_choice("times", times, TIMES)
    table = find_file(data_dir, names, argument=argument)
    rows = read_rows(table, argument=argument)
    columns = detect_columns(rows, id_column, caption_column)
    logger.info("%s: ids from the column %r (%s)", table.name, columns.id, columns.id_reason)
    logger.info("%s: captions from the column %r (%s)", table.name, columns.caption, columns.caption_reason)
    texts, left_out = [], []
    captions: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=1):
        song, caption = row[columns.id].strip(), row[columns.caption].strip()
        sentences = parse_caption(caption, 1.0).sentences  # a length would place the sections, which are not needed
        if not song or not sentences:
            left_out.append(LeftOut(f"row {number}", "an empty caption" if song else "no id"))
        elif caption in (others := captions.setdefault(song, [])):
            left_out.append(LeftOut(f"row {number}", "a repetition of id and caption"))
        else:
            others.append(caption)
            name = song if len(others) == 1 else f"{song}#{len(others)}"
            texts.append(EvaluationText(name, sentences if times == "removed" else caption, (song,)))
    songs = _find(captions, audio_dir, aliases or {})
    description = {
        "captions": RULES[times],
        "times": times,
        "id_column": f"{columns.id} ({columns.id_reason})",
        "caption_column": f"{columns.caption} ({columns.caption_reason})",
        "futga": "JoshuaW1997/FUTGA, Apache-2.0, arXiv 2407.20445",
        "files": [hash_file(table)],
    }
    return FutgaTexts(songs, texts, left_out, description)


def assemble_futga(name: str, futga: FutgaTexts, description: Mapping[str, Any]) -> EvaluationSet:
    """The set of a table's songs; warns if they are clips, which captions of whole songs do not describe."""
    description = {**description, **futga.description, "section_query": False}
    evaluation_set = assemble(name, futga.songs, futga.texts, description, None, futga.left_out)
    warn_of_clips(evaluation_set)
    return evaluation_set


def warn_of_clips(evaluation_set: EvaluationSet) -> None:
    """Warns, and notes in the protocol, if any recording is too short to be the song that FUTGA describes."""
    audio = evaluation_set.description["audio"]
    if short := audio["shorter_than_30_s"]:
        note = f"{short} of {len(evaluation_set.songs)} recordings are shorter than 30 s. {WHOLE_SONGS}"
        evaluation_set.description["audio_note"] = note
        logger.warning("%s: %s", evaluation_set.name, note)


def _find(ids: Mapping[str, Any], folder: Path, aliases: Mapping[str, str]) -> dict[str, Path | MissingSong]:
    found, problems = find_songs(ids, folder)
    files = {song: file.path for song, file in found.items()}
    others = {aliases[song]: song for song in problems if song in aliases}
    if others:
        more, _ = find_songs(others, folder)
        taken = set(files.values())
        files |= {others[alias]: file.path for alias, file in more.items() if file.path not in taken}
    return {song: files.get(song) or MissingSong(song, song, problems[song]) for song in ids}


__all__ = ["FutgaTexts", "assemble_futga", "read_futga", "warn_of_clips"]
