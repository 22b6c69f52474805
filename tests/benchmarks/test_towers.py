# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Small towers: what the encoders are pretrained on and encoders for chunks of any length."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmarks import towers
from benchmarks.corpus.tags import TAGS, window_targets
from collap import CollapFeatureExtractor

RATE = towers.SAMPLING_RATE


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Three songs of noise, 4 to 6 s, of two sections each."""
    tags = [{tag: names[choice % len(names)] for tag, names in TAGS.items()} for choice in range(4)]
    lines = []
    for index in range(3):
        duration_s = 4.0 + index
        waveform = 0.1 * np.random.default_rng(index).standard_normal(int(duration_s * RATE))
        soundfile.write(tmp_path / f"{index}.wav", waveform, RATE)
        sections = [
            {"start_s": 0.0, "end_s": 2.0, "tags": tags[index]},
            {"start_s": 2.0, "end_s": duration_s, "tags": tags[index + 1]},
        ]
        lines.append(json.dumps({"audio": f"{index}.wav", "duration_s": duration_s, "sections": sections}) + "\n")
    (tmp_path / "train.jsonl").write_text("".join(lines))
    return tmp_path / "train.jsonl"


@pytest.mark.parametrize("chunk_length_s", [2.56, 2.58])
@pytest.mark.parametrize("kind", towers.FEATURES)
def test_a_batch_holds_what_each_crop_gives_alone(manifest, kind, chunk_length_s):
    extractor = CollapFeatureExtractor(chunk_length_s=chunk_length_s, music=kind == "music", speech=kind == "speech")
    features, targets = next(towers.crops(manifest, extractor, kind, batch_size=6, seed=3))
    generator = random.Random(3)
    songs = [json.loads(line) for line in manifest.read_text().splitlines()]
    for row, song in enumerate(generator.choices(songs, k=6)):
        start_s = generator.uniform(0, song["duration_s"] - chunk_length_s)
        whole, _ = soundfile.read(manifest.parent / song["audio"], dtype="float32")
        crop = whole[int(start_s * RATE) :][: round(chunk_length_s * RATE)]
        alone = extractor(crop, sampling_rate=RATE, return_tensors="pt")[towers.FEATURES[kind]][0, 0]
        assert torch.equal(features[row], alone)
        expected = window_targets(song["sections"], start_s, start_s + chunk_length_s)
        torch.testing.assert_close(targets[row, 0], torch.from_numpy(expected).float())
    assert len(features) == len(targets) == 6
