# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""All of the long-form benchmark, on a handful of songs."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks.pipeline import ROOT


@pytest.mark.slow
def test_the_whole_benchmark_on_a_handful_of_songs(tmp_path):
    """All steps once, a CLAP, a mean and ours; a second call finds everything done and prints the same."""
    splits = ("content", "order", "near_duplicates", "instrument_pairs", "validation", "validation_order")
    num_songs = [f"{split}=4" for split in splits] + ["train=6", "freehand=120"]
    num_songs += [f"long_{minutes}=1" for minutes in (2, 5, 10, 20)]
    command = [sys.executable, "-m", "benchmarks.long_form", "--output_dir", str(tmp_path / "out"), "--seeds", "0"]
    command += ["--rows", "clap", "mean", "ours", "--num_epochs", "1", "--num_pretraining_steps", "2"]
    command += ["--num_songs", *num_songs]
    environment = {**os.environ, "COLLAP_SHARED_DATA": str(tmp_path / "none")}
    printed = []
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
        assert result.returncode == 0, result.stderr[-4000:]
        printed.append([line for line in result.stdout.splitlines() if line.startswith("|")])
    assert printed[0] == printed[1]
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [*found["rows"]] == ["clap-first", "clap-mean", "mean", "ours"]
    assert found["steps_done_by_earlier_calls"] == 14
    questions = found["rows"]["ours"]["questions"]
    assert {"content, paraphrase", "long_20, new", "one section, freehand"} <= questions.keys()
    assert "structures, new" not in questions  # its layouts of real songs are not there
