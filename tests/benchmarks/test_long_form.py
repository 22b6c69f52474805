# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The long-form benchmark: galleries, ranks and tables by hand, with a scorer that knows the answers."""

import json
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpus.plan import SPLITS

LONG_FORM = Path(__file__).resolve().parents[2] / "benchmarks" / "long_form"
sys.path.append(str(LONG_FORM))
sys.path += [str(LONG_FORM.parents[1] / "examples" / name) for name in ("experiments",)]
import tables  # noqa: E402 - after the path
from questions import SETS, Question, captions, sections  # noqa: E402
from rank_questions import rank_questions  # noqa: E402
from rows import ROWS, SIZES  # noqa: E402

RUN = runpy.run_path(str(LONG_FORM / "run.py"))  # not by its name: other folders have a run.py too


def make_song(number: int, group: int | None = None) -> dict:
    section = [{"query_new": [f"{number}.{place}"]} for place in range(2)]
    return {"audio": f"{number}.wav", "text_new": [f"{number}", "a", "b", "c"], "sections": section, "group": group}


def test_queries_of_each_kind():
    songs = [make_song(7), make_song(8), make_song(9)]
    texts = [(place, [str(7 + place), "a", "b", "c"], "") for place in range(3)]
    assert captions("text_new")(songs) == texts
    assert captions("text_new", every=2)(songs) == texts[::2]
    asked = [(place, [f"{7 + place}.{section}"], "") for place in range(3) for section in range(2)]
    assert sections("query_new")(songs) == asked
    assert sections("query_new", every=2)(songs) == [*asked[:2], *asked[4:]]
    del songs[0]["sections"][1]["query_new"]
    assert sections("query_new")(songs) == [asked[0], *asked[2:]]
    (shuffled,) = [question for question in SETS["long-form"]() if question.name == "shuffled, new"]
    drawn = shuffled.queries(songs)
    assert drawn == shuffled.queries(songs)
    assert [(place, sorted(sentences)) for place, sentences, _ in drawn] == [
        (place, sorted(sentences)) for place, sentences, _ in texts[::2]
    ]


class FakeScorer:
    """A song's score for a text is higher, the nearer their numbers are; the song itself scores half a point less."""

    def __init__(self):
        self.section_query = []

    def hear(self, songs):
        return np.array([int(Path(song["audio"]).stem) for song in songs])

    def first(self, audio, number):
        return audio[:number]

    def read(self, texts):
        return np.array([float(sentences[0]) // 1 for sentences in texts]), len(texts) // 4

    def score(self, audio, text, question):
        self.section_query.append(question.section_query)
        distance = np.abs(text[:, None] - audio[None])
        return np.where(distance == 0, -1.5, -distance)


def test_galleries_are_filled_up_and_groups_stay_among_themselves(tmp_path):
    def write(split: str, songs: list[dict]) -> None:
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(song) + "\n" for song in songs))

    write("content", [make_song(number) for number in range(100, 110)])
    write("order", [make_song(number, group=number // 4) for number in (4, 5, 6, 7, 8, 12, 13, 14)])
    write("near_duplicates", [make_song(99), make_song(50)])
    questions = [
        Question("content", "content", captions("text_new")),
        Question("order", "order", captions("text_new"), within_group=True),
        Question("near", "near_duplicates", captions("text_new"), is_filled_up=True),
        Question("section", "content", sections("query_new"), section_query=True),
    ]
    scorer = FakeScorer()
    found = rank_questions(scorer, tmp_path, questions, gallery_size=6)
    ranks = {name: of_question["ranks"] for name, of_question in found.items()}
    assert {name: of_question["gallery_size"] for name, of_question in found.items()} == {
        "content": 10,
        "order": 4,
        "near": 6,
        "section": 10,
    }
    # Neighbours at a distance of 1 are before a song, the ends have one neighbour.
    assert ranks["content"] == [2] + [3] * 8 + [2]
    # Groups 4 to 7, 8 alone, 12 to 14: song 8 is not disturbed by 7.
    assert ranks["order"] == [2, 3, 3, 2, 1, 2, 3, 2]
    # 99 and 50 with songs 100 to 103: 99 has 100 beside it. 101 is at a distance of 2, behind.
    assert ranks["near"] == [2, 1]
    assert ranks["section"] == [2, 2] + [3] * 16 + [2, 2]
    # Rivals of a group are drawn together, other songs alone.
    assert found["order"]["units"] == [1, 1, 1, 1, 2, 3, 3, 3]
    assert found["near"]["units"] == [0, 1]
    assert found["order"]["num_cut"] == 2
    assert scorer.section_query == [False, False, False, False, True]  # the gallery of near_duplicates in two parts


def test_tables_of_two_seeds(tmp_path):
    for seed, ranks in ((0, [1, 1, 2, 6]), (1, [1, 3, 2, 6])):
        folder = tmp_path / "models" / f"ours-{seed}"
        folder.mkdir(parents=True)
        of_question = {"ranks": ranks, "units": [0, 1, 2, 3], "gallery_size": 1000, "num_cut": 2 * seed}
        asked = {"content, new": of_question} | ({"content, seen": of_question} if seed == 0 else {})
        (folder / "ranks.json").write_text(json.dumps(asked))
        (folder / "seconds.json").write_text(json.dumps({"cpu_seconds": 10 + seed}))
    result = tables.collect(tmp_path, [("ours", 0), ("ours", 1)], "ranks")
    figures = result["rows"]["ours"]["questions"]["content, new"]
    assert (figures["recall@1"]["value"], figures["recall@1"]["seeds"]) == (37.5, [50, 25])
    assert figures["recall@1"]["interval"][0] <= 37.5 <= figures["recall@1"]["interval"][1]
    assert (figures["recall@5"]["value"], figures["recall@10"]["value"], figures["median_rank"]) == (75, 100, 2)
    printed = re.sub(" +", " ", tables.format_all(result))
    assert "| sentence queries, time, moments (ours) | 37.5 (25.0 to 50.0) | 75.0 (75.0 to 75.0) |" in printed
    assert "| sentence queries, time, moments (ours) | 50.0 | 75.0 |" in printed  # of one seed
    assert "order" not in printed  # it was not asked
    assert "### New wording\n" in printed
    assert "### Seen wording (one seed)\n" in printed
    assert "sentence queries, time, moments (ours), content, new: 2 of 4." in printed  # texts that were cut


def test_every_question_has_a_name_of_its_own():
    names = [question.name for kind in ("long-form", "long-form-more", "validation") for question in SETS[kind]()]
    assert len(names) == len(set(names))
    assert {row.kind for row in ROWS.values()} == {"clap", "mean", "collap"}
    assert all(size.gallery_size >= 1000 for size in SIZES.values())


@pytest.mark.parametrize("name", sorted(SETS))
def test_questions_are_about_splits_of_the_corpus(name: str):
    assert {question.split for question in SETS[name]()} <= set(SPLITS)


def test_every_split_for_tests_is_asked_about():
    asked = {question.split for name in ("long-form", "long-form-more", "validation") for question in SETS[name]()}
    assert asked == set(SPLITS) - {"train"}


def questions_of(*arguments: str) -> dict[str, bool]:
    """Whether each ranking of the benchmark asks every question."""
    benchmark = RUN["Benchmark"](RUN["parse_arguments"](["--output_dir", "nowhere", "--seeds", "3", "5", *arguments]))
    runs = [(name, seed) for seed in (3, 5) for name in benchmark.rows(seed)]
    training = benchmark.train("mean", 3)
    steps = [step for name, seed in runs for step in benchmark.evaluate(name, seed, training)]
    return {step.name: "long-form-more" in step.command for step in steps}


def test_the_first_seed_of_main_rows_is_asked_everything():
    asked = questions_of("--rows", "mean", "sentences")
    assert asked == {"ranks-mean-3": True, "ranks-sentences-3": False, "ranks-mean-5": False}
    asked = questions_of("--rows", "mean", "sentences", "--seeds_asked_all", "3", "5")
    assert asked == {"ranks-mean-3": True, "ranks-sentences-3": False, "ranks-mean-5": True}


def test_a_seed_that_is_not_trained_cannot_be_asked(capsys):
    with pytest.raises(SystemExit):
        questions_of("--seeds_asked_all", "3", "4")
    assert "--seeds_asked_all has [4], which --seeds ([3, 5]) has not." in capsys.readouterr().err


@pytest.mark.slow
def test_the_whole_benchmark_on_a_handful_of_songs(tmp_path):
    """All steps once, a CLAP, a mean and ours; a second call finds everything done and prints the same."""
    splits = ("content", "order", "near_duplicates", "instrument_pairs")
    num_songs = [f"{split}=4" for split in (*splits, "validation", "validation_order")] + ["train=6", "freehand=120"]
    num_songs += [f"long_{minutes}=1" for minutes in (2, 5, 10, 20)]
    command = [sys.executable, str(LONG_FORM / "run.py"), "--output_dir", str(tmp_path / "out"), "--seeds", "0"]
    command += ["--rows", "clap", "mean", "ours", "--num_epochs", "1", "--num_pretraining_steps", "2"]
    command += ["--num_songs", *num_songs]
    environment = {**os.environ, "COLLAP_SHARED_DATA": str(tmp_path / "none")}
    printed = []
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert result.returncode == 0, result.stderr[-4000:]
        printed.append([line for line in result.stdout.splitlines() if line.startswith("|")])
    assert printed[0] == printed[1]
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [*found["rows"]] == ["clap-first", "clap-mean", "mean", "ours"]
    questions = found["rows"]["ours"]["questions"]
    assert {"content, paraphrase", "long_20, new", "one section, freehand"} <= questions.keys()
    assert "structures, new" not in questions  # its layouts of real songs are not there
