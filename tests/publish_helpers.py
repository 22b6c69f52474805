# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the tests of publishing share: a tiny trained model in a folder, and the Python that a model card shows."""

import json
import re
from pathlib import Path
from typing import Any

import torch
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.hub.push import publish

TEXTS = ["A slow piano. Then drums set in.", "A choir sings."]

# As CollapTrainer.save_metrics writes it: by the alphabet.
METRICS = {
    "epoch": 20.0,
    "eval_audio_to_text_median_rank": 1.5,
    "eval_audio_to_text_recall@1": 0.4375,
    "eval_audio_to_text_recall@10": 0.8125,
    "eval_audio_to_text_recall@5": 0.75,
    "eval_gallery_size": 32,
    "eval_loss": 1.2345,
    "eval_runtime": 7.77,
    "eval_text_to_audio_median_rank": 2.0,
    "eval_text_to_audio_recall@1": 0.46875,
    "eval_text_to_audio_recall@10": 0.96875,
    "eval_text_to_audio_recall@5": 0.875,
}


def save_trained(folder: Path, granularity: str = "sentence", max_length_s: float | None = None) -> Path:
    """What a training run leaves: a CoLLAP, its processor and the metrics of its evaluation."""
    torch.manual_seed(0)
    of_sentences = granularity == "sentence"
    CollapModel(tiny_config(text_granularity=granularity, temporal_position=of_sentences)).save_pretrained(folder)
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S, max_length_s=max_length_s)
    CollapProcessor(extractor, tiny_tokenizer(*TEXTS), text_granularity=granularity).save_pretrained(folder)
    (folder / "eval_results.json").write_text(json.dumps(METRICS))
    return folder


def python_of_card(folder: Path) -> str:
    """The ten lines of Python that the model card shows."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", card, flags=re.MULTILINE | re.DOTALL)
    return snippet


def contents(folder: Path) -> dict[str, Any]:
    """Bytes of each file of a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(model: Path, output: Path, *more: str) -> Path:
    """`collap publish --dry_run`; returns the folder."""
    publish(["--model", str(model), "--output_dir", str(output), "--dry_run", *more])
    return output


def evaluation(*files: Path, names: tuple[str, ...] = ("Songs of mine",)) -> list[str]:
    return ["--evaluation_json", *map(str, files), "--evaluation_dataset", *names]
