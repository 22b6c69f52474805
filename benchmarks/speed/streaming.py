# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Memory and time of encoding long files, and how long the encoder waits for what is decoded.

    python -m benchmarks.speed.streaming demo/models/sentences

Noise with tones, 44.1 kHz, stereo, wav and mp3. Each file is encoded in a process of its own. `peak_mb` is the
resident peak of that process; `waiting` the share of the time in which the encoder has nothing to do.
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

RATE, MINUTES = 44_100, (5, 60)


def write_file(path: Path, minutes: int) -> None:
    time_s = np.arange(10 * RATE)[:, None] / RATE
    generator = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", RATE, channels=2) as file:
        for _ in range(6 * minutes):
            tones = np.sin(2 * np.pi * generator.uniform(100, 2000, (1, 2)) * time_s)
            file.write(0.3 * tones + 0.05 * generator.standard_normal(tones.shape))


def measure(model: str, path: Path) -> dict[str, float]:
    retriever = load_retriever(model)
    encode, encoding_s = retriever.model.audio_model.encode, 0.0

    def timed_encode(**inputs):
        nonlocal encoding_s
        started = time.perf_counter()
        encoded = encode(**inputs)
        encoding_s += time.perf_counter() - started
        return encoded

    retriever.model.audio_model.encode = timed_encode
    started = time.perf_counter()
    retriever.embed_song(str(path))
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "waiting": 1 - encoding_s / seconds, "peak_mb": peak_mb}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="folder of a CoLLAP")
    model = parser.parse_args().model
    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as fresh_process,
    ):
        for suffix in ("wav", "mp3"):
            peaks = []
            for minutes in MINUTES:
                write_file(path := Path(folder) / f"{minutes}.{suffix}", minutes)
                row = fresh_process.submit(measure, model, path).result()
                peaks.append(row["peak_mb"])
                print(f"{minutes:2} min {suffix}: " + ", ".join(f"{name} {row[name]:.3g}" for name in row), flush=True)
            print(f"An hour takes {peaks[-1] - peaks[0]:.0f} MB more than {MINUTES[0]} minutes ({suffix}).")


if __name__ == "__main__":
    main()
