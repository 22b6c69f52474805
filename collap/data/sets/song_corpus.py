# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The song corpus that benchmarks/corpus renders: whole captions, and queries about one section."""

from pathlib import Path
from typing import Any

from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.data.manifest import read_lines
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.tables import check_inside, find_audio_folder, find_file, hash_file, read_json

RULE = "the column {column!r} of the manifest, a query a song"
MOMENT_RULE = (
    "the column {column!r} of the manifest, a query a section. A query fits every song that has such a section: the "
    "corpus' ceiling.py says what a perfect listener reaches"
)


def load_song_corpus(
    data_dir: str | Path, audio_dir: str | Path | None = None, split: str = "content", column: str = "text"
) -> EvaluationSet:
    """
    Loads one split of a song corpus.

    Args:
        data_dir (`str` or `Path`): Folder that build.py made, with `{split}.jsonl`; or that file.
        audio_dir (`str` or `Path`, *optional*): What the manifest's paths are relative to; its own folder by default.
        split (`str`): Such as `"validation"`, `"content"`, `"order"`, `"near_duplicates"`, `"long_20"`, `"freehand"`.
        column (`str`):
            Captions of whole songs: `"text"`, `"text_new"`, `"text_paraphrase"`, `"text_clock"`, `"text_german"`, of
            the training split `"texts"`; or queries about one section: `"query"`, `"query_new"`,
            `"query_paraphrase"`, `"query_freehand"`, `"query_german"`, whose texts have `moment_s`.

    Returns:
        [`EvaluationSet`], whose description has `section_query=True` for queries about one section.

    Raises:
        ValueError: if a file, the column or all songs are missing, or a song occurs twice.
    """
    path = find_file(data_dir, [f"{split}.jsonl"])
    folder = find_audio_folder(path, audio_dir, ())
    rows = [(f"{path.name}, line {number}", row) for number, row in read_lines(path)]
    if not rows:
        raise ValueError(f"data_dir: {path} has no songs.")
    of_sections = _is_of_sections(rows, column, path)
    songs: dict[str, Path | MissingSong] = {}
    texts, left_out = [], []
    for place, row in rows:
        if not isinstance(row.get("audio"), str):
            raise ValueError(f"data_dir: {place} must have a path in 'audio', got {row.get('audio')!r}.")
        song = str(Path(check_inside(row["audio"], f"data_dir: {place}: audio")).with_suffix(""))
        if song in songs:
            raise ValueError(f"data_dir: {place} has the song {song!r} a second time.")
        file = folder / row["audio"]
        songs[song] = file if file.is_file() else MissingSong(song, row["audio"], "no file of audio")
        found = _texts_of_sections(song, row, column, place) if of_sections else _texts_of_song(song, row, column)
        if not found:
            left_out.append(LeftOut(place, f"no {column}"))
        texts += found
    rule = MOMENT_RULE if of_sections else RULE
    description = {
        "source": "the song corpus, rendered by benchmarks/corpus",
        "licence": "the builder's own; it is rendered with a GPL sound font and espeak-ng",
        "split": path.stem,
        "captions": rule.format(column=column),
        "corpus": _read_arguments(path.with_name("corpus.json")),
        "files": [hash_file(path)],
        "section_query": of_sections,
    }
    return assemble(f"song_corpus {path.stem} {column}", songs, texts, description, None, left_out)


def _is_of_sections(rows: list[tuple[str, dict[str, Any]]], column: str, path: Path) -> bool:
    if column in (captions := _text_columns(row for _, row in rows)):
        return False
    sections = [section for _, row in rows for section in row.get("sections") or []]
    queries = {name for section in sections for name in section if _is_query(name)}
    if column in queries:
        return True
    known = ", ".join([*sorted(captions), *sorted(queries)])
    raise ValueError(f"column must be one of {known} in {path}, got {column!r}.")


def _text_columns(rows: Any) -> set[str]:
    return {
        name
        for row in rows
        for name in row
        if name == "texts" or name == "text" or name.startswith(("text_", "texts_"))
    }


def _is_query(name: str) -> bool:
    return name == "query" or (name.startswith("query_") and not name.startswith("query_tags"))


def _texts_of_song(song: str, row: dict[str, Any], column: str) -> list[EvaluationText]:
    text = row.get(column)
    if not text:
        return []
    wordings = text if column.startswith("texts") else [text]
    if len(wordings) == 1:
        return [EvaluationText(song, wordings[0], (song,))]
    return [EvaluationText(f"{song}#{number}", wording, (song,)) for number, wording in enumerate(wordings, start=1)]


def _texts_of_sections(song: str, row: dict[str, Any], column: str, place: str) -> list[EvaluationText]:
    found = []
    for number, section in enumerate(row.get("sections") or [], start=1):
        if not section.get(column):
            continue
        try:
            moment_s = (float(section["start_s"]), float(section["end_s"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"data_dir: {place}: section {number} must have start_s and end_s.") from error
        found.append(EvaluationText(f"{song}#{number}", section[column], (song,), moment_s))
    return found


def _read_arguments(path: Path) -> Any:
    """What the corpus was built with, if its folder says so."""
    content = read_json(path) if path.is_file() else {}
    return content.get("arguments") if isinstance(content, dict) else None


__all__ = ["load_song_corpus"]
