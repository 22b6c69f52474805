# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The Song Describer Dataset: songs of 2 minutes, described by people.

By its data card, `song_describer.csv` has a row for each caption. Its column `path` is that of MTG-Jamendo
(`34/1004034.mp3`), while `audio.zip` holds the first two minutes as `34/1004034.2min.mp3`.
"""

from pathlib import Path

from collap.data.audio_files import find_by_name

from .converter import SetContent, SetConverter, SetFolders, SetSong, SetText, read_durations, read_flag, read_table

TABLE = "song_describer.csv"
COLUMNS = ("caption_id", "track_id", "caption", "is_valid_subset", "path")


def read(folders: SetFolders, subset: str = "full") -> SetContent:
    table, folder = folders.find_file(TABLE), folders.find_audio()
    rows = read_table(table, COLUMNS, unique="caption_id", path_column="path")
    songs: dict[str, SetSong] = {}
    texts, left_out = [], []
    for number, row in enumerate(rows, start=1):
        place = f"{table.name}, row {number}"
        track, caption, name = row["track_id"], row["caption"].strip(), row["path"]
        if not track or not row["caption_id"]:
            raise ValueError(f"data_dir: {place} must have a track_id and a caption_id, got {row}.")
        if subset == "valid" and not read_flag(row["is_valid_subset"], f"{place}: is_valid_subset"):
            continue
        if track not in songs:
            songs[track] = SetSong(track, name, _find(folder, name))
        elif songs[track].name != name:
            raise ValueError(f"data_dir: {place}: the path of track {track} is {songs[track].name} in other rows.")
        if caption:
            texts.append(SetText(row["caption_id"], caption, (track,)))
        else:
            left_out.append((place, "an empty caption"))
    captions = "as people wrote them; a song has up to 5, each is a text"
    return SetContent(subset, read_durations(songs.values()), texts, captions, [table], left_out=left_out)


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
    {"subset": ("full", "valid")},
    {"full": (706, 1106), "valid": (546, 746)},
)
