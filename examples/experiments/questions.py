# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the benchmark and the experiments ask of a model: texts that look for their songs in a gallery."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from common import Song
from sentence_quality import drop_half, first_sentences, replace_half, shuffle


class Query(NamedTuple):
    """A text that looks for a song: the song's place in its split, the sentences, and what kind of text it is."""

    place: int
    sentences: list[str]
    kind: str = ""


LENGTHS_MIN = (2, 5, 10, 20)
LONG_SPLITS = tuple(f"long_{minutes}" for minutes in LENGTHS_MIN)
# The benchmark's wordings, by the columns of captions and of one-section queries.
WORDING_COLUMNS = {
    "seen": ("text", "query"),
    "new": ("text_new", "query_new"),
    "paraphrase": ("text_paraphrase", "query_paraphrase"),
    "clock times": ("text_new_clock", None),
}


@dataclass(frozen=True)
class Question:
    """
    One row of figures, and one more for each kind of query.

    Args:
        name (`str`): Of the result.
        split (`str`): Whose songs are looked for; all of them are in the gallery.
        queries (`Callable`): The songs of the split to the queries.
        section_query (`bool`): Whether each query describes a single section.
        is_filled_up (`bool`): Whether songs of the split "content" fill the gallery up.
        within_group (`bool`): Whether only the songs of the same group are in the gallery.
        use_time (`bool`): Whether the order of a query's sentences says when; for models that have a sense of time.
    """

    name: str
    split: str
    queries: Callable[[Sequence[Song]], list[Query]]
    section_query: bool = False
    is_filled_up: bool = False
    within_group: bool = False
    use_time: bool = True


def captions(column: str, by: str | None = None, every: int = 1) -> Callable[[Sequence[Song]], list[Query]]:
    """A caption of each song, or of every second ...; the column `by` says its kind."""
    return lambda songs: [
        Query(place, song[column], "" if by is None else song[by]) for place, song in enumerate(songs)
    ][::every]


def sections(column: str, by_voice: bool = False, every: int = 1) -> Callable[[Sequence[Song]], list[Query]]:
    """
    A query for each section that has one, of every song, or of every second ...

    With `by_voice` its kind is whether there, and so in the text, is a voice.
    """
    voices = {True: "with a voice", False: "without a voice"}
    return lambda songs: [
        Query(place, section[column], voices[section["tags"]["voice"] != "none"] if by_voice else "")
        for place, song in [*enumerate(songs)][::every]
        for section in song["sections"]
        if section.get(column) is not None
    ]


def spoiled(
    spoil: Callable[[list[str], list[str], random.Random], list[str]], column: str, every: int = 1
) -> Callable[[Sequence[Song]], list[Query]]:
    """Captions after `spoil(sentences, sentences of another song, generator)`, the same for every model."""

    def queries(songs: Sequence[Song]) -> list[Query]:
        drawn = []
        for place, song in [*enumerate(songs)][::every]:
            generator = random.Random(place)
            # Any song but this one; of a single song there is no other.
            other = songs[(place + generator.randrange(1, max(2, len(songs)))) % len(songs)]
            drawn.append(Query(place, spoil(song[column], other[column], generator)))
        return drawn

    return queries


def long_form_questions(wording: str, every: int = 2) -> list[Question]:
    """
    The benchmark's questions in one wording.

    All content songs are in the gallery; those of every second are looked for, which is enough for intervals of two
    points and halves the time.
    """
    caption, query = WORDING_COLUMNS[wording]
    questions = [
        Question(f"content, {wording}", "content", captions(caption, every=every)),
        Question(f"order, {wording}", "order", captions(caption), within_group=True),
    ]
    if query is not None:
        found = sections(query, every=every)
        questions.append(Question(f"one section, {wording}", "content", found, section_query=True))
    return questions


def clip_questions() -> list[Question]:
    """What a model of clips is asked: whole captions and single sections in the new wording."""
    return [question for question in main_questions() if question.split == "content"]


def main_questions() -> list[Question]:
    """What every row of the benchmark but CLAP's is asked: the new wording, and what is hard in it."""
    return [
        *long_form_questions("new"),
        Question("shuffled, new", "content", spoiled(_shuffled, "text_new", every=2)),
        Question("near-duplicates, new", "near_duplicates", captions("text_new"), is_filled_up=True),
    ]


def more_questions() -> list[Question]:
    """The other wordings and splits of the benchmark."""
    questions = [
        question for wording in WORDING_COLUMNS if wording != "new" for question in long_form_questions(wording)
    ]
    for split in ("structures", "instrument_pairs", *LONG_SPLITS):
        questions.append(Question(f"{split}, new", split, captions("text_new"), is_filled_up=True))
    freehand = sections("query_freehand")
    return [*questions, Question("one section, freehand", "freehand", freehand, section_query=True, is_filled_up=True)]


def validation_questions() -> list[Question]:
    """What choices are made by: the seen wording, and that of a writer who writes for validation songs alone."""
    questions = [Question("validation, shuffled, seen", "validation", spoiled(_shuffled, "text"))]
    for wording in ("seen", "paraphrase"):
        caption, query = WORDING_COLUMNS[wording]
        questions += [
            Question(f"validation, content, {wording}", "validation", captions(caption)),
            Question(f"validation, one section, {wording}", "validation", sections(query), section_query=True),
            Question(f"validation, order, {wording}", "validation_order", captions(caption), within_group=True),
        ]
    return questions


def _shuffled(own: list[str], other: list[str], generator: random.Random) -> list[str]:
    return shuffle(own, generator)


def ablation_questions() -> list[Question]:
    """Captions and single sections of the corpus, those with a voice apart."""
    return [
        Question("captions", "content", captions("text_new")),
        Question("sections", "content", sections("query_new", by_voice=True), section_query=True),
    ]


def length_questions() -> list[Question]:
    """The same songs and texts at four lengths of the audio, among each other and among many more songs."""
    kinds = {"captions": (captions("text_new"), False), "sections": (sections("query_new"), True)}
    return [
        Question(
            f"{kind}, {minutes} min, {gallery}", f"long_{minutes}", queries, section_query, gallery == "filled up"
        )
        for kind, (queries, section_query) in kinds.items()
        for gallery in ("filled up", "alone")
        for minutes in LENGTHS_MIN
    ]


def quality_questions(column: str = "text_new") -> list[Question]:
    """Captions of the new wording and what can be wrong with them, on the same songs."""
    spoilers = {
        "first sentence only": lambda own, other, generator: first_sentences(own, 1),
        "first 5 sentences": lambda own, other, generator: first_sentences(own, 5),
        "half of the sentences": lambda own, other, generator: drop_half(own, generator),
        "sentences shuffled": _shuffled,
        "half of the sentences wrong": lambda own, other, generator: replace_half(own, other, generator),
    }
    asked = {"whole caption": captions(column)} | {name: spoiled(spoil, column) for name, spoil in spoilers.items()}
    questions = [Question(name, "content", queries) for name, queries in asked.items()]
    # The order tells when only where a text tells of the song from beginning to end.
    questions += [
        Question(f"{name}, without time", "content", queries, use_time=False) for name, queries in asked.items()
    ]
    questions.append(Question("paraphrase", "content", captions("text_paraphrase", by="paraphrase_style")))
    questions.append(Question("one section", "content", sections("query_new"), section_query=True))
    return questions


def language_questions() -> list[Question]:
    """
    The content songs by English and German captions.

    Of the German ones there is one wording, that of the training: compare it with the seen English one.
    """
    return [
        Question("English, seen wording", "content", captions("text")),
        Question("English, new wording", "content", captions("text_new")),
        Question("German, seen wording", "content", captions("text_german")),
        Question("one section, English, seen wording", "content", sections("query"), section_query=True),
        Question("one section, English, new wording", "content", sections("query_new"), section_query=True),
        Question("one section, German, seen wording", "content", sections("query_german"), section_query=True),
    ]


def digits_questions() -> list[Question]:
    """Tracks of spoken digits by what is said, and, as a control, by its rhythm with other digits."""
    return [
        Question("transcripts", "content", captions("text")),
        Question("transcripts with other digits", "content", captions("text_exchanged")),
    ]


SETS: dict[str, Callable[[], list[Question]]] = {
    "ablation": ablation_questions,
    "digits": digits_questions,
    "language": language_questions,
    "lengths": length_questions,
    "long-form": main_questions,
    "long-form-clips": clip_questions,
    "long-form-more": more_questions,
    "quality": quality_questions,
    "validation": validation_questions,
}


def splits_of(questions: Sequence[Question], corpus: Path) -> list[str]:
    """
    The splits that questions need.

    Raises:
        ValueError: if the corpus lacks any of them.
    """
    splits = list(dict.fromkeys(question.split for question in questions))
    if any(question.is_filled_up for question in questions) and "content" not in splits:
        splits.append("content")
    missing = [split for split in splits if not (corpus / f"{split}.jsonl").is_file()]
    if missing:
        raise ValueError(f"corpus: {corpus} lacks the splits {', '.join(missing)}.")
    return splits


__all__ = ["LENGTHS_MIN", "LONG_SPLITS", "SETS", "WORDING_COLUMNS", "Query", "Question", "splits_of"]
