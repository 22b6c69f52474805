# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The comparison of precisions: float32 is equal to itself, another is nearly."""

import json

from tiny_library import save_tiny_model
from tiny_retrieval import write_songs

from benchmarks import precision
from benchmarks.precision import main


def test_precisions_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(precision, "is_faster_on_this_cpu", lambda name: name == "int8")
    model, music, output = tmp_path / "model", tmp_path / "music", tmp_path / "output"
    save_tiny_model(model)
    music.mkdir()
    write_songs(music, (1.5, 1.0, 2.0))
    given = ["--model", str(model), "--songs", str(music), "--output_dir", str(output)]
    main(given)
    rows = json.loads((output / "result.json").read_text())["rows"]
    assert list(rows) == ["float32", "int8"]
    assert rows["float32"]["cosine, least"] > 0.999999
    assert rows["int8"]["cosine, mean"] > 0.99
    for row in rows.values():
        assert row["same top 10"] == 1.0  # there are three songs
    assert "| int8" in capsys.readouterr().out
