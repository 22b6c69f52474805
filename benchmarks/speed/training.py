# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What training costs, on a GPU if there is one, else on a CPU. Each writes a file of benchmarks/results.

    python -m benchmarks.speed.training epoch     # an epoch on live audio against one on cached features
    python -m benchmarks.speed.training memory    # memory and time of a step on long songs

`epoch` trains one small model on the same songs in both ways, in turns, with one thread: ratio of the medians, time of
the extraction, and the number of epochs after which it pays. Larger encoders make the ratio larger.

`memory` compares whole batches with micro-batches, and whole songs with parts, in turns. Each run is a process of its
own. Its memory is the resident peak of the process during the step less what it held before (on a GPU: the peak of the
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

import numpy as np
import soundfile
import torch
from datasets import Dataset
from transformers import ByT5Tokenizer, RobertaConfig

from benchmarks.speed import gpu
from collap import CollapDataCollator, CollapModel, CollapProcessor
from collap.data.cache import TensorCache
from collap.encode import extract_features
from collap.training.arguments import CollapTrainingArguments
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer

SAMPLING_RATE = 16_000
CHUNK_LENGTH_S = 10.0
SENTENCES = {"text_granularity": "sentence", "temporal_position": True}
ON_GPU = torch.cuda.is_available()

# --- epoch ----------------------------------------------------------------------------------------------------------

EPOCH_SONGS, EPOCH_SONG_S, EPOCH_SENTENCES = 16, 60, 8


def write_songs(folder: Path) -> Dataset:
    """Songs of noise, each with a text of sentences of about a hundred letters."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(EPOCH_SONGS):
        file = folder / f"{index}.wav"
        soundfile.write(file, 0.1 * random.standard_normal(SAMPLING_RATE * EPOCH_SONG_S), SAMPLING_RATE)
        sentences = [f"Song {index}, part {part}: {'a word and another, ' * 4}." for part in range(EPOCH_SENTENCES)]
        rows.append({"audio": str(file), "text": sentences})
    return Dataset.from_list(rows)


def measure_epoch(num_runs: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = gpu.small_config(128, 512, 384, CHUNK_LENGTH_S, 4, **SENTENCES)
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config.text_config = RobertaConfig(vocab_size=384, pad_token_id=0, **text)  # as ByT5
    model = CollapModel(config).to("cuda" if ON_GPU else "cpu")
    processor = CollapProcessor.for_model(config, ByT5Tokenizer())
    extractor = processor.feature_extractor
    runs: dict[str, list[float]] = {"live": [], "features": []}
    with tempfile.TemporaryDirectory() as name:
        songs = write_songs(Path(name))
        training = CollapTrainingArguments(
            output_dir=name,
            num_train_epochs=1,
            contrastive_batch_size=8,
            learning_rate=0.0,  # every run begins with the same weights
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not ON_GPU,
        )

        def time_epoch(songs: Dataset, cache: TensorCache | None) -> float:
            dataset = SongDataset(songs, SongReader(processor, model.config, cache))
            trainer = CollapTrainer(model, training, CollapDataCollator(processor), train_dataset=dataset)
            return trainer.train().metrics["train_runtime"]

        time_epoch(songs.select(range(2)), None)  # to warm up
        started = time.perf_counter()
        cache = extract_features(songs["audio"], Path(name) / "features", model.audio_model, extractor)
        extraction_s = time.perf_counter() - started
        for _ in range(num_runs):
            runs["live"].append(time_epoch(songs, None))
            runs["features"].append(time_epoch(songs, cache))
    live, cached = (statistics.median(runs[way]) for way in ("live", "features"))
    encoders = (model.audio_model.music_model, model.audio_model.speech_model)
    return {
        "what": "one epoch of training with frozen encoders: live audio against features extracted once",
        "songs": EPOCH_SONGS,
        "seconds_a_song": EPOCH_SONG_S,
        "encoder_parameters": sum(encoder.num_parameters() for encoder in encoders),
        "epoch_s": runs,
        "median_epoch_s": {"live": live, "features": cached},
        "ratio_live_to_features": live / cached,
        "extraction_s": extraction_s,
        "pays_after_epochs": extraction_s / (live - cached),
    }


# --- memory ---------------------------------------------------------------------------------------------------------

STEP_SONGS, STEP_SENTENCES, STEP_TOKENS = 4, 16, 24
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
    model = CollapModel(gpu.small_config(128, 512, 2_000, CHUNK_LENGTH_S, **SENTENCES, **fields))
    torch.manual_seed(1)
    num_chunks, num_frames = round(minutes * 60 / CHUNK_LENGTH_S), round(CHUNK_LENGTH_S * 100)
    batch = {
        "fbank_features": torch.randn(STEP_SONGS, num_chunks, num_frames - 2, 128),
        "input_features": torch.randn(STEP_SONGS, num_chunks, 80, num_frames),
        "audio_attention_mask": torch.ones(STEP_SONGS, num_chunks, num_frames - 2, dtype=torch.long),
        "input_ids": torch.randint(3, 2_000, (STEP_SONGS * STEP_SENTENCES, STEP_TOKENS)),
        "sentence_counts": torch.full((STEP_SONGS,), STEP_SENTENCES),
        "return_loss": True,
    }
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
    parser.add_argument("what", choices=("epoch", "memory"))
    parser.add_argument("--num_runs", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.what == "memory":
        name, result = "training_memory", measure_memory(arguments.num_runs)
    else:
        name, result = "epoch_time", measure_epoch(arguments.num_runs)
    gpu.write_result(name, result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
