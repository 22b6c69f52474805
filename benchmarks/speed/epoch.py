# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Time of a training epoch: songs encoded live by frozen encoders, against cached features that were extracted once.

    python -m benchmarks.speed.epoch

Both train the same model on the same songs with [`CollapTrainer`], in turns, in one process with one thread (or on a
GPU, if there is one). Writes benchmarks/results/epoch_time.json: the ratio of the medians, the time of the extraction,
and the number of epochs after which it pays. The encoders are small; larger ones make the ratio larger.
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from datasets import Dataset
from transformers import ByT5Tokenizer, RobertaConfig

from benchmarks.speed.common import small_config, write_result
from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.cache import TensorCache
from collap.encode import extract_features
from collap.training.arguments import CollapTrainingArguments
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer

CHUNK_LENGTH_S = 10.0
NUM_SONGS, SONG_S = 16, 60
SAMPLING_RATE = 16_000
SENTENCES = 8  # of a text


def make_songs(folder: Path) -> Dataset:
    """Songs of noise, each with a text of sentences of about a hundred letters."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(NUM_SONGS):
        file = folder / f"{index}.wav"
        soundfile.write(file, 0.1 * random.standard_normal(SAMPLING_RATE * SONG_S), SAMPLING_RATE)
        sentences = [f"Song {index}, part {part}: {'a word and another, ' * 4}." for part in range(SENTENCES)]
        rows.append({"audio": str(file), "text": sentences})
    return Dataset.from_list(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    config = small_config(128, 512, 384, CHUNK_LENGTH_S, 4, text_granularity="sentence", temporal_position=True)
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config.text_config = RobertaConfig(vocab_size=384, **text)
    model = CollapModel(config).to("cuda" if torch.cuda.is_available() else "cpu")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    processor = CollapProcessor(extractor, ByT5Tokenizer(), text_granularity="sentence")
    runs: dict[str, list[float]] = {"live": [], "features": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        songs = make_songs(folder)
        training = CollapTrainingArguments(
            output_dir=name,
            num_train_epochs=1,
            contrastive_batch_size=8,
            learning_rate=0.0,  # every run begins with the same weights
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=not torch.cuda.is_available(),
        )

        def time_epoch(songs: Dataset, cache: TensorCache | None) -> float:
            dataset = SongDataset(songs, SongReader(processor, model.config, cache))
            trainer = CollapTrainer(model, training, CollapDataCollator(processor), train_dataset=dataset)
            return trainer.train().metrics["train_runtime"]

        time_epoch(songs.select(range(2)), None)  # to warm up
        started = time.perf_counter()
        cache = extract_features(songs["audio"], folder / "features", model.audio_model, extractor)
        extraction_s = time.perf_counter() - started
        for _ in range(arguments.num_runs):
            runs["live"].append(time_epoch(songs, None))
            runs["features"].append(time_epoch(songs, cache))
    live, cached = (statistics.median(runs[way]) for way in ("live", "features"))
    encoders = (model.audio_model.music_model, model.audio_model.speech_model)
    result = {
        "what": "one epoch of training with frozen encoders: live audio against features extracted once",
        "songs": NUM_SONGS,
        "seconds_a_song": SONG_S,
        "encoder_parameters": sum(encoder.num_parameters() for encoder in encoders),
        "epoch_s": runs,
        "median_epoch_s": {"live": live, "features": cached},
        "ratio_live_to_features": live / cached,
        "extraction_s": extraction_s,
        "pays_after_epochs": extraction_s / (live - cached),
    }
    write_result("epoch_time", result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
