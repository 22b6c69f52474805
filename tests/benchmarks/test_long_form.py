# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""All of the long-form benchmark, on a handful of songs."""

import json
import os
import subprocess
import sys

import pytest
from transformers import AutoModel

from benchmarks import train_row
from benchmarks.long_form.__main__ import Benchmark, parse_arguments
from benchmarks.pipeline import ROOT, named
from collap import CollapModel


@pytest.mark.slow
def test_the_whole_benchmark_on_a_handful_of_songs(tmp_path):
    """All steps once, a mean and ours; a second call finds everything done and prints the same."""
    splits = ("content", "order", "near_duplicates", "instrument_pairs", "validation", "validation_order")
    num_songs = [f"{split}=4" for split in splits] + ["train=6", "freehand=120"]
    num_songs += [f"long_{minutes}=1" for minutes in (2, 5, 10, 20)]
    command = [sys.executable, "-m", "benchmarks.long_form", "--output_dir", str(tmp_path / "out"), "--seeds", "0"]
    command += ["--rows", "mean", "ours-new-text", "ours", "--num_epochs", "1", "--num_pretraining_steps", "2"]
    command += ["--num_songs", *num_songs]
    environment = {**os.environ, "COLLAP_SHARED_DATA": str(tmp_path / "none")}
    printed = []
    for _ in range(2):
        result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=ROOT)
        assert result.returncode == 0, result.stderr[-4000:]
        printed.append([line for line in result.stdout.splitlines() if line.startswith("|")])
    assert printed[0] == printed[1]
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [*found["rows"]] == ["mean", "ours-new-text"]
    assert found["rows_left_out"] == ["ours"]  # its pretrained text model is not given
    assert found["steps_done_by_earlier_calls"] == 9
    questions = found["rows"]["ours-new-text"]["questions"]
    assert {"content, paraphrase", "long_20, new", "one section, freehand"} <= questions.keys()
    assert "structures, new" not in questions  # its layouts of real songs are not there


def test_rows_with_a_pretrained_text_model_take_the_one_that_is_given(tmp_path):
    common = ["--output_dir", str(tmp_path), "--rows", "ours-new-text", "ours"]
    assert Benchmark(parse_arguments(common)).rows(0) == ["ours-new-text"]
    benchmark = Benchmark(parse_arguments([*common, "--pretrained_text_model", "some/text"]))
    assert benchmark.rows(0) == ["ours-new-text", "ours"]
    assert f"--text_model={tmp_path / 'text'}" in benchmark.train_row("ours-new-text", 0).command
    assert "--text_model=some/text" in benchmark.train_row("ours", 0).command


def test_lora_trains_the_text_model_and_is_merged(folder, tmp_path):
    towers = {f"{kind}_model": folder / "encoders" / kind for kind in ("music", "speech")}
    towers |= {"text_model": folder / "text", "features": folder / "features"}
    recipe = {"train_manifest": folder / "corpus" / "content.jsonl", "contrastive_batch_size": 3, "max_steps": 2}
    recipe |= {"lora_rank": 2, "learning_rate": 0.1, "use_cpu": "true", "report_to": "none", "save_strategy": "no"}
    fields = {"projection_dim": 16, "frame_pooling": 8, "kernel_size": 2, "kernel_stride": 2, "text_pooling": "mean"}
    train_row.main(named({"output_dir": tmp_path} | towers | recipe | fields))
    assert not [*tmp_path.glob("adapter*")]
    trained = CollapModel.from_pretrained(tmp_path).text_model.encoder.state_dict()
    before = AutoModel.from_pretrained(folder / "text", add_pooling_layer=False).state_dict()
    changed = {name for name, weight in trained.items() if not weight.equal(before[name])}
    assert changed == {name for name in before if "layer." in name and "LayerNorm" not in name and "bias" not in name}
