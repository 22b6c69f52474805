# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CASTELLA: long recordings with captions of sections and their times.

`json/en/test.json` (also `train`, `val`) is a list of recordings: `yid`, a YouTube id, `duration` and `moments`, each
with a `local_caption` and `timestamps`, a list of `[start, end]` in seconds. The recordings are the first 300 s of
videos; the script of the publisher names them `{yid}.wav`.
"""

import json
from typing import Any

from .converter import SetContent, SetConverter, SetFolders, SetText, check_unique

ROUNDED_S = 2.0  # durations are whole seconds, and published times go up to two further
KEYS = {"yid": str, "duration": int | float, "moments": list}


def read(folders: SetFolders, split: str = "test") -> SetContent:
    path = folders.find_file(f"{split}.json", ("json/en", "en", ""))
    if path.stem in CASTELLA.published and path.stem != split:
        raise ValueError(f"split is {split!r}, but data_dir is the file {path}.")
    try:
        recordings = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ValueError(f"data_dir: {path} is not JSON: {error}.") from error
    if not isinstance(recordings, list):
        raise ValueError(f"data_dir: {path} must be a list of recordings, got a {type(recordings).__name__}.")
    texts, left_out, dropped = [], [], 0
    for number, recording in enumerate(recordings, start=1):
        place = f"data_dir: {path.name}, recording {number}"
        is_mapping = isinstance(recording, dict) and bool(recording.get("yid"))
        if not is_mapping or not all(isinstance(recording.get(key), kind) for key, kind in KEYS.items()):
            raise ValueError(f"{place} must have {', '.join(KEYS)}, got {recording!r:.120}.")
        song = recording["yid"]
        for index, moment in enumerate(recording["moments"]):
            caption, times = _read_moment(moment, f"{place}: moments[{index}]")
            end_s = recording["duration"] + ROUNDED_S
            fitting = sorted(time for time in times if 0 <= time[0] < time[1] <= end_s)
            dropped += len(times) - len(fitting)
            if caption and fitting:
                texts.append(SetText(f"{song}#{index}", caption, (song,), {"spans_s": fitting}))
            else:
                left_out.append((f"recording {number} ({song})", "no caption, or no time inside the recording"))
    ids = [recording["yid"] for recording in recordings]
    check_unique(ids, "recording", path)
    return SetContent(
        split,
        folders.find_songs(ids, ("audio", "download/audio")),
        texts,
        "a text is a local caption, which describes one or more sections of one recording",
        [path],
        left_out=left_out,
        section_query=True,
        details={"times_left_out": dropped},
    )


def _read_moment(moment: Any, place: str) -> tuple[str, list[list[float]]]:
    try:
        times = [[float(start), float(end)] for start, end in moment["timestamps"]]
        return moment["local_caption"].strip(), times
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{place} must have local_caption and timestamps in pairs, got {moment!r:.120}.") from error


CASTELLA = SetConverter(
    "castella",
    "CASTELLA: long recordings, and captions of sections with their times",
    "line/CASTELLA on GitHub, arXiv 2511.15131",
    "json/ of github.com/line/CASTELLA; audio: by the script in github.com/h-munakata/CASTELLA-audio",
    "CC BY 4.0 (annotations); the audio is that of YouTube videos",
    "none",
    read,
    {"split": "test, val or train (default: test)"},
    {"split": ("test", "val", "train")},
    {"test": (640, 1360), "val": (213, 357), "train": (1009, 2208)},
)
