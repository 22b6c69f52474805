# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Captions of FUTGA: a long text on each song, with the times of its sections, written by a language model.

The names of the columns of its tables are not verified against the release: [`find_columns`] goes by names and
time ranges, and provenance.json has what it found.
"""

import logging
import re
from collections import Counter

from collap.data.audio_files import bare_id, is_excerpt
from collap.data.futga import has_time_ranges, parse_caption

from .converter import SHORT_S, SetContent, SetConverter, SetFolders, SetText, read_table

logger = logging.getLogger(__name__)

TABLES = {
    "audioset_train": "AudioSet-Train.csv",
    "audioset_eval": "AudioSet-Eval.csv",
    "harmonixset": "Harmonixset.csv",
    "musiccaps": "MusicCaps.csv",
    "song_describer": "SongDescriber.csv",
}
CAPTIONS = "those of FUTGA, written by a language model, as sentences, without markup and times of sections"
# Names of columns, compared without case and punctuation; ids in the order of preference.
ID_NAMES = (
    "ytid", "youtubeid", "videoid", "trackid", "songid", "audioid", "fileid", "filename", "filepath", "path", "file",
    "audio", "url", "id", "name",
)  # fmt: skip
CAPTION_NAMES = ("futgacaption", "futga", "longcaption", "captions", "caption", "description", "text", "output")
MAX_SAMPLE = 50  # rows by which columns are told


def read(
    folders: SetFolders, table: str, id_column: str | None = None, caption_column: str | None = None
) -> SetContent:
    path = folders.find_file(TABLES[table])
    if path.name in TABLES.values() and path.name != TABLES[table]:
        raise ValueError(f"table is {table!r}, but data_dir is the file {path}.")
    rows = read_table(path)
    id_column, caption_column = find_columns(rows, id_column, caption_column)
    logger.info("%s: ids from the column %r, captions from %r", path.name, id_column, caption_column)
    captions: dict[str, list[str]] = {}
    left_out = []
    for number, row in enumerate(rows, start=1):
        song, caption = row[id_column].strip(), row[caption_column].strip()
        if table == "song_describer":  # the number of the track, however the table writes it
            song = bare_id(song).split(".")[0]
        if not song or not parse_caption(caption, 1.0).sentences:
            left_out.append((f"row {number}", "no caption" if song else "no id"))
        elif caption in captions.setdefault(song, []):
            left_out.append((f"row {number}", "a repetition of id and caption"))
        else:
            captions[song].append(caption)

    songs = folders.find_songs(captions)
    texts, sections = [], Counter()
    for song, others in captions.items():
        found = songs[song]
        for number, caption in enumerate(others, start=1):
            name = song if number == 1 else f"{song}#{number}"
            parsed = parse_caption(caption, found.duration_s or 1.0)
            problem = "the file is an excerpt" if found.path and is_excerpt(found.path) else parsed.problem
            extra = {} if found.path is None or problem else {"sections": parsed.sections}
            texts.append(SetText(name, parsed.sentences, (song,), extra))
            if found.path is not None:
                sections[f"no sections: {problem}" if problem else f"sections in {parsed.unit}"] += 1
    short = any(song.duration_s < SHORT_S for song in songs.values() if song.path is not None)
    note = "FUTGA describes whole songs: its captions and times do not fit clips and excerpts of them."
    return SetContent(
        table,
        songs,
        texts,
        CAPTIONS,
        [path],
        left_out=left_out,
        notes=[note] if short else [],
        details={
            "id_column": id_column,
            "caption_column": caption_column,
            "texts_by_sections": dict(sections.most_common()),
        },
    )


def find_columns(
    rows: list[dict[str, str]], id_column: str | None = None, caption_column: str | None = None
) -> tuple[str, str]:
    """
    The columns of ids and captions, as given or by their names. Of several captions the one with time ranges counts:
    MusicCaps has captions by people too.

    Raises:
        ValueError: if a given column is not there, or one that is not given cannot be told.
    """
    sample = {name: [row[name] for row in rows[:MAX_SAMPLE]] for name in rows[0]}
    shown = ", ".join(f"{name!r} (such as {cells[0]!r:.60})" for name, cells in sample.items())
    for argument, name in (("id_column", id_column), ("caption_column", caption_column)):
        if name is not None and name not in sample:
            raise ValueError(f"{argument} must be one of {shown}, got {name!r}.")
    if caption_column is None:
        with_times = [name for name, cells in sample.items() if any(map(has_time_ranges, cells))]
        found = [name for name in with_times or sample if _plain(name) in CAPTION_NAMES] or with_times
        if len(found) != 1:
            raise ValueError(f"caption_column can't be told, give it. The columns are {shown}.")
        caption_column = found[0]
    if id_column is None:
        found = [name for known in ID_NAMES for name in sample if _plain(name) == known and name != caption_column]
        if not found:
            raise ValueError(f"id_column can't be told, give it. The columns are {shown}.")
        id_column = found[0]
    return id_column, caption_column


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


FUTGA = SetConverter(
    "futga",
    "FUTGA: long captions of whole songs with the times of sections, for training and evaluation",
    "JoshuaW1997/FUTGA on the Hub, arXiv 2407.20445; the songs are those of AudioSet, the Harmonix Set (urinieto/"
    "harmonixset on GitHub, 912 tracks), MusicCaps and Song Describer",
    f"{', '.join(TABLES.values())}: hf download JoshuaW1997/FUTGA --repo-type dataset; audio: whole songs of YouTube, "
    "by the ids, or your own copies",
    "Apache-2.0 (captions); the audio is that of YouTube videos or under the licence of each song's owner",
    "training (audioset_train); retrieval on AudioSet-Eval, HarmonixSet, MusicCaps, SongDescriber",
    read,
    {
        "table": f"which table of FUTGA: {', '.join(TABLES)} (must be given)",
        "id_column": "column of the ids of the songs (default: found by its name)",
        "caption_column": "column of the captions (default: found by its name and time ranges)",
    },
    {"table": tuple(TABLES)},
)
