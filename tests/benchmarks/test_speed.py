# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tests of benchmarks/speed: the GPU benchmark on a CPU with tiny models, and its operations counted by torch."""

import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import WhisperConfig

from benchmarks.speed import gpu
from benchmarks.speed.gpu import beats_flops, score_flops, small_config, transformer_flops, whisper_flops
from collap import CollapModel

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
    for name in ("loss", "frames", "time queries", "BEATs hidden states 2", "Whisper hidden states 2"):
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
        return outputs if len(calls) == 1 else outputs | {"logits": outputs["logits"] + change}

    monkeypatch.setattr(gpu, "all_outputs", wrong)
    rows = dict(gpu.parity(gpu.Run(torch.device("cpu"), gpu.TINY)))
    assert not rows["float32"]["passed"]
    assert rows["float32"]["worst"] == "logits"


def test_operations_are_those_that_torch_counts():
    config = small_config(32, 64, 100, 2.0)
    config.speech_config = WhisperConfig(  # other sizes than BEATs
        d_model=48, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=80, max_source_positions=100
    )
    with torch.device("meta"):
        model = CollapModel(config).eval()
        fbank, mel, tokens = torch.empty(1, 198, 128), torch.empty(1, 80, 200), torch.ones(1, 40, dtype=torch.long)
        frames, queries = torch.empty(3, 20, 32), torch.empty(7, 32)
    model.set_attn_implementation("eager")  # the counter knows no fused attention

    def counted(function, *inputs) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            function(*inputs)
        return counter.get_total_flops()

    audio = model.audio_model
    assert beats_flops(config.music_config, 198) == pytest.approx(counted(audio.music_model, fbank), rel=0.01)
    assert whisper_flops(config.speech_config) == counted(audio.speech_model, mel)
    assert transformer_flops(40, 32, 64, 2) == counted(model.text_model.encoder, tokens)
    assert score_flops(config, 3, 20, 7) == counted(torch.einsum, "bnd,sd->bsn", frames, queries)


def test_the_gpu_benchmark_needs_only_torch_transformers_and_numpy():
    """A machine with a GPU may lack everything else."""
    code = (
        "import sys\n"
        "for name in ('datasets', 'accelerate', 'evaluate', 'peft', 'soundfile', 'soxr', 'sentencex', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.gpu\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
