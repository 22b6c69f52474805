# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tests of benchmarks/speed: the GPU benchmark on a CPU with tiny models, and parity of a GPU with the CPU."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten_with_path
from transformers import WhisperConfig

from benchmarks.speed import gpu
from collap import CollapModel

REPOSITORY = Path(__file__).resolve().parents[2]
PARTS = ["ceilings", "encode", "train", "score"]
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


def all_outputs(model: CollapModel, songs: dict[str, Any], texts: dict[str, Any]) -> dict[str, torch.Tensor]:
    """Everything that the model computes of songs and texts."""
    whole = model(**songs, **texts, return_loss=True, output_hidden_states=True)
    audio, text = whole.audio_model_output, whole.text_model_output
    parts = {**whole, "attentions": model.attend(audio, text), "no time": model.score(audio, text, use_time=False)}
    tensors = {str(path): value for path, value in tree_flatten_with_path(parts)[0]}
    return {path: value.cpu() for path, value in tensors.items() if value.is_floating_point()}


@torch.no_grad()
@pytest.mark.parametrize("device", [ON_GPU])
def test_all_outputs_are_those_of_the_cpu(device):
    cpu, run = torch.device("cpu"), gpu.Run(torch.device(device), gpu.Size())
    config = run.config(text_granularity="sentence", temporal_position=True, encoder_batch_size=2)
    config.speech_config = WhisperConfig()  # of the size of whisper-tiny: a CPU takes long for the large one
    model = gpu.make_model(CollapModel, config, cpu)
    songs = gpu.make_songs(config, [0.6 * config.chunk_length_s, 1.3 * config.chunk_length_s], cpu)
    texts = gpu.make_texts(config, run.size, 2, cpu)
    expected = all_outputs(model, songs, texts)
    inputs = ({name: tensor.to(device) for name, tensor in own.items()} for own in (songs, texts))
    with torch.backends.cudnn.flags(allow_tf32=False):
        found = all_outputs(model.to(device), *inputs)
    assert len(expected) > 30
    for path, value in expected.items():
        assert (found[path] - value).abs().max() <= 1e-4, path


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
