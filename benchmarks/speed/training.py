# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Memory and time of a training step on long songs, on a GPU if there is one, else on a CPU.

    python -m benchmarks.speed.training     # writes benchmarks/results/training_memory.json

It compares whole batches with micro-batches, and whole songs with parts, in turns. Each run is a process of its own.
Its memory is the resident peak of the process during the step less what it held before (on a GPU: the peak of the
allocator). All encoders learn, without dropout, so that all ways have the same loss. Only the ratios are of use.
"""

import argparse
import json
import resource
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from benchmarks.speed import gpu
from collap import CollapModel
from collap.files import this_command, write_json
from collap.training.arguments import CollapTrainingArguments
from collap.training.trainer import CollapTrainer

RESULT = Path(__file__).resolve().parents[1] / "results" / "training_memory.json"
CHUNK_LENGTH_S = 10.0
SENTENCES = {"text_granularity": "sentence", "temporal_position": True}
ON_GPU = torch.cuda.is_available()

STEP_SONGS, TEXTS = 4, gpu.Size(sentences=16, sentence_tokens=(24, 24))
PLAIN = "4 songs of 5 min, plain"
WAYS = {  # minutes of each song, micro_batch_size, encoder_batch_size
    PLAIN: (5, None, 10_000),
    "4 songs of 5 min, micro-batches of 1 song": (5, 1, 10_000),
    "4 songs of 5 min, 2 chunks at a time": (5, None, 2),
    "4 songs of 5 min, micro-batches of 1 song, 2 chunks at a time": (5, 1, 2),
    "4 songs of 10 min, micro-batches of 1 song, 2 chunks at a time": (10, 1, 2),
}


def measure_step(name: str) -> dict[str, float]:
    """The first step of a way: seconds, peak of memory in MB, and the loss, which must be the same for all ways."""
    minutes, micro_batch_size, encoder_batch_size = WAYS[name]

    def peak_kb() -> float:
        if ON_GPU:
            return torch.cuda.max_memory_allocated() / 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    torch.set_num_threads(1)
    fields = {"encoder_batch_size": encoder_batch_size, "freeze_music_model": False, "freeze_speech_model": False}
    torch.manual_seed(0)
    config = gpu.small_config(128, 512, 2_000, CHUNK_LENGTH_S, **SENTENCES, **fields)
    model = CollapModel(config)
    torch.manual_seed(1)
    cpu = torch.device("cpu")
    batch = gpu.make_songs(config, [60.0 * minutes] * STEP_SONGS, cpu)
    batch |= gpu.make_texts(config, TEXTS, STEP_SONGS, cpu) | {"return_loss": True}
    with tempfile.TemporaryDirectory() as folder:
        arguments = CollapTrainingArguments(
            output_dir=folder,
            contrastive_batch_size=STEP_SONGS,
            micro_batch_size=micro_batch_size,
            use_cpu=not ON_GPU,
            report_to="none",
        )
        trainer = CollapTrainer(model.to(arguments.device), arguments)
        trainer.current_gradient_accumulation_steps = 1
        for parameter in trainer.model.parameters():  # what an optimizer holds in any case
            parameter.grad = torch.zeros_like(parameter)
        if ON_GPU:
            torch.cuda.reset_peak_memory_stats()
        before = peak_kb()
        started = time.perf_counter()
        loss = trainer.training_step(trainer.model, batch).item()  # waits for the GPU
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "memory_mb": (peak_kb() - before) / 1024, "loss": loss}


def measure_memory(num_runs: int) -> dict[str, Any]:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh_process:
        runs = [{name: fresh_process.submit(measure_step, name).result() for name in WAYS} for _ in range(num_runs)]
    keys = ("seconds", "memory_mb", "loss")
    ways = {name: {key: statistics.median(run[name][key] for run in runs) for key in keys} for name in WAYS}
    for row in ways.values():
        row["memory_ratio"] = row["memory_mb"] / ways[PLAIN]["memory_mb"]
        row["time_ratio"] = row["seconds"] / ways[PLAIN]["seconds"]
    return {"what": "one training step, all encoders learning", "ways": ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_runs", type=int, default=5)
    result = measure_memory(parser.parse_args().num_runs)
    write_json(RESULT, {"command": this_command(), "machine": gpu.describe_machine(), **result})
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
