# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Memory and time of a training step on long songs: whole batches against micro-batches, whole songs against parts.

    python -m benchmarks.speed.memory

Each way runs in a process of its own, in turns, several times. Its memory is the resident peak of the process during
the step less what it held before (on a GPU: the peak of the allocator). All encoders learn, without dropout, so that
all ways have the same loss. Writes benchmarks/results/training_memory.json; read the ratios, not the seconds.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import torch

from benchmarks.speed.common import small_config, write_result
from collap import CollapModel
from collap.training.arguments import CollapTrainingArguments
from collap.training.trainer import CollapTrainer

CHUNK_LENGTH_S = 10.0
NUM_SONGS = 4
SENTENCES, TOKENS = 16, 24  # of a text
PLAIN = "4 songs of 5 min, plain"
WAYS = {  # minutes of each song, micro_batch_size, encoder_batch_size
    PLAIN: (5, None, 10_000),
    "4 songs of 5 min, micro-batches of 1 song": (5, 1, 10_000),
    "4 songs of 5 min, 2 chunks at a time": (5, None, 2),
    "4 songs of 5 min, micro-batches of 1 song, 2 chunks at a time": (5, 1, 2),
    "4 songs of 10 min, micro-batches of 1 song, 2 chunks at a time": (10, 1, 2),
}


def make_batch(num_chunks: int) -> dict[str, Any]:
    torch.manual_seed(1)
    num_frames = round(CHUNK_LENGTH_S * 100)
    return {
        "fbank_features": torch.randn(NUM_SONGS, num_chunks, num_frames - 2, 128),
        "input_features": torch.randn(NUM_SONGS, num_chunks, 80, num_frames),
        "audio_attention_mask": torch.ones(NUM_SONGS, num_chunks, num_frames - 2, dtype=torch.long),
        "input_ids": torch.randint(3, 2_000, (NUM_SONGS * SENTENCES, TOKENS)),
        "sentence_counts": torch.full((NUM_SONGS,), SENTENCES),
        "return_loss": True,
    }


def measure_step(name: str) -> dict[str, float]:
    """The first step of a way: seconds, peak of memory in MB, and the loss, which must be the same for all ways."""
    on_gpu = torch.cuda.is_available()
    minutes, micro_batch_size, encoder_batch_size = WAYS[name]

    def peak_kb() -> float:
        used = torch.cuda.max_memory_allocated() / 1024 if on_gpu else 0.0
        return used or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    if not on_gpu:
        torch.set_num_threads(1)
    fields = {"text_granularity": "sentence", "temporal_position": True, "encoder_batch_size": encoder_batch_size}
    fields |= {"freeze_music_model": False, "freeze_speech_model": False}
    torch.manual_seed(0)
    model = CollapModel(small_config(128, 512, 2_000, CHUNK_LENGTH_S, **fields))
    with tempfile.TemporaryDirectory() as folder:
        arguments = CollapTrainingArguments(
            output_dir=folder,
            contrastive_batch_size=NUM_SONGS,
            micro_batch_size=micro_batch_size,
            use_cpu=not on_gpu,
            report_to="none",
        )
        trainer = CollapTrainer(model.to(arguments.device), arguments)
        trainer.current_gradient_accumulation_steps = 1
        batch = make_batch(round(minutes * 60 / CHUNK_LENGTH_S))
        for parameter in trainer.model.parameters():  # what an optimizer holds in any case
            parameter.grad = torch.zeros_like(parameter)
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        before = peak_kb()
        started = time.perf_counter()
        loss = trainer.training_step(trainer.model, batch).item()  # waits for the GPU
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "memory_mb": (peak_kb() - before) / 1024, "loss": loss}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--one", choices=WAYS, help="measure one way in this process and print it (used by itself)")
    parser.add_argument("--num_runs", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure_step(arguments.one)))
        return
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in WAYS}
    for _ in range(arguments.num_runs):
        for name in WAYS:
            command = [sys.executable, "-m", "benchmarks.speed.memory", "--one", name]
            result = subprocess.run(command, capture_output=True, text=True, check=True)
            runs[name].append(json.loads(result.stdout.splitlines()[-1]))
    medians = {
        name: {key: statistics.median(run[key] for run in own) for key in ("seconds", "memory_mb", "loss")}
        for name, own in runs.items()
    }
    for row in medians.values():
        row["memory_ratio"] = row["memory_mb"] / medians[PLAIN]["memory_mb"]
        row["time_ratio"] = row["seconds"] / medians[PLAIN]["seconds"]
    write_result("training_memory", {"what": "one training step, all encoders learning", "ways": medians})
    print(json.dumps(medians, indent=2))


if __name__ == "__main__":
    main()
