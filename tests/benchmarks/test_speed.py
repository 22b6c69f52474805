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
from benchmarks.speed import cases, curves, encoders, gpu, measure, operations, process, steps
from collap import BeatsConfig, BeatsModel, CollapConfig, CollapModel
from collap.modeling_collap.scoring_collap import score_sentences
from collap.precision import PRECISIONS, is_faster_on_this_cpu

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
    shares = result["parts"]["encode"]["rows"]["2 chunks"]["shares"]
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


# Clips of 3 s, songs of 5 s.
TINY_CPU = cases.Size(1, 3.0, 5.0, 10, 2, 12, (1, 2), (1, 2), (1, 10), (10, 100))
ROWS = {
    cpu.ceilings: ["matmul float32", "matmul bfloat16"],
    steps.steps: ["features", "fusion", "first stage, 1,000 songs", "decode flac", "decode mp3"],
    steps.batches: ["alone", "together"],
    steps.scores: [f"{name}, {frames} frames a song" for frames in (3, 31) for name in ("all pairs", "naive loop")],
    steps.training: [
        f"{granularity}, frame_pooling {pooling}" for granularity in ("document", "sentence") for pooling in (8, 64)
    ],
    curves.curves: [
        "seconds of a song",
        "seconds of a song, from its file",
        "songs of 30 s in a batch",
        "sentences, 100 songs",
        "songs, first stage of a search",
    ],
    process.imports: ["import json", "import math"],
    process.leak: ["index of 12 songs"],
}
ENCODERS = ["CoLLAP (both)", "BEATs base, the original's algorithm", "ClapModel (HTSAT)", "PE-Audio"]
ENCODERS += [f"CoLLAP (both), {name}" for name in filter(is_faster_on_this_cpu, PRECISIONS)]
ENCODERS += [f"{name} base, {dtype}" for dtype in cases.DTYPES for name in ("BEATs", "Whisper")]


@pytest.fixture
def tiny_parts(monkeypatch):
    monkeypatch.setattr(cpu, "QUICK", TINY_CPU)
    monkeypatch.setattr(cases, "MATMUL_WIDTH", 64)
    monkeypatch.setattr(cpu, "MATMUL_WIDTH", 64)
    monkeypatch.setattr(steps, "MINI_LM", {**steps.MINI_LM, "hidden_size": 24, "num_hidden_layers": 1})
    monkeypatch.setattr(gpu, "Size", lambda: gpu.TINY)  # of the texts of a training step
    monkeypatch.setattr(process, "IMPORTS", ("import json", "import math"))


def run_part(part, tmp_path) -> dict[str, Any]:
    file = tmp_path / "cpu.json"
    assert cpu.main(["--output", str(file), "--quick"]) == 0
    return json.loads(file.read_text())["parts"][part.__name__]["rows"]


@pytest.mark.parametrize(
    "part",
    [pytest.param(part, id=part.__name__, marks=pytest.mark.slow if part is process.leak else ()) for part in ROWS],
)
def test_a_part_runs_on_a_cpu(tmp_path, monkeypatch, tiny_parts, capsys, part):
    monkeypatch.setattr(cpu, "PARTS", {part: 120})
    rows = run_part(part, tmp_path)
    assert list(rows) == ROWS[part]
    table = capsys.readouterr().out.split("\n\n")[-1].splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in table[2:]] == [f"{part.__name__}: {name}" for name in rows]
    for row in rows.values():
        assert row.get("mfu", 0.5) > 0
        assert row.get("of_alone", 1.0) > 0
    if part is steps.steps:
        assert rows["features"]["seconds_per_minute"] == pytest.approx(60 / 5.0 * rows["features"]["seconds"])


@pytest.mark.slow
def test_all_encoders_run_on_a_cpu(tmp_path, monkeypatch, tiny_parts):
    monkeypatch.setattr(cpu, "PARTS", {encoders.encoders: 600})
    rows = run_part(encoders.encoders, tmp_path)
    assert set(rows) == set(ENCODERS)
    for row in rows.values():
        assert "skipped" in row or row["seconds_per_minute"] > 0


def test_mfu_is_a_share_of_products_that_take_turns(monkeypatch):
    """2 x 100^3 operations of a product in 0.1 s; half as many in 0.2 s are a quarter of its rate."""
    monkeypatch.setattr(cases, "MATMUL_WIDTH", 100)
    seconds = {"ours": {"seconds": 0.2}, "float32": {"seconds": 0.1}}
    monkeypatch.setattr(cases, "compare", lambda functions, *_: {name: dict(seconds[name]) for name in functions})
    monkeypatch.setattr(cases, "is_faster_on_this_cpu", lambda precision: False)
    given = {"half": cases.Case(lambda: None, None, 1, "bfloat16"), "ours": cases.Case(lambda: None, 30.0, 10**6)}
    rows = dict(cases.run_cases(given, TINY_CPU))
    assert list(rows["half"]) == ["skipped"]
    assert rows["ours"]["mfu"] == pytest.approx(0.25)
    assert rows["ours"]["seconds_per_minute"] == pytest.approx(0.4)
    assert rows["ours"]["tflop"] == pytest.approx(1e-6)


@torch.no_grad()
def test_the_naive_loop_gives_the_scores():
    """Segments that overlap, and a last one that is short."""
    config = CollapConfig(frame_pooling=64, kernel_size=4, kernel_stride=3)
    inputs = gpu.make_score_inputs(config, 1, 15.0, 3)
    torch.testing.assert_close(steps.naive_scores(*inputs), score_sentences(*inputs))


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


def test_operations_of_a_training_step_by_hand():
    """Two songs of 5 frames, sentences of 7 and 3 tokens, one layer 4 wide with 6 inside."""
    text = BertConfig(vocab_size=50, hidden_size=4, num_hidden_layers=1, num_attention_heads=1, intermediate_size=6)
    config = CollapConfig(music_config=None, text_config=text, projection_dim=8, text_granularity="document")
    width = config.encoder_hidden_size
    layers = [2 * (tokens * 4 * 4 * 4 + 2 * tokens * tokens * 4 + 2 * tokens * 4 * 6) for tokens in (7, 3)]
    # Forward and two products backward; the adapter has one, for its inputs need no gradient.
    expected = 3 * sum(layers) + 3 * 2 * 10 * 8 * 2 + 2 * (2 * 10 * width * 8)
    assert operations.train_step(config, [7, 3], 2, 5) == expected


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
