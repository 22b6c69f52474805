# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`kill -9`, then `--resume_from_checkpoint true`: every logged value and every weight of the uninterrupted run."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from survival_data import log_of, write_songs_and_model

REPOSITORY = Path(__file__).resolve().parents[2]
NUM_STEPS = 12  # 7 songs in batches of at most 3, four times


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("survival")
    arguments = write_songs_and_model(folder)
    (folder / "arguments.json").write_text(json.dumps(arguments))
    return folder


def run(folder: Path, output: str, plan: list, *arguments: str) -> str:
    """Trains as often as the plan has runs; returns stderr."""
    command = [sys.executable, str(REPOSITORY / "tests" / "training" / "survival_script.py"), json.dumps(plan)]
    command += [*json.loads((folder / "arguments.json").read_text()), "--output_dir", str(folder / output)]
    command += ["--use_cpu", "--num_train_epochs", "4", "--save_total_limit", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-6000:]
    statuses = json.loads(result.stdout.splitlines()[-1])
    assert statuses == [0 if kill is None else -9 for kill in plan], result.stderr[-6000:]
    return result.stderr


def log(folder: Path) -> list[dict[str, float]]:
    return log_of(folder / f"checkpoint-{NUM_STEPS}")


def assert_same_run(one: Path, other: Path) -> None:
    assert log(one) == log(other)
    first, second = (load_file(run / "model.safetensors") for run in (one, other))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def random_steps(first: int, last: int) -> list[int]:
    """Two steps; the seed is printed, so that pytest shows what to set if the test fails."""
    seed = int(os.environ.get("COLLAP_SURVIVAL_SEED", time.time()))
    print(f"COLLAP_SURVIVAL_SEED={seed}")
    return sorted(random.Random(seed).sample(range(first, last + 1), 2))


@pytest.mark.slow
def test_a_run_that_is_killed_again_and_again_ends_as_the_uninterrupted_one(folder):
    first, second = random_steps(3, 11)
    arguments = ["--logging_steps", "1", "--eval_strategy", "steps", "--eval_steps", "4"]
    run(folder, "whole", [None], *arguments)
    # The first before there is anything to go on from, the last when all is done but the model at the end.
    plan = [("in a step", 1), ("in a step", first), ("in a step", second), ("before the final model", 12), None]
    assert "There is no complete checkpoint" in run(folder, "killed", plan, *arguments)
    assert len({entry["loss"] for entry in log(folder / "whole") if "loss" in entry}) == NUM_STEPS
    assert sum("eval_loss" in entry for entry in log(folder / "whole")) == NUM_STEPS // 4
    assert_same_run(folder / "whole", folder / "killed")
    assert sorted(path.name for path in (folder / "killed").glob("checkpoint-*")) == ["checkpoint-10", "checkpoint-12"]


@pytest.mark.slow
def test_a_run_that_is_killed_while_saving_goes_on_from_the_checkpoint_before(folder):
    # A log is due every third step and a checkpoint every second; the songs come from workers, in micro-batches.
    arguments = ["--logging_steps", "3", "--dataloader_num_workers", "2", "--micro_batch_size", "1"]
    run(folder, "micro-whole", [None], *arguments)
    plan = [
        ("between model and optimizer", 4),
        ("between optimizer and random state", 4),
        ("before the checkpoint is complete", 8),
        ("before old ones are deleted", 10),
        None,
    ]
    run(folder, "micro-killed", plan, *arguments)
    assert sum("loss" in entry for entry in log(folder / "micro-whole")) == NUM_STEPS // 3
    assert_same_run(folder / "micro-whole", folder / "micro-killed")
