# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What can be asked of a library of songs, and what the answer holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Kind = Literal["caption", "any_order", "section"]


@dataclass(frozen=True)
class Query:
    """
    What is searched for: descriptions, audio, or both.

    Args:
        texts (`Sequence[str]`): Descriptions, each of one or many sentences. A song has to fit all of them.
        weights (`Sequence[float]`, *optional*):
            Of each description, and of `like` at last: a song's score is the weighted mean. Default: all the same.
        any_order (`bool`): Whether the sentences of a description may happen in any order. By default they follow the
            song from its beginning to its end.
        section (`bool`): Whether each description is of one section of the song instead of the whole.
        like (`str`, *optional*): A file of audio, in the library or not: songs that are like it, or hold it.
        like_span_s (`tuple[float | None, float | None]`): Start and end in seconds of what counts of `like`.
        exclude (`Sequence[str]`):
            What must not happen: anywhere in the song, or with `section` in the sections that are described. The
            highest of its scores is subtracted.
        title, artist, album (`str`, *optional*): Only songs whose tag contains this, in upper or lower case.
        folder (`str`, *optional*): Only songs in this folder and those below it.
        min_length_s, max_length_s (`float`, *optional*): Only songs of this length in seconds.
        top (`int`): Most songs in the result.

    Raises:
        ValueError: if there is neither a text nor audio, a text is empty, weights do not fit, a number is out of its
            range, or an option has nothing to act on.
    """

    texts: Sequence[str] = ()
    weights: Sequence[float] | None = None
    any_order: bool = False
    section: bool = False
    like: str | None = None
    like_span_s: tuple[float | None, float | None] = (None, None)
    exclude: Sequence[str] = ()
    title: str | None = None
    artist: str | None = None
    album: str | None = None
    folder: str | None = None
    min_length_s: float | None = None
    max_length_s: float | None = None
    top: int = 10

    def __post_init__(self) -> None:
        for name in ("texts", "exclude"):
            if isinstance(getattr(self, name), str):
                raise ValueError(f"{name} must be a list of texts, got a string: [{getattr(self, name)!r}].")
            if any(not text.strip() for text in getattr(self, name)):
                raise ValueError(f"A text must not be empty, got {list(getattr(self, name))}.")
        if not self.texts and self.like is None:
            raise ValueError("There is nothing to search for: give a description, a file of audio (like), or both.")
        if self.any_order + self.section > bool(self.texts):
            raise ValueError("Only a description can be of a section or in any order, and not both. Audio is neither.")
        num_parts = len(self.texts) + (self.like is not None)
        weights = self.weights
        if weights is not None and (len(weights) != num_parts or min(weights) < 0 or not 0 < sum(weights) < math.inf):
            raise ValueError(
                f"Weights must be one number for each description, and then one for the audio, {num_parts} in all, at "
                f"least 0 and not all 0, got {list(weights)}."
            )
        start_s, end_s = self.like_span_s
        if (start_s or 0.0) < 0 or (end_s is not None and end_s <= (start_s or 0.0)):
            raise ValueError(f"A part of audio must have a start and a later end in seconds, got {self.like_span_s}.")
        if self.like is None and self.like_span_s != (None, None):
            raise ValueError(f"--from and --to (like_span_s) need the audio of --like, got {self.like_span_s}.")
        least_s, most_s = self.min_length_s or 0.0, math.inf if self.max_length_s is None else self.max_length_s
        if not 0 <= least_s <= most_s:
            raise ValueError(f"Lengths must be at least 0, and the least not above the most: {least_s} to {most_s} s.")
        if self.top < 1:
            raise ValueError(f"top must be at least 1, got {self.top}.")

    @property
    def kind(self) -> Kind:
        """How the descriptions are scored."""
        return "section" if self.section else "any_order" if self.any_order else "caption"


@dataclass(frozen=True)
class IndexedSong:
    """A song of an index; several files with the same content are one song."""

    id: str  # hash of its content
    path: str  # the first of its files
    title: str
    artist: str
    album: str
    duration_s: float
    encoded_s: float  # seconds that have frames
    paths: tuple[str, ...]  # all its files

    @property
    def name(self) -> str:
        """Artist and title, as lists of songs have them."""
        return f"{self.artist} - {self.title}" if self.artist else self.title


@dataclass(frozen=True)
class SentenceSpan:
    """A part of a song, and what of the query it belongs to."""

    sentence: str  # or the name of the audio
    start_s: float
    end_s: float
    score: float  # mean cosine


@dataclass(frozen=True)
class Match:
    """A song that was found."""

    song: IndexedSong
    score: float  # weighted mean of the similarities of the model, less what is excluded
    probability: float | None  # that it is the song that the descriptions are of; None without a calibration
    spans: Sequence[SentenceSpan]  # of each sentence, then of the audio
    times: np.ndarray  # (N, 2): start and end of each frame in seconds
    similarities: np.ndarray  # (S, N): cosine of each sentence with each frame


@dataclass(frozen=True)
class SearchResult:
    """The songs that fit a query best, the best one first."""

    matches: Sequence[Match]
    sentences: Sequence[str]  # of all descriptions, or their clauses
    num_songs: int  # that the filters left
    is_match: bool | None  # whether it is likely that a song here is the one described; None without a calibration
    damaged: Sequence[str] = ()  # files whose frames cannot be read, which were left out
    split_texts: Sequence[str] = ()  # descriptions of one long sentence, of which each clause was searched for
