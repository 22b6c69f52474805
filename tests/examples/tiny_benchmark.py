# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A folder as the long-form benchmark leaves it, with tiny random models and songs of noise, for the experiments."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.encode import extract_features

WORDS = ("bells", "drums", "flutes", "harps")
SENTENCES = {"text_granularity": "sentence", "temporal_position": True}


def make_benchmark(folder: Path, num_songs: int = 4) -> Path:
    """`corpus/content.jsonl` and the same as validation and train, `features/`, `models/` ours-0 and document-0."""
    lines, songs = [], []
    (folder / "corpus").mkdir(parents=True)
    for index in range(num_songs):
        seconds = 2.0 + 0.5 * index
        noise = np.random.default_rng(index).standard_normal(int(16_000 * seconds))
        name = f"{index}.wav"
        soundfile.write(folder / "corpus" / name, 0.1 * noise, 16_000)
        songs.append(str(folder / "corpus" / name))
        lines.append(json.dumps(_line(name, seconds, index)) + "\n")
    for split in ("content", "validation", "train"):
        (folder / "corpus" / f"{split}.jsonl").write_text("".join(lines))

    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    encoders = None
    for name, fields in {"ours-0": SENTENCES, "document-0": {}}.items():
        torch.manual_seed(0)
        model = CollapModel(tiny_config(**fields)).eval()
        with torch.no_grad():  # far from their start, where all songs are much alike
            for weight in model.parameters():
                weight.add_(0.2 * torch.randn_like(weight))
        encoders = encoders or model.audio_model.state_dict()
        model.audio_model.load_state_dict(encoders)  # what the features were made with
        tokenizer = tiny_tokenizer(" ".join(WORDS), "a song with . then")
        processor = CollapProcessor(extractor, tokenizer, text_granularity=model.config.text_granularity)
        model.save_pretrained(folder / "models" / name)
        processor.save_pretrained(folder / "models" / name)
        if name == "ours-0":
            extract_features(songs, folder / "features", model.audio_model, extractor)
    return folder


def _line(name: str, seconds: float, index: int) -> dict:
    words = [WORDS[index % 4], WORDS[(index + 1) % 4]]
    sections = [
        {"start_s": 0.0, "end_s": 0.7, "label": "verse"},
        {"start_s": 0.7, "end_s": seconds, "label": "chorus"},
    ]
    line = {"audio": name, "duration_s": seconds, "sections": sections}
    for wording in ("", "_new", "_paraphrase"):
        line[f"text{wording}"] = ["a song", f"with {words[0]} .", f"then {words[1]} ."]
        for number, section in enumerate(sections):
            section[f"sentences{wording}"] = [number + 1]
            section[f"query{wording}"] = [f"{words[number]} .", "with a song"]
    return line
