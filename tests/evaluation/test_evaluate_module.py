# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from pathlib import Path

import evaluate
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "collap" / "evaluation" / "text_audio_retrieval"
SCORES = [[0.9, 0.1, 0.3], [0.8, 0.3, 0.5]]


@pytest.fixture
def metric(tmp_path):
    return evaluate.load(str(FOLDER), cache_dir=str(tmp_path))


def test_the_example_of_its_card(metric):
    found = metric.compute(predictions=SCORES, references=[[0], [1, 2]], recall_at=[1, 2])
    assert (found["recall@1"], found["recall@2"], found["hit_rate@2"]) == (0.5, 0.75, 1.0)
    assert (found["median_rank"], found["num_queries"], found["gallery_size"]) == (1.5, 2, 3)
