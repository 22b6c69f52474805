# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Descriptions of the song corpus in other people's wordings: nothing left out, nothing false, no slip of grammar."""

import re

import numpy as np
import pytest
from paraphrase_helpers import fake_song

from benchmarks.corpus import paraphrases
from benchmarks.corpus.paraphrase_grammar import Noun, finish, noun, ordinal, places
from benchmarks.corpus.paraphrases import STYLES, read_freehand, write_paraphrase, write_section_paraphrase
from benchmarks.corpus.tags import TAGS

SLIPS = re.compile(r"None|[{}]|  |\b[Aa] [aeiou]|\b[Aa]n [^aeiouAEIOU]| [,.;:]|\.\.|,,|^[a-z ]|[^.!?]$")
PLAYED = ("lead", "accompaniment", "bass", "drums")
MOST_IN_A_QUERY = 3


def names_of(style: str) -> dict[str, dict[str, tuple[str, ...]]]:
    return paraphrases._WRITERS[style].NAMES


def wordings(style: str, tag: str, name: str) -> list[str]:
    """What a text of the style may say for a tag, without marks and what is filled in."""
    entries = ("how", "level") if tag == "dynamics" else (tag,)
    found = []
    for entry in entries:
        for wording in names_of(style).get(entry, {}).get(name, ()):
            found += [wording.lstrip("+=").replace("{acc.its}", form).lower() for form in ("its", "their")]
    return found


@pytest.mark.parametrize("style", STYLES)
def test_every_class_of_a_section_has_wordings_in_every_style(style: str) -> None:
    names = names_of(style)
    for tag in ("lead", "accompaniment", "bass", "drums", "texture", "voice"):
        for name in TAGS[tag]:
            if name != "none":
                assert len(set(names[tag][name])) >= 4, (tag, name)
    for name in TAGS["dynamics"]:
        assert len(wordings(style, "dynamics", name)) >= 4


def test_styles_share_few_names() -> None:
    """Each is another person's vocabulary: of drums, textures and dynamics at most a third is also another's."""
    for tag in ("drums", "texture", "dynamics"):
        for style in STYLES:
            mine = {wording for name in TAGS[tag] for wording in wordings(style, tag, name)}
            others = {
                wording
                for other in STYLES
                if other != style
                for name in TAGS[tag]
                for wording in wordings(other, tag, name)
            }
            assert len(mine & others) <= len(mine) / 3, (style, tag, mine & others)


@pytest.mark.parametrize("style", STYLES)
def test_wordings_of_two_classes_differ(style: str) -> None:
    for tag in ("lead", "accompaniment", "bass", "drums", "texture", "dynamics", "voice"):
        found = [wording for name in TAGS[tag] for wording in sorted(set(wordings(style, tag, name)))]
        assert len(set(found)) == len(found), tag


@pytest.mark.parametrize("style", STYLES)
def test_texts_of_songs_have_their_length_and_no_slips(style: str) -> None:
    for seed in range(200):
        sentences, _ = write_paraphrase(fake_song(seed), style, np.random.default_rng(seed))
        assert 150 <= sum(len(sentence.split()) for sentence in sentences) <= 350
        for sentence in sentences:
            assert not SLIPS.search(sentence), sentence


@pytest.mark.parametrize("style", STYLES)
def test_each_section_is_told_in_full_in_its_order(style: str) -> None:
    absent = {
        "lead": r"no .*(lead|melody|tune|theme|solo)|nobody .*(tune|theme|melody)|without any (lead|tune)|melody: none"
        r"|lead tacet|without a tune|pure accompaniment|top line empty",
        "bass": r"no bass|bass (is|register stays|part)|neither bass"
        r"|without (any )?bass|bass player|bass:? (nil|tacet)"
        r"|bass and|zero bass|in place of a bass|nothing in the bass|no bottom|bass, no|bass either",
        "drums": r"no (drum|kit|percussion|beat)|drums? (are|tacet|gone|have)|without (any )?(drum|percussion)"
        r"|drums alike|percussion (are|tacet)|any percussion|drums: nil|zero drums|drumming|drummer|nor (drums|kit)"
        r"|the drums gone|neither bass|only foundation",
    }
    for seed in range(60):
        song = fake_song(seed)
        sentences, indices = write_paraphrase(song, style, np.random.default_rng(seed))
        assert [place for places_of_one in indices for place in places_of_one] == list(
            range(indices[0][0], indices[-1][-1] + 1)
        ), "each section has sentences of its own, and they follow each other"
        for section, told in zip(song["sections"], indices, strict=True):
            text = " ".join(sentences[place] for place in told).lower()
            for tag in ("lead", "accompaniment", "bass", "drums", "texture", "dynamics", "voice"):
                name = section["tags"][tag]
                if name != "none":
                    assert any(wording in text for wording in wordings(style, tag, name)), (tag, name, text)
                elif tag != "voice":
                    assert re.search(absent[tag], text), (tag, text)
                else:
                    spoken = [wording for voice in ("male", "female") for wording in wordings(style, tag, voice)]
                    assert not any(wording in text for wording in spoken), text
        opening = " ".join(sentences[: indices[0][0]])
        tags = song["sections"][0]["tags"]
        assert f"{tags['key']} {tags['mode']}" in opening


@pytest.mark.parametrize("style", STYLES)
def test_no_instrument_is_named_that_does_not_play(style: str) -> None:
    """Only whole names that are part of no other name are looked for."""
    for seed in range(60):
        song = fake_song(seed)
        sentences, indices = write_paraphrase(song, style, np.random.default_rng(seed))
        for section, told in zip(song["sections"], indices, strict=True):
            text = " ".join(sentences[place] for place in told).lower()
            for name in ("violin", "trumpet", "marimba", "oboe", "trombone", "sitar", "banjo", "xylophone"):
                silent = section["tags"]["lead"] != name
                also_said_of_strings = name == "violin" and section["tags"]["accompaniment"] == "strings"
                if silent and not also_said_of_strings:
                    assert not re.search(rf"\b{name}\b", text), (name, text)


@pytest.mark.parametrize("style", STYLES)
def test_queries_stand_alone_and_do_not_say_where(style: str) -> None:
    labels = re.compile(r"\b(intro|introduction|verse|stanza|refrain|chorus|bridge|outro|coda|interlude)\b")
    for seed in range(60):
        for section in fake_song(seed)["sections"]:
            query = write_section_paraphrase(section, style, np.random.default_rng(seed))
            assert 1 <= len(query) <= MOST_IN_A_QUERY
            text = " ".join(query)
            assert not SLIPS.search(text), text
            if section["tags"]["accompaniment"] != "choir":  # "chorus of wordless singers"
                assert not labels.search(text.lower()), text
            for tag in (*PLAYED, "texture", "dynamics", "voice"):
                name = section["tags"][tag]
                if name != "none":
                    assert any(wording in text.lower() for wording in wordings(style, tag, name)), (tag, name, text)


@pytest.mark.parametrize("style", STYLES)
def test_hardly_two_sections_are_told_alike(style: str) -> None:
    told_sections, queries = [], []
    for seed in range(200):
        song = fake_song(seed)
        sentences, indices = write_paraphrase(song, style, np.random.default_rng(seed))
        told_sections += [" ".join(sentences[place] for place in told) for told in indices]
        queries += [
            " ".join(write_section_paraphrase(section, style, np.random.default_rng([seed, place])))
            for place, section in enumerate(song["sections"])
        ]
    assert len(set(told_sections)) > 0.99 * len(told_sections)
    assert len(set(queries)) > 0.99 * len(queries)


@pytest.mark.parametrize("style", STYLES)
def test_a_text_depends_on_the_song_and_the_draws_only(style: str) -> None:
    song = fake_song(3)
    first = write_paraphrase(song, style, np.random.default_rng(1))
    assert write_paraphrase(song, style, np.random.default_rng(1)) == first
    assert write_paraphrase(song, style, np.random.default_rng(2)) != first
    section = song["sections"][0]
    query = write_section_paraphrase(section, style, np.random.default_rng(1))
    assert write_section_paraphrase(section, style, np.random.default_rng(1)) == query


@pytest.mark.parametrize("style", STYLES)
def test_songs_of_many_sections_are_told_in_full(style: str) -> None:
    song = fake_song(5, num_sections=14)
    sentences, indices = write_paraphrase(song, style, np.random.default_rng(0))
    assert len(indices) == 14
    assert all(indices)
    assert sum(len(sentence.split()) for sentence in sentences) <= 350 + 6 * 45


def test_a_style_that_is_not_there_and_a_song_without_sections_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`style` must be one of critic.*'poet'"):
        write_paraphrase(fake_song(0), "poet", np.random.default_rng(0))
    with pytest.raises(ValueError, match="no sections"):
        write_paraphrase({"sections": []}, "critic", np.random.default_rng(0))


def test_nouns_bring_their_articles_and_verbs() -> None:
    assert noun("oboe").a == "an oboe"
    assert noun("unplugged guitar").a == "an unplugged guitar"
    assert noun("electric piano").the == "the electric piano"
    assert noun("+strings") == Noun("strings", plural=True, counted=False)
    assert f"{noun('+strings').a} carr{noun('+strings').ies}" == "strings carry"
    assert f"{noun('=brass').a} carr{noun('=brass').ies}" == "brass carries"


def test_places_count_the_sections_of_a_label() -> None:
    song = {"sections": [{"label": label} for label in ("verse", "chorus", "verse")]}
    assert [(place.label, place.number, place.count) for place in places(song)] == [
        ("verse", 1, 2),
        ("chorus", 1, 1),
        ("verse", 2, 2),
    ]
    assert [place.is_last for place in places(song)] == [False, False, True]
    assert [ordinal(number) for number in (1, 10, 11, 12, 13, 21, 22, 111)] == [
        "first",
        "tenth",
        "11th",
        "12th",
        "13th",
        "21st",
        "22nd",
        "111th",
    ]
    assert finish("is it?") == "Is it?"


def test_freehand_descriptions_fit_their_tags() -> None:
    lines = read_freehand()
    assert len(lines) == 120
    told = [tuple(line["tags"][tag] for tag in (*PLAYED, "texture", "dynamics", "voice")) for line in lines]
    assert len(set(told)) == 120, "each query has one section that it can mean"
    no_bass = r"(no|without any) bass|bass is missing|without bass"
    no_drums = r"no (drum|percussion)|drumless|nobody on drums|without drums|drums are silent|aren't any drums"
    no_lead = r"no (melody|tune|solo|lead|instrument)|nothing plays a tune|without anyone"
    for line in lines:
        tags, text = line["tags"], " ".join(line["text"]).lower()
        assert set(tags) == set(TAGS)
        assert all(name in TAGS[tag] for tag, name in tags.items())
        assert tags["lead"] in TAGS["lead"][:11]  # "none" and the ten leads of the small corpora
        assert tags["accompaniment"] in TAGS["accompaniment"][:8]
        assert not re.search(r"  |[{}|]", text)
        assert "bass" in text or tags["bass"] == "none", text
        for tag, absent in (("bass", no_bass), ("drums", no_drums), ("lead", no_lead)):
            assert (tags[tag] == "none") == bool(re.search(absent, text)), (tag, text)
        voices = {"male": r"\b(man|guy|male)\b", "female": r"\b(woman|female|lady|girl)\b"}
        for name, voice in voices.items():
            assert (tags["voice"] == name) == bool(re.search(voice, text)), text
        for mode in TAGS["mode"]:
            assert mode == tags["mode"] or not re.search(rf"\b{mode}\b", text), text
    assert len({" ".join(line["text"]) for line in lines}) == 120
