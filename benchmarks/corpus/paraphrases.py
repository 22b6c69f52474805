# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Descriptions of songs in wordings of other people: the hardest test of wording of the song corpus.

The styles were written without a look at the captions that models are trained on (`captions.py`). Each has its own
file with its own names of instruments, words for drums, textures and dynamics, frames of sentences and order of what
is told first. What a text says is true of the tags; every text tells lead, accompaniment, texture, bass, drums and
dynamics of each section, also where there is none, and the voice where one speaks. Key, mode and tempo are told once
in the description of a whole song; a query may leave them out.

`freehand.jsonl` holds descriptions of single sections that no frame wrote: the tags were drawn at random (leads and
accompaniments of the small corpora), and each text was written singly for them, as one would search.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np

from . import paraphrase_amateur, paraphrase_critic, paraphrase_librarian, paraphrase_musician
from .paraphrase_grammar import Teller, finish, places

_WRITERS: dict[str, ModuleType] = {
    "critic": paraphrase_critic,
    "librarian": paraphrase_librarian,
    "amateur": paraphrase_amateur,
    "musician": paraphrase_musician,
}
STYLES: tuple[str, ...] = tuple(_WRITERS)
VALIDATION_STYLE = "critic"  # by whom choices are made; the tests have the others
TEST_STYLES = tuple(style for style in STYLES if style != VALIDATION_STYLE)

FEWEST_WORDS, MOST_WORDS = 150, 350  # of a song of 4 to 8 sections
MOST_WORDS_OF_A_FURTHER_SECTION = 45
_FREE_DRAWS = 10  # then shorter or longer wordings are preferred
_MOST_DRAWS = 50

FREEHAND = Path(__file__).parent / "freehand.jsonl"


def write_paraphrase(song: Mapping, style: str, rng: np.random.Generator) -> tuple[list[str], list[list[int]]]:
    """Describes a whole song in 150 to 350 words (for 4 to 8 sections; 45 more for each further one).

    Args:
        song: a line of the manifest; of its `sections` the `label` and the `tags` are read.
        style (`str`): one of `STYLES`.
        rng (`np.random.Generator`): draws all wordings.

    Returns:
        The sentences, and for each section the indices of the sentences that describe it, in the order of the song.

    Raises:
        ValueError: if there is no such style or the song has no section.
    """
    return write_within(_writer(style), song, rng)


def write_within(writer: ModuleType, song: Mapping, rng: np.random.Generator) -> tuple[list[str], list[list[int]]]:
    """Draws texts of a style's module until one has the right number of words; the nearest one if none has."""
    if not song["sections"]:
        raise ValueError("`song` has no sections, so there is nothing to describe")
    most = MOST_WORDS + MOST_WORDS_OF_A_FURTHER_SECTION * max(0, len(song["sections"]) - 8)
    best: tuple[int, tuple[list[str], list[list[int]]]] | None = None
    leaning = 0
    for draw in range(_MOST_DRAWS):
        text = _write_once(writer, song, Teller(rng, leaning))
        num_words = _num_words(text[0])
        if draw == _FREE_DRAWS - 1:
            leaning = 1 if num_words < FEWEST_WORDS else -1
        excess = max(0, FEWEST_WORDS - num_words, num_words - most)
        if best is None or excess < best[0]:
            best = (excess, text)
        if not excess:
            break
    return best[1]


def write_section_paraphrase(section: Mapping, style: str, rng: np.random.Generator) -> list[str]:
    """Describes one section by 1 to 3 sentences that stand alone and do not say where in a song it is.

    Args:
        section: a section of a line of the manifest; its `tags` are read.
        style (`str`): one of `STYLES`.
        rng (`np.random.Generator`): draws all wordings.

    Raises:
        ValueError: if there is no such style.
    """
    return write_query(_writer(style), section, rng)


def write_query(writer: ModuleType, section: Mapping, rng: np.random.Generator) -> list[str]:
    """As `write_section_paraphrase`, for a style's module."""
    teller = Teller(rng)
    place = writer.query_prefix(section["tags"], teller)
    sentences = [finish(sentence) for sentence in writer.tell_section(section["tags"], place, teller, None)]
    return [*sentences[:2], " ".join(sentences[2:])] if len(sentences) > 3 else sentences


def read_freehand(path: str | Path = FREEHAND) -> list[dict]:
    """Reads the descriptions that no frame wrote: `tags` of one section and its `text`, a list of sentences."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines() if line]


def _writer(style: str) -> ModuleType:
    if style not in _WRITERS:
        raise ValueError(f"`style` must be one of {', '.join(STYLES)}, got {style!r}")
    return _WRITERS[style]


def _write_once(writer: ModuleType, song: Mapping, teller: Teller) -> tuple[list[str], list[list[int]]]:
    names = [writer.place_name(place, teller) for place in places(song)]
    sentences = list(writer.tell_opening(song, teller))
    indices: list[list[int]] = []
    before = None
    for section, name in zip(song["sections"], names, strict=True):
        told = writer.tell_section(section["tags"], name, teller, before)
        indices.append(list(range(len(sentences), len(sentences) + len(told))))
        sentences += told
        before = section["tags"]
    closing = list(writer.tell_closing(song, teller))
    if _num_words(sentences + closing) <= MOST_WORDS:
        sentences += closing
    return [finish(sentence) for sentence in sentences], indices


def _num_words(sentences: list[str]) -> int:
    return sum(len(sentence.split()) for sentence in sentences)
