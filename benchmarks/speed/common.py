# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the scripts of this folder share: the machine and its versions, timing, and the operations of each part."""

import contextlib
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, RobertaConfig, WhisperConfig

from collap import BeatsConfig, CollapConfig
from collap.files import library_versions, this_command, write_json

RESULTS = Path(__file__).resolve().parents[1] / "results"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "collap")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, GPU, driver and versions; never a host name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    machine = {"processor": names[0] if names else platform.machine(), "cores": os.cpu_count(), "gpu": None}
    machine["versions"] = library_versions(PACKAGES)
    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        machine |= {
            "gpu": properties.name,
            "gpu_memory_gb": properties.total_memory / 1e9,
            "compute_capability": f"{properties.major}.{properties.minor}",
            "bfloat16": torch.cuda.is_bf16_supported(),
            "cuda": torch.version.cuda,
        }
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader", "--id=0"]
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            driver = subprocess.run(command, capture_output=True, text=True, check=True, timeout=20)
            machine["driver"] = driver.stdout.strip()
    return machine


def small_config(
    width: int, feed_forward: int, vocab_size: int, chunk_length_s: float, beats_layers: int = 2, **fields: Any
) -> CollapConfig:
    """Three towers of one width, of two layers, without dropout."""
    size = {"hidden_size": width, "intermediate_size": feed_forward, "num_attention_heads": 4}
    whisper = {"d_model": width, "encoder_ffn_dim": feed_forward, "encoder_attention_heads": 4, "encoder_layers": 2}
    dropouts = dict.fromkeys(("hidden_dropout", "attention_dropout", "feat_proj_dropout", "layerdrop"), 0.0)
    text_dropouts = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return CollapConfig(
        music_config=BeatsConfig(embed_dim=width, num_hidden_layers=beats_layers, **dropouts, **size),
        speech_config=WhisperConfig(**whisper, max_source_positions=round(chunk_length_s * 50)),
        text_config=RobertaConfig(vocab_size=vocab_size, num_hidden_layers=2, **text_dropouts, **size),
        chunk_length_s=chunk_length_s,
        projection_dim=width,
        **fields,
    )


def write_result(name: str, result: dict[str, Any]) -> None:
    """Writes `benchmarks/results/NAME.json`, with the command and the machine."""
    write_json(RESULTS / f"{name}.json", {"command": this_command(), "machine": describe_machine(), **result})


def measure(
    function: Callable[[], Any], device: torch.device, num_runs: int = 5, budget_s: float = 10.0
) -> dict[str, Any]:
    """
    Median seconds of up to `num_runs` calls after one to warm up, and the peak memory of the device over all of them.

    No call starts after `budget_s`, but there is at least one.
    """
    on_gpu = device.type == "cuda"
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    function()
    wait()
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    seconds: list[float] = []
    while not seconds or (len(seconds) < num_runs and sum(seconds) < budget_s):
        started = time.perf_counter()
        function()
        wait()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() / 1e9 if on_gpu else None
    return {"seconds": statistics.median(seconds), "runs": len(seconds), "peak_memory_gb": peak}


# --- floating point operations, counted by hand, for torch's counter knows no fused attention on CPUs: two for a
# multiply-add; norms, activations and softmaxes are left out


def transformer_flops(num_tokens: float, width: int, feed_forward: int, num_layers: int) -> float:
    """Forward pass of a stack of transformer layers over one sequence."""
    projections = 4 * width**2  # a token: query, key, value, output
    attention = 2 * num_tokens * width  # a token: logits over all keys, weighted sum of all values
    return 2 * num_layers * num_tokens * (projections + attention + 2 * width * feed_forward)


def beats_flops(config: BeatsConfig, num_fbank_frames: int) -> float:
    """Forward pass of BEATs over one chunk."""
    num_tokens, width = config.num_tokens(num_fbank_frames), config.hidden_size
    patch = config.patch_size**2 * config.embed_dim + config.embed_dim * width
    positions = config.num_conv_pos_embeddings * width**2 // config.num_conv_pos_embedding_groups
    gates = 8 * width * config.num_hidden_layers  # of the position bias
    layers = transformer_flops(num_tokens, width, config.intermediate_size, config.num_hidden_layers)
    return 2 * num_tokens * (patch + positions + gates) + layers


def whisper_flops(config: PreTrainedConfig) -> float:
    """Forward pass of Whisper's encoder over one chunk, which is always a full one."""
    num_vectors, width = config.max_source_positions, config.d_model
    convolutions = 2 * 3 * config.num_mel_bins * width + 3 * width**2  # a vector: two mel frames, then one of two
    layers = transformer_flops(num_vectors, width, config.encoder_ffn_dim, config.encoder_layers)
    return 2 * num_vectors * convolutions + layers


def song_flops(config: CollapConfig, seconds: float) -> float:
    """Both encoders over all chunks of a song."""
    chunks = chunk_fbank_frames(config, seconds)
    return sum(beats_flops(config.music_config, frames) + whisper_flops(config.speech_config) for frames in chunks)


def training_step_flops(config: CollapConfig, num_songs: int, num_frames: int, text_lengths: Iterable[int]) -> float:
    """
    A training step on cached features of `num_songs` songs of `num_frames` frames and sequences of `text_lengths`.

    The backward pass takes twice the forward pass, but once in the adapter, whose inputs need no gradient. Blocks of
    scores that are computed again in the backward pass do not count.
    """
    text, lengths = config.text_config, list(text_lengths)
    size = (text.hidden_size, text.intermediate_size, text.num_hidden_layers)
    layers = sum(transformer_flops(length, *size) for length in lengths)
    projection = 2 * len(lengths) * text.hidden_size * config.projection_dim
    adapter = 2 * num_songs * num_frames * config.encoder_hidden_size * config.projection_dim
    return 3 * (layers + projection) + 2 * adapter + 3 * score_flops(config, num_songs, num_frames, len(lengths))


def score_flops(config: CollapConfig, num_songs: int, num_frames: int, num_sentences: int) -> float:
    """Dot products of all frames and all sentences."""
    width = config.projection_dim + (config.num_time_features if config.temporal_position else 0)
    return 2.0 * num_songs * num_frames * num_sentences * width


def chunk_fbank_frames(config: CollapConfig, seconds: float) -> list[int]:
    """Real fbank frames (10 ms each) of the chunks of a song; windows of 25 ms leave a chunk two frames less."""
    hops, per_chunk = round(seconds * 100), round(config.chunk_length_s * 100)
    return [min(per_chunk, hops - start) - 2 for start in range(0, hops, per_chunk)]
