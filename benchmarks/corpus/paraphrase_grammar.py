# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the writers of paraphrases share: nouns with articles, draws without repetition, places in a song.

No wording is shared: each style brings its own names, frames and plans, so that the texts read as by several people.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")

# Written with a vowel, spoken with a consonant.
_SPOKEN_WITH_CONSONANT = ("uni", "one", "eu", "ukulele")


@dataclass(frozen=True)
class Noun:
    """A name in a sentence: frames ask for `{lead.a}`, `{lead.the}`, `carr{lead.ies}` and so on.

    Args:
        text (`str`): the name without an article.
        plural (`bool`): whether its verb stands in the plural.
        counted (`bool`): whether it takes an indefinite article.
    """

    text: str
    plural: bool = False
    counted: bool = True

    def __str__(self) -> str:
        return self.text

    @property
    def a(self) -> str:
        """With its indefinite article, if it has one."""
        return f"{_article(self.text)} {self.text}" if self.counted else self.text

    @property
    def the(self) -> str:
        """With the definite article."""
        return f"the {self.text}"

    @property
    def s(self) -> str:
        """The ending of a verb like "play"."""
        return "" if self.plural else "s"

    @property
    def es(self) -> str:
        """The ending of a verb like "do"."""
        return "" if self.plural else "es"

    @property
    def ies(self) -> str:
        """The ending of a verb like "carr(y)"."""
        return "y" if self.plural else "ies"

    @property
    def are(self) -> str:
        """The form of "be"."""
        return "are" if self.plural else "is"

    @property
    def have(self) -> str:
        """The form of "have"."""
        return "have" if self.plural else "has"

    @property
    def its(self) -> str:
        """The possessive pronoun."""
        return "their" if self.plural else "its"

    @property
    def it(self) -> str:
        """The object pronoun."""
        return "them" if self.plural else "it"


def _article(text: str) -> str:
    lowered = text.lower()
    return "an" if lowered[0] in "aeiou" and not lowered.startswith(_SPOKEN_WITH_CONSONANT) else "a"


def noun(name: str) -> Noun:
    """Reads a name of a list: "+strings" is a plural, "=brass" takes no article, "flute" is neither."""
    if name.startswith("+"):
        return Noun(name[1:], plural=True, counted=False)
    if name.startswith("="):
        return Noun(name[1:], counted=False)
    return Noun(name)


class Teller:
    """Draws wordings. One teller writes one text; an option comes back only after all others of its list were used.

    Args:
        rng (`np.random.Generator`): draws.
        leaning (`int`): -1 takes the shorter one of two draws, 1 the longer one, 0 any.
    """

    def __init__(self, rng: np.random.Generator, leaning: int = 0):
        self._rng = rng
        self._leaning = leaning
        self._decks: dict[tuple, list] = {}

    def pick(self, options: Sequence) -> str:
        """One of the options."""
        key = tuple(options)
        deck = self._decks.get(key)
        if not deck:
            deck = self._decks[key] = [key[place] for place in self._rng.permutation(len(key))]
        if self._leaning and len(deck) > 1:
            deck[-2:] = sorted(deck[-2:], key=len, reverse=self._leaning < 0)
        return deck.pop()

    def chance(self, share: float) -> bool:
        """True in that share of the calls."""
        return bool(self._rng.random() < share)


@dataclass(frozen=True)
class Place:
    """Where a section stands: the `number`-th of `count` sections of its label, `position` of `length` in the song."""

    label: str
    number: int
    count: int
    position: int
    length: int

    @property
    def is_first(self) -> bool:
        return self.position == 0

    @property
    def is_last(self) -> bool:
        return self.position == self.length - 1


def places(song: Mapping) -> list[Place]:
    """The places of a song's sections."""
    labels = [section["label"] for section in song["sections"]]
    counts = Counter(labels)
    seen: Counter[str] = Counter()
    found = []
    for position, label in enumerate(labels):
        seen[label] += 1
        found.append(Place(label, seen[label], counts[label], position, len(labels)))
    return found


def ordinal(number: int) -> str:
    """ "first" to "tenth", then "11th" and so on."""
    if number <= len(ORDINALS):
        return ORDINALS[number - 1]
    ending = "th" if number // 10 % 10 == 1 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def number_word(number: int) -> str:
    """ "one" to "ten", then figures."""
    return NUMBERS[number] if number < len(NUMBERS) else str(number)


def enumerate_words(words: Sequence[str], last: str = "and") -> str:
    """ "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def finish(sentence: str) -> str:
    """Begins with a capital letter and ends with a full stop, if it ends with no other mark."""
    sentence = sentence[0].upper() + sentence[1:]
    return sentence if sentence[-1] in ".!?" else sentence + "."


def choose(
    names: Mapping[str, Mapping[str, Sequence[str]]],
    tags: Mapping[str, str],
    teller: Teller,
    read_noun: Callable[[str], Any] = noun,
) -> dict:
    """One wording for each tag of a section: nouns for the players (None where one is silent), phrases for the rest.

    Args:
        names: for each tag, the alternatives of each value. "lead", "accompaniment", "bass" and "drums" hold nouns.
            Phrases may ask for the noun of the accompaniment as `acc`.
        tags: of the section.
        teller: draws.
        read_noun: makes a noun of its entry in the list.

    Returns:
        `dict`: `lead`, `acc`, `bass`, `drums` and one phrase for each other entry of `names`; "level" and "how" are
        further wordings of the dynamics.
    """
    chosen: dict = {}
    for tag, key in (("lead", "lead"), ("accompaniment", "acc"), ("bass", "bass"), ("drums", "drums")):
        chosen[key] = None if tags[tag] == "none" else read_noun(teller.pick(names[tag][tags[tag]]))
    for entry, values in names.items():
        if entry in ("lead", "accompaniment", "bass", "drums"):
            continue
        tag = "dynamics" if entry in ("level", "how") else entry
        if tags[tag] in values:
            chosen[entry] = teller.pick(values[tags[tag]]).format(**chosen)
    return chosen
