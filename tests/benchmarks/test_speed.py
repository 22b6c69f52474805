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
from transformers import WhisperConfig

from benchmarks.speed import gpu
from benchmarks.speed.gpu import forward_flops, score_flops, small_config, song_flops, without_weights

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


def test_operations_by_hand():
    config = small_config(32, 64, 100, 2.0)
    config.speech_config = WhisperConfig(  # other sizes than BEATs
        d_model=48, encoder_layers=3, encoder_attention_heads=2, encoder_ffn_dim=80, max_source_positions=100
    )

    def transformer(num_tokens: int, width: int, feed_forward: int, num_layers: int) -> int:
        per_token = 4 * width**2 + 2 * num_tokens * width + 2 * width * feed_forward
        return 2 * num_layers * num_tokens * per_token

    model = without_weights(config)
    tokens = torch.ones(1, 40, dtype=torch.long, device="meta")
    assert forward_flops(model.text_model.encoder, tokens) == transformer(40, 32, 64, 2)
    # Convolutions of width 3: over 200 mel frames of 80 bins, then over every second of them.
    whisper = transformer(100, 48, 80, 3) + 2 * 3 * 48 * (200 * 80 + 100 * 48)
    mel = torch.empty(1, 80, 200, device="meta")
    assert forward_flops(model.audio_model.speech_model, mel) == whisper
    # BEATs has patches of 16 x 16, positions, and gates beside: a chunk of 12 time steps, and one of 5.
    beats = 0
    for num_tokens in (12 * 8, 5 * 8):
        positions = config.music_config.num_conv_pos_embeddings * 32**2 // 16
        beside = 16**2 * 32 + 32**2 + positions + 2 * 8 * 32
        beats += transformer(num_tokens, 32, 64, 2) + 2 * num_tokens * beside
    assert song_flops(config, 2.9) == pytest.approx(2 * whisper + beats, rel=0.01)
    assert config.music_config._attn_implementation != "eager"  # what is measured is not changed
    assert score_flops(config, 3, 20, 7) == 2 * 3 * 20 * 7 * 32


def test_the_gpu_benchmark_needs_only_torch_transformers_and_numpy():
    """A machine with a GPU may lack everything else."""
    code = (
        "import sys\n"
        "for name in ('datasets', 'accelerate', 'evaluate', 'peft', 'soundfile', 'soxr', 'sentencex', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.gpu\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
