# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Memory and time of encoding noise of 5 minutes and of an hour, and how long the encoder waits for what is decoded.

    python -m benchmarks.speed.streaming demo/models/sentences

Each file is encoded in a process of its own, of which the resident peak is printed.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from collap.evaluation.retrievers import load_retriever

RATE = 44_100


def write_file(path: Path, minutes: int) -> None:
    minute = np.random.default_rng(0).uniform(-0.3, 0.3, (60 * RATE, 2))
    with soundfile.SoundFile(path, "w", RATE, channels=2) as file:
        for _ in range(minutes):
            file.write(minute)


def measure(model: str, path: Path) -> tuple[float, float, float]:
    """Seconds, the share of them in which the encoder waits, and the peak in MB."""
    retriever, busy_s = load_retriever(model), []
    encode = retriever.model.audio_model.encode

    def timed_encode(**inputs):
        started = time.perf_counter()
        encoded = encode(**inputs)
        busy_s.append(time.perf_counter() - started)
        return encoded

    retriever.model.audio_model.encode = timed_encode
    started = time.perf_counter()
    retriever.embed_song(str(path))
    seconds = time.perf_counter() - started
    return seconds, 1 - sum(busy_s) / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a CoLLAP")
    model, spawn = parser.parse_args().model, get_context("spawn")
    with tempfile.TemporaryDirectory() as folder, ProcessPoolExecutor(1, spawn, max_tasks_per_child=1) as processes:
        for file, minutes in [("5.wav", 5), ("60.wav", 60), ("5.mp3", 5), ("60.mp3", 60)]:
            write_file(path := Path(folder, file), minutes)
            seconds, waiting, peak_mb = processes.submit(measure, model, path).result()
            print(f"{file}: {seconds:.1f} s, the encoder waits {waiting:.0%} of it, {peak_mb:.0f} MB", flush=True)


if __name__ == "__main__":
    main()
