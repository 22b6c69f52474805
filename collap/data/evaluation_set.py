# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs, texts and which belongs to which: what a model is evaluated on, however it is published."""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class EvaluationText:
    """
    One query.

    Args:
        id (`str`): Its name, unique in the set.
        text (`str` or `list[str]`): As it is published; a list holds the sentences.
        song_ids (`tuple[str, ...]`): The songs that it describes, at least one.
        moment_s (`tuple[float, float]`, *optional*): Start and end of what it describes, in seconds of the song.
        other_moments_s (`tuple[tuple[float, float], ...]`): Where else in the song it fits as well.
    """

    id: str
    text: str | list[str]
    song_ids: tuple[str, ...]
    moment_s: tuple[float, float] | None = None
    other_moments_s: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class MissingSong:
    """A song that the set names and that could not be evaluated, with its texts left out."""

    id: str
    path: str
    reason: str


@dataclass
class EvaluationSet:
    """
    A set to evaluate retrieval on.

    Args:
        name (`str`): The set and its variant, for example `"song_describer valid"`.
        songs (`dict[str, str]`): Path of the audio by the song's id, in the order of the gallery.
        texts (`list[EvaluationText]`): The queries; each belongs to one or more songs of the gallery.
        description (`dict[str, Any]`):
            The protocol in words and numbers that JSON can hold: where the set is from, its licence, which captions
            are taken, the published counts.
        missing (`list[MissingSong]`): What the owners' files name and the folder of audio lacks.

    Raises:
        ValueError: if there is no song or no text, an id occurs twice, or a text's song is not in the gallery.
    """

    name: str
    songs: dict[str, str]
    texts: list[EvaluationText]
    description: dict[str, Any] = field(default_factory=dict)
    missing: list[MissingSong] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.songs or not self.texts:
            raise ValueError(
                f"{self.name}: {len(self.songs)} songs and {len(self.texts)} texts can be evaluated; "
                f"{len(self.missing)} songs are missing"
                + (f", such as {self.missing[0].path} ({self.missing[0].reason})" if self.missing else "")
            )
        seen: set[str] = set()
        for text in self.texts:
            if text.id in seen:
                raise ValueError(f"{self.name}: the text id {text.id!r} occurs twice.")
            seen.add(text.id)
            lost = [song for song in text.song_ids if song not in self.songs]
            if lost or not text.song_ids:
                raise ValueError(f"{self.name}: text {text.id!r} belongs to no song of the gallery ({lost}).")

    def targets(self) -> np.ndarray:
        """Bool table `(texts, songs)`: which song is a right answer to which text."""
        places = {song: place for place, song in enumerate(self.songs)}
        table = np.zeros((len(self.texts), len(self.songs)), dtype=bool)
        for row, text in enumerate(self.texts):
            table[row, [places[song] for song in text.song_ids]] = True
        return table

    @property
    def manifest_hash(self) -> str:
        """
        Which songs and texts these are, as 16 hex digits: equal for whoever evaluates the same ones.

        It goes by ids, texts and pairs, not by where the audio lies.
        """
        texts = sorted([text.id, text.text, sorted(text.song_ids)] for text in self.texts)
        content = json.dumps([sorted(self.songs), texts], ensure_ascii=False)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def check_counts(self, songs: int, texts: int) -> str | None:
        """What differs from the published counts, in words; None if nothing does."""
        num_songs, num_texts = len(self.songs), len(self.texts)
        if (num_songs, num_texts) == (songs, texts):
            return None
        return (
            f"{num_songs} of {songs} songs and {num_texts} of {texts} texts are here; {len(self.missing)} songs are "
            "missing. Figures on fewer songs are higher than those on all."
        )


def find_audio(
    folder: str | Path, name: str, suffixes: tuple[str, ...] = (".mp3", ".flac", ".wav", ".ogg")
) -> Path | None:
    """The file `name` in `folder`, or the one of that name with another of the `suffixes`; None if there is none."""
    path = Path(folder) / name
    if path.is_file():
        return path
    candidates = (path.with_name(path.name + suffix) for suffix in suffixes)
    swapped = (path.with_suffix(suffix) for suffix in suffixes)
    return next((candidate for candidate in (*candidates, *swapped) if candidate.is_file()), None)


__all__ = ["EvaluationSet", "EvaluationText", "MissingSong", "find_audio"]
