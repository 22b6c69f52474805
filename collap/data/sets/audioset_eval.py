# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""AudioSet-Eval: songs of AudioSet's evaluation split with FUTGA's captions, as CoLLAP's paper evaluates on."""

from pathlib import Path

from collap.data.evaluation_set import EvaluationSet
from collap.data.sets.old_futga import assemble_futga, read_futga
from collap.data.sets.tables import find_audio_folder

DESCRIPTION = {
    "source": "AudioSet's evaluation split (doi 10.1109/ICASSP.2017.7952261), AudioSet-Eval.csv of FUTGA",
    "paper": "arXiv 2407.20445 (captions), arXiv 2410.02271 (as a set for retrieval)",
    "licence": "Apache-2.0 (captions); the audio is that of YouTube videos",
    "split": "AudioSet's evaluation split",
}


def load_audioset_eval(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    times: str = "removed",
    id_column: str | None = None,
    caption_column: str | None = None,
) -> EvaluationSet:
    """
    Loads the songs that FUTGA's table for AudioSet's evaluation split describes.

    Args:
        data_dir (`str` or `Path`): Folder of `AudioSet-Eval.csv`, or that file.
        audio_dir (`str` or `Path`, *optional*):
            Folder of the whole songs, named by YouTube ids (see [`find_songs`]); `audio` in `data_dir` by default.
            AudioSet's own clips of 10 s are another task, of which there is a warning.
        times (`str`): `"removed"` or `"kept"`; see [`read_futga`].
        id_column, caption_column (`str`, *optional*): Of the table, if they can't be told.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: if the table, a column or all songs are missing.
    """
    folder = find_audio_folder(data_dir, audio_dir)
    futga = read_futga(data_dir, ["AudioSet-Eval.csv"], folder, times, id_column, caption_column)
    return assemble_futga("audioset_eval futga", futga, DESCRIPTION)


__all__ = ["load_audioset_eval"]
