# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The long-form benchmark: its tables by hand, its questions by seed, and all of it on a handful of songs."""

import json
import os
import re
import subprocess
import sys

import pytest

from benchmarks.long_form.__main__ import Benchmark, parse_arguments
from benchmarks.pipeline import ROOT
from benchmarks.tables import format_benchmark


def test_tables_of_two_seeds(tmp_path):
    benchmark = Benchmark(parse_arguments(["--output_dir", str(tmp_path)]))
    (tmp_path / "ranks").mkdir()
    for seed, ranks in ((0, [1, 1, 2, 6]), (1, [1, 3, 2, 6])):
        of_question = {"ranks": ranks, "units": [0, 1, 2, 3], "gallery_size": 1000, "num_cut": 2 * seed}
        questions = {"content, new": of_question} | ({"content, seen": of_question} if seed == 0 else {})
        benchmark.ranks(f"test-ours-{seed}").write_text(json.dumps(questions))
        benchmark.model(f"ours-{seed}").mkdir(parents=True)
        (benchmark.model(f"ours-{seed}") / "seconds.json").write_text(json.dumps({"cpu_seconds": 10 + seed}))
    rows = benchmark.collect([("ours", 0), ("ours", 1)])
    assert rows["ours"]["training_cpu_seconds"] == [10, 11]
    printed = re.sub(" +", " ", format_benchmark({"rows": rows}))
    assert "| sentence queries, time, sections (ours) | 37.5 (25.0 to 50.0) | 75.0 (75.0 to 75.0) |" in printed
    assert "| sentence queries, time, sections (ours) | 50.0 | 75.0 |" in printed  # of one seed
    assert "order" not in printed  # there is no such question
    assert "### New wording\n" in printed
    assert "### Seen wording (one seed)\n" in printed
    assert "sentence queries, time, sections (ours), content, new: 2 of 4." in printed  # texts that were cut


def rankings(*arguments: str) -> dict[str, bool]:
    """Whether each ranking of the benchmark has all questions."""
    benchmark = Benchmark(parse_arguments(["--output_dir", "nowhere", "--seeds", "3", "5", *arguments]))
    runs = [(name, seed) for seed in (3, 5) for name in benchmark.rows(seed)]
    training = benchmark.train_row("mean", 3)
    steps = [step for name, seed in runs for step in benchmark.rank_row(name, seed, training)]
    return {step.name: "long-form-more" in step.command for step in steps}


def test_the_first_seed_of_main_rows_has_all_questions(capsys):
    found = rankings("--rows", "mean", "sentences")
    assert found == {"rank-test-mean-3": True, "rank-test-sentences-3": False, "rank-test-mean-5": False}
    found = rankings("--rows", "mean", "sentences", "--all_questions_seeds", "3", "5")
    assert found == {"rank-test-mean-3": True, "rank-test-sentences-3": False, "rank-test-mean-5": True}
    with pytest.raises(SystemExit):
        rankings("--all_questions_seeds", "3", "4")
    assert "--all_questions_seeds has [4]" in capsys.readouterr().err


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
