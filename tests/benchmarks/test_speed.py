# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tests of benchmarks/speed: the GPU benchmark on a CPU with tiny models, its operations by hand."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from benchmarks.speed import gpu

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ["ceilings", "parity", "encode", "train", "score"]
ON_GPU = pytest.param(
    "cuda",
    marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")],
)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
def test_all_parts_run(tmp_path, device):
    file = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(file), "--device", device, "--tiny"]) == 0
    result = json.loads(file.read_text())
    assert list(result["parts"]) == PARTS
    for part in result["parts"].values():
        assert part["rows"]
        assert "error" not in part
    parity = result["parts"]["parity"]["rows"]
    assert parity["float32"]["passed"]
    assert parity["float32"]["largest_difference"] <= parity["float16"]["largest_difference"] < 0.05
    for name in ("loss", "logits without time", "audio_model_output speech_model_output hidden_states 2"):
        assert math.isfinite(parity["bfloat16"]["differences"][name])
    shares = result["parts"]["encode"]["rows"]["2 chunks, autocast"]["shares"]
    assert sum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    assert result["parts"]["train"]["rows"]["sentence"]["songs"] == 4


def test_a_failing_part_is_recorded_and_the_others_run(tmp_path, monkeypatch):
    def slow(run: gpu.Run) -> Iterator[gpu.Row]:
        yield "first", {"number": 1.0}
        while True:
            torch.ones(1).add(1)

    monkeypatch.setattr(gpu, "PARTS", {slow: 0.2, gpu.score: 30})
    file = tmp_path / "gpu.json"
    assert gpu.main(["--output", str(file), "--device", "cpu", "--tiny"]) == 1
    parts = json.loads(file.read_text())["parts"]
    assert parts["slow"]["rows"] == {"first": {"number": 1.0}}
    assert "time budget" in parts["slow"]["error"]
    assert parts["score"]["rows"]
    assert "error" not in parts["score"]


@pytest.mark.parametrize("change", [1e-3, math.nan])
def test_parity_fails_on_a_difference(monkeypatch, change):
    right = gpu.all_outputs
    calls = []

    def wrong(*inputs) -> dict[str, torch.Tensor]:
        outputs = right(*inputs)
        calls.append(inputs)
        return outputs if len(calls) == 1 else outputs | {"loss": outputs["loss"] + change}

    monkeypatch.setattr(gpu, "all_outputs", wrong)
    rows = dict(gpu.parity(gpu.Run(torch.device("cpu"), gpu.TINY)))
    assert not rows["float32"]["passed"]
    assert rows["float32"]["worst"] == "loss"


def test_operations_by_hand():
    first, second = torch.ones(3, 5), torch.ones(5, 7)
    row = gpu.measure(lambda: first @ second, torch.device("cpu"))
    assert row["tflop"] * 1e12 == pytest.approx(2 * 3 * 5 * 7)
    assert row["tflops"] == row["tflop"] / row["seconds"]


def test_the_gpu_benchmark_needs_only_torch_transformers_and_numpy():
    """A machine with a GPU may lack everything else."""
    code = (
        "import sys\n"
        "for name in ('datasets', 'accelerate', 'evaluate', 'peft', 'soundfile', 'soxr', 'sentencex', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.gpu\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
