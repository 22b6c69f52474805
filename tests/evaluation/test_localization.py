# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest

from collap.evaluation.localization import (
    CUT_WINDOWS,
    MAX_WINDOWS,
    _best_in_order,
    _cut_into_pieces,
    _pool,
    find_spans,
)

WIDTH = 8


def frame_times(num_frames, frame_s=2.5):
    starts = frame_s * np.arange(num_frames)
    return np.stack([starts, starts + frame_s], axis=1)


def seconds(spans):
    return [(span.start_s, span.end_s) for span in spans]


def song(sections, noise=0.0, seed=0):
    """Frames of sections, each a kind of music (one of `WIDTH` directions) and a number of frames."""
    frames = np.eye(WIDTH)[[kind for kind, num_frames in sections for _ in range(num_frames)]]
    frames = frames + noise * np.random.default_rng(seed).normal(size=frames.shape)
    return frames / np.linalg.norm(frames, axis=1, keepdims=True)


def sentences(*kinds):
    """A sentence on each kind of music; None: on the whole song, as close to one kind as to another."""
    rows = [np.full(WIDTH, WIDTH**-0.5) if kind is None else np.eye(WIDTH)[kind] for kind in kinds]
    return np.array(rows)


@pytest.mark.parametrize("num_sentences", [1, 2, 3, 4])
@pytest.mark.parametrize("num_pieces", [1, 2, 5, 7])
def test_best_in_order_equals_trying_all(num_sentences, num_pieces):
    fits = np.random.default_rng(10 * num_sentences + num_pieces).normal(size=(num_sentences, num_pieces))
    rows = np.arange(num_sentences)
    paths = combinations_with_replacement(range(num_pieces), num_sentences)
    best = max(paths, key=lambda path: fits[rows, list(path)].sum())
    assert _best_in_order(fits).tolist() == list(best)


@pytest.mark.parametrize("num_windows", [1, 2, 6, 9])
def test_pieces_equal_trying_all(num_windows):
    windows = song([(0, 3), (1, 2), (0, 4)], noise=0.2)[:num_windows]
    variance = ((windows - windows.mean(0)) ** 2).sum(1).mean()

    def cost(cuts):
        pieces = np.split(windows, cuts)
        return sum(((piece - piece.mean(0)) ** 2).sum() + CUT_WINDOWS * variance for piece in pieces)

    choices = [cuts for count in range(num_windows) for cuts in combinations(range(1, num_windows), count)]
    assert _cut_into_pieces(windows).tolist() == [0, *min(choices, key=cost), num_windows]


def test_three_sections_by_hand():
    frames = song([(0, 6), (1, 4), (2, 14)])
    spans = find_spans(frames, frame_times(24), sentences(0, 1, 2), in_order=True)
    assert seconds(spans) == [(0.0, 15.0), (15.0, 25.0), (25.0, 60.0)]
    assert [span.sentence for span in spans] == [0, 1, 2]
    assert [span.score for span in spans] == [pytest.approx(1.0)] * 3
    spans = find_spans(frames, frame_times(24), sentences(2, 0, 1), in_order=False)
    assert seconds(spans) == [(25.0, 60.0), (0.0, 15.0), (15.0, 25.0)]


def test_the_order_separates_repeated_sections():
    frames, queries = song([(0, 6), (1, 6), (0, 6), (2, 6)], noise=0.05), sentences(0, 1, 0, 2)
    expected = np.array([(0, 15), (15, 30), (30, 45), (45, 60)])
    np.testing.assert_allclose(seconds(find_spans(frames, frame_times(24), queries, in_order=True)), expected, atol=1)
    first, _, third, _ = find_spans(frames, frame_times(24), queries, in_order=False)
    assert seconds([first]) == seconds([third])


def test_sentences_of_one_section_share_its_span():
    expected = [(0, 20), (0, 20), (20, 30), (30, 60), (30, 60), (30, 60)]
    for seed in range(10):
        frames = song([(0, 8), (1, 4), (2, 12)], noise=0.05, seed=seed)
        spans = find_spans(frames, frame_times(24), sentences(0, 0, 1, 2, 2, 2), in_order=True)
        np.testing.assert_allclose(seconds(spans), expected, atol=1)


def test_sentences_on_the_whole_song_take_nothing_from_the_others():
    frames = song([(0, 8), (1, 4), (2, 12)], noise=0.05)
    spans = find_spans(frames, frame_times(24), sentences(None, 0, 1, 2, None), in_order=True)
    np.testing.assert_allclose(seconds(spans)[1:4], [(0, 20), (20, 30), (30, 60)], atol=1)


def test_pieces_that_fit_equally_well_are_joined():
    frames = song([(0, 6), (1, 6), (2, 6), (3, 6)])
    both = (sentences(1) + sentences(2)) / 2**0.5
    assert seconds(find_spans(frames, frame_times(24), both, in_order=False)) == [(15, 45)]
    # In order, only those that are not the best ones of another sentence.
    queries = np.concatenate([both, sentences(2, 3)])
    assert seconds(find_spans(frames, frame_times(24), queries, in_order=True)) == [(15, 30), (30, 45), (45, 60)]


def test_the_last_frame_may_have_no_length():
    times = frame_times(24)
    times[-1, 1] = times[-1, 0]
    frames = song([(0, 23), (1, 1)])
    assert seconds(find_spans(frames, times, sentences(1), in_order=False)) == [(0, 57.5)]


@pytest.mark.parametrize("share", [0.0, 0.2, 0.7, 1.0])
def test_a_bound_inside_a_window(share):
    frames = song([(0, 10), (1, 10)])
    frames[9] = share * frames[0] + (1 - share) * frames[-1]
    first, second = find_spans(frames, frame_times(20), sentences(0, 1), in_order=True)
    # The mean of the first piece has a little of the second in it.
    assert first.end_s == second.start_s == pytest.approx(2.5 * (9 + share), abs=0.3)


def test_each_sentence_alone_depends_on_no_other():
    frames, times = song([(0, 6), (1, 4), (2, 14)], noise=0.3), frame_times(24)
    queries = song([(2, 1), (0, 1), (1, 1)], noise=0.3, seed=1)
    spans = find_spans(frames, times, queries, in_order=False)
    alone = [find_spans(frames, times, query[None], in_order=False)[0] for query in queries]
    assert seconds(spans) == seconds(alone)
    assert seconds(find_spans(frames, times, queries[:1], in_order=True)) == seconds(alone[:1])


def test_time_queries_choose_among_repeated_sections():
    frames, times = song([(0, 6), (1, 6), (0, 6), (2, 6)]), frame_times(24)
    # The features are sin(pi t) and cos(pi t): the cosine is positive in the first half.
    for late, expected in ((-1.0, (0, 15)), (1.0, (30, 45))):
        spans = find_spans(frames, times, sentences(0), False, time_query_embeds=np.array([[0.0, -late]]))
        assert seconds(spans) == [expected]


def test_windows_of_short_and_of_many_frames():
    sections, queries = [(0, 100), (1, 60), (2, 140)], sentences(0, 1, 2)
    spans = find_spans(song(sections), frame_times(300, 0.2), queries, in_order=True)
    assert np.array(seconds(spans)) == pytest.approx(np.array([(0, 20), (20, 32), (32, 60)]))
    windows, times = _pool(np.ones((3 * MAX_WINDOWS - 1, 1)), frame_times(3 * MAX_WINDOWS - 1, 1.0))
    assert windows.shape == (MAX_WINDOWS, 1)
    assert windows.min() == windows.max() == 1
    assert times[[0, 1, -1]].tolist() == [[0, 3], [3, 6], [3 * MAX_WINDOWS - 3, 3 * MAX_WINDOWS - 1]]


def test_equal_frames_are_one_piece():
    assert seconds(find_spans(song([(0, 24)]), frame_times(24), sentences(0, 1), in_order=True)) == [(0, 60)] * 2


@pytest.mark.parametrize("in_order", [True, False])
def test_more_sentences_than_frames(in_order):
    frames = np.random.default_rng(0).normal(size=(3, WIDTH))
    spans = find_spans(frames, frame_times(3), np.random.default_rng(1).normal(size=(9, WIDTH)), in_order)
    assert len(spans) == 9
    assert all(span.end_s > span.start_s for span in spans)
    assert not in_order or [span.start_s for span in spans] == sorted(span.start_s for span in spans)


@pytest.mark.parametrize(
    ("frames", "times", "query_embeds", "message"),
    [
        (
            np.zeros((3, 4)),
            np.zeros((2, 2)),
            np.zeros((1, 4)),
            r"times must be 3 times a start .*shape \(2, 2\)",
        ),
        (np.zeros((0, 4)), np.zeros((0, 2)), np.zeros((1, 4)), r"frames must have shape \(frames, width\), got"),
        (np.zeros((3, 4)), frame_times(3), np.zeros((1, 5)), r"query_embeds must have shape \(sentences, 4\)"),
        (np.zeros((3, 4)), np.zeros((3, 2)), np.zeros((1, 4)), "times must be 3 times a start and a later end"),
        (np.full((3, 4), np.nan), frame_times(3), np.zeros((1, 4)), "some cosines are NaN"),
    ],
)
def test_faults(frames, times, query_embeds, message):
    with pytest.raises(ValueError, match=message):
        find_spans(frames, times, query_embeds, in_order=True)


@pytest.mark.parametrize(
    ("in_order", "num_rows", "message"),
    [
        (True, 1, "time_query_embeds must be None with in_order"),
        (False, 2, "else have 1 rows, got 2"),
    ],
)
def test_faults_of_time_queries(in_order, num_rows, message):
    with pytest.raises(ValueError, match=message):
        find_spans(song([(0, 2)]), frame_times(2), sentences(0), in_order, time_query_embeds=np.zeros((num_rows, 4)))
