# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Questions, ranks and their metrics, by hand; galleries with a scorer that has the answers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.corpus.plan import SPLITS
from benchmarks.questions import SETS, Question, captions, read_songs, sections, shuffled, splits_of
from benchmarks.rank import embed_songs, rank_questions, score
from benchmarks.tables import read_metrics
from collap import CollapAudioOutput
from collap.data.cache import SongEmbedding
from collap.evaluation.retrievers import load_retriever


def make_song(number: int, group: int | None = None) -> dict:
    parts = [{"query_new": [f"{number}.{place}"]} for place in range(2)]
    return {"audio": f"{number}.wav", "text_new": [f"{number}", "a", "b", "c"], "sections": parts, "group": group}


class TestQuestions:
    def test_queries_of_each_kind(self):
        songs = [make_song(7), make_song(8), make_song(9)]
        texts = [(place, [str(7 + place), "a", "b", "c"]) for place in range(3)]
        assert captions("text_new")(songs) == texts
        assert captions("text_new", every=2)(songs) == texts[::2]
        parts = [(place, [f"{7 + place}.{section}"]) for place in range(3) for section in range(2)]
        assert sections("query_new")(songs) == parts
        assert sections("query_new", every=2)(songs) == [*parts[:2], *parts[4:]]
        del songs[0]["sections"][1]["query_new"]
        assert sections("query_new")(songs) == [parts[0], *parts[2:]]

    def test_shuffled_captions_are_the_same_for_every_model(self):
        songs = [{"text_new": [f"{song}{sentence}" for sentence in "abcde"]} for song in range(30)]
        drawn = shuffled("text_new")(songs)
        assert drawn == shuffled("text_new")(songs)
        assert shuffled("text_new", every=2)(songs) == drawn[::2]
        assert [(place, sorted(sentences)) for place, sentences in drawn] == captions("text_new")(songs)
        assert len({"".join(sentence[-1] for sentence in sentences) for _, sentences in drawn}) > 3
        assert drawn[3].sentences == ["3e", "3b", "3d", "3c", "3a"]  # as in the published results

    def test_every_split_for_tests_has_a_question(self):
        questions = [question for name in ("long-form", "long-form-more", "validation") for question in SETS[name]()]
        assert {question.split for question in questions} == set(SPLITS) - {"train"}
        assert len({question.name for question in questions}) == len(questions)


class FakeRetriever:
    """A song's score for a text is higher, the nearer their numbers are; the song itself scores half a point less."""

    num_truncated_texts = 0

    def embed_song(self, path):
        return SongEmbedding(np.array([[float(Path(path).stem)]]), 1.0, 1.0)

    def embed_texts(self, texts):
        self.num_truncated_texts += len(texts) // 4
        return [float(sentences[0]) // 1 for sentences in texts]  # texts that are numbers

    def score(self, songs, texts):
        distance = np.abs(np.concatenate(songs) - np.array(texts))
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
        Question("near", "near_duplicates", captions("text_new"), filled_from="content"),
        Question("section", "content", sections("query_new"), section_query=True),
        Question("by song", "content", captions("text_new"), by_song=True),
    ]
    found = rank_questions(FakeRetriever(), tmp_path, questions, gallery_size=6)
    ranks = {name: of_question["ranks"] for name, of_question in found.items()}
    sizes = {"content": 10, "order": 4, "near": 6, "section": 10, "by song": 10}
    assert {name: of_question["gallery_size"] for name, of_question in found.items()} == sizes
    # Neighbours at a distance of 1 are before a song, the ends have one neighbour.
    assert ranks["content"] == ranks["by song"] == [2] + [3] * 8 + [2]
    assert found["by song"]["targets"] == list(range(10))
    # Groups 4 to 7, 8 alone, 12 to 14: song 8 is not disturbed by 7.
    assert ranks["order"] == [2, 3, 3, 2, 1, 2, 3, 2]
    # 99 and 50 with songs 100 to 103: 99 has 100 beside it. 101 is at a distance of 2, behind.
    assert ranks["near"] == [2, 1]
    assert ranks["section"] == [2, 2] + [3] * 16 + [2, 2]
    # Rivals of a group are drawn together, other songs alone.
    assert found["order"]["units"] == [1, 1, 1, 1, 2, 3, 3, 3]
    assert found["near"]["units"] == [0, 1]
    assert found["order"]["num_cut"] == 2
    with pytest.raises(ValueError, match=r"corpus: .* lacks the splits long_7"):
        splits_of([Question("?", "long_7", captions("text"))], tmp_path)


@pytest.fixture(scope="module")
def retriever(folder):
    return load_retriever(str(folder / "models" / "ours-0"), features=folder / "features", truncate_texts=True)


def test_a_question_says_how_it_is_scored(retriever, folder):
    songs = read_songs(folder / "corpus" / "content.jsonl")
    frames, texts = embed_songs(retriever, songs), retriever.embed_texts([song["text_new"] for song in songs])
    ways = [{}, {"section_query": True}]
    tables = [score(retriever, frames, texts, **way) for way in ways]
    audio = CollapAudioOutput(
        last_hidden_state=pad_sequence([torch.from_numpy(song) for song in frames], batch_first=True),
        frame_mask=torch.arange(max(map(len, frames))) < torch.tensor([len(song) for song in frames])[:, None],
    )
    for way, scores in zip(ways, tables, strict=True):
        expected = retriever.model.similarity(audio, texts.output, **way).detach().T.numpy()
        np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert not np.allclose(tables[0], tables[1])


def test_metrics_of_two_seeds_by_hand(tmp_path):
    for seed, ranks in enumerate(([1, 1, 2, 6], [1, 3, 2, 6])):
        found = {"captions": {"ranks": ranks, "units": [0, 1, 2, 3], "gallery_size": 9, "num_cut": 0}}
        (tmp_path / f"{seed}.json").write_text(json.dumps(found))
    found = read_metrics([tmp_path / "0.json", tmp_path / "1.json"])
    recall = found["captions"]["recall@1"]
    assert (recall["value"], recall["seeds"]) == (37.5, [50, 25])
    assert recall["interval"][0] <= 37.5 <= recall["interval"][1]
    assert (found["captions"]["recall@5"]["value"], found["captions"]["median_rank"]) == (75, 2)
    assert "recall@10" not in found["captions"]  # of nine songs it says nothing
