# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Moments: the metrics by hand and against a slow reference, ranked spans, and a set evaluated from its manifest."""

import numpy as np
import pytest
from accelerate import PartialState

from collap.evaluation import moments
from collap.evaluation.evaluation_set import EvaluationSet, EvaluationText
from collap.evaluation.localization import Span, find_spans
from collap.evaluation.moments import find_moments, rank_spans
from collap.metrics import moment_metrics

# Metrics


@pytest.mark.parametrize(
    ("span", "iou", "at_5", "at_7"),
    [
        ((10, 20), 1.0, 1, 1),
        ((10, 17), 0.7, 1, 1),  # 7 of 10: the threshold itself counts
        ((15, 20), 0.5, 1, 0),
        ((12, 24), 8 / 14, 1, 0),
        ((0, 40), 0.25, 0, 0),
        ((20, 30), 0.0, 0, 0),  # they touch
        ((40, 50), 0.0, 0, 0),
    ],
)
def test_the_first_span_by_hand(span, iou, at_5, at_7):
    metrics = moment_metrics(np.array([span, (10, 20)]), np.array([(10, 20)]))
    assert metrics["iou"] == pytest.approx(iou)
    assert (metrics["r1@0.5"], metrics["r1@0.7"]) == (at_5, at_7)


def test_the_first_span_may_fit_any_of_the_true_ones():
    assert moment_metrics(np.array([(30, 40)]), np.array([(0, 10), (31, 40)]))["iou"] == pytest.approx(0.9)


def test_average_precision_by_hand():
    true = np.array([(0, 10), (20, 30)])
    # Right, wrong, right: precision 1 at the first of two true spans, 2/3 at the second.
    metrics = moment_metrics(np.array([(0, 10), (50, 60), (20, 30)]), true)
    assert metrics["map@0.5"] == metrics["map"] == pytest.approx((1 + 2 / 3) / 2)
    # Wrong, right, right: 1/2 at the first, but 2/3 later on: that is the interpolated precision of both.
    assert moment_metrics(np.array([(50, 60), (0, 10), (20, 30)]), true)["map"] == pytest.approx(2 / 3)
    # One of two is not found.
    assert moment_metrics(np.array([(0, 10)]), true)["map"] == 0.5
    # IoU 0.72 with the one true span: right at 0.5, 0.55, 0.6, 0.65, 0.7, wrong at the other five.
    metrics = moment_metrics(np.array([(0, 72)]), np.array([(0, 100)]))
    assert (metrics["map"], metrics["map@0.5"], metrics["map@0.75"]) == (0.5, 1, 0)


def test_a_true_span_is_found_once():
    # The second span fits the same true one: wrong. The third, of the other one, comes with precision 2/3.
    true = np.array([(0, 10), (20, 30)])
    assert moment_metrics(np.array([(0, 10), (0, 9), (20, 30)]), true)["map@0.5"] == pytest.approx((1 + 2 / 3) / 2)
    # Of two equal spans the second takes the true one that is left, which it fits with an IoU of 0.8.
    overlapping = np.array([(0, 10), (0, 8)])
    assert moment_metrics(np.array([(0, 10), (0, 10)]), overlapping)["map@0.75"] == 1


def test_only_the_first_ten_count():
    wrong = [(100 + place, 101 + place) for place in range(10)]
    assert moment_metrics(np.array([*wrong[:9], (0, 10)]), np.array([(0, 10)]))["map"] == pytest.approx(0.1)
    assert moment_metrics(np.array([*wrong, (0, 10)]), np.array([(0, 10)]))["map"] == 0


@pytest.mark.parametrize("spans", [[], [(3, 3)], [(5, 4)], [(1, 2, 3)], [(0, np.nan)]])
def test_spans_that_are_none(spans):
    good = np.array([(0.0, 1.0)])
    with pytest.raises(ValueError, match=r"predicted must be spans \(start, end\)"):
        moment_metrics(np.array(spans), good)
    with pytest.raises(ValueError, match=r"true must be spans"):
        moment_metrics(good, np.array(spans))


def slow_iou(first, second) -> float:
    shared = max(0, min(first[1], second[1]) - max(first[0], second[0]))
    return shared / (first[1] - first[0] + second[1] - second[0] - shared)


def slow_average_precision(predicted, true, least) -> float:
    """Pascal VOC's: the area under the precision, made to fall, over the recall."""
    free, hits, recalls, precisions = list(true), 0, [0.0], [0.0]
    for place, span in enumerate(predicted, start=1):
        fitting = [other for other in free if slow_iou(span, other) >= least]
        if fitting:
            free.remove(max(fitting, key=lambda other: slow_iou(span, other)))
            hits += 1
        recalls.append(hits / len(true))
        precisions.append(hits / place)
    steps = range(1, len(recalls))
    return sum((recalls[step] - recalls[step - 1]) * max(precisions[step:]) for step in steps)


def test_the_metrics_are_those_of_a_slow_reference():
    generator = np.random.default_rng(0)
    found = []
    for _ in range(200):
        true = np.sort(generator.uniform(0, 30, (generator.integers(1, 5), 2)))
        near = np.repeat(true, 3, axis=0) + generator.normal(0, 0.5, (3 * len(true), 2))
        predicted = np.sort(generator.permutation(np.concatenate([near, generator.uniform(0, 30, (3, 2))])))
        metrics = moment_metrics(predicted, true)
        first = max(slow_iou(predicted[0], span) for span in true)
        expected = {"iou": first, "r1@0.5": int(first >= 0.5), "r1@0.7": int(first >= 0.7)}
        ranked = predicted[:10].tolist()
        levels = [round(0.05 * step, 2) for step in range(10, 20)]
        precisions = {least: slow_average_precision(ranked, true.tolist(), least) for least in levels}
        expected |= {"map@0.5": precisions[0.5], "map@0.75": precisions[0.75], "map": np.mean([*precisions.values()])}
        assert metrics == pytest.approx(expected)
        found.append(metrics["map"])
    assert 0.1 < np.mean(found) < 0.9


# Ranked spans


def best_frame(frames, times, query_embeds, in_order) -> list[Span]:
    """A span finder whose answers one sees: the frame of the largest product."""
    products = frames @ query_embeds[0]
    place = int(products.argmax())
    return [Span(0, *times[place].tolist(), float(products[place]))]


def seconds(similarities: list[float], end_s: float = 99.0) -> list[tuple[float, float]]:
    """Ranked spans in frames of one second, for a text with these similarities."""
    edges = np.minimum(np.arange(len(similarities) + 1.0), end_s)
    frames = np.stack([similarities, np.zeros(len(similarities))], axis=1)
    found = rank_spans(frames, np.stack([edges[:-1], edges[1:]], axis=1), np.array([1.0, 0.0]))
    return [(span.start_s, span.end_s) for span in found]


def test_the_best_span_of_what_is_left_comes_next(monkeypatch):
    monkeypatch.setattr(moments, "find_spans", best_frame)
    assert seconds([0.1, 0.9, 0.2, 0.5, 0.3]) == [(1, 2), (3, 4), (4, 5), (2, 3), (0, 1)]
    assert seconds([0.5, 0.9, 0.5]) == [(1, 2), (0, 1), (2, 3)]  # equal ones in the order of time
    assert seconds([0.1, 0.9, 5.0], end_s=2.0) == [(1, 2), (0, 1)]  # a frame that starts at the end is none
    assert seconds([0.3]) == [(0, 1)]
    assert seconds([0.01 * place for place in range(12)]) == [(place, place + 1) for place in range(11, 1, -1)]


@pytest.mark.parametrize(
    ("first", "others"),
    [((1.25, 2.75), [(0, 1), (3, 4)]), ((1.6, 2.4), [(0, 1.6), (2.4, 4)]), ((0, 2.25), [(2.25, 4)]), ((0, 4), [])],
)
def test_a_bound_may_be_inside_of_a_frame(monkeypatch, first, others):
    """Frames of 1 s are left to the side of the bound that their middle is on, and end at the bound."""

    def finder(frames, times, query_embeds, in_order):
        return [Span(0, *(first if len(frames) == 4 else (times[0, 0], times[-1, 1])), len(frames))]

    monkeypatch.setattr(moments, "find_spans", finder)
    assert seconds([0.0] * 4) == [first, *others]


def test_ranked_spans_of_noise():
    generator = np.random.default_rng(0)
    for _ in range(20):
        frames, query = generator.standard_normal((40, 4)), generator.standard_normal(4)
        times = np.stack([np.arange(40.0), np.arange(40.0) + 1], axis=1)
        (span,) = find_spans(frames, times, query[None], in_order=False)
        ranked = rank_spans(frames, times, query)
        assert ranked[0] == span
        starts, ends = np.array(sorted((span.start_s, span.end_s) for span in ranked)).T
        assert (starts < ends).all()
        assert (ends[:-1] <= starts[1:]).all()  # they do not overlap


# A set


class TwoFrames:
    """A model of frames of 10 s, whose dot product with the text "high" is their first number."""

    name = "two frames"

    def __init__(self, has_frames: bool = True):
        self.has_frames = has_frames

    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray | None:
        edges = np.minimum(10.0 * np.arange(num_frames + 1), duration_s)
        return np.stack([edges[:-1], edges[1:]], axis=1) if self.has_frames else None

    def frame_queries(self, texts: list[str]) -> np.ndarray:
        return np.array([[1.0, 0.0] if text == "high" else [0.0, 1.0] for text in texts])


FRAMES = [np.array([[1, 0], [0, 1], [0, 0], [0, 1]], np.float32), np.array([[0, 1], [1, 0]], np.float32)]
TEXTS = [
    EvaluationText("t0", "high", ("a", "b"), {"a": [(0.0, 10.0)], "b": [(0.0, 10.0)]}),
    EvaluationText("t1", "low", ("a",), {"a": [(10.0, 20.0), (30.0, 35.0)]}),
    EvaluationText("t2", "no time", ("b",)),
]


def moments_of(retriever) -> list[dict]:
    evaluation_set = EvaluationSet("two songs", {"a": "a.wav", "b": "b.wav"}, TEXTS)
    texts = [text.text for text in TEXTS]
    return find_moments(retriever, evaluation_set, FRAMES.__getitem__, [35.0, 20.0], texts, PartialState(cpu=True))


def test_each_text_is_looked_for_in_each_of_its_songs(monkeypatch):
    monkeypatch.setattr(moments, "find_spans", best_frame)
    found = moments_of(TwoFrames())
    assert [(row["text"], row["song"]) for row in found] == [("t0", "a"), ("t0", "b"), ("t1", "a")]
    assert [row["spans"][0] for row in found] == [[0, 10], [10, 20], [10, 20]]
    assert [row["metrics"]["map"] for row in found] == [1, 0.5, 1]
    assert all(0 <= row["chance"]["map"] < 0.5 for row in found)
    assert found == moments_of(TwoFrames())  # chance is drawn anew, but the same


def test_a_model_of_one_vector_a_song_finds_none():
    assert moments_of(TwoFrames(has_frames=False)) == []
