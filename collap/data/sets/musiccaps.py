# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
MusicCaps: clips of 10 s from AudioSet, described by musicians.

`musiccaps-public.csv` has a row for each clip. The audio comes from YouTube, as far as the videos are still there, so
galleries differ from one report to the next, and only equal ones can be compared.
"""

from .converter import SetContent, SetConverter, SetFolders, SetText, read_flag, read_table

TABLE = "musiccaps-public.csv"
COLUMNS = ("ytid", "start_s", "end_s", "caption", "is_balanced_subset", "is_audioset_eval")
FLAGS = {"audioset_eval": "is_audioset_eval", "balanced": "is_balanced_subset"}


def read(folders: SetFolders, subset: str = "all") -> SetContent:
    table = folders.find_file(TABLE)
    rows = read_table(table, COLUMNS, unique="ytid")
    clips, texts, left_out = [], [], []
    for number, row in enumerate(rows, start=1):
        clip, caption = row["ytid"].strip(), row["caption"].strip()
        place = f"{table.name}, row {number}"
        if not clip:
            raise ValueError(f"data_dir: {place} must have a ytid, got {row}.")
        if subset != "all" and not read_flag(row[FLAGS[subset]], f"{place}: {FLAGS[subset]}"):
            continue
        clips.append(clip)
        if caption:
            texts.append(SetText(clip, caption, (clip,)))
        else:
            left_out.append((place, "an empty caption"))
    songs = folders.find_songs(clips)
    return SetContent(subset, songs, texts, "those of the musicians, one for each clip", [table], left_out=left_out)


MUSICCAPS = SetConverter(
    "musiccaps",
    "MusicCaps: clips of 10 s, described by musicians",
    "google/MusicCaps on the Hub, arXiv 2301.11325; 2,663 of the 5,521 clips are in AudioSet's training split",
    "musiccaps-public.csv: hf download google/MusicCaps --repo-type dataset; the clips: YouTube, by their ids",
    "CC BY-SA 4.0 (captions); the audio is that of YouTube videos",
    "none; with the captions of FUTGA (set futga, table=musiccaps): retrieval on MusicCaps",
    read,
    {"subset": "all, audioset_eval (no clip of AudioSet's training split) or balanced (default: all)"},
    {"subset": ("all", "audioset_eval", "balanced")},
    {"all": (5521, 5521), "audioset_eval": (2858, 2858), "balanced": (1000, 1000)},
)
