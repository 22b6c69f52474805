# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How near found spans are to the sections that sentences describe."""

import json

import pytest

from benchmarks import spans
from collap.evaluation.localization import Span


@pytest.mark.parametrize(("true_span", "expected"), [((0, 10), 1.0), ((5, 15), 1 / 3), ((2, 7), 0.5), ((10, 20), 0.0)])
def test_intersection_over_union_by_hand(true_span, expected):
    assert spans.intersection_over_union(Span(0, 0.0, 10.0, 0.5), *true_span) == pytest.approx(expected)


def test_the_script_measures_each_way(folder, tmp_path, capsys):
    paths = {
        "model": folder / "models" / "ours-0",
        "manifest": folder / "corpus" / "content.jsonl",
        "features": folder / "features",
        "output": tmp_path / "spans.json",
    }
    spans.main([*(f"--{name}={path}" for name, path in paths.items()), "--num_songs=3"])
    metrics = json.loads(paths["output"].read_text())["metrics"]
    assert tuple(metrics) == spans.WAYS
    for of_way in metrics.values():
        assert list(of_way) == ["mean IoU", "recall@0.5", "recall@0.7"]
        assert of_way["recall@0.7"]["value"] <= of_way["recall@0.5"]["value"] <= 1
    assert capsys.readouterr().out.count("\n| ") == 4
