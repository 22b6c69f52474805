# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Accelerate's configuration files are valid, and those for several processes train and resume, on CPUs."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser
from safetensors.torch import load_file
from survival_data import log_of, write_songs_and_model

from collap.training.checkpointing import complete_checkpoints

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "examples" / "launch_configs"
NAMES = ["one_gpu", "ddp", "fsdp2", "deepspeed_zero2"]
NUM_STEPS = 6  # 7 songs in batches of at most 3, twice


def check(file: Path) -> None:
    """Accelerate's own loader, and, for the groups that it takes as they come, the options of its launcher."""
    load_config_from_file(str(file))
    options = vars(launch_command_parser().parse_args(["script.py"]))
    for name, value in yaml.safe_load(file.read_text()).items():
        unknown = set(value) - set(options) if isinstance(value, dict) else set()
        if unknown:
            raise ValueError(f"{file.name}, {name}: accelerate launch has no {sorted(unknown)}.")


def test_there_is_a_test_of_each_file():
    assert {file.stem for file in CONFIGS.glob("*.yaml")} == set(NAMES)
    readme = (CONFIGS / "README.md").read_text()
    assert all(f"{name}.yaml" in readme for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_file_is_valid_and_described(name: str):
    check(CONFIGS / f"{name}.yaml")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("accelerate")
    (folder / "arguments.json").write_text(json.dumps(write_songs_and_model(folder)))
    return folder


def launch(
    config: str, folder: Path, output: str, *arguments: str, kill: list | None = None, succeeds: bool = True
) -> str:
    """Trains on two CPU processes by a configuration file as it stands but for bf16; returns stderr."""
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(CONFIGS / f"{config}.yaml")]
    if config != "one_gpu":
        command += ["--num_processes", "2", "--main_process_port", "0"]
    if "--bf16" not in arguments:
        command += ["--mixed_precision", "no"]
    command += [str(REPOSITORY / "tests" / "examples" / "accelerate_script.py"), json.dumps(kill)]
    command += [*json.loads((folder / "arguments.json").read_text()), "--output_dir", str(folder / output)]
    command += ["--num_train_epochs", "2", "--logging_steps", "1"]
    if config != "deepspeed_zero2":
        command += ["--use_cpu"]  # with which transformers takes DeepSpeed to be unwanted
    path = os.pathsep.join([str(REPOSITORY), str(REPOSITORY / "tests" / "training")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
    result = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode == 0) == succeeds, result.stderr[-6000:]
    return result.stderr


def log(run: Path) -> list[dict[str, float]]:
    return log_of(run / f"checkpoint-{NUM_STEPS}")


def losses(run: Path) -> list[float]:
    return [entry[name] for entry in log(run) for name in ("loss", "grad_norm") if name in entry]


def of_processes(run: Path) -> list[dict]:
    return [json.loads((run / f"process-{index}.json").read_text()) for index in range(2)]


def assert_killed_and_resumed(config: str, folder: Path, whole: Path) -> None:
    """Process 1 dies when it has yet to write its random state, and process 0 has written everything."""
    name = f"{config}-killed"
    launch(config, folder, name, kill=[1, "between optimizer and random state", 4], succeeds=False)
    assert [path.name for path in complete_checkpoints(folder / name)] == ["checkpoint-2"]
    launch(config, folder, name)
    assert log(folder / name) == log(whole)
    first, second = (load_file(run / "model.safetensors") for run in (whole, folder / name))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.fixture(scope="module")
def copied(folder) -> Path:
    """The run that others are compared with: each process has the whole model."""
    launch("ddp", folder, "ddp")
    return folder / "ddp"


@pytest.mark.slow
def test_one_gpu_is_one_process(folder):
    launch("one_gpu", folder, "one_gpu", "--bf16")
    what = json.loads((folder / "one_gpu" / "process-0.json").read_text())
    assert (what["processes"], what["distributed_type"]) == (1, "NO")
    assert len(losses(folder / "one_gpu")) == 2 * NUM_STEPS


@pytest.mark.slow
def test_ddp(folder, copied):
    assert [what["distributed_type"] for what in of_processes(copied)] == ["MULTI_CPU"] * 2
    assert [what["share_of_weights"] for what in of_processes(copied)] == [1.0, 1.0]
    assert_killed_and_resumed("ddp", folder, copied)


@pytest.mark.slow
def test_fsdp2(folder, copied):
    launch("fsdp2", folder, "fsdp2")
    assert [what["distributed_type"] for what in of_processes(folder / "fsdp2")] == ["FSDP"] * 2
    shares = [what["share_of_weights"] for what in of_processes(folder / "fsdp2")]
    assert sum(shares) == pytest.approx(1.0)
    assert max(shares) < 0.6
    # The same loss, although songs differ in their number of chunks, and layers are dropped here and there.
    assert losses(folder / "fsdp2") == pytest.approx(losses(copied), rel=1e-4)
    assert_killed_and_resumed("fsdp2", folder, folder / "fsdp2")


@pytest.mark.slow
def test_fsdp2_in_micro_batches_with_bf16(folder):
    arguments = ["--bf16", "--micro_batch_size", "1"]
    launch("ddp", folder, "ddp-bf16", *arguments)
    launch("fsdp2", folder, "fsdp2-bf16", *arguments)
    # Of the same weights the same loss, for both compute by autocast; then sums in another order lead them apart.
    first, other = losses(folder / "fsdp2-bf16"), losses(folder / "ddp-bf16")
    assert first[0] == pytest.approx(other[0], rel=1e-5)
    assert first == pytest.approx(other, rel=5e-2)


@pytest.mark.slow
def test_units_of_fsdp_are_refused(folder, tmp_path):
    text = (CONFIGS / "fsdp2.yaml").read_text()
    assert "NO_WRAP" in text
    (tmp_path / "units.yaml").write_text(text.replace("NO_WRAP", "TRANSFORMER_BASED_WRAP"))
    assert "fsdp_auto_wrap_policy must be NO_WRAP" in launch(str(tmp_path / "units"), folder, "units", succeeds=False)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is None, reason="deepspeed is not installed")
def test_deepspeed_zero2(folder, copied):
    launch("deepspeed_zero2", folder, "deepspeed_zero2")
    whats = of_processes(folder / "deepspeed_zero2")
    assert [what["distributed_type"] for what in whats] == ["DEEPSPEED"] * 2
    assert losses(folder / "deepspeed_zero2") == pytest.approx(losses(copied), rel=1e-4)
    assert_killed_and_resumed("deepspeed_zero2", folder, folder / "deepspeed_zero2")
