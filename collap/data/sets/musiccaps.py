# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
MusicCaps: clips of 10 s from AudioSet, described by musicians.

`musiccaps-public.csv` has a row for each clip. The audio comes from YouTube, as far as the videos are still there, so
galleries differ from one report to the next, and only equal ones can be compared.
"""

from pathlib import Path

from .converter import (
    SetContent,
    SetConverter,
    SetFolders,
    SetText,
    check_choice,
    check_unique,
    find_by_ids,
    read_durations,
    read_flag,
    read_table,
)

TABLE, ID = "musiccaps-public.csv", "ytid"
COLUMNS = ("ytid", "start_s", "end_s", "caption", "is_balanced_subset", "is_audioset_eval")
FLAGS = {"audioset_eval": "is_audioset_eval", "balanced": "is_balanced_subset"}


def read_rows(table: Path, subset: str) -> list[tuple[str, dict[str, str]]]:
    """Place and row of each clip of a subset, checked."""
    rows = [(f"{table.name}, row {number}", row) for number, row in enumerate(read_table(table, COLUMNS), start=1)]
    for place, row in rows:
        row["ytid"] = row["ytid"].strip()
        if not row["ytid"]:
            raise ValueError(f"data_dir: {place} must have a ytid, got {row}.")
    check_unique((row["ytid"] for _, row in rows), "ytid", table)
    flag = FLAGS.get(subset)
    return [(place, row) for place, row in rows if flag is None or read_flag(row[flag], f"{place}: {flag}")]


def read(folders: SetFolders, subset: str = "all") -> SetContent:
    check_choice("subset", subset, MUSICCAPS.published)
    table = folders.find_file(TABLE)
    rows = read_rows(table, subset)
    songs = read_durations(find_by_ids([row["ytid"] for _, row in rows], folders.find_audio()).values())
    captions = [(place, row["ytid"], row["caption"].strip()) for place, row in rows]
    texts = [SetText(clip, caption, (clip,)) for _, clip, caption in captions if caption]
    left_out = [(place, "an empty caption") for place, _, caption in captions if not caption]
    rule = "those of the musicians, one for each clip"
    return SetContent(subset, songs, texts, rule, [table], published=subset, left_out=left_out)


MUSICCAPS = SetConverter(
    "musiccaps",
    "MusicCaps: clips of 10 s, described by musicians",
    "google/MusicCaps on the Hub, arXiv 2301.11325; 2,663 of the 5,521 clips are in AudioSet's training split",
    "musiccaps-public.csv: hf download google/MusicCaps --repo-type dataset; the clips: YouTube, by their ids",
    "CC BY-SA 4.0 (captions); the audio is that of YouTube videos",
    "none; with the captions of FUTGA (set futga, table=musiccaps): retrieval on MusicCaps",
    read,
    {"subset": "all, audioset_eval (no clip of AudioSet's training split) or balanced (default: all)"},
    {"all": (5521, 5521), "audioset_eval": (2858, 2858), "balanced": (1000, 1000)},
)
