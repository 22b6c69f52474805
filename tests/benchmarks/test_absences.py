# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The rows of the experiment on absences: which songs each of them trains on; nothing is trained here."""

import json
from pathlib import Path

from benchmarks import absences
from benchmarks.pipeline import Pipeline


def test_songs_of_each_row(tmp_path, monkeypatch):
    steps = {}
    monkeypatch.setattr(Pipeline, "run", lambda self, given: steps.update({step.name: step for step in given}))
    monkeypatch.setattr(absences, "read_metrics", lambda files: [file.name for file in files])
    (tmp_path / "corpus").mkdir()
    pairs = [{"audio": f"{number}.wav", "group": number // 2} for number in range(4)]
    (tmp_path / "corpus" / "train_twins.jsonl").write_text("".join(json.dumps(song) + "\n" for song in pairs))
    monkeypatch.setattr("sys.argv", ["absences", f"--output_dir={tmp_path}", "--text_model=models/mini"])
    absences.main()

    def songs(row: str) -> list[tuple[str, int | None]]:
        (manifest,) = [word for word in steps[f"train-{row}-mini-0"].command if word.startswith("--train_manifest=")]
        lines = Path(manifest.removeprefix("--train_manifest=")).read_text().splitlines()
        return [(song["audio"], song["group"]) for song in map(json.loads, lines)]

    assert songs("batch") == [("0.wav", 0), ("1.wav", 0), ("2.wav", 1), ("3.wav", 1)]
    assert songs("twins") == [(song, None) for song, _ in songs("batch")]
    assert songs("mentioned") == songs("twins")[::2]  # the first of each pair is a song of the demo
    rows = json.loads((tmp_path / "results-mini.json").read_text())["rows"]
    files = {row: [f"{row}-mini-0.json"] for row in ("plain", "mentioned", "twins", "batch")}
    assert {row: found["questions"] for row, found in rows.items()} == files
