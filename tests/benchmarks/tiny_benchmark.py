# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A folder as the long-form benchmark makes it, with tiny towers and songs of noise."""

import json
from pathlib import Path

import numpy as np
import soundfile
import torch
from tiny_models import tiny_beats_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import RobertaModel, WhisperModel

from collap import BeatsModel, CollapModel
from collap.encode import extract_features
from collap.training.arguments import ConfigArguments, ModelArguments
from collap.training.build import load_model

LEADS = ("violin", "flute", "trumpet", "cello")
WORDINGS = ("", "_new", "_paraphrase")
NUM_SONGS = 6
FIELDS = {"projection_dim": 16, "frame_pooling": 8, "kernel_size": 2, "kernel_stride": 2}
FIELDS |= {"text_granularity": "sentence", "temporal_position": True}


def make_benchmark(folder: Path) -> Path:
    """Corpus, `encoders/`, `text/`, `features/`, and a model."""
    corpus = folder / "corpus"
    corpus.mkdir(parents=True)
    lines = [json.dumps(_line(corpus, index)) + "\n" for index in range(NUM_SONGS)]
    (corpus / "content.jsonl").write_text("".join(lines))

    torch.manual_seed(0)
    BeatsModel(tiny_beats_config()).save_pretrained(folder / "encoders" / "music")
    WhisperModel(tiny_whisper_config()).save_pretrained(folder / "encoders" / "speech")
    RobertaModel(tiny_text_config(), add_pooling_layer=False).save_pretrained(folder / "text")
    tiny_tokenizer(" ".join(LEADS), "a plays the tune here .").save_pretrained(folder / "text")
    towers = {f"{kind}_model": str(folder / "encoders" / kind) for kind in ("music", "speech")}
    towers["text_model"] = str(folder / "text")
    model, processor = load_model(ModelArguments(**towers), ConfigArguments(**FIELDS), CollapModel)
    with torch.no_grad():  # far from their start, where all songs are much alike
        for name, weight in model.named_parameters():
            if "music_model" not in name and "speech_model" not in name:
                weight.add_(0.2 * torch.randn_like(weight))
    for part in (model, processor):
        part.save_pretrained(folder / "models" / "ours-0")
    songs = sorted(map(str, corpus.glob("*.wav")))
    extract_features(songs, folder / "features", model.audio_model, processor.feature_extractor)
    return folder


def _line(corpus: Path, index: int) -> dict:
    """A song of two sections."""
    seconds = 1.5 + 0.2 * index
    noise = np.random.default_rng(index).standard_normal(int(16_000 * seconds))
    name = f"content-{index}.wav"
    soundfile.write(corpus / name, 0.1 * noise, 16_000)
    leads = [LEADS[index % 4], LEADS[(index + 1 + index // 4) % 4]]
    texts = [f"a {lead} plays the tune here ." for lead in leads]
    sections = []
    for place, text in enumerate(texts):
        section = {"start_s": place * seconds / 2, "end_s": (place + 1) * seconds / 2, "label": "verse"}
        for wording in WORDINGS:
            section |= {f"query{wording}": [text], f"sentences{wording}": [place + 1]}
        sections.append(section)
    line = {"audio": name, "duration_s": seconds, "sections": sections}
    return line | {f"text{wording}": [f"a tune {index} .", *texts] for wording in WORDINGS}
