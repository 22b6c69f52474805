# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
import torchmetrics

from collap.metrics import (
    bootstrap_intervals,
    chance_level,
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


@pytest.mark.parametrize(("place", "rank"), [(0, 2), (1, 2), (2, 3)])
def test_tie_counts_against_the_right_answer_wherever_it_stands(place, rank):
    assert retrieval_metrics(np.array([[1.0, 1.0, 0.0]]), [place])["median_rank"] == rank


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
    right[0, [0, 2, 11]] = True  # positions 1, 3 and 12: (1/1 + 2/3) / 3
    right[1, 1:13] = True  # positions 2 to 13, twelve of them: (1/2 + 2/3 + ... + 9/10) / 10
    scores = np.tile(np.arange(30, 0, -1.0), (2, 1))
    expected = [(1 + 2 / 3) / 3, sum(n / (n + 1) for n in range(1, 10)) / 10]
    np.testing.assert_allclose(query_metrics(scores, right)["map@10"], expected)


@pytest.mark.parametrize(("size", "most_right"), [(50, 1), (10, 5)])
def test_an_independent_library_agrees(size: int, most_right: int):
    """torchmetrics, on scores without ties. In a gallery of ten all right answers are among the best ten, so that its
    mean average precision is divided by the same number as ours."""
    generator = np.random.default_rng(1)
    scores = generator.random((80, size)).astype(np.float32)
    right = np.zeros((80, size), dtype=bool)
    for row in right:
        row[generator.choice(size, generator.integers(1, most_right + 1), replace=False)] = True
    indexes = torch.arange(80).repeat_interleave(size)
    preds, target = torch.from_numpy(scores).flatten(), torch.from_numpy(right).flatten()
    ours = retrieval_metrics(scores, right)
    theirs = {f"recall@{k}": torchmetrics.retrieval.RetrievalRecall(top_k=k) for k in (1, 5, 10)}
    theirs |= {f"hit_rate@{k}": torchmetrics.retrieval.RetrievalHitRate(top_k=k) for k in (1, 5, 10)}
    theirs |= {"mrr": torchmetrics.retrieval.RetrievalMRR(), "map@10": torchmetrics.retrieval.RetrievalMAP(top_k=10)}
    for name, metric in theirs.items():
        assert ours[name] == pytest.approx(metric(preds, target, indexes=indexes).item(), abs=1e-6), name


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


def test_chance_level_is_what_random_scores_give():
    rng = np.random.default_rng(2)
    measured = retrieval_metrics(rng.random((20000, 40)), rng.integers(0, 40, 20000))
    expected = chance_level(40)
    assert expected["recall@5"] == 0.125
    for name in ("recall@1", "recall@10", "mrr"):
        assert measured[name] == pytest.approx(expected[name], abs=0.01)
    assert measured["median_rank"] == pytest.approx(expected["median_rank"], abs=1)
    assert chance_level(3)["recall@10"] == 1.0


@pytest.mark.parametrize(
    ("scores", "targets", "message"),
    [
        (np.array([[0.0, np.nan]]), [0], "1 of 2 are NaN"),
        (np.zeros((2, 3)), [0], "targets must be 2 indices"),
        (np.zeros((2, 3)), [0, 3], r"targets must lie in 0 \.\.\. 2"),
        (np.zeros((1, 2)), np.array([[False, False]]), "query 0 has no right answer"),
    ],
)
def test_faults(scores, targets, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(scores, targets)


@pytest.mark.parametrize("number", [0, 1.5, float("inf"), float("nan")])
def test_a_recall_needs_a_whole_number(number):
    with pytest.raises(ValueError, match=r"recall_at must hold whole numbers of at least 1, got \["):
        retrieval_metrics(np.zeros((1, 2)), [0], recall_at=[1, number])


def test_the_interval_of_a_share_of_one_half():
    """The mean of 400 draws from {0, 1} has a standard deviation of 0.5 / 20: 95 % lie within 1.96 of them, 0.049."""
    values = np.repeat([0.0, 1.0], 200)
    lower, upper = bootstrap_intervals({"recall@1": values}, num_samples=4000)["recall@1"]
    assert lower == pytest.approx(0.451, abs=0.006)
    assert upper == pytest.approx(0.549, abs=0.006)


def test_songs_are_drawn_with_all_their_texts():
    """Four equal texts a song are one observation, not four: the interval is twice as wide."""
    values = np.repeat([0.0, 1.0], 200)
    songs = np.repeat(np.arange(100), 4)
    alone = np.diff(bootstrap_intervals({"x": values}, num_samples=4000)["x"])[0]
    together = np.diff(bootstrap_intervals({"x": values}, songs, num_samples=4000)["x"])[0]
    assert together / alone == pytest.approx(2, rel=0.07)


def test_intervals_of_medians_by_hand():
    """Each draw repeated by hand from the same random numbers."""
    generator = np.random.default_rng(3)
    ranks = generator.integers(1, 12, 21).astype(float)
    times = np.random.default_rng(0).multinomial(21, np.full(21, 1 / 21), 50)
    medians = [np.median(np.repeat(ranks, counts)) for counts in times]
    expected = np.quantile(medians, (0.025, 0.975))
    found = bootstrap_intervals({"median_rank": ranks}, num_samples=50)["median_rank"]
    assert found == pytest.approx(expected)
    even = bootstrap_intervals({"median_rank": np.array([1.0, 2.0])}, num_samples=500)["median_rank"]
    assert even == (1.0, 2.0)  # draws of two: 1 1, 1 2 (median 1.5), 2 2


@pytest.mark.parametrize(
    ("per_query", "groups", "message"),
    [
        ({"a": np.ones(3), "b": np.ones(4)}, None, "one length"),
        ({"a": np.ones(3)}, [1, 2], "groups must have one entry a query, 3, got 2"),
        ({"a": np.ones(3), "b": np.array([1, np.nan, 1])}, None, "per_query must have no NaN, got some in b"),
    ],
)
def test_faults_of_intervals(per_query, groups, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(per_query, groups)
