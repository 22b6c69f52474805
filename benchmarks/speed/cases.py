# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the parts of the CPU benchmark share: how much they do, and cases that take turns."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from collap.precision import is_faster_on_this_cpu

from .measure import Function, Row, compare

CPU = torch.device("cpu")
RATE = 16_000
DTYPES = ("float32", "bfloat16")
MATMUL_WIDTH = 2048
WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}


@dataclass(frozen=True)
class Size:
    """How much each part does."""

    num_runs: int = 5
    clip_s: float = 30.0  # of a song that all encoders take
    song_s: float = 288.0  # the paper's mean
    scored: int = 1000  # songs, and as many captions
    trained: int = 8  # songs of a batch
    indexed: int = 1000  # songs
    lengths_s: tuple[float, ...] = (30, 120, 300, 1200, 3600)
    batches: tuple[int, ...] = (1, 4, 16, 64)
    texts: tuple[int, ...] = (10, 100, 1000, 10_000)
    searched: tuple[int, ...] = (100, 1000, 10_000, 100_000)


QUICK = Size(1, 5.0, 60.0, 100, 2, 100, (30, 90, 270), (1, 4, 8), (10, 100, 1000), (100, 1000, 10_000))


@dataclass(frozen=True)
class Case:
    """A call, the seconds of audio that it takes, and its operations, where there are such."""

    call: Function
    audio_s: float | None = None
    operations: int | None = None
    dtype: str = "float32"


def run_cases(cases: Mapping[str, Case], size: Size, budget_s: float = 60.0) -> Iterator[Row]:
    """The rows of cases that take turns, with a product of matrices among them: MFU is a share of its rate."""
    slow = () if is_faster_on_this_cpu("bfloat16") else ("bfloat16",)
    for name in (name for name, case in cases.items() if case.dtype in slow):
        yield name, {"skipped": "this processor has no instructions for bf16"}
    cases = {name: case for name, case in cases.items() if case.dtype not in slow}
    functions = {name: case.call for name, case in cases.items()}
    for dtype in {case.dtype for case in cases.values()}:
        matrix = torch.randn(MATMUL_WIDTH, MATMUL_WIDTH).to(getattr(torch, dtype))
        functions[dtype] = lambda matrix=matrix: matrix @ matrix
    rows = compare(functions, CPU, size.num_runs, budget_s)
    for name, case in cases.items():
        row = rows[name]
        if case.audio_s is not None:
            row["seconds_per_minute"] = 60 * row["seconds"] / case.audio_s
        if case.operations is not None:
            rate = 2 * MATMUL_WIDTH**3 / rows[case.dtype]["seconds"]
            row |= {"tflop": case.operations / 1e12, "mfu": case.operations / row["seconds"] / rate}
        yield name, row


def noise(length_s: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """A waveform that repeats itself after ten seconds."""
    waveform = np.random.default_rng(seed).uniform(-0.5, 0.5, 10 * rate).astype(np.float32)
    return np.resize(waveform, round(length_s * rate))
