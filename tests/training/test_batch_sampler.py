# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Contrastive batches: every song once an epoch, even in size, as on any number of processes."""

import pytest

from collap.training.dataset import ContrastiveBatchSampler


def indices(batches: list[list[tuple[int, int]]]) -> list[list[int]]:
    return [[index for index, _ in batch] for batch in batches]


@pytest.mark.parametrize(("num_songs", "batch_size", "sizes"), [(11, 8, [5, 6]), (16, 8, [8, 8]), (3, 8, [3])])
def test_every_song_once_in_even_batches(num_songs: int, batch_size: int, sizes: list[int]):
    sampler = ContrastiveBatchSampler(num_songs, batch_size)
    batches = indices(sampler)
    assert sorted(map(len, batches)) == sizes
    assert sorted(index for batch in batches for index in batch) == list(range(num_songs))
    assert len(sampler) == len(sizes)


def test_dropping_the_rest_keeps_the_size():
    sampler = ContrastiveBatchSampler(11, 4, drop_last=True)
    assert [len(batch) for batch in sampler] == [4, 4]
    left_out = set()
    for epoch in range(20):
        sampler.set_epoch(epoch)
        left_out |= set(range(11)) - {index for batch in indices(sampler) for index in batch}
    assert left_out == set(range(11))  # others each time


def test_epoch_and_seed_decide_all():
    first = list(ContrastiveBatchSampler(20, 4, seed=1))
    again = ContrastiveBatchSampler(20, 4, seed=1)
    assert list(again) == list(again) == first
    again.set_epoch(1)
    assert indices(again) != indices(first)
    assert list(again) != list(ContrastiveBatchSampler(20, 4, seed=2))
    # Each song is drawn anew in each epoch.
    draws = [dict(pair for batch in sampler for pair in batch) for sampler in (first, again)]
    assert all(draws[0][song] != draws[1][song] for song in range(20))
    assert len(set(draws[0].values())) == 20


@pytest.mark.parametrize("lengths", [None, [float(index % 5) for index in range(23)]])
@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_share_the_batches_of_one(num_processes: int, lengths):
    alone = list(ContrastiveBatchSampler(23, 8, lengths, seed=3))
    shares = [
        list(ContrastiveBatchSampler(23, 8, lengths, num_processes, process, seed=3))
        for process in range(num_processes)
    ]
    for step, batch in enumerate(alone):
        parts = [share[step] for share in shares]
        assert sorted(pair for part in parts for pair in part) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_batch_goes_from_long_to_short_songs_and_is_the_same_without_lengths():
    lengths = [float(10 + (index * 37) % 200) for index in range(50)]
    batches = indices(ContrastiveBatchSampler(50, 10, lengths))
    assert [[lengths[index] for index in batch] for batch in batches] == [
        sorted((lengths[index] for index in batch), reverse=True) for batch in batches
    ]
    assert list(map(set, batches)) == list(map(set, indices(ContrastiveBatchSampler(50, 10))))
    shares = [list(ContrastiveBatchSampler(50, 10, lengths, 2, process)) for process in (0, 1)]
    seconds = [[sum(lengths[index] for index, _ in batch) for batch in share] for share in shares]
    # As little as the first song of a batch is longer than the last.
    assert all(0 <= first - second <= 200 for first, second in zip(*seconds, strict=True))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 8, None, 3), "contrastive_batch_size .* 3 process.* 2 songs in batches of 8 make some of 2"),
        ((0, 8), "0 songs"),
        ((7, 2), "each batch two, but 7 songs in batches of 2 make some of 1"),
        ((5, 8, None, 1, 0, 0, True), "5 songs in batches of 8"),
        ((5, 8, [1.0]), "lengths must hold one length for each of the 5 songs, got 1"),
    ],
)
def test_what_cannot_be_shared_is_refused(arguments, message: str):
    with pytest.raises(ValueError, match=message):
        ContrastiveBatchSampler(*arguments)


def test_songs_of_a_group_are_in_one_batch():
    groups = [None if index < 8 else str(index // 2) for index in range(24)]
    sampler = ContrastiveBatchSampler(24, 8, groups=groups)
    orders = set()
    for epoch in range(5):
        sampler.set_epoch(epoch)
        batches = indices(sampler)
        assert sorted(index for batch in batches for index in batch) == list(range(24))
        together = sum({index, index + 1} <= set(batch) for batch in batches for index in range(8, 24, 2))
        assert together >= 6  # of 8 pairs; each of the 2 borders between batches may cut one
        orders.add(tuple(batches[0]))
    assert len(orders) == 5
    alone = [None] * 24
    assert list(ContrastiveBatchSampler(24, 8, groups=alone)) == list(ContrastiveBatchSampler(24, 8))
