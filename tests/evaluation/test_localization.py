# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from itertools import combinations_with_replacement

import numpy as np
import pytest

from collap.evaluation.localization import _segment, find_spans

FRAME_S = 2.5


def frame_times(num_frames):
    starts = FRAME_S * np.arange(num_frames)
    return np.stack([starts, starts + FRAME_S], axis=1)


def seconds(spans):
    return [(span.start_s, span.end_s) for span in spans]


def song(sections, background=0.1, noise=0.0, seed=0):
    """Cosines (sentences, 24 frames): 0.8 inside the frames that each sentence describes; None: 0.4 everywhere."""
    similarities = np.full((len(sections), 24), background)
    for row, section in zip(similarities, sections, strict=True):
        if section is None:
            row[:] = 0.4
        else:
            row[slice(*section)] = 0.8
    return similarities + noise * np.random.default_rng(seed).normal(size=similarities.shape)


def spans_of(similarities, in_order=True):
    """Frames that are basis vectors: the numbers of a sentence are its cosines."""
    num_frames = similarities.shape[1]
    return find_spans(np.eye(num_frames), frame_times(num_frames), similarities, in_order)


@pytest.mark.parametrize("num_groups", [1, 2, 3, 4])
@pytest.mark.parametrize("num_frames", [1, 2, 5, 7])
def test_best_cut_equals_trying_all(num_groups, num_frames):
    scores = np.random.default_rng(10 * num_groups + num_frames).normal(size=(num_groups, num_frames))
    frames = np.arange(num_frames)
    # A path gives each frame a group, never going back in the text: a sorted choice of groups, some of them skipped.
    paths = combinations_with_replacement(range(num_groups), num_frames)
    best = max(scores[list(path), frames].sum() for path in paths)
    bounds = _segment(scores)
    assert bounds[0] == 0
    assert bounds[-1] == num_frames
    assert (np.diff(bounds) >= 0).all()
    assert scores[np.repeat(np.arange(num_groups), np.diff(bounds)), frames].sum() == pytest.approx(best)


def test_three_sections_by_hand():
    spans = spans_of(song([(0, 6), (6, 10), (10, 24)]))
    assert seconds(spans) == [(0.0, 15.0), (15.0, 25.0), (25.0, 60.0)]
    assert [span.sentence for span in spans] == [0, 1, 2]
    assert [span.score for span in spans] == [pytest.approx(0.8)] * 3


def test_the_order_separates_repeated_sections():
    # Sentences 0 and 2 describe the same music: each is close to both choruses.
    similarities = song([(0, 6), (6, 12), (0, 6), (18, 24)])
    similarities[[0, 2], 12:18] = 0.8
    assert seconds(spans_of(similarities)) == [(0, 15), (15, 30), (30, 45), (45, 60)]


def test_sentences_of_one_section_share_its_span():
    sections = [(0, 8), (0, 8), (8, 12), (12, 24), (12, 24), (12, 24)]
    expected = [(FRAME_S * start, FRAME_S * end) for start, end in sections]
    for seed in range(10):
        similarities = song(sections, noise=0.05, seed=seed)
        assert seconds(spans_of(similarities)) == expected


def test_sentences_on_the_whole_song_take_nothing_from_the_others():
    sections = [None, (0, 8), (8, 12), (12, 24), None]
    similarities = song(sections, noise=0.05)
    assert seconds(spans_of(similarities))[1:4] == [(0, 20), (20, 30), (30, 60)]


def test_more_sentences_than_frames():
    similarities = np.random.default_rng(0).normal(size=(9, 3))
    spans = spans_of(similarities)
    assert len(spans) == 9
    starts = [span.start_s for span in spans]
    assert starts == sorted(starts)
    assert all(span.end_s > span.start_s for span in spans)


def test_each_sentence_alone_in_any_order():
    sections = [(10, 24), (0, 6), (6, 10)]
    for seed in range(10):
        spans = spans_of(song(sections, noise=0.02, seed=seed), in_order=False)
        assert seconds(spans) == [(25.0, 60.0), (0.0, 15.0), (15.0, 25.0)]
        assert [span.sentence for span in spans] == [0, 1, 2]


@pytest.mark.parametrize(
    ("frames", "times", "query_embeds", "message"),
    [
        (np.zeros((3, 4)), np.zeros((2, 2)), np.zeros((1, 4)), r"times must have shape \(3, 2\), got \(2, 2\)"),
        (
            np.zeros((0, 4)),
            np.zeros((0, 2)),
            np.zeros((1, 4)),
            r"frames must have shape \(frames, width\), got \(0, 4\)",
        ),
        (np.zeros((3, 4)), np.zeros((3, 2)), np.zeros((1, 5)), r"query_embeds must have shape \(sentences, 4\)"),
        (np.full((3, 4), np.nan), np.zeros((3, 2)), np.zeros((1, 4)), "some cosines are NaN"),
    ],
)
def test_faults(frames, times, query_embeds, message):
    with pytest.raises(ValueError, match=message):
        find_spans(frames, times, query_embeds, in_order=True)
