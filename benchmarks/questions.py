# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What models are compared by: texts as queries, and the gallery of songs in which each has one right answer."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

Song = dict[str, Any]


class Query(NamedTuple):
    """A text with one right song: the song's place in its split, and the sentences."""

    place: int
    sentences: list[str]


Queries = Callable[[Sequence[Song]], list[Query]]  # of the songs of a split
WRITERS = {"seen": "", "other": "_other"}  # of captions of real music: the end of the columns' names
LONG_SPLITS = ("long_2", "long_5", "long_10", "long_20")  # by minutes
OTHER_SPLITS = ("structures", "instrument_pairs", *LONG_SPLITS)
# The benchmark's wordings, by the columns of captions and of section queries.
WORDING_COLUMNS = {
    "seen": ("text", "query"),
    "new": ("text_new", "query_new"),
    "paraphrase": ("text_paraphrase", "query_paraphrase"),
    "clock times": ("text_new_clock", None),
}


@dataclass(frozen=True)
class Question:
    """One row of metrics."""

    name: str
    split: str  # whose songs are in the gallery
    queries: Queries
    section_query: bool = False  # whether each query describes a single section
    filled_from: str | None = None  # split whose songs fill the gallery up
    within_group: bool = False  # whether only the songs of the same group are in the gallery
    by_song: bool = False  # whether songs are the queries, and the texts the gallery: one text for each song
    num_rearranged: int = 0  # a gallery for each song, of it and so many of its rearrangements


def read_songs(manifest: Path) -> list[Song]:
    """The lines of a manifest of the corpus, with absolute paths of audio."""
    songs = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [{**song, "audio": str(manifest.parent / song["audio"])} for song in songs]


def described_spans(song: Song, suffix: str) -> list[tuple[float, float] | None]:
    """Start and end of the section that each sentence of `text{suffix}` describes, None for the whole song."""
    spans: list[tuple[float, float] | None] = [None] * len(song[f"text{suffix}"])
    for section in song["sections"]:
        for sentence in section[f"sentences{suffix}"]:
            spans[sentence] = (section["start_s"], section["end_s"])
    return spans


def captions(column: str, every: int = 1) -> Queries:
    """A caption of each song, or of every second ..."""
    return lambda songs: [Query(place, song[column]) for place, song in enumerate(songs)][::every]


def sections(column: str, every: int = 1) -> Queries:
    """A query for each section that has one, of every song or every second ..."""
    return lambda songs: [
        Query(place, section[column])
        for place, song in [*enumerate(songs)][::every]
        for section in song["sections"]
        if section.get(column) is not None
    ]


def shuffled(column: str, every: int = 1) -> Queries:
    """Captions with their sentences in any order, the same for every model."""

    def shuffle(query: Query, num_songs: int) -> Query:
        generator = random.Random(query.place)
        generator.randrange(1, max(2, num_songs))  # without it the orders would not be those of the results
        return Query(query.place, generator.sample(query.sentences, len(query.sentences)))

    return lambda songs: [shuffle(query, len(songs)) for query in captions(column, every)(songs)]


def wording_questions(
    wording: str, prefix: str = "", splits: tuple[str, str] = ("content", "order"), every: int = 1
) -> list[Question]:
    """Whole captions, captions among songs of the same sections in another order, and single sections."""
    caption, query = WORDING_COLUMNS[wording]
    questions = [
        Question(f"{prefix}content, {wording}", splits[0], captions(caption, every=every)),
        Question(f"{prefix}order, {wording}", splits[1], captions(caption), within_group=True),
    ]
    if query is not None:
        found = sections(query, every=every)
        questions.append(Question(f"{prefix}one section, {wording}", splits[0], found, section_query=True))
    return questions


def demo_questions() -> list[Question]:
    """The seen and the new wording, and songs that search captions."""
    questions = []
    for wording in ("seen", "new"):
        queries = captions(WORDING_COLUMNS[wording][0])
        questions += wording_questions(wording)
        questions.append(Question(f"songs, {wording}", "content", queries, by_song=True))
    return questions


def main_questions() -> list[Question]:
    """
    Those for every row of the benchmark: the new wording, and what is hard in it. Every second content song
    is searched for, which is enough for intervals of two points and halves the time.
    """
    return [
        *wording_questions("new", every=2),
        Question("shuffled, new", "content", shuffled("text_new", every=2)),
        Question("near-duplicates, new", "near_duplicates", captions("text_new"), filled_from="content"),
    ]


def more_questions() -> list[Question]:
    """The other wordings and splits of the benchmark."""
    others = [wording for wording in WORDING_COLUMNS if wording != "new"]
    questions = [question for wording in others for question in wording_questions(wording, every=2)]
    for split in OTHER_SPLITS:
        questions.append(Question(f"{split}, new", split, captions("text_new"), filled_from="content"))
    freehand = sections("query_freehand")
    return [*questions, Question("one section, freehand", "freehand", freehand, True, filled_from="content")]


def validation_questions() -> list[Question]:
    """What choices are made by: the seen wording, and that of a writer who writes for validation songs alone."""
    splits = ("validation", "validation_order")
    return [
        Question("validation, shuffled, seen", "validation", shuffled("text")),
        *wording_questions("seen", "validation, ", splits),
        *wording_questions("paraphrase", "validation, ", splits),
    ]


def spoken_questions() -> list[Question]:
    """Transcripts and tracks, and as a control transcripts of other words in phrases of the same lengths."""
    named = {"text to audio": ("text", False), "audio to text": ("text", True)}
    named |= {"other words to audio": ("text_other", False), "audio to other words": ("text_other", True)}
    return [Question(name, "test", captions(column), by_song=by_song) for name, (column, by_song) in named.items()]


def real_music_questions(split: str) -> list[Question]:
    """
    Captions and single sections by both writers among the songs of the split and among all, and captions that have to
    tell their song from three of its rearrangements.
    """
    questions = []
    for writer, suffix in WRITERS.items():
        texts, parts = captions(f"text{suffix}"), sections(f"query{suffix}")
        for gallery, source in {"held-out": None, "all": "all"}.items():
            questions.append(Question(f"captions, {gallery}, {writer}", split, texts, filled_from=source))
            questions.append(Question(f"sections, {gallery}, {writer}", split, parts, True, filled_from=source))
        questions.append(Question(f"order, {writer}", split, texts, within_group=True, num_rearranged=3))
    return questions


SETS: dict[str, Callable[[], list[Question]]] = {
    "demo": demo_questions,
    "long-form": main_questions,
    "long-form-more": more_questions,
    "validation": validation_questions,
    "spoken": spoken_questions,
    "real-music-test": lambda: real_music_questions("test"),
    "real-music-validation": lambda: real_music_questions("validation"),
}


def splits_of(questions: Sequence[Question], corpus: Path) -> list[str]:
    """The splits that questions need; a ValueError if the corpus lacks any of them."""
    named = [question.split for question in questions] + [question.filled_from for question in questions]
    splits = [split for split in dict.fromkeys(named) if split is not None]
    missing = [split for split in splits if not (corpus / f"{split}.jsonl").is_file()]
    if missing:
        raise ValueError(f"corpus: {corpus} lacks the splits {', '.join(missing)}.")
    return splits
