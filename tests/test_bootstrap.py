# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest

from collap.metrics import bootstrap_intervals


def test_a_share_of_one_half():
    """The mean of 400 draws from {0, 1} has a standard deviation of 0.5 / 20: 95 % lie within 1.96 of them, 0.049."""
    values = np.repeat([0.0, 1.0], 200)
    lower, upper = bootstrap_intervals({"recall@1": values}, num_samples=4000)["recall@1"]
    assert lower == pytest.approx(0.451, abs=0.006)
    assert upper == pytest.approx(0.549, abs=0.006)


def test_songs_are_drawn_with_all_their_captions():
    """Four equal captions a song are one observation, not four: the interval is twice as wide."""
    values = np.repeat([0.0, 1.0], 200)
    songs = np.repeat(np.arange(100), 4)
    alone = np.diff(bootstrap_intervals({"x": values}, num_samples=4000)["x"])[0]
    together = np.diff(bootstrap_intervals({"x": values}, songs, num_samples=4000)["x"])[0]
    assert together / alone == pytest.approx(2, rel=0.07)


def test_medians_are_numpy_s():
    """Each draw repeated by hand from the same random numbers."""
    generator = np.random.default_rng(3)
    ranks = generator.integers(1, 12, 21).astype(float)
    times = np.random.default_rng(0).multinomial(21, np.full(21, 1 / 21), 50)
    medians = [np.median(np.repeat(ranks, counts)) for counts in times]
    expected = np.quantile(medians, (0.1, 0.9))
    found = bootstrap_intervals({"median_rank": ranks}, num_samples=50, level=0.8)["median_rank"]
    assert found == pytest.approx(expected)
    even = bootstrap_intervals({"median_rank": np.array([1.0, 2.0])}, num_samples=500)["median_rank"]
    assert even == (1.0, 2.0)  # draws of two: 1 1, 1 2 (median 1.5), 2 2


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(0).random(50)
    assert bootstrap_intervals({"x": values}, seed=1) == bootstrap_intervals({"x": values}, seed=1)
    assert bootstrap_intervals({"x": values}, seed=1) != bootstrap_intervals({"x": values}, seed=2)


def test_intervals_hold_what_they_promise():
    """Of 300 sets of 60 songs drawn from a share of 0.3, about 95 % have an interval that holds 0.3."""
    generator = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        values = (generator.random(60) < 0.3).astype(float)
        lower, upper = bootstrap_intervals({"x": values}, num_samples=300)["x"]
        held += lower <= 0.3 <= upper
    assert 0.90 <= held / 300 <= 0.98


@pytest.mark.parametrize(
    ("per_query", "options", "message"),
    [
        ({}, {}, "per_query"),
        ({"a": np.ones(3), "b": np.ones(4)}, {}, "one length"),
        ({"a": np.ones(0)}, {}, "not empty"),
        ({"a": np.ones(3)}, {"groups": [1, 2]}, "groups must have one entry a query, 3, got 2"),
        ({"a": np.ones(3)}, {"level": 1.0}, "level"),
        ({"a": np.ones(3)}, {"num_samples": 0}, "num_samples must be at least 1, got 0"),
        ({"a": np.ones(3), "b": np.array([1, np.nan, 1])}, {}, "per_query: b hold NaN"),
    ],
)
def test_bad_arguments(per_query, options, message):
    with pytest.raises(ValueError, match=message):
        bootstrap_intervals(per_query, **options)
