# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""German descriptions of the song corpus: nothing left out, articles and cases as they should be."""

import re

import numpy as np
import pytest
from paraphrase_helpers import fake_song

from benchmarks.corpus import paraphrase_german
from benchmarks.corpus.captions_german import write_german, write_german_section
from benchmarks.corpus.german_grammar import GermanNoun, german_noun
from benchmarks.corpus.tags import TAGS

MOST_IN_A_QUERY = 3


def german_wordings(tag: str, name: str) -> list[str]:
    """What a German text may say for a tag: nouns in all their cases."""
    entry = "level" if tag == "dynamics" else tag
    found = []
    for wording in paraphrase_german.NAMES[entry][name]:
        if ":" in wording:
            read = german_noun(wording)
            found += [read.ein, read.einen, read.einem]
        else:
            found.append(wording)
    return [wording.lower() for wording in found]


def test_german_has_wordings_enough_to_train_on() -> None:
    names = paraphrase_german.NAMES
    for tag, fewest in (("lead", 3), ("accompaniment", 3), ("bass", 3), ("drums", 6), ("texture", 6), ("voice", 5)):
        for name in TAGS[tag]:
            if name != "none":
                assert len(set(names[tag][name])) >= fewest, (tag, name)
    assert all(len(names["level"][name]) >= 6 for name in TAGS["dynamics"])
    frames = (paraphrase_german.MELODY, paraphrase_german.NO_MELODY, *paraphrase_german.RHYTHM.values())
    for group in (*frames, paraphrase_german.DYNAMICS, paraphrase_german.VOICES, paraphrase_german.OPENINGS):
        assert len(set(group)) >= 6


def test_german_texts_tell_all_in_their_length_and_without_slips() -> None:
    slips = re.compile(r"None|[{}\[\]]|  | [,.;:]|\.\.|,,|^[a-zäöü ]|[^.]$|\bin dem\b|\bvon dem\b")
    absent = {
        "lead": r"melodie|soloinstrument|führendes instrument",
        "bass": r"(kein|keinen|einen|ohne|weder|auf|und|ein|der) bass|bass und",
        "drums": r"schlagzeug",
    }
    for seed in range(150):
        song = fake_song(seed)
        sentences, indices = write_german(song, np.random.default_rng(seed))
        assert 150 <= sum(len(sentence.split()) for sentence in sentences) <= 350
        for sentence in sentences:
            assert not slips.search(sentence), sentence
        for place, (section, told) in enumerate(zip(song["sections"], indices, strict=True)):
            query = write_german_section(section, np.random.default_rng([seed, place]))
            assert 1 <= len(query) <= MOST_IN_A_QUERY
            for text in (" ".join(sentences[number] for number in told).lower(), " ".join(query).lower()):
                for tag in ("lead", "accompaniment", "bass", "drums", "texture", "dynamics", "voice"):
                    name = section["tags"][tag]
                    if name != "none":
                        assert any(wording in text for wording in german_wordings(tag, name)), (tag, name, text)
                    elif tag in absent:
                        assert re.search(absent[tag], text), (tag, text)
                    else:
                        assert not re.search(r"sprech|spricht|gesprochen", text), text


def test_german_texts_differ_and_depend_on_the_draws_only() -> None:
    texts = {" ".join(write_german(fake_song(seed), np.random.default_rng(seed))[0]) for seed in range(50)}
    assert len(texts) == 50
    song = fake_song(7)
    assert write_german(song, np.random.default_rng(1)) == write_german(song, np.random.default_rng(1))
    assert write_german(song, np.random.default_rng(1)) != write_german(song, np.random.default_rng(2))


@pytest.mark.parametrize(
    ("entry", "indefinite", "definite"),
    [
        ("Flöte:f", "eine Flöte, eine Flöte, einer Flöte", "die Flöte, die Flöte, der Flöte, der Flöte"),
        (
            "gezupft Kontrabass:m",
            "ein gezupfter Kontrabass, einen gezupften Kontrabass, einem gezupften Kontrabass",
            "der gezupfte Kontrabass, den gezupften Kontrabass, dem gezupften Kontrabass, des gezupften Kontrabasses",
        ),
        (
            "hölzern Xylofon:n",
            "ein hölzernes Xylofon, ein hölzernes Xylofon, einem hölzernen Xylofon",
            "das hölzerne Xylofon, das hölzerne Xylofon, dem hölzernen Xylofon, des hölzernen Xylofons",
        ),
        (
            "Blechbläser:p",
            "Blechbläser, Blechbläser, Blechbläsern",
            "die Blechbläser, die Blechbläser, den Blechbläsern, der Blechbläser",
        ),
        ("Chorus:m", "ein Chorus, einen Chorus, einem Chorus", "der Chorus, den Chorus, dem Chorus, des Chorus"),
    ],
)
def test_german_nouns_are_declined(entry: str, indefinite: str, definite: str) -> None:
    read = german_noun(entry)
    assert ", ".join((read.ein, read.einen, read.einem)) == indefinite
    assert ", ".join((read.der, read.den, read.dem, read.des)) == definite


def test_german_places_and_keys() -> None:
    assert GermanNoun("Refrain", "m", "zweit").within == "im zweiten Refrain"
    assert GermanNoun("Strophe", "f", "letzt").within == "in der letzten Strophe"
    assert GermanNoun("Abschnitt", "m", demonstrative=True).within == "in diesem Abschnitt"
    assert GermanNoun("Passage", "f", demonstrative=True).des == "dieser Passage"
    assert german_noun("Streicher:p")["spielt/spielen"] == "spielen"
    assert paraphrase_german.german_key({"key": "B", "mode": "minor"}) == "h-Moll"
    assert paraphrase_german.german_key({"key": "E", "mode": "major"}) == "E-Dur"
