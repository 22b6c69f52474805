# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
WikiMuTe: recordings in Wikipedia, with what its articles say of the music.

By the README of the release, its tables have a row for each recording and article: `file`, `pageid`, `aspects`,
`sentences` (both lists, written as in Python), `audio_url`, `url`.
"""

import ast
from collections import Counter

from collap.data.audio_files import find_by_name

from .converter import SetContent, SetConverter, SetFolders, SetSong, SetText, read_durations, read_table

COLUMNS = ("file", "pageid", "aspects", "sentences")
TEXTS = {
    "page": "a text is all sentences taken from one article; it describes every recording of the article that has the "
    "same sentences",
    "sentence": "a text is one sentence of an article",
    "aspects": "a text is the short descriptions of an article, joined by commas",
}


def read(folders: SetFolders, table: str = "all", texts: str = "page") -> SetContent:
    column = "aspects" if texts == "aspects" else "sentences"
    path = folders.find_file(f"{table}.csv", ("", "data"))
    folder = folders.find_audio(("audios", "data/audios", "audio"))
    described: dict[tuple[str, str | tuple[str, ...]], dict[str, None]] = {}  # the songs of an article and text
    left_out = []
    for number, row in enumerate(read_table(path, COLUMNS, path_column="file"), start=1):
        place, song = f"{path.name}, row {number}", row["file"]
        if not row["pageid"].strip():  # the recordings of two such rows would count as those of one article
            raise ValueError(f"data_dir: {place}: pageid must be that of an article, got {row['pageid']!r}.")
        found = _read_list(row[column], f"data_dir: {place}: {column}")
        if not found:
            left_out.append((f"row {number} ({song})", f"no {column}"))
        elif texts == "page":
            found = [tuple(found)]
        elif texts == "aspects":
            found = [", ".join(found)]
        for text in found:
            described.setdefault((row["pageid"], text), {})[song] = None
    queries, counts = [], Counter()
    for (page, text), songs in described.items():
        counts[page] += 1
        words = list(text) if isinstance(text, tuple) else text
        queries.append(SetText(f"{page}#{counts[page]}", words, tuple(songs)))
    # A recording without a text would only be a distractor, and each choice of texts would have other ones.
    names = dict.fromkeys(song for songs in described.values() for song in songs)
    # Spaces are underscores in Wikipedia's addresses.
    files = {name: find_by_name(folder, name) or find_by_name(folder, name.replace(" ", "_")) for name in names}
    songs = (SetSong(name, name, file) for name, file in files.items())
    return SetContent(
        f"{path.stem} {texts}",
        read_durations(songs),
        queries,
        TEXTS[texts],
        [path],
        left_out=left_out,
        section_query=texts == "sentence",
    )


def _read_list(cell: str, place: str) -> list[str]:
    try:
        found = ast.literal_eval(cell or "[]")
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise ValueError(f"{place} must be a list, got {cell!r:.80}.") from error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"{place} must be a list of texts, got {cell!r:.80}.")
    return list(dict.fromkeys(text.strip() for text in found if text.strip()))


WIKIMUTE = SetConverter(
    "wikimute",
    "WikiMuTe: recordings in Wikipedia, and what its articles say of the music",
    "WikiMuTe, zenodo.org/records/10223363, arXiv 2312.09207; it has no split: do not train on what you evaluate on",
    "all.csv, filtered_sf.csv, filtered_mc.csv of zenodo.org/records/10223363; audio: by the script in "
    "github.com/Bomme/wikimute",
    "CC BY-SA 3.0 (texts, from Wikipedia); a licence of each recording's own, on its page",
    "of the kind of its zero-shot transfer, Wikipedia to music; not verified to be its texts",
    read,
    {"table": "all, filtered_sf or filtered_mc (default: all)", "texts": "page, sentence or aspects (default: page)"},
    {"table": ("all", "filtered_sf", "filtered_mc"), "texts": tuple(TEXTS)},
)
