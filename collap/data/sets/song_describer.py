# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The Song Describer Dataset: songs of 2 minutes, described by people.

By its data card, `song_describer.csv` has a row for each caption. Its column `path` is that of MTG-Jamendo
(`34/1004034.mp3`), while `audio.zip` holds the first two minutes as `34/1004034.2min.mp3`.
"""

from pathlib import Path

from .converter import (
    NO_AUDIO,
    SetContent,
    SetConverter,
    SetFolders,
    SetSong,
    SetText,
    check_choice,
    check_inside,
    check_unique,
    find_by_name,
    read_durations,
    read_flag,
    read_table,
)

TABLE, ID = "song_describer.csv", "track_id"
COLUMNS = ("caption_id", "track_id", "caption", "is_valid_subset", "path")


def read_rows(table: Path, subset: str) -> list[tuple[str, dict[str, str]]]:
    """Place and row of each caption of a subset, checked."""
    rows = [(f"{table.name}, row {number}", row) for number, row in enumerate(read_table(table, COLUMNS), start=1)]
    check_unique((row["caption_id"] for _, row in rows), "caption_id", table)
    paths: dict[str, str] = {}
    for place, row in rows:
        track = row["track_id"]
        if not track or not row["caption_id"]:
            raise ValueError(f"data_dir: {place} must have a track_id and a caption_id, got {row}.")
        check_inside(row["path"], f"{place}: path")
        if paths.setdefault(track, row["path"]) != row["path"]:
            raise ValueError(f"data_dir: {place}: the path of track {track} is {paths[track]} in other rows.")
    return [
        (place, row)
        for place, row in rows
        if subset != "valid" or read_flag(row["is_valid_subset"], f"{place}: is_valid_subset")
    ]


def read(folders: SetFolders, subset: str = "full") -> SetContent:
    check_choice("subset", subset, SONG_DESCRIBER.published)
    table, folder = folders.find_file(TABLE), folders.find_audio()
    songs, texts, left_out = {}, [], []
    for place, row in read_rows(table, subset):
        track, caption = row["track_id"], row["caption"].strip()
        if track not in songs:
            path = _find(folder, row["path"])
            songs[track] = SetSong(track, row["path"], path, None if path else NO_AUDIO)
        if caption:
            texts.append(SetText(row["caption_id"], caption, (track,)))
        else:
            left_out.append((place, "an empty caption"))
    captions = "as people wrote them; a song has up to 5, each is a text"
    songs = read_durations(songs.values())
    return SetContent(subset, songs, texts, captions, [table], published=subset, left_out=left_out)


def _find(folder: Path, path: str) -> Path | None:
    excerpt = f"{Path(path).with_suffix('')}.2min{Path(path).suffix}"
    # Unpacked into a folder `audio`, the archive makes another folder `audio` in it.
    places = [(where, name) for name in (excerpt, path) for where in (folder, folder / "audio")]
    return next((found for where, name in places if (found := find_by_name(where, name)) is not None), None)


SONG_DESCRIBER = SetConverter(
    "song_describer",
    "Song Describer: songs of 2 minutes, described by people",
    "Song Describer Dataset, zenodo.org/records/10072001, arXiv 2311.10057; for evaluation only",
    "song_describer.csv and audio.zip of zenodo.org/records/10072001",
    "CC BY-SA 4.0 (captions); a Creative Commons licence of each song's own, in audio_licenses.txt",
    "retrieval on SongDescriber (whether by these captions or by FUTGA's is not verified)",
    read,
    {"subset": "full, or valid: the captions that were validated (default: full)"},
    {"full": (706, 1106), "valid": (546, 746)},
)
