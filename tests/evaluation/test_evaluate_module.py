# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from pathlib import Path

import evaluate
import numpy as np
import pytest

from collap.metrics import retrieval_metrics

FOLDER = Path(__file__).resolve().parents[2] / "collap" / "evaluation" / "text_audio_retrieval"
SCORES = [[0.9, 0.1, 0.3], [0.8, 0.3, 0.5]]


@pytest.fixture
def metric(tmp_path):
    return evaluate.load(str(FOLDER), cache_dir=str(tmp_path))


def test_the_example_of_its_card(metric):
    found = metric.compute(predictions=SCORES, references=[[0], [1, 2]], recall_at=[1, 2])
    assert (found["recall@1"], found["recall@2"], found["hit_rate@2"]) == (0.5, 0.75, 1.0)
    assert (found["median_rank"], found["num_queries"], found["gallery_size"]) == (1.5, 2, 3)


def test_batches_give_the_same_metrics(metric):
    generator = np.random.default_rng(0)
    scores, right = generator.random((9, 30)), generator.integers(0, 30, 9)
    for start in (0, 4):
        part = slice(start, start + 4 if start == 0 else None)
        metric.add_batch(predictions=scores[part].tolist(), references=[[place] for place in right[part].tolist()])
    expected = retrieval_metrics(scores, right)
    assert {name: value for name, value in metric.compute().items() if name in expected} == pytest.approx(expected)


def test_references_outside_of_the_gallery(metric):
    with pytest.raises(ValueError, match=r"references must be places in the gallery, 0 to 2, got \[3\]"):
        metric.compute(predictions=SCORES, references=[[0], [3]])
