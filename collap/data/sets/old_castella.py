# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CASTELLA (arXiv 2511.15131; `line/CASTELLA` on GitHub): long recordings with captions of moments and their boundaries.

Its `json/en/test.json` (and `train`, `val`; `ja`) is a list of recordings: `yid`, a YouTube id, `global_caption`,
`duration` and `moments`, each with a `local_caption` and `timestamps`, a list of `[start, end]` in seconds. The
recordings are the first 300 s of videos; the owners' script names them `{yid}.wav`.
"""

from pathlib import Path
from typing import Any

from collap.data.audio_files import find_songs
from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong
from collap.data.sets.assembling import LeftOut, assemble
from collap.data.sets.tables import check_choice, check_unique, find_audio_folder, find_file, hash_file, read_json

COUNTS = {"train": (1009, 2208), "val": (213, 357), "test": (640, 1360)}  # recordings and local captions, its README
ROUNDED_S = 1.0  # durations are whole seconds, and times run up to the next one
RULES = {
    "moments": "a query a local caption, which describes one or more moments of one recording",
    "global": "a query a recording, its global caption",
}
DESCRIPTION = {
    "source": "CASTELLA, line/CASTELLA on GitHub",
    "paper": "arXiv 2511.15131",
    "licence": "CC BY 4.0 (annotations); the audio is that of YouTube videos",
}


def load_castella(
    data_dir: str | Path,
    audio_dir: str | Path | None = None,
    split: str = "test",
    language: str = "en",
    captions: str = "moments",
) -> EvaluationSet:
    """
    Loads CASTELLA. Each text has its first moment in `moment_s` and the others in `other_moments_s`.

    Recordings without a moment stay in the gallery: nothing is to be found in them.

    Args:
        data_dir (`str` or `Path`): Folder of the repository, of its `json`, or of `en` and `ja`; or one of the files.
        audio_dir (`str` or `Path`, *optional*): Folder of the recordings; `audio` in `data_dir` by default.
        split (`str`): `"test"`, `"val"` or `"train"`.
        language (`str`): `"en"` or `"ja"`.
        captions (`str`): `"moments"`: local captions; `"global"`: one of each whole recording.

    Returns:
        [`EvaluationSet`], whose description has `section_query=True` for moments.

    Raises:
        ValueError: if a file or all recordings are missing, a recording is not of that form, or occurs twice.
    """
    check_choice("split", split, tuple(COUNTS))
    check_choice("language", language, ("en", "ja"))
    check_choice("captions", captions, tuple(RULES))
    other = "ja" if language == "en" else "en"
    folders = [f"json/{language}", language, *([] if Path(data_dir).absolute().name == other else [""])]
    path = find_file(data_dir, [f"{split}.json"], folders)
    if path.stem in COUNTS and path.stem != split:
        raise ValueError(f"split is {split!r}, but data_dir is the file {path}.")
    folder = find_audio_folder(data_dir, audio_dir, ("audio", "download/audio"))
    recordings = read_json(path)
    if not isinstance(recordings, list):
        raise ValueError(f"data_dir: {path} must hold a list of recordings, got a {type(recordings).__name__}.")
    texts, left_out, dropped = [], [], 0
    for number, recording in enumerate(recordings, start=1):
        place = f"data_dir: {path.name}, recording {number}"
        _check_form(recording, place)
        song = recording["yid"]
        if captions == "global":
            caption = recording["global_caption"].strip()
            found = [(EvaluationText(song, caption, (song,)) if caption else None, 0)]
        else:
            found = [
                _read_moment(song, index, moment, recording["duration"], f"{place}: moments[{index}]")
                for index, moment in enumerate(recording["moments"])
            ]
        for text, spans in found:
            dropped += spans
            if text is None:
                left_out.append(LeftOut(f"recording {number} ({song})", "no caption, or no moment in the recording"))
            else:
                texts.append(text)
    check_unique((recording["yid"] for recording in recordings), "recording", path)
    files, problems = find_songs([recording["yid"] for recording in recordings], folder)
    songs = {
        song: files[song].path if song in files else MissingSong(song, song, problems[song])
        for song in (recording["yid"] for recording in recordings)
    }
    songs_published, texts_published = COUNTS[split]
    description = {
        **DESCRIPTION,
        "split": split,
        "language": language,
        "captions": RULES[captions],
        "moments_left_out": dropped,
        "files": [hash_file(path)],
        "section_query": captions == "moments",
    }
    published = (songs_published, texts_published if captions == "moments" else songs_published)
    return assemble(f"castella {split} {language} {captions}", songs, texts, description, published, left_out)


def _check_form(recording: Any, place: str) -> None:
    keys = {"yid": str, "global_caption": str, "duration": int | float, "moments": list}
    wrong = not isinstance(recording, dict) or [
        key for key, kind in keys.items() if not isinstance(recording.get(key), kind)
    ]
    if wrong or not recording["yid"]:
        raise ValueError(f"{place} must have {', '.join(keys)}, got {recording!r:.120}.")


def _read_moment(
    song: str, index: int, moment: Any, duration_s: float, place: str
) -> tuple[EvaluationText | None, int]:
    """The text of a moment, None if there is none; and how many of its times are outside of the recording."""
    try:
        caption = moment["local_caption"].strip()
        spans = [(float(start), float(end)) for start, end in moment["timestamps"]]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{place} must have local_caption and timestamps in pairs, got {moment!r:.120}.") from error
    fitting = sorted(
        span for span in spans if 0 <= span[0] < span[1] < float("inf") and span[0] < duration_s + ROUNDED_S
    )
    dropped = len(spans) - len(fitting)
    if not caption or not fitting:
        return None, dropped
    return EvaluationText(f"{song}#{index}", caption, (song,), fitting[0], tuple(fitting[1:])), dropped


__all__ = ["load_castella"]
