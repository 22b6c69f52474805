# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How near found spans are to the sections that sentences describe."""

import json

from benchmarks import spans


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
        assert list(of_way) == ["iou", "r1@0.5", "r1@0.7"]
        assert of_way["r1@0.7"]["value"] <= of_way["r1@0.5"]["value"] <= 1
    assert capsys.readouterr().out.count("\n| ") == 4
