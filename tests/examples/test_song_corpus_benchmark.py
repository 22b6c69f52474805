# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
# ruff: noqa: E402
"""Tests of examples/song_corpus for the benchmark: its splits, captions with times beside those without, ceilings."""

import hashlib
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest

for package in ("tinysoundfont", "pretty_midi", "espeakng_loader", "tqdm"):
    if find_spec(package) is None:
        pytest.skip(f"the song corpus is rendered with {package}, which is not installed", allow_module_level=True)


from benchmarks.corpus import wordings
from benchmarks.corpus.audio import play_song
from benchmarks.corpus.build import (
    Recipe,
    build_corpus,
    describe_song,
)
from benchmarks.corpus.captions import ALWAYS_TOLD
from benchmarks.corpus.ceiling import SUFFIXES, caption_fits, ceiling, query_fits
from benchmarks.corpus.paraphrases import TEST_STYLES, VALIDATION_STYLE, read_freehand
from benchmarks.corpus.plan import LONG_MINUTES, SIZES, SPLITS, TRAINING_SPLITS, draw_song
from benchmarks.corpus.tags import is_held_out_pair

SMALL = SIZES["small"]
DEMO = Recipe(size=SIZES["demo"])
BENCHMARK = Recipe(size=SMALL, splits=SPLITS, test_columns=True)
TEST_SPLITS = [split for split in SPLITS if split not in (*TRAINING_SPLITS, "structures")]
COLUMNS = ["clock", "tags", "paraphrase by three", "validation"]
CLOCK_RANGE = r" \(\d+:\d\d to \d+:\d\d\)"


def lines_of(split: str, count: int, recipe: Recipe = BENCHMARK) -> list[dict]:
    """The first lines of a split's manifest; no audio is made."""
    return [describe_song(draw_song(recipe.size, 0, split, index), "", recipe) for index in range(count)]


# The demo


@pytest.mark.parametrize(
    ("split", "digest"),
    [
        ("train", "fc2ebdc02ec35c81"),
        ("validation", "ea5311a047063940"),
        ("content", "87332b4129fd6ee2"),
        ("order", "094b663a1d1d5221"),
        ("near_duplicates", "7bd963990b351503"),
    ],
)
def test_demo_stays_as_it_was_published(split, digest):
    """Whoever means to change this raises CORPUS_VERSION and measures the demo anew."""
    lines = [describe_song(draw_song(DEMO.size, 0, split, index), "a", DEMO) for index in range(4)]
    written = "".join(json.dumps(line, ensure_ascii=False) for line in lines)
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == digest


def test_arguments_that_change_nothing_are_not_recorded():
    """Folders that were built before these arguments came are still taken as finished."""
    assert set(DEMO.arguments()) == {"version", "size", "seed", "splits", "clock_times", "structures"}
    changed = replace(DEMO, clock_share=0.25, test_columns=True).arguments()
    assert (changed["clock_share"], changed["test_columns"]) == (0.25, COLUMNS)


def test_folder_with_more_arguments_is_refused(tmp_path):
    size = replace(SMALL, num_songs={"content": 1}, min_duration_s=30.0, max_duration_s=35.0)
    recipe = Recipe(size=size, splits=("content",), test_columns=True)
    build_corpus(tmp_path, recipe, progress=False)
    with pytest.raises(ValueError, match=rf"test_columns was {re.escape(str(COLUMNS))}, now None"):
        build_corpus(tmp_path, replace(recipe, test_columns=False), progress=False)


# Splits


def test_sizes():
    for name in ("small", "full"):
        assert set(SIZES[name].num_songs) == set(SPLITS)
    assert SMALL.num_songs["content"] == SIZES["full"].num_songs["content"] == 1000
    assert SIZES["full"].num_songs["train"] == 10_000


def test_every_pair_is_held_out():
    for size in (SMALL, SIZES["full"]):
        sections = [
            section for index in range(60) for section in draw_song(size, 0, "instrument_pairs", index).sections
        ]
        with_lead = [section for section in sections if section.lead != "none"]
        assert all(is_held_out_pair(section.lead, section.accompaniment) for section in with_lead)
        assert len(with_lead) / len(sections) == pytest.approx(0.92, abs=0.04)
        assert len({(section.lead, section.accompaniment) for section in with_lead}) > 10


def test_pairs_come_back_where_there_are_few():
    size = replace(SMALL, num_leads=2, num_accompaniments=8)
    assert all(len(draw_song(size, 0, "instrument_pairs", index).sections) >= 4 for index in range(50))
    none_held_out = replace(SMALL, num_leads=1, num_accompaniments=1)
    with pytest.raises(ValueError, match="no pair of its instruments is held out"):
        Recipe(size=none_held_out, splits=("instrument_pairs",)).check()


def test_long_songs_differ_in_their_length_only():
    for index in range(20):
        songs = {split: draw_song(SMALL, 0, split, index) for split in LONG_MINUTES}
        for split, song in songs.items():
            seconds = song.section_bounds[-1][1] / 16_000
            assert seconds == pytest.approx(60 * LONG_MINUTES[split], abs=song.bar_samples / 16_000)
            stretched = np.array([section.num_bars for section in song.sections]) / LONG_MINUTES[split]
            bars = np.array([section.num_bars for section in songs["long_2"].sections]) / 2
            assert np.abs(stretched - bars).max() <= 1  # bars of a minute: the same proportions, but for rounding
        plans = {
            (song.key, song.mode, song.tempo, *(replace(section, num_bars=0) for section in song.sections))
            for song in songs.values()
        }
        assert len(plans) == 1
    texts = ("text", "text_new")
    lines = {split: lines_of(split, 10) for split in LONG_MINUTES}
    for split in LONG_MINUTES:
        for line, short in zip(lines[split], lines["long_2"], strict=True):
            assert [line[name] for name in texts] == [short[name] for name in texts]
            assert [section["query_new"] for section in line["sections"]] == [
                section["query_new"] for section in short["sections"]
            ]
    assert lines["long_20"][0]["text_clock"] != lines["long_2"][0]["text_clock"]


def test_near_duplicates_sound_different_where_they_differ():
    songs = [draw_song(SMALL, 0, "near_duplicates", member) for member in range(4)]
    (place,) = [
        place
        for place in range(len(songs[0].sections))
        if len({(song.sections[place].lead, song.sections[place].accompaniment) for song in songs}) > 1
    ]
    start, end = songs[0].section_bounds[place]
    audio = [play_song(song).astype(float) for song in songs]
    for member, other in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]:
        difference = np.abs(audio[member] - audio[other])
        assert not difference[:start].any()
        assert not difference[end:].any()
        assert difference[start:end].std() > 0.3 * max(audio[member][start:end].std(), audio[other][start:end].std())


# Captions


@pytest.mark.parametrize("split", TEST_SPLITS)
def test_captions_with_times_say_the_same(split):
    for line in lines_of(split, 4):
        for column in ("text", "text_new"):
            told = line[f"{column}_clock"]
            assert not re.search(r"\d", " ".join(line[column]))
            assert [re.sub(CLOCK_RANGE, "", sentence) for sentence in told] == line[column]
            times = re.findall(CLOCK_RANGE, " ".join(told))
            assert len(times) == len(line["sections"])
            for time, section in zip(times, line["sections"], strict=True):
                minutes, seconds = map(int, re.search(r"to (\d+):(\d\d)", time).groups())
                assert 60 * minutes + seconds == pytest.approx(section["end_s"], abs=0.51)


def test_share_of_training_captions_tells_times():
    plain = lines_of("train", 2)
    for share, numbers in ((0.25, [3, 7, 11, 15]), (0.5, [1, 3, 5, 7, 9, 11, 13, 15]), (1.0, [*range(16)])):
        for line, without in zip(lines_of("train", 2, replace(BENCHMARK, clock_share=share)), plain, strict=True):
            with_times = [number for number, text in enumerate(line["texts"]) if re.search(r"\d", " ".join(text))]
            assert with_times == numbers
            bare = [[re.sub(CLOCK_RANGE, "", sentence) for sentence in text] for text in line["texts"]]
            assert bare == without["texts"]
    with pytest.raises(ValueError, match="clock_share"):
        replace(BENCHMARK, clock_share=1.5).check()


def test_columns_of_test_songs_only():
    added = {"text_clock", "text_new_clock", "text_paraphrase", "paraphrase_style"}
    assert added <= set(lines_of("content", 1)[0])
    for split, recipe in (("train", BENCHMARK), ("content", DEMO), ("validation", DEMO)):
        (line,) = lines_of(split, 1, recipe)
        assert not added & set(line)
        assert not [name for name in line["sections"][0] if re.search("tags_|_tags|paraphrase", name)]


@pytest.mark.parametrize("split", ["validation", "validation_order"])
def test_validation_songs_have_a_writer_of_their_own(split):
    for line in lines_of(split, 8):
        assert line["paraphrase_style"] == VALIDATION_STYLE
        assert not [name for name in {**line, **line["sections"][0]} if "_new" in name or "clock" in name]
        assert all(section["query_paraphrase"] for section in line["sections"])
    assert VALIDATION_STYLE not in TEST_STYLES


def test_validation_order():
    """Groups of 4 songs with the same sections in another order, as in the split "order"."""
    lines = lines_of("validation_order", 8)
    assert [line["group"] for line in lines] == [0, 0, 0, 0, 1, 1, 1, 1]
    for first in (0, 4):
        heard = [[str(section["tags"]) for section in line["sections"]] for line in lines[first : first + 4]]
        assert len({tuple(tags) for tags in heard}) == 4
        assert len({tuple(sorted(tags)) for tags in heard}) == 1


def test_told_tags_are_told():
    """A voice is always told, its absence only where a sentence tells it."""
    told_absences = 0
    for line in lines_of("content", 30):
        for wording, suffix in (("seen", ""), ("new", "_new")):
            silent = "|".join(wordings.VOICE["none"][wording])
            for section in line["sections"]:
                sentences = [line[f"text{suffix}"][index] for index in section[f"sentences{suffix}"]]
                for text, tags in (
                    (sentences, section[f"text_tags{suffix}"]),
                    (section[f"query{suffix}"], section[f"query_tags{suffix}"]),
                ):
                    assert tuple(tags[:6]) == ALWAYS_TOLD
                    says_none = bool(re.search(silent, " ".join(text), re.IGNORECASE))
                    told_absences += says_none
                    assert ("voice" in tags[6:]) == (says_none or section["tags"]["voice"] != "none")
    assert told_absences > 50


def test_descriptions_by_hand():
    """Song i holds the section that line i describes, once; its six sure tags fit no other song, or few."""
    described = read_freehand()
    lines = lines_of("freehand", len(described))
    places = []
    for line, given in zip(lines, described, strict=True):
        (place,) = [place for place, section in enumerate(line["sections"]) if "query_freehand" in section]
        section = line["sections"][place]
        assert section["tags"] == given["tags"]
        assert section["query_freehand"] == given["text"]
        places.append(place / (len(line["sections"]) - 1))
    assert 0.3 < np.mean(places) < 0.7
    assert {0, 1} < set(places)
    own = [[name for name in given["tags"] if name not in ("key", "mode", "tempo")] for given in described]
    wanted = [tuple(given["tags"][name] for name in names) for given, names in zip(described, own, strict=True)]
    held = [tuple(section["tags"][name] for name in own[0]) for line in lines for section in line["sections"]]
    assert all(held.count(tags) == 1 for tags in wanted)
    assert ceiling(query_fits(lines, "_freehand")) > 98


def test_descriptions_by_hand_end():
    with pytest.raises(ValueError, match="can be 120 at most"):
        Recipe(replace(SMALL, num_songs={"freehand": 121}), splits=("freehand",)).check()
    with pytest.raises(ValueError, match="lacks instruments"):
        Recipe(replace(SMALL, num_leads=9), splits=("freehand",)).check()


@pytest.mark.parametrize("split", TEST_SPLITS)
def test_paraphrases(split):
    """Their sections are told in order, once each; the styles take turns, but not inside of a group."""
    lines = lines_of(split, 8)
    for line in lines:
        indices = [index for section in line["sections"] for index in section["sentences_paraphrase"]]
        assert indices == sorted(set(indices))
        assert all(section["sentences_paraphrase"] for section in line["sections"])
        assert indices[-1] < len(line["text_paraphrase"])
        assert not set(line["text_paraphrase"]) & {*line["text"], *line["text_new"]}
        for section in line["sections"]:
            assert 1 <= len(section["query_paraphrase"]) <= 3
            assert ("voice" in section["query_tags_paraphrase"]) == (section["tags"]["voice"] != "none")
    styles = [line["paraphrase_style"] for line in lines]
    if lines[0]["group"] is None:
        assert set(styles) == set(TEST_STYLES)
    else:
        assert len(set(styles[:4])) == len(set(styles[4:])) == 1
        assert styles[0] != styles[4]


def test_german_captions(tmp_path):
    pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")
    from collap.data.manifest import load_manifest

    size = replace(
        SMALL, num_songs={"train": 2, "validation": 1, "content": 1}, min_duration_s=30.0, max_duration_s=35.0
    )
    recipe = Recipe(size=size, splits=("train", "validation", "content"))
    build_corpus(tmp_path / "english", recipe, progress=False)
    build_corpus(tmp_path / "both", replace(recipe, german=True), progress=False)
    assert sorted(path.name for path in (tmp_path / "both").glob("*.jsonl")) == [
        "content.jsonl",
        "train.jsonl",
        "train_german.jsonl",
        "validation.jsonl",
        "validation_german.jsonl",
    ]
    for split, texts in (("train", "texts"), ("validation", "text"), ("content", "text")):
        english, both = (
            [json.loads(line) for line in (tmp_path / name / f"{split}.jsonl").read_text().splitlines()]
            for name in ("english", "both")
        )
        for line, more in zip(english, both, strict=True):
            assert {name: more[name] for name in line if name != "sections"} == {
                name: line[name] for name in line if name != "sections"
            }
            written = more[f"{texts}_german"][0] if split == "train" else more["text_german"]
            assert {"und", "mit"} & set(" ".join(written).lower().split())
            assert len(written) > len(more["sections"])
        if split == "content":
            assert both[0]["sections"][0]["query_german"]
            continue
        rows = load_manifest(tmp_path / "both" / f"{split}_german.jsonl")
        assert [row[texts] for row in rows] == [line[f"{texts}_german"] for line in both]
        for row, line in zip(rows, both, strict=True):
            for section, told in zip(row["sections"], line["sections"], strict=True):
                if split == "train":
                    expected = [
                        [text[index] for index in indices]
                        for text, indices in zip(row["texts"], told["sentences_german"], strict=True)
                    ]
                    assert len({" ".join(text) for text in expected}) > 8
                    assert section["texts"] == expected
                else:
                    assert section["text"] == [row["text"][index] for index in told["sentences_german"]]


# Ceilings


def made_up(*songs: str, told: tuple[str, ...] = ("lead", "voice"), key: str = "C") -> list[dict]:
    """Songs as "flute/none harp/male": lead and voice of each section."""
    return [
        {
            "sections": [
                {
                    "tags": dict(zip(("lead", "voice"), section.split("/"), strict=True))
                    | {"key": key, "mode": "major", "tempo": "slow"},
                    "query_tags": list(told),
                    "text_tags": list(told),
                }
                for section in song.split()
            ]
        }
        for song in songs
    ]


def test_queries_that_fit_several_songs():
    lines = made_up("flute/none violin/male", "flute/none flute/none", "flute/male cello/none")
    assert query_fits(lines).tolist() == [2, 1, 2, 2, 1, 1]  # sections of one song count once
    lines[0]["sections"][0]["query_tags"] = ["lead"]  # now the third song fits as well
    assert query_fits(lines).tolist() == [3, 1, 2, 2, 1, 1]
    assert ceiling(np.array([2, 1, 4, 4])) == 50.0


def test_captions_that_fit_several_songs():
    lines = made_up("flute/none violin/male", "violin/male flute/none", "flute/none violin/none")
    assert caption_fits(lines).tolist() == [1, 1, 1]
    assert caption_fits(lines, ordered=False).tolist() == [2, 2, 1]
    lines = made_up("flute/none violin/male", "violin/male flute/none", "flute/none violin/none", told=("lead",))
    assert caption_fits(lines).tolist() == [2, 1, 2]
    assert caption_fits(lines, ordered=False).tolist() == [3, 3, 3]
    other_key = made_up("flute/none violin/male", told=("lead",), key="D")
    assert caption_fits(lines + other_key).tolist() == [2, 1, 2, 1]
    longer = made_up("flute/none violin/male cello/none", told=("lead",))
    assert caption_fits(lines + longer).tolist() == [2, 1, 2, 1]


def test_without_order_each_section_is_used_once():
    """Two sections that fit the same section of another song do not make it fit, and a first choice is given back."""
    lines = made_up("flute/none flute/none", "flute/none violin/none")
    assert caption_fits(lines, ordered=False).tolist() == [1, 1]
    lines = made_up("flute/none flute/male", "flute/male flute/none")
    for line in lines:
        line["sections"][0]["text_tags"] = ["lead"]
    assert caption_fits(lines, ordered=False).tolist() == [2, 2]


def test_captions_of_the_benchmark_fit_one_song():
    for split in ("content", "order", "near_duplicates", "instrument_pairs"):
        lines = lines_of(split, 40)
        for suffix in SUFFIXES.values():
            assert (caption_fits(lines, suffix) == 1).all()
            assert ceiling(caption_fits(lines, suffix, ordered=False)) == (25.0 if split == "order" else 100.0)


def test_command_of_the_ceilings(tmp_path):
    size = replace(SMALL, num_songs={"content": 2, "train": 1}, min_duration_s=30.0, max_duration_s=35.0)
    recipe = Recipe(size=size, splits=("train", "content"), test_columns=True)
    build_corpus(tmp_path / "songs", recipe, progress=False)
    build_corpus(tmp_path / "plain", replace(recipe, test_columns=False), progress=False)

    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "benchmarks.corpus.ceiling", *arguments], capture_output=True, text=True
        )

    printed = run(str(tmp_path / "songs"))
    assert printed.stdout.splitlines()[2:] == [
        "| content | 2 | seen | 100.0 | 100.0 | 100.0 | 100.0 |",
        "| content | 2 | new | 100.0 | 100.0 | 100.0 | 100.0 |",
        "| content | 2 | paraphrase | 100.0 | 100.0 | 100.0 | 100.0 |",
    ]
    assert "--test_columns" in run(str(tmp_path / "plain")).stderr
    assert "train" in run(str(tmp_path / "songs"), "--splits", "train").stderr
    assert "holds no corpus.json" in run(str(tmp_path)).stderr
