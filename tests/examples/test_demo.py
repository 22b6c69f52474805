# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""All of the demo once, on a handful of songs."""

import json
import re
import subprocess
import sys

import pytest

from benchmarks.pipeline import ROOT


@pytest.mark.slow
def test_the_whole_demo_on_a_handful_of_songs(tmp_path):
    pytest.importorskip("tinysoundfont", reason="the song corpus needs tinysoundfont")
    command = [sys.executable, "-m", "examples.demo.run", "--output_dir", str(tmp_path / "demo"), "--num_epochs", "1"]
    command += ["--num_pretraining_steps", "2", "--num_songs", "train=8", "validation=20", "content=12", "order=4"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert result.returncode == 0, result.stderr[-4000:]
    trained = ("10 s crop", "mean pooling", "document attention (paper)", "sentence queries, time, sections")
    for row in ("chance", *trained):
        assert len(re.findall(rf"^{re.escape(row)} .*\d", result.stdout, flags=re.MULTILINE)) == 2, result.stdout
    assert len(re.findall(r"^  1\. \d{5}  \(\d:\d\d\)  score .*  match \d+%$", result.stdout, re.MULTILINE)) == 2
    assert (tmp_path / "demo" / "attention.png").stat().st_size > 20_000
    results = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert results["sentence queries, time, sections"]["seen"]["text_to_audio"]["gallery_size"] == 12
