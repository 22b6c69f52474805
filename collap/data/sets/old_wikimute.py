# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
WikiMuTe (arXiv 2312.09207; Zenodo record 10223363): recordings in Wikipedia, with what its articles say of the music.

Its tables `all.csv`, `filtered_sf.csv` and `filtered_mc.csv` have a row a recording and article: `file`, `pageid`,
`aspects`, `sentences` (both lists, written as in Python), `audio_url`, `url`, by the README of the release.
"""

import ast
from pathlib import Path

from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong, find_audio
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.tables import check_choice, check_inside, find_audio_folder, find_file, hash_file, read_rows

TABLES = ("all", "filtered_sf", "filtered_mc")
COLUMNS = ("file", "pageid", "aspects", "sentences")
RULES = {
    "page": "all sentences that were taken from one article, as one query; it describes every recording of the "
    "article that has the same sentences",
    "sentence": "each sentence of an article a query of its own",
    "aspects": "the short descriptions of an article, joined by commas, as one query",
}
DESCRIPTION = {
    "source": "WikiMuTe, Zenodo record 10223363",
    "paper": "arXiv 2312.09207",
    "licence": "CC BY-SA 3.0 (texts, from Wikipedia); of each recording its own, on its page",
    "split": "no split: none of it may be trained on where it is evaluated on",
}


def load_wikimute(
    data_dir: str | Path, audio_dir: str | Path | None = None, table: str = "all", texts: str = "page"
) -> EvaluationSet:
    """
    Loads WikiMuTe.

    Args:
        data_dir (`str` or `Path`): Folder of the tables (or one of them); they may lie in its folder `data`.
        audio_dir (`str` or `Path`, *optional*):
            Folder of the recordings as the release's script names them, by `file`; `audios` in `data_dir` by default.
        table (`str`): `"all"`, or one of the tables of descriptions that fit music: `"filtered_sf"`, `"filtered_mc"`.
        texts (`str`): What makes a query: `"page"`, `"sentence"` or `"aspects"`.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if a file, a column or all songs are missing, a cell is no list, or a name leads out of the folder.
    """
    check_choice("table", table, TABLES)
    check_choice("texts", texts, tuple(RULES))
    path = find_file(data_dir, [f"{table}.csv"], ("", "data"))
    folder = find_audio_folder(data_dir, audio_dir, ("audios", "data/audios", "audio"))
    songs: dict[str, Path | MissingSong] = {}
    described: dict[tuple[str, str | tuple[str, ...]], list[str]] = {}  # the songs of an article and text
    left_out = []
    for number, row in enumerate(read_rows(path, COLUMNS), start=1):
        place = f"data_dir: {path.name}, row {number}"
        song = check_inside(row["file"], f"{place}: file")
        if not row["pageid"].strip():  # recordings of unnamed articles would be taken for those of one article
            raise ValueError(f"{place}: pageid must be that of an article, got {row['pageid']!r}.")
        songs.setdefault(song, _find(folder, song) or MissingSong(song, song, "no file of audio"))
        found = _read_texts(row, texts, place)
        if not found:
            what = "aspects" if texts == "aspects" else "sentences"
            left_out.append(LeftOut(f"row {number} ({song})", f"no {what}"))
        for text in found:
            others = described.setdefault((row["pageid"], text), [])
            if song not in others:
                others.append(song)
    queries, counts = [], {}
    for (page, text), of_songs in described.items():
        counts[page] = counts.get(page, 0) + 1
        words = list(text) if isinstance(text, tuple) else text
        queries.append(EvaluationText(f"{page}#{counts[page]}", words, tuple(of_songs)))
    described_songs = {song for of_songs in described.values() for song in of_songs}
    # A recording that no text describes would only be a distractor, and a different number of them in each variant.
    gallery = {song: file for song, file in songs.items() if song in described_songs}
    description = {
        **DESCRIPTION,
        "table": path.stem,
        "captions": RULES[texts],
        "files": [hash_file(path)],
        "section_query": texts == "sentence",
    }
    return assemble(f"wikimute {path.stem} {texts}", gallery, queries, description, None, left_out)


def _find(folder: Path, name: str) -> Path | None:
    found = find_audio(folder, name)
    return found if found is not None else find_audio(folder, name.replace(" ", "_"))  # as Wikipedia's addresses do


def _read_texts(row: dict[str, str], texts: str, place: str) -> list[str | tuple[str, ...]]:
    column = "aspects" if texts == "aspects" else "sentences"
    try:
        found = ast.literal_eval(row[column] or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{place}: {column} must be a list, got {row[column]!r:.80}.") from error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{place}: {column} must be a list of texts, got {row[column]!r:.80}.")
    found = list(dict.fromkeys(text.strip() for text in found if text.strip()))
    if texts == "sentence" or not found:
        return found
    return [", ".join(found)] if texts == "aspects" else [tuple(found)]


__all__ = ["load_wikimute"]
