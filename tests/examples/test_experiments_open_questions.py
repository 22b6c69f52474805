# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The paper's open questions: spoiled captions by hand, and all three on a tiny benchmark folder."""

import json
import random
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")

from trainable_benchmark import EXAMPLES, STYLES, in_this_process, make_trainable_benchmark  # noqa: F401 - a fixture

sys.path.append(str(EXAMPLES / "experiments"))
import open_questions
from common import load_model, read_songs
from german_manifests import in_both, in_german
from questions import LENGTHS_MIN, SETS, Question, captions, sections, splits_of, spoiled
from rank_questions import CollapScorer, rank_questions
from rank_tables import figures, table
from sentence_quality import drop_half, first_sentences, replace_half, shuffle

TEXT = ["a", "b", "c", "d", "e"]
OTHER = ["V", "W", "X", "Y", "Z"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_trainable_benchmark(tmp_path_factory.mktemp("questions") / "benchmark")


def test_first_sentences():
    assert first_sentences(TEXT, 1) == ["a"]
    assert first_sentences(TEXT, 9) == TEXT
    with pytest.raises(ValueError, match="number must be at least 1, got 0"):
        first_sentences(TEXT, 0)


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_sentences_is_left_in_order(seed):
    kept = drop_half(TEXT, random.Random(seed))
    assert len(kept) == 3
    assert kept == sorted(set(kept))
    assert len(drop_half(TEXT[:4], random.Random(seed))) == 2
    assert drop_half(["a"], random.Random(seed)) == ["a"]


def test_shuffled_sentences_are_the_same_sentences():
    drawn = [shuffle(TEXT, random.Random(seed)) for seed in range(20)]
    assert all(sorted(sentences) == TEXT for sentences in drawn)
    assert len({tuple(sentences) for sentences in drawn}) > 10


@pytest.mark.parametrize("seed", range(20))
def test_half_of_the_sentences_are_those_of_another_song(seed):
    spoiled_text = replace_half(TEXT, OTHER, random.Random(seed))
    right = [sentence for sentence in spoiled_text if sentence in TEXT]
    wrong = [sentence for sentence in spoiled_text if sentence in OTHER]
    assert (len(right), len(wrong)) == (3, 2)
    assert all(TEXT[place] == sentence for place, sentence in enumerate(spoiled_text) if sentence in TEXT)
    assert wrong == sorted(set(wrong))


def test_a_short_other_song_gives_what_it_has():
    assert Counter(replace_half(TEXT, ["X"], random.Random(0)))["X"] == 2
    with pytest.raises(ValueError, match="others must hold"):
        replace_half(TEXT, [], random.Random(0))


def test_which_parts_are_lost_differs_from_song_to_song_and_not_from_call_to_call():
    songs = [{"text_new": [f"{song}{sentence}" for sentence in TEXT]} for song in range(30)]
    asked = {question.name: question.queries for question in SETS["quality"]()[:6]}
    assert asked["whole caption"](songs)[3][:2] == (3, songs[3]["text_new"])
    halves = asked["half of the sentences"](songs)
    assert halves == asked["half of the sentences"](songs)
    assert len({"".join(sentence[-1] for sentence in sentences) for _, sentences, _ in halves}) > 3
    for place, sentences, _ in asked["half of the sentences wrong"](songs):
        sources = Counter(sentence[:-1] for sentence in sentences)
        assert sources.pop(str(place)) == 3
        assert [*sources.values()] == [2]  # all of one other song


def test_a_song_is_never_spoiled_by_itself():
    queries = spoiled(lambda own, other, generator: [*own, *other], "text")
    songs = [{"text": [str(number)]} for number in range(40)]
    assert all(own != other for _, (own, other), _ in queries(songs))
    assert len({other for _, (_, other), _ in queries(songs)}) > 2


def test_queries_by_style_and_by_voice():
    voices = ({"voice": "none"}, {"voice": "female"})
    parts = [{"tags": tags, "query": [tags["voice"]]} for tags in voices]
    songs = [{"text": ["1"], "paraphrase_style": "critic", "sections": parts}]
    songs.append({"text": ["2"], "paraphrase_style": "amateur", "sections": parts[:1]})
    assert captions("text", by="paraphrase_style")(songs) == [(0, ["1"], "critic"), (1, ["2"], "amateur")]
    assert captions("text")(songs) == [(0, ["1"], ""), (1, ["2"], "")]
    silent, spoken = "without a voice", "with a voice"
    asked = [(0, ["none"], silent), (0, ["female"], spoken), (1, ["none"], silent)]
    assert sections("query", by_voice=True)(songs) == asked
    assert sections("query")(songs) == [(place, sentences, "") for place, sentences, _ in asked]


def test_figures_of_two_seeds_by_hand(tmp_path):
    for seed, ranks in enumerate(([1, 1, 2, 6], [1, 3, 2, 6])):
        found = {"captions": {"ranks": ranks, "units": [0, 1, 2, 3], "gallery_size": 9, "num_cut": 0}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(found))
    found = figures([tmp_path / "0.json", tmp_path / "1.json"])
    recall = found["captions"]["recall@1"]
    assert (recall["value"], recall["seeds"]) == (37.5, [50, 25])
    assert recall["interval"][0] <= 37.5 <= recall["interval"][1]
    assert (found["captions"]["recall@5"]["value"], found["captions"]["median_rank"]) == (75, 2)
    assert "recall@10" not in found["captions"]  # of nine songs it says nothing
    assert "| captions | 4 | 9 | 37.5 (" in re.sub(" +", " ", table({"a model": found}))


def test_galleries_are_filled_up_with_songs_of_the_content_alone_where_asked(folder):
    model, processor = load_model(folder / "models" / "ours-0")
    questions = [
        Question("filled up", "long_5", captions("text_new"), is_filled_up=True),
        Question("alone", "long_5", captions("text_new")),
        Question("one section", "content", sections("query_new"), section_query=True),
        Question("by style", "content", captions("text_paraphrase", by="paraphrase_style")),
    ]
    asked = (CollapScorer(model, processor, folder / "features"), folder / "corpus")
    found = rank_questions(*asked, questions, gallery_size=9)
    assert {name: of_question["gallery_size"] for name, of_question in found.items()} == {
        "filled up": 9,
        "alone": 6,
        "one section": 6,
        **dict.fromkeys(["by style", *(f"by style, {style}" for style in sorted(STYLES))], 6),
    }
    assert found["by style, amateur"]["targets"] == [2]
    assert found["by style, critic"]["ranks"] == [found["by style"]["ranks"][place] for place in (0, 4)]
    assert all(more >= few for more, few in zip(found["filled up"]["ranks"], found["alone"]["ranks"], strict=True))
    assert found["one section"]["targets"] == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert rank_questions(*asked, questions[:1], gallery_size=1000)["filled up"]["gallery_size"] == 12
    with pytest.raises(ValueError, match="lacks the splits long_7"):
        splits_of([Question("?", "long_7", captions("text"))], folder / "corpus")


def test_a_question_says_how_it_is_scored(folder):
    model, processor = load_model(folder / "models" / "ours-0")
    scorer = CollapScorer(model, processor, folder / "features")
    songs = read_songs(folder / "corpus" / "content.jsonl")
    audio, (texts, _) = scorer.hear(songs), scorer.read([song["text_new"] for song in songs])
    ways = [{}, {"use_time": False}, {"section_query": True}]
    tables = [scorer.score(audio, texts, Question("?", "content", captions("text_new"), **way)) for way in ways]
    for way, scores in zip(ways, tables, strict=True):
        np.testing.assert_array_equal(scores, model.similarity(audio, texts, **way).detach().T)
    assert not np.allclose(tables[0], tables[1])
    assert not np.allclose(tables[1], tables[2])


def test_captions_in_german(folder):
    song = read_songs(folder / "corpus" / "content.jsonl")[1]
    assert in_german(song, "content", 1) == song  # the corpus' own stay
    without = {name: value for name, value in song.items() if name != "text_german"}
    with pytest.raises(ValueError, match="song 1 of the split content"):
        in_german(without, "content", 1)

    training = in_both(read_songs(folder / "corpus" / "train.jsonl")[1])
    assert len(training["texts"]) == 4
    for section in training["sections"]:
        assert len(section["sentences"]) == 4
        for text, places in zip(training["texts"], section["sentences"], strict=True):
            assert places
            assert max(places) < len(text)
    first = training["sections"][0]["sentences"][3]
    assert "flöte" in " ".join(training["texts"][3][place] for place in first).lower()


def test_lengths_and_quality_of_a_tiny_benchmark(folder, tmp_path, in_this_process, capsys):  # noqa: F811
    shared = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--gallery_size", "9", "--skip_training"]
    open_questions.main([*shared, "--rows", "ours", "mean"])
    printed = capsys.readouterr().out
    assert "language is left out" in printed
    assert sorted(in_this_process) == [
        "rank-lengths-mean-0",
        "rank-lengths-ours-0",
        "rank-quality-mean-0",
        "rank-quality-ours-0",
    ]
    for name in ("lengths", "quality"):
        found = json.loads((tmp_path / f"{name}.json").read_text())
        assert found["command"].startswith("python examples/experiments/")
        for of_model in found["models"].values():
            assert [row for row in of_model if not row.startswith("paraphrase, ")] == [
                question.name for question in SETS[name]()
            ]
            assert all(0 <= of_question["recall@1"]["value"] <= 100 for of_question in of_model.values())
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    lengths = json.loads((tmp_path / "lengths.json").read_text())["models"][open_questions.TITLES["ours"]]
    for minutes in LENGTHS_MIN:
        assert lengths[f"captions, {minutes} min, filled up"]["gallery_size"] == 9
        assert lengths[f"sections, {minutes} min, alone"]["num_queries"] == 12
    in_this_process.clear()
    open_questions.main([*shared, "--rows", "ours", "mean"])
    assert in_this_process == []  # all is kept


def test_a_model_that_is_not_there_is_named(folder, tmp_path, in_this_process):  # noqa: F811
    with pytest.raises(ValueError, match=r"document-0 holds no model: run .* --rows document"):
        open_questions.main(["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--rows", "document"])


def test_german_and_english_of_a_tiny_benchmark(folder, tmp_path, in_this_process, capsys):  # noqa: F811
    shared = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--questions", "language"]
    open_questions.main(shared)
    assert in_this_process[:3] == [f"train-language-{name}-0" for name in [*open_questions.LANGUAGE_MODELS][1:]]
    found = json.loads((tmp_path / "language.json").read_text())
    assert [*found["models"]] == [*open_questions.LANGUAGE_MODELS.values()]
    assert found["german_wording_held_out"] is False
    assert "No German wording is held out" in capsys.readouterr().out
    kinds = {}
    for name in ("roberta-both", "xlmr-english"):
        kinds[name] = json.loads((tmp_path / "models" / f"language-{name}-0" / "config.json").read_text())
    assert kinds["roberta-both"]["text_config"]["model_type"] == "roberta"
    assert kinds["xlmr-english"]["text_config"]["model_type"] == "xlm-roberta"
    assert (tmp_path / "language.png").stat().st_size > 20_000
    # Another number of epochs trains all four anew, and ranks what they give.
    in_this_process.clear()
    open_questions.main([*shared, "--num_epochs", "2"])
    assert len([name for name in in_this_process if name.startswith("train")]) == 4
    assert len([name for name in in_this_process if name.startswith("rank")]) == 4
