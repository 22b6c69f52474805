# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
import torchmetrics

from collap.metrics import (
    chance_level,
    format_table,
    order_accuracy,
    query_metrics,
    retrieval_metrics,
    text_to_audio_and_audio_to_text,
)


def test_ranks_by_hand():
    scores = np.array(
        [
            [0.9, 0.5, 0.1, 0.0],  # right: 0, rank 1
            [0.9, 0.5, 0.1, 0.0],  # right: 2, rank 3
            [0.9, 0.5, 0.1, 0.0],  # right: 3, rank 4
            [0.2, 0.5, 0.1, 0.0],  # right: 0, rank 2
        ]
    )
    metrics = retrieval_metrics(scores, [0, 2, 3, 0], recall_at=(1, 2, 10))
    assert metrics == {
        "recall@1": 0.25,
        "recall@2": 0.5,
        "recall@10": 1.0,
        "median_rank": 2.5,
        "mrr": pytest.approx((1 + 1 / 3 + 1 / 4 + 1 / 2) / 4),
        "map@10": pytest.approx((1 + 1 / 3 + 1 / 4 + 1 / 2) / 4),  # with one right answer the same, down to place 10
        "num_queries": 4.0,
        "gallery_size": 4.0,
    }
    assert all(type(value) is float for value in metrics.values())


@pytest.mark.parametrize("value", [0.0, 1.0, -np.inf])
def test_equal_scores_find_nothing(value):
    metrics = retrieval_metrics(np.full((20, 20), value, dtype=np.float32), np.arange(20))
    assert metrics["recall@1"] == metrics["recall@10"] == 0.0
    assert metrics["median_rank"] == 20


def test_tie_counts_against_the_right_answer_wherever_it_stands():
    for place in range(3):
        scores = np.array([[1.0, 1.0, 0.0]])
        expected = (2, 2, 3)[place]
        assert retrieval_metrics(scores, [place])["median_rank"] == expected


def test_several_right_answers_by_hand():
    scores = np.array([[0.9, 0.8, 0.7, 0.6], [0.9, 0.8, 0.7, 0.6]])
    right = np.array([[True, False, True, False], [False, False, True, True]])
    metrics = retrieval_metrics(scores, right, recall_at=(1, 3))
    assert metrics["recall@1"] == 0.25  # (1/2 + 0/2) / 2
    assert metrics["hit_rate@1"] == 0.5
    assert metrics["recall@3"] == 0.75  # (2/2 + 1/2) / 2
    assert metrics["hit_rate@3"] == 1.0
    assert metrics["median_rank"] == 2.0  # ranks 1 and 3


def test_mean_average_precision_by_hand():
    right = np.zeros((2, 30), dtype=bool)
    right[0, [0, 2, 11]] = True  # places 1, 3 and 12: (1/1 + 2/3) / 3
    right[1, 1:13] = True  # places 2 to 13, twelve of them: (1/2 + 2/3 + ... + 9/10) / 10
    scores = np.tile(np.arange(30, 0, -1.0), (2, 1))
    expected = [(1 + 2 / 3) / 3, sum(n / (n + 1) for n in range(1, 10)) / 10]
    np.testing.assert_allclose(query_metrics(scores, right)["map@10"], expected)


def slow_places(scores: np.ndarray, right: np.ndarray) -> list[list[int]]:
    """Sorts everything, in a tie the wrong answers first."""
    order = np.lexsort((right, -scores), axis=-1)
    return [(np.flatnonzero(row[places]) + 1).tolist() for row, places in zip(right, order, strict=True)]


@pytest.mark.parametrize("ties", [False, True])
def test_places_equal_those_of_a_sort(ties: bool):
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 9, (300, 40)).astype(np.float32) if ties else generator.random((300, 40))
    right = generator.random((300, 40)) < 0.1
    right[np.arange(300), generator.integers(0, 40, 300)] = True
    found = query_metrics(scores, right, recall_at=(3,))
    for row, places in enumerate(slow_places(scores, right)):
        assert found["median_rank"][row] == places[0]
        assert found["recall@3"][row] == sum(place <= 3 for place in places) / len(places)
        assert found["hit_rate@3"][row] == (places[0] <= 3)


@pytest.mark.parametrize("most_right", [1, 5])
def test_an_independent_library_agrees(most_right: int):
    """torchmetrics, on scores without ties. Its mean average precision of the best 10 is divided by what was found
    there, ours by what there is to be found, so with several right answers the whole gallery is compared."""
    generator = np.random.default_rng(1)
    scores = generator.random((80, 50)).astype(np.float32)
    right = np.zeros((80, 50), dtype=bool)
    for row in right:
        row[generator.choice(50, generator.integers(1, most_right + 1), replace=False)] = True
    indexes = torch.arange(80).repeat_interleave(50)
    preds, target = torch.from_numpy(scores).flatten(), torch.from_numpy(right).flatten()
    ours = retrieval_metrics(scores, right)
    for k in (1, 5, 10, 20):
        theirs = torchmetrics.retrieval.RetrievalRecall(top_k=k)(preds, target, indexes=indexes)
        assert ours[f"recall@{k}"] == pytest.approx(theirs.item(), abs=1e-6)
        theirs = torchmetrics.retrieval.RetrievalHitRate(top_k=k)(preds, target, indexes=indexes)
        assert ours[f"hit_rate@{k}"] == pytest.approx(theirs.item(), abs=1e-6)
    theirs = torchmetrics.retrieval.RetrievalMRR()(preds, target, indexes=indexes)
    assert ours["mrr"] == pytest.approx(theirs.item(), abs=1e-6)
    if most_right == 1:
        theirs = torchmetrics.retrieval.RetrievalMAP(top_k=10)(preds, target, indexes=indexes)
        assert ours["map@10"] == pytest.approx(theirs.item(), abs=1e-6)
    else:
        places = slow_places(scores, right)
        whole = np.mean([np.mean([(n + 1) / place for n, place in enumerate(row)]) for row in places])
        theirs = torchmetrics.retrieval.RetrievalMAP()(preds, target, indexes=indexes)
        assert whole == pytest.approx(theirs.item(), abs=1e-6)


def test_an_independent_library_agrees_on_several_right_answers_in_a_gallery_of_ten():
    """All right answers are among the best 10 there, so that both divide by the same number."""
    generator = np.random.default_rng(2)
    scores = generator.random((60, 10)).astype(np.float32)
    right = generator.random((60, 10)) < 0.3
    right[:, 0] |= ~right.any(1)
    indexes = torch.arange(60).repeat_interleave(10)
    preds, target = torch.from_numpy(scores).flatten(), torch.from_numpy(right).flatten()
    theirs = torchmetrics.retrieval.RetrievalMAP(top_k=10)(preds, target, indexes=indexes)
    assert retrieval_metrics(scores, right)["map@10"] == pytest.approx(theirs.item(), abs=1e-6)


def test_tie_with_several_right_answers():
    right = np.array([[True, True, False, False]])
    metrics = retrieval_metrics(np.zeros((1, 4)), right, recall_at=(1, 2, 3, 4))
    assert [metrics[f"recall@{k}"] for k in (1, 2, 3, 4)] == [0.0, 0.0, 0.5, 1.0]
    assert metrics["median_rank"] == 3.0


def test_both_directions():
    logits_per_audio = np.array(
        [
            [9.0, 1.0, 3.0],  # song 0 owns text 0
            [5.0, 8.0, 2.0],  # song 1 owns texts 1 and 2; text 0 stands before text 2
            [0.0, 0.0, 4.0],  # song 2 has no text, but beats song 1 for text 2
        ]
    )
    metrics = text_to_audio_and_audio_to_text(logits_per_audio, [0, 1, 1], recall_at=(1, 2))
    forward, backward = metrics["text_to_audio"], metrics["audio_to_text"]
    assert (forward["num_queries"], forward["gallery_size"]) == (3, 3)
    assert (forward["recall@1"], forward["recall@2"]) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert "hit_rate@1" not in forward
    assert (backward["num_queries"], backward["gallery_size"]) == (2, 3)
    assert (backward["recall@1"], backward["hit_rate@1"]) == (0.75, 1.0)
    assert (backward["recall@2"], backward["median_rank"]) == (0.75, 1.0)


def test_one_text_a_song_gives_equal_recall_and_hit_rate():
    scores = np.random.default_rng(0).normal(size=(30, 30))
    metrics = text_to_audio_and_audio_to_text(scores, np.arange(30))["audio_to_text"]
    for k in (1, 5, 10):
        assert metrics[f"recall@{k}"] == metrics[f"hit_rate@{k}"]
    assert metrics == metrics | retrieval_metrics(scores, np.arange(30))


def test_agrees_with_counting():
    rng = np.random.default_rng(1)
    scores = rng.integers(0, 4, size=(50, 12)).astype(float)  # many ties
    targets = rng.integers(0, 12, size=50)
    ranks = [sum(s >= row[t] for s in row) for row, t in zip(scores, targets, strict=True)]
    metrics = retrieval_metrics(scores, targets)
    assert metrics["median_rank"] == np.median(ranks)
    assert metrics["recall@5"] == np.mean(np.array(ranks) <= 5)


def test_order_accuracy_by_hand():
    scores = np.array(
        [
            [0.9, 0.8, 1.0, 0.0],  # song 2 scores higher, but is of another group
            [0.7, 0.7, 0.0, 0.0],  # a tie is a miss
            [0.0, 0.0, 0.1, 0.5],
            [0.9, 0.9, 0.2, 0.3],
        ]
    )
    assert order_accuracy(scores, ["a", "a", "b", "b"]) == 0.5
    assert order_accuracy(scores[2:], ["a", "a", "b", "b"], targets=[3, 3]) == 1.0
    assert order_accuracy(np.zeros((8, 8)), np.arange(8) // 4) == 0.0


def test_chance_level_is_what_random_scores_give():
    rng = np.random.default_rng(2)
    measured = retrieval_metrics(rng.random((20000, 40)), rng.integers(0, 40, 20000))
    expected = chance_level(40)
    assert expected["recall@5"] == 0.125
    for name in ("recall@1", "recall@10", "mrr"):
        assert measured[name] == pytest.approx(expected[name], abs=0.01)
    assert measured["median_rank"] == pytest.approx(expected["median_rank"], abs=1)
    assert chance_level(3)["recall@10"] == 1.0
    with pytest.raises(ValueError, match="gallery_size"):
        chance_level(0)


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.array([[0.0, np.nan]]), [0], "1 of 2 are NaN"),
        (np.zeros(3), [0], r"scores must be a table .* shape \(3,\)"),
        (np.zeros((0, 3)), [], "scores must be a table"),
        (np.zeros((2, 3)), [0], "targets must be 2 indices"),
        (np.zeros((2, 3)), [0.0, 1.0], "targets must be 2 indices"),
        (np.zeros((2, 3)), [0, 3], r"targets must lie in 0 \.\.\. 2"),
        (np.zeros((2, 3)), [0, -1], r"targets must lie in 0 \.\.\. 2"),
        (np.zeros((1, 2)), np.array([[False, False]]), "query 0 has no right answer"),
    ],
)
def test_faults(scores, targets, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(scores, targets)


@pytest.mark.parametrize("k", [0, -1, 1.5])
def test_faults_of_recall_at(k):
    with pytest.raises(ValueError, match=rf"recall_at must hold whole numbers of at least 1, got \[{k}\]"):
        retrieval_metrics(np.zeros((2, 3)), [0, 1], recall_at=(1, k))


def test_faults_of_groups():
    with pytest.raises(ValueError, match="groups must have one entry a song"):
        order_accuracy(np.zeros((2, 2)), [0])
    with pytest.raises(ValueError, match="song 2 is alone"):
        order_accuracy(np.zeros((3, 3)), [0, 0, 1])


def test_table():
    rows = {"chance": chance_level(100), "ours": {"recall@1": 0.985, "median_rank": 1.0}}
    assert format_table(rows, ["recall@1", "median_rank", "gallery_size"], first="text to audio").splitlines() == [
        "| text to audio | recall@1 | median_rank | gallery_size |",
        "| ------------- | -------: | ----------: | -----------: |",
        "| chance        |      1.0 |        50.5 |          100 |",
        "| ours          |     98.5 |           1 |              |",
    ]
