# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
MusicCaps (arXiv 2301.11325; `google/MusicCaps` on the Hub): clips of 10 s from AudioSet, described by musicians.

Its `musiccaps-public.csv` has a row a clip: `ytid`, `start_s`, `end_s`, `audioset_positive_labels`, `aspect_list`,
`caption`, `author_id`, `is_balanced_subset`, `is_audioset_eval`. The audio is not in it: it comes from YouTube, as far
as the videos are still there, so galleries differ from one report to the next, and only equal ones can be compared.
"""

from pathlib import Path

from collap.data.audio_files import find_songs, youtube_id
from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.old_futga import assemble_futga, read_futga
from collap.data.sets.tables import (
    check_choice,
    check_unique,
    find_audio_folder,
    find_file,
    folder_of,
    hash_file,
    read_flag,
    read_rows,
)

COLUMNS = ("ytid", "start_s", "end_s", "caption", "is_balanced_subset", "is_audioset_eval")
COUNTS = {"all": 5521, "audioset_eval": 2858, "balanced": 1000}  # clips, each with a caption, by card and paper
FLAGS = {"audioset_eval": "is_audioset_eval", "balanced": "is_balanced_subset"}
DESCRIPTION = {
    "source": "MusicCaps, google/MusicCaps on the Hub",
    "paper": "arXiv 2301.11325",
    "licence": "CC BY-SA 4.0 (captions); the audio is that of YouTube videos",
    "split": "2,663 of the 5,521 clips are in AudioSet's training split; subset=audioset_eval leaves them out",
}


def load_musiccaps(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    captions: str = "musicians",
    subset: str = "all",
    times: str = "removed",
    futga_csv: str | None = None,
    id_column: str | None = None,
    caption_column: str | None = None,
) -> EvaluationSet:
    """
    Loads MusicCaps.

    What `audio_dir` holds makes two different tasks: the clips of 10 s that the musicians heard, or the whole songs
    that FUTGA describes. `description["audio"]` says which it was, and there is a warning where captions of whole
    songs meet clips.

    Args:
        data_dir (`str` or `Path`): Folder of `musiccaps-public.csv`, and of FUTGA's `MusicCaps.csv`.
        audio_dir (`str` or `Path`, *optional*):
            Folder of the recordings, `audio` in `data_dir` by default. Their names are or hold the YouTube id, such as
            `-0abcDEF_12.wav`, `Y-0abcDEF_12.flac` or `[-0abcDEF_12]-[30-40].wav`; see [`find_songs`].
        captions (`str`): `"musicians"`: the data set's own; `"futga"`: the long ones of FUTGA, on whole songs.
        subset (`str`):
            `"all"` (5,521), `"audioset_eval"` (2,858, none in AudioSet's training split) or `"balanced"` (1,000).
        times (`str`): Of FUTGA's captions, `"removed"` or `"kept"`; see [`read_futga`].
        futga_csv (`str`, *optional*): FUTGA's table; `MusicCaps.csv` in `data_dir` by default.
        id_column, caption_column (`str`, *optional*): Of FUTGA's table, if they can't be told.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if a file, a column or all songs are missing, or an id occurs twice.
    """
    check_choice("captions", captions, ("musicians", "futga"))
    check_choice("subset", subset, tuple(COUNTS))
    folder = find_audio_folder(data_dir, audio_dir)
    description = {**DESCRIPTION, "subset": subset, "section_query": False}
    if captions == "futga":
        where, argument = (futga_csv, "futga_csv") if futga_csv else (folder_of(data_dir), "data_dir")
        futga = read_futga(where, ["MusicCaps.csv"], folder, times, id_column, caption_column, argument=argument)
        if subset != "all":
            chosen = {row["ytid"] for row in _rows(data_dir, subset)[1]}
            for song in [song for song in futga.songs if youtube_id(song) not in chosen]:
                del futga.songs[song]
            futga.texts[:] = [text for text in futga.texts if text.song_ids[0] in futga.songs]
            described = {youtube_id(text.song_ids[0]) for text in futga.texts}
            futga.left_out.extend(
                LeftOut(f"clip {clip}", "no caption by FUTGA") for clip in sorted(chosen - described)
            )
        return assemble_futga(f"musiccaps {subset} futga", futga, description)

    table, rows = _rows(data_dir, subset)
    check_unique((row["ytid"] for row in rows), "ytid", table)
    files, problems = find_songs([row["ytid"] for row in rows], folder)
    songs: dict[str, Path | MissingSong] = {}
    texts, left_out = [], []
    for number, row in enumerate(rows, start=1):
        song, caption = row["ytid"], row["caption"].strip()
        songs[song] = files[song].path if song in files else MissingSong(song, song, problems[song])
        if caption:
            texts.append(EvaluationText(song, caption, (song,)))
        else:
            left_out.append(LeftOut(f"row {number} of the subset ({song})", "an empty caption"))
    description |= {"captions": "the musicians', one a clip", "files": [hash_file(table)]}
    return assemble(f"musiccaps {subset}", songs, texts, description, (COUNTS[subset], COUNTS[subset]), left_out)


def _rows(data_dir: str | Path, subset: str) -> tuple[Path, list[dict[str, str]]]:
    """The table, and its rows of the subset."""
    table = find_file(data_dir, ["musiccaps-public.csv"])
    rows = read_rows(table, COLUMNS)
    for number, row in enumerate(rows, start=1):
        row["ytid"] = row["ytid"].strip()
        if not row["ytid"]:
            raise ValueError(f"data_dir: {table.name}, row {number} must have a ytid, got {row}.")
    if subset == "all":
        return table, rows
    flag = FLAGS[subset]
    chosen = [row for row in rows if read_flag(row[flag], f"data_dir: {table.name}: {flag} of {row['ytid']}")]
    if not chosen:
        raise ValueError(f"subset: no row of {table} has {flag}.")
    return table, chosen


__all__ = ["load_musiccaps"]
