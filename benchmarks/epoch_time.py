# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Time of a training epoch: songs heard live by frozen encoders against their features, which were extracted once.

    python benchmarks/epoch_time.py

Both ways train the same model on the same songs with [`CollapTrainer`], in turns, in one process of one thread (or on
a GPU, if there is one). Writes benchmarks/results/epoch_time.json: the ratio of the medians, what the extraction cost,
and after how many epochs it has paid. The encoders are small; the larger they are, the larger is the ratio, for an
epoch from features does not know them.
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
from machine import describe_machine, write_result
from transformers import ByT5Tokenizer, RobertaConfig, WhisperConfig

from collap import BeatsConfig, CollapConfig, CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.encode import FeatureStore, extract_features
from collap.training.arguments import CollapTrainingArguments
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer

CHUNK_LENGTH_S = 10.0
SAMPLING_RATE = 16_000
SENTENCES = 8  # of a text
WAYS = ("live", "features")


def make_model() -> CollapModel:
    """BEATs of 4 layers and Whisper of 2, 128 wide, frozen; a text tower of 2 layers, 64 wide."""
    torch.manual_seed(0)
    width = {"hidden_size": 128, "num_attention_heads": 4, "intermediate_size": 512}
    whisper = {"d_model": 128, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 512}
    text = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 128}
    config = CollapConfig(
        music_config=BeatsConfig(embed_dim=128, num_hidden_layers=4, **width).to_dict(),
        speech_config=WhisperConfig(**whisper, max_source_positions=round(CHUNK_LENGTH_S * 50)).to_dict(),
        text_config=RobertaConfig(vocab_size=384, **text).to_dict(),
        chunk_length_s=CHUNK_LENGTH_S,
        projection_dim=128,
        text_granularity="sentence",
        temporal_position=True,
    )
    return CollapModel(config)


def make_songs(folder: Path, num_songs: int, seconds: float) -> Dataset:
    """Songs of noise, each with a text of some hundred letters a sentence."""
    random = np.random.default_rng(0)
    rows = []
    for index in range(num_songs):
        file = folder / f"{index}.wav"
        soundfile.write(file, 0.1 * random.standard_normal(int(SAMPLING_RATE * seconds)), SAMPLING_RATE)
        sentences = [f"Song {index}, part {part}: {'a word and another, ' * 4}." for part in range(SENTENCES)]
        rows.append({"audio": str(file), "text": sentences})
    return Dataset.from_list(rows)


def time_epoch(
    model: CollapModel, processor: CollapProcessor, songs: Dataset, store: FeatureStore | None, folder: Path
) -> float:
    """Seconds of one epoch."""
    training = CollapTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        contrastive_batch_size=8,
        learning_rate=0.0,  # every run begins with the same weights
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = CollapTrainer(
        model=model,
        args=training,
        train_dataset=SongDataset(songs, SongReader(processor, model.config, store)),
        data_collator=CollapDataCollator(processor),
    )
    return trainer.train().metrics["train_runtime"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--num_songs", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60.0, help="length of a song")
    parser.add_argument("--num_runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = make_model().to("cuda" if torch.cuda.is_available() else "cpu")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    processor = CollapProcessor(extractor, ByT5Tokenizer(), text_granularity="sentence")
    runs: dict[str, list[float]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        songs = make_songs(folder, arguments.num_songs, arguments.seconds)
        time_epoch(model, processor, songs.select(range(2)), None, folder)  # what only a first run pays
        started = time.perf_counter()
        extract_features(songs["audio"], folder / "features", model.audio_model, extractor)
        extraction_s = time.perf_counter() - started
        store = FeatureStore(folder / "features", model.audio_model, extractor)
        megabytes = sum(file.stat().st_size for file in store.folder.iterdir()) / 1e6
        for _ in range(arguments.num_runs):
            for way in WAYS:
                runs[way].append(time_epoch(model, processor, songs, store if way == "features" else None, folder))
    medians = {way: statistics.median(own) for way, own in runs.items()}
    saved = medians["live"] - medians["features"]
    result = {
        "what": "one epoch of training with frozen encoders: live audio against features extracted once",
        "machine": describe_machine(),
        "songs": arguments.num_songs,
        "seconds_a_song": arguments.seconds,
        "encoder_parameters": sum(
            parameter.numel()
            for encoder in (model.audio_model.music_model, model.audio_model.speech_model)
            for parameter in encoder.parameters()
        ),
        "epoch_s": runs,
        "median_epoch_s": medians,
        "ratio_live_to_features": medians["live"] / medians["features"],
        "extraction_s": extraction_s,
        "pays_after_epochs": extraction_s / saved,
        "features_mb": megabytes,
    }
    write_result(Path(__file__), result)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
