# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How near found spans are to the sections that sentences describe."""

import re

from benchmarks import spans


def test_the_script_measures_each_way(folder, capsys):
    paths = {
        "model": folder / "models" / "ours-0",
        "manifest": folder / "corpus" / "content.jsonl",
        "features": folder / "features",
    }
    spans.main([*(f"--{name}={path}" for name, path in paths.items()), "--num_songs=3"])
    out = capsys.readouterr().out
    for way in (*spans.WAYS, spans.EQUAL):
        iou, at_5, at_7 = map(float, re.search(rf"^\| {way} +" + 3 * r"\| +([\d.]+) .*?", out, re.MULTILINE).groups())
        assert 0 < iou <= 1
        assert 0 <= at_7 <= at_5 <= 1
