# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
A small BEATs for the real music, pretrained on the machine tags of the training albums (distillation).

    python -m benchmarks.real_music.towers --data DIR --output_dir OUT/encoders/music

DIR is the folder of `benchmarks.real_music.fetch`, whose `--tracks` has the tags of each track every 3 s, with their
probabilities, and the level. The tower learns to predict both in each half of a crop of 6.4 s. Songs are decoded
first, to DIR/waveforms (115 MB an hour). `validation.json` beside the tower has the area under the ROC curve and the
average precision, means over the tags, on crops of the validation albums.
"""

import argparse
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn.functional import mse_loss

from collap import CollapFeatureExtractor
from collap.data.audio_files import read_audio
from collap.files import atomic_write, this_command, write_json, write_jsonl
from collap.progress import progress_bar

from ..towers import SAMPLING_RATE, Labels, crops, pretrain
from .fetch import LABELS

CROP_S, NUM_WINDOWS, NUM_TAGS = 6.42, 2, 100  # 40 time steps of BEATs, 5 frames of 1.28 s
BELOW_LEAST = 0.02  # probability of a tag that is not in the list, which begins at 0.05
SILENCE_DB = -40.0  # the level that counts as 0; 0 dB counts as 1
SIZES = {"hidden_size": 128, "embed_dim": 128, "num_hidden_layers": 3, "num_attention_heads": 2}
SIZES |= {"intermediate_size": 384}
# A tag is present where it is fairly sure, and measured if so many windows have it.
PRESENT, LEAST_WINDOWS, VALIDATION_BATCHES = 0.2, 20, 100


def frame_targets(track: Mapping[str, Any]) -> np.ndarray:
    """Probability of each tag in each frame of a track, and its level from 0 to 1: `(frames, tags + 1)`."""
    targets = np.full((len(track["tags"]), NUM_TAGS + 1), BELOW_LEAST, dtype=np.float32)
    for row, tags, level_db in zip(targets, track["tags"], track["level_db"], strict=True):
        row[[int(tag) for tag in tags]] = np.array(list(tags.values())) / 100
        row[NUM_TAGS] = np.clip(1 - level_db / SILENCE_DB, 0, 1)
    return targets


def crop_targets(track: Mapping[str, Any], start_s: float, end_s: float) -> np.ndarray:
    """Means in the windows of a crop, `(windows, tags + 1)`; the last frame of a track goes on to its end."""
    starts = np.arange(len(track["tags"])) * track["frames_s"]
    ends = np.append(starts[1:], np.inf)
    bounds = np.linspace(start_s, end_s, NUM_WINDOWS + 1)[:, None]
    overlap = np.clip(np.minimum(ends, bounds[1:]) - np.maximum(starts, bounds[:-1]), 0, None)  # (windows, frames)
    return overlap / overlap.sum(1, keepdims=True) @ frame_targets(track)


def standardised_loss(manifest: Path) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """
    Squared distance to the roots of the targets, each of mean 0 and deviation 1 over the tracks of a manifest: the
    cross-entropy of soft targets is nearly as low for a constant as it can be (docs/log.md).
    """
    roots = np.sqrt(np.concatenate([frame_targets(json.loads(line)) for line in manifest.read_text().splitlines()]))
    mean, deviation = torch.from_numpy(roots.mean(0)), torch.from_numpy(roots.std(0)) + 0.01
    return lambda predicted, targets: mse_loss(predicted, (targets.sqrt() - mean) / deviation)


def auc_and_ap(scores: np.ndarray, present: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve and average precision of scores of windows, some of which a tag is present in."""
    hits = present[np.argsort(-scores, kind="stable")]
    precision = hits.cumsum() / np.arange(1, len(hits) + 1)
    return float(1 - (~hits).cumsum()[hits].mean() / (~hits).sum()), float(precision[hits].mean())


def validation_metrics(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Of logits and targets `(windows, tags + 1)`; `level` is the correlation of the levels."""
    present = targets[:, :NUM_TAGS] >= PRESENT
    tags = [tag for tag, count in enumerate(present.sum(0)) if count >= LEAST_WINDOWS]
    auc, ap = np.mean([auc_and_ap(logits[:, tag], present[:, tag]) for tag in tags], axis=0)
    level = np.corrcoef(logits[:, NUM_TAGS], targets[:, NUM_TAGS])[0, 1]
    chance = float(present[:, tags].mean())
    return {"num_tags": len(tags), "auc": auc, "ap": ap, "ap_of_chance": chance, "level": float(level)}


def decode(data: Path, split: str, tracks: Mapping[str, Mapping[str, Any]]) -> Path:
    """A manifest of the waveforms of a split, with the tags; those that are not there are written: 16 kHz, int16."""
    manifest, rows = data / "waveforms" / f"{split}.jsonl", []
    lines = (data / f"{split}.jsonl").read_text().splitlines()
    for song in progress_bar([json.loads(line) for line in lines], unit="song", desc=f"Decoding {split}"):
        file = manifest.parent / f"{song['song_id']}.wav"
        if not file.is_file():
            waveform, _ = read_audio(data / song["audio"], SAMPLING_RATE)
            with atomic_write(file) as temporary:
                soundfile.write(temporary, waveform, SAMPLING_RATE, subtype="PCM_16")
        rows.append({**tracks[song["song_id"]], "audio": file.name})
    write_jsonl(manifest, rows)
    return manifest


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of train.jsonl and validation.jsonl")
    parser.add_argument("--tracks", type=Path, default=LABELS, help="as of fetch")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--num_steps", type=int, default=1200, help="of 16 crops")
    given = parser.parse_args(arguments)
    lines = (given.tracks / "tracks.jsonl").read_text().splitlines()
    tracks = {track["sha256"]: track for track in map(json.loads, lines)}
    manifests = [decode(given.data, split, tracks) for split in ("train", "validation")]
    labels = Labels(NUM_TAGS + 1, crop_targets, standardised_loss(manifests[0]))
    options = {"chunk_length_s": CROP_S, "labels": labels, "batch_size": 16, "learning_rate": 3e-3, **SIZES}
    tagger = pretrain("music", manifests[0], given.output_dir, given.num_steps, **options).eval()
    extractor = CollapFeatureExtractor(chunk_length_s=CROP_S, speech=False)
    batches = itertools.islice(crops(manifests[1], extractor, "music", 16, 0, labels), VALIDATION_BATCHES)
    with torch.inference_mode():
        found = [(tagger(features, NUM_WINDOWS).flatten(0, 1), targets.flatten(0, 1)) for features, targets in batches]
    logits, targets = (torch.cat(parts).numpy() for parts in zip(*found, strict=True))
    metrics = validation_metrics(logits, targets)
    print(metrics)
    write_json(given.output_dir / "validation.json", {"command": this_command(), **metrics})


if __name__ == "__main__":
    main()
