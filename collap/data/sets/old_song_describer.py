# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The Song Describer Dataset (arXiv 2311.10057; Zenodo record 10072001): songs of 2 minutes, described by people.

Its `song_describer.csv` has a row a caption: `caption_id`, `track_id`, `caption`, `is_valid_subset`, `familiarity`,
`artist_id`, `album_id`, `path`, `duration`, by the data card of the release. `path` is that of MTG-Jamendo
(`34/1004034.mp3`), while `audio.zip` holds the first two minutes as `34/1004034.2min.mp3`.
"""

from pathlib import Path

from collap.data.audio_files import bare_id
from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong, find_audio
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.old_futga import FutgaTexts, read_futga
from collap.data.sets.tables import (
    check_choice,
    check_inside,
    check_unique,
    find_audio_folder,
    find_file,
    folder_of,
    hash_file,
    read_flag,
    read_rows,
)

COUNTS = {"full": (706, 1106), "valid": (546, 746)}  # songs and captions, by the data card
COLUMNS = ("caption_id", "track_id", "caption", "is_valid_subset", "path")
DESCRIPTION = {
    "source": "Song Describer Dataset, Zenodo record 10072001",
    "paper": "arXiv 2311.10057",
    "licence": "CC BY-SA 4.0; of each recording its own Creative Commons licence, in audio_licenses.txt",
    "split": "test only",
}


def load_song_describer(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    subset: str = "full",
    captions: str = "people",
    times: str = "removed",
    futga_csv: str | None = None,
    id_column: str | None = None,
    caption_column: str | None = None,
) -> EvaluationSet:
    """
    Loads the Song Describer Dataset.

    Args:
        data_dir (`str` or `Path`): Folder of `song_describer.csv`.
        audio_dir (`str` or `Path`, *optional*): Where `audio.zip` was unpacked; `audio` in `data_dir` by default.
        subset (`str`): `"full"` (706 songs, 1,106 captions), or `"valid"`, those that were validated (546, 746).
        captions (`str`): `"people"`: each caption is a query of its own; `"futga"`: the long ones of FUTGA instead.
        times (`str`): Of FUTGA's captions, `"removed"` or `"kept"`; see [`read_futga`].
        futga_csv (`str`, *optional*): FUTGA's table; `SongDescriber.csv` in `data_dir` by default.
        id_column, caption_column (`str`, *optional*): Of FUTGA's table, if they can't be told.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if a file, a column or all songs are missing, an id occurs twice, or a path is not in the folder.
    """
    check_choice("subset", subset, tuple(COUNTS))
    check_choice("captions", captions, ("people", "futga"))
    table = find_file(data_dir, ["song_describer.csv"])
    rows = read_rows(table, COLUMNS)
    check_unique((row["caption_id"] for row in rows), "caption_id", table)
    folder = find_audio_folder(data_dir, audio_dir)
    songs: dict[str, Path | MissingSong] = {}
    paths: dict[str, str] = {}
    texts, left_out = [], []
    for number, row in enumerate(rows, start=1):
        place = f"{table.name}, row {number}"
        if not row["track_id"] or not row["caption_id"]:
            raise ValueError(f"data_dir: {place} must have a track_id and a caption_id, got {row}.")
        path = check_inside(row["path"], f"data_dir: {place}: path")
        if paths.setdefault(row["track_id"], path) != path:
            raise ValueError(f"data_dir: {place}: track {row['track_id']} is {paths[row['track_id']]} in other rows.")
        if subset == "valid" and not read_flag(row["is_valid_subset"], f"data_dir: {place}: is_valid_subset"):
            continue
        songs.setdefault(
            row["track_id"], _find(folder, path) or MissingSong(row["track_id"], path, "no file of audio")
        )
        if row["caption"].strip():
            texts.append(EvaluationText(row["caption_id"], row["caption"].strip(), (row["track_id"],)))
        else:
            left_out.append(LeftOut(f"row {number}", "an empty caption"))
    description = {**DESCRIPTION, "subset": subset, "section_query": False}
    if captions == "futga":
        where, argument = (futga_csv, "futga_csv") if futga_csv else (folder_of(data_dir), "data_dir")
        names = ["SongDescriber.csv"]
        futga = read_futga(where, names, folder, times, id_column, caption_column, argument=argument)
        return _with_futga(futga, songs, description, subset)
    description |= {
        "captions": "as people wrote them, each a query of its own; a song has up to 5",
        "files": [hash_file(table)],
    }
    return assemble(f"song_describer {subset}", songs, texts, description, COUNTS[subset], left_out)


def _find(folder: Path, path: str) -> Path | None:
    excerpt = str(Path(path).with_suffix("")) + ".2min" + Path(path).suffix
    for name in (excerpt, path):
        for where in (folder, folder / "audio"):  # unpacked into a folder `audio`, the zip makes another one in it
            if (found := find_audio(where, name)) is not None:
                return found
    return None


def _with_futga(
    futga: FutgaTexts, songs: dict[str, Path | MissingSong], description: dict, subset: str
) -> EvaluationSet:
    """The tracks of the subset with FUTGA's captions, joined by the number of the track in FUTGA's id, or the file."""
    by_path = {path: song for song, path in songs.items() if isinstance(path, Path)}
    tracks: dict[str, str] = {}
    for name, path in futga.songs.items():
        number = bare_id(name).split(".")[0]  # 1004034.2min.mp3
        if number in songs:
            tracks[name] = number
        elif path in by_path:
            tracks[name] = by_path[path]
    texts = [
        EvaluationText(text.id, text.text, (tracks[text.song_ids[0]],))
        for text in futga.texts
        if text.song_ids[0] in tracks
    ]
    described = {song for text in texts for song in text.song_ids}
    left_out = [*futga.left_out]
    left_out += [LeftOut(f"track {song}", "no caption by FUTGA") for song in songs if song not in described]
    description |= {
        **futga.description,
        "gallery": "the songs of the subset that FUTGA's table describes",
        "futga_songs_not_in_it": len(futga.songs) - len(tracks),
    }
    gallery = {song: path for song, path in songs.items() if song in described}
    return assemble(f"song_describer {subset} futga", gallery, texts, description, None, left_out)


__all__ = ["load_song_describer"]
