# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The benchmark of the search: recall by hand, and a run with few songs."""

import json

import numpy as np
import pytest

from benchmarks import search


def test_recall_by_hand(monkeypatch):
    monkeypatch.setattr(search, "TOP", 2)
    monkeypatch.setattr(search, "COUNTS", (1, 2, 3, 4))
    exact = np.array([[4.0, 3, 2, 1], [1, 2, 3, 4]])  # the songs 0 and 1, and the songs 3 and 2
    first = np.array([[4.0, 1, 2, 3], [1, 2, 3, 4]])  # in the places 1 and 4, and in 1 and 2
    assert search.recall_curve(exact, first) == {1: 0.5, 2: 0.75, 3: 0.75, 4: 1.0}


@pytest.mark.slow
def test_speed_of_few_songs(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pymilvus")
    monkeypatch.setattr(search, "WIDTH", 8)
    search.main(["speed", "--songs", "30", "--output", str(tmp_path / "speed.json")])
    measured = json.loads((tmp_path / "speed.json").read_text())["speed"]["30"]
    assert measured["file_gb"] > 30 * 29 * 8 * 2 / 1e9
    assert measured["search_s"] > 0
    assert "milvus_lite_search_s" in capsys.readouterr().out
