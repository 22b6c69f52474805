# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The Harmonix Set (Nieto et al., ISMIR 2019; `urinieto/harmonixset` on GitHub) with FUTGA's captions.

Its `metadata.csv` names 912 tracks by `File` (`0001_12step`), `youtube_urls.csv` a video of each (`File`, `URL`).
FUTGA's table may know the songs by either; files may be named by either, too.
"""

from pathlib import Path

from collap.data.evaluation_set import EvaluationSet
from collap.data.sets.old_futga import assemble_futga, read_futga
from collap.data.sets.tables import find_audio_folder, find_file, folder_of, read_rows

TRACKS = 912  # by the README of the Harmonix Set; how many of them FUTGA describes, its table says
DESCRIPTION = {
    "source": "the Harmonix Set, urinieto/harmonixset on GitHub; Harmonixset.csv of FUTGA",
    "paper": "Nieto et al., ISMIR 2019 (songs), arXiv 2407.20445 (captions)",
    "licence": "MIT (annotations), Apache-2.0 (captions); the audio is under its owners' copyright",
    "tracks_of_the_set": TRACKS,
}


def load_harmonixset(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    times: str = "removed",
    id_column: str | None = None,
    caption_column: str | None = None,
) -> EvaluationSet:
    """
    Loads the songs of the Harmonix Set that FUTGA describes.

    Args:
        data_dir (`str` or `Path`):
            Folder of FUTGA's `Harmonixset.csv`, or that file. If `youtube_urls.csv` of the Harmonix Set is there too
            (or in `dataset`), files named by YouTube ids go with ids such as `0001_12step`, and the other way round.
        audio_dir (`str` or `Path`, *optional*): Folder of the songs, `audio` in `data_dir` by default.
        times (`str`): `"removed"` or `"kept"`; see [`read_futga`].
        id_column, caption_column (`str`, *optional*): Of the table, if they can't be told.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if the table, a column or all songs are missing.
    """
    folder = find_audio_folder(data_dir, audio_dir)
    futga = read_futga(
        data_dir, ["Harmonixset.csv"], folder, times, id_column, caption_column, _read_aliases(data_dir)
    )  # fmt: skip
    return assemble_futga("harmonixset futga", futga, DESCRIPTION)


def _read_aliases(data_dir: str | Path) -> dict[str, str]:
    """`File` and YouTube id by each other, if the table of addresses is there."""
    try:
        table = find_file(folder_of(data_dir), ["youtube_urls.csv"], ("", "dataset"))
    except ValueError:
        return {}
    aliases = {}
    for row in read_rows(table, ("File", "URL")):
        address = row["URL"].split()[0] if row["URL"].strip() else ""  # notes stand behind some: "(backwards)"
        if row["File"] and address:
            video = address.rpartition("v=")[2] or address
            aliases |= {row["File"]: video, video: row["File"], address: row["File"]}
    return aliases


__all__ = ["load_harmonixset"]
