# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Writes captions: an opening sentence, one to three sentences a section, a closing one or two.

A caption tells instruments, texture, dynamics, voice, key, mode, tempo and the order of the sections, never how long
the song is.
"""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from collap.evaluation.plots import clock

from .plan import SAMPLING_RATE, Section, Song

Phrases = dict[str, list[str]]  # alternatives by wording
# The vocabulary of both wordings, which share no phrase: training captions have the seen one, test captions both. The
# new names recombine words of the seen ones ("an airy concert flute" after "a concert flute" and "an airy flute"),
# because a text model that is trained on nothing but these captions can't know other words. A frame is one clause that
# can stand alone or be joined to another, in lower case and without a full stop. Its slots: {lead}, {chords} (a
# plural), {bass}, {drums} (singulars), {place} (the section as a subject: "the first verse"). In names of places,
# {label} is "the first verse" or "the intro". "long_joins" is for two clauses that are both long.
PHRASES = json.loads((Path(__file__).parent / "wordings.json").read_text(encoding="utf-8"))

# Of a section, also where there is no lead, bass or drums. A voice is always told, its absence only sometimes.
ALWAYS_TOLD = ("lead", "accompaniment", "bass", "drums", "texture", "dynamics")


class Caption(NamedTuple):
    """A caption of a song."""

    sentences: list[str]
    section_sentences: list[list[int]]  # of each section, the indices of the sentences that describe it
    section_tags: list[list[str]]  # of each section, the names of the tags that these sentences tell


class Query(NamedTuple):
    """A text about one section, and the names of the tags that it tells."""

    sentences: list[str]
    tags: list[str]


@dataclass
class CaptionWriter:
    """Writes one caption or one query."""

    wording: str  # "seen" (training, and the first text of test songs) or "new" (test songs only)
    rng: np.random.Generator  # makes every choice
    clock_times: bool = False  # whether the sections' times are told, as "0:14 to 0:32"
    _used: set[str] = field(default_factory=set)

    def write(self, song: Song) -> Caption:
        """A caption of the whole song, with its sections in their order."""
        sentences = [self._song_sentence(PHRASES["opening"], song)]
        section_sentences, section_tags = [], []
        for place in range(len(song.sections)):
            described = self._describe(song, place)
            section_sentences.append(list(range(len(sentences), len(sentences) + len(described.sentences))))
            section_tags.append(described.tags)
            sentences += described.sentences
        leads = list(dict.fromkeys(section.lead for section in song.sections if section.lead != "none"))
        if len(leads) >= 2 and self.rng.random() < 0.5:
            # In any order: this sentence belongs to no section and says nothing about time.
            names = [f"the {leads[index]}" for index in self.rng.permutation(len(leads))[:4]]
            listed = ", ".join(names[:-1]) + " and " + names[-1]
            sentences.append(_sentence(self._choose(PHRASES["leads_together"]).format(leads=listed)))
        sentences.append(self._song_sentence(PHRASES["closing"], song))
        return Caption(sentences, section_sentences, section_tags)

    def query(self, section: Section) -> Query:
        """One to three sentences about a section alone: its sound, not its time."""
        clauses, _, tags = self._clauses(section, self._choose(PHRASES["any_place"]))
        return Query(self._join(clauses), tags)

    def _choose(self, options: Phrases) -> str:
        """One of the options of this wording; one that this writer has already used only if all are used."""
        fresh = [option for option in options[self.wording] if option not in self._used] or options[self.wording]
        chosen = fresh[int(self.rng.integers(len(fresh)))]
        self._used.add(chosen)
        return chosen

    def _song_sentence(self, options: Phrases, song: Song) -> str:
        frame = self._choose(options)
        tempo = self._choose(PHRASES["tempo_words"][song.tempo])
        mood = self._choose(PHRASES["mode_words"][song.mode])
        return _sentence(frame.format(tempo=tempo, mood=mood, key=song.key, mode=song.mode))

    def _describe(self, song: Song, index: int) -> Query:
        """The sentences about one section; the first says when it comes, by its label, its place or its times."""
        where = "start" if index == 0 else "end" if index == len(song.sections) - 1 else "middle"
        label = _section_name(song, index)
        place = self._choose(PHRASES[f"{where}_place"]).format(label=label)
        when = self._choose(PHRASES[where]).format(label=label)
        if self.clock_times:
            start, end = (clock(sample / SAMPLING_RATE) for sample in song.section_bounds[index])
            place, when = f"{place} ({start} to {end})", f"{when} ({start} to {end})"
        clauses, names_place, tags = self._clauses(song.sections[index], place)
        if not names_place:
            clauses[0] = f"{when}, {clauses[0]}"
        return Query(self._join(clauses), tags)

    def _clauses(self, section: Section, place: str) -> tuple[list[str], bool, list[str]]:
        """The sound of a section, as clauses; whether the first of them names the section; the tags they tell."""
        options = {
            "lead": PHRASES["lead_names"].get(section.lead),
            "bass": PHRASES["bass_names"].get(section.bass),
            "drums": PHRASES["drum_names"].get(section.drums),
        }
        slots = {slot: self._choose(names) for slot, names in options.items() if names is not None}
        names = PHRASES["accompaniment_names"][section.accompaniment][self.wording]
        name, source = names[int(self.rng.integers(len(names)))]
        slots["chords"] = self._choose(PHRASES["textures"][section.texture]).format(name=name, source=source)
        if "bass" in slots:
            rhythm = "bass_and_drums" if "drums" in slots else "bass_only"
        else:
            rhythm = "drums_only" if "drums" in slots else "no_rhythm"
        melody = "melody" if "lead" in slots else "no_melody"
        chosen = [PHRASES[melody], PHRASES[rhythm], PHRASES["dynamics"][section.dynamics]]
        tags = [*ALWAYS_TOLD]
        if section.voice != "none" or self.rng.random() < 0.3:
            chosen.append(PHRASES["voice"][section.voice])
            tags.append("voice")
        told = [self._choose(options) for options in chosen]
        if self.rng.random() < 0.5:  # half of the time the melody is told first, as most people would
            self.rng.shuffle(told)
        told.sort(key=lambda frame: "{place}" not in frame)  # stable: only the clause that names the section moves
        return [frame.format(place=place, **slots) for frame in told], "{place}" in told[0], tags

    def _join(self, clauses: list[str]) -> list[str]:
        """One to three sentences out of three or four clauses."""
        num_sentences = min(len(clauses), int(self.rng.choice((1, 2, 3), p=(0.1, 0.5, 0.4))))
        sentences = []
        for part in np.array_split(np.array(clauses, dtype=object), num_sentences):
            text = str(part[0])
            for place, clause in enumerate(part[1:], start=2):
                long = min(_num_words(part[place - 2]), _num_words(clause)) > 5
                join = self._choose(PHRASES["long_joins"] if long else PHRASES["joins"])
                # "a, and b, and c" reads badly: only the last of several clauses is joined by a word.
                text += (join if place == len(part) else "; ") + clause
            sentences.append(_sentence(text))
        return sentences


def _sentence(text: str) -> str:
    text = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", text)  # the frames say "a {tempo}": "an unhurried tempo"
    return text[0].upper() + text[1:] + "."


def _num_words(clause: str) -> int:
    """Words of a clause but for its times: a caption with times is to be the same sentences as the one without."""
    return len(re.sub(r" \(\d+:\d\d to \d+:\d\d\)", "", clause).split())


ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")


def _section_name(song: Song, index: int) -> str:
    """ "the bridge", or "the second verse" where there are several."""
    labels = [section.label for section in song.sections]
    label, count = labels[index], Counter(labels)[labels[index]]
    number = labels[:index].count(label)
    if count == 1:
        return f"the {label}"
    if number == count - 1 and count > 2:
        return f"the last {label}"
    return f"the {ORDINALS[number]} {label}" if number < len(ORDINALS) else f"the next {label}"
