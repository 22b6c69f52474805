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
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from benchmarks.speed import __main__ as cpu
from benchmarks.speed import gpu, measure, operations
from collap import BeatsConfig, BeatsModel, CollapModel

REPOSITORY = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
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


@pytest.mark.slow
def test_all_parts_run_on_a_cpu(tmp_path, monkeypatch):
    tiny = cpu.Size(1.0, 1, 5.0, 10, 20, (1, 2), (1, 2), (1, 10), (10, 100))
    monkeypatch.setattr(cpu, "QUICK", tiny)
    file = tmp_path / "cpu.json"
    assert cpu.main(["--output", str(file), "--quick"]) == 0
    parts = json.loads(file.read_text())["parts"]
    assert list(parts) == ["ceilings", "encoders", "steps", "curves", "ceilings_at_the_end"]
    assert parts["encoders"]["rows"]["BEATs base, float32"]["mfu"] > 0
    assert parts["steps"]["rows"]["score, 31 frames a song"]["pairs_per_s"] > 0
    assert list(parts["curves"]["rows"]["sentences, 100 songs"]["seconds"]) == ["1", "10"]


def counted(model: torch.nn.Module, inputs: torch.Tensor) -> int:
    """What torch counts; eager attention is made of products that it sees."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(inputs)
    return counter.get_total_flops()


def test_operations_by_hand_are_those_that_torch_counts():
    size = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    eager = {"attn_implementation": "eager"}
    positions = {"num_conv_pos_embeddings": 5, "num_conv_pos_embedding_groups": 4}
    config = BeatsConfig(embed_dim=24, **positions, **size, **eager)
    assert operations.beats(config, 100) == counted(BeatsModel(config).eval(), torch.randn(1, 100, 128))
    layers = {"d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48}
    config = WhisperConfig(max_source_positions=50, **layers, **eager)
    assert operations.whisper_encoder(config) == counted(WhisperEncoder(config).eval(), torch.randn(1, 80, 100))
    config = BertConfig(vocab_size=50, **size, **eager)
    model = BertModel(config, add_pooling_layer=False).eval()
    assert operations.text_encoder(config, [7]) == counted(model, torch.ones(1, 7, dtype=torch.long))
    assert operations.score(2, 5, 3, 8, 4) == 2 * (2 * 5) * 3 * (8 + 4)


def test_times_and_memory_of_functions():
    sizes = {"small": 10**6, "large": 10**8}
    rows = measure.compare({name: lambda size=size: bytearray(size) for name, size in sizes.items()}, CPU, num_runs=3)
    assert list(rows) == list(sizes)
    for row in rows.values():
        assert row["runs"] == 3
        assert row["range_s"][0] <= row["seconds"] <= row["range_s"][1]
    if sys.platform == "linux":
        assert rows["large"]["peak_memory_gb"] == pytest.approx(0.1, rel=0.2)
        assert rows["small"]["peak_memory_gb"] < 0.05


def test_the_gpu_benchmark_needs_only_torch_transformers_and_numpy():
    """A machine with a GPU may lack everything else."""
    code = (
        "import sys\n"
        "for name in ('datasets', 'accelerate', 'evaluate', 'peft', 'soundfile', 'soxr', 'sentencex', 'matplotlib'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.gpu\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)
