# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Title, artist and album of a file of audio."""

from dataclasses import dataclass
from pathlib import Path

import av

from collap.processing.audio_decoding_collap import open_container, open_file


@dataclass(frozen=True)
class Tags:
    """What a file says of itself; the title is the name of the file where it says none."""

    title: str
    artist: str = ""
    album: str = ""


def read_tags(path: str | Path) -> Tags:
    """The tags of a file, by FFmpeg, which has one name for those of mp3, flac, ogg, opus, m4a, wma and others."""
    tags: dict[str, str] = {}
    try:
        with open_file(path) as file, open_container(file) as container:
            for source in (container, *container.streams.audio):  # those of ogg and opus are the stream's
                tags = {name.lower(): " ".join(value.split()) for name, value in source.metadata.items()} | tags
    except (av.FFmpegError, OSError, ValueError):
        pass  # whether it can be encoded is said elsewhere
    return Tags(tags.get("title") or Path(path).stem, tags.get("artist") or "", tags.get("album") or "")
