# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A folder as the long-form benchmark leaves it, with tiny towers and all that the experiments train from."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import tiny_beats_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import RobertaModel, WhisperModel

from collap import BeatsModel, CollapModel
from collap.encode import extract_features

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # last: examples/evaluate.py is not the library of that name
sys.path.append(str(EXAMPLES / "experiments"))
import common  # noqa: E402, F401 - makes the way to the examples' modules
import extract_features as extracting  # noqa: E402
import rank_questions  # noqa: E402
import split_features  # noqa: E402
import train  # noqa: E402
from questions import LENGTHS_MIN  # noqa: E402
from steps import Step  # noqa: E402

from collap.training.build import ConfigArguments, ModelArguments, load_model  # noqa: E402

STYLES = ("critic", "librarian", "amateur", "musician")
LEADS = ("violin", "flute", "trumpet", "cello")
GERMAN = {"violin": "eine Geige", "flute": "eine Flöte", "trumpet": "eine Trompete", "cello": "ein Cello"}
SCRIPTS = {
    "rank_questions.py": rank_questions.main,
    "split_features.py": split_features.main,
    "extract_features.py": extracting.main,
    "train_row.py": train.main,
}
FIELDS = {"projection_dim": 16, "frame_pooling": 8, "kernel_size": 2, "kernel_stride": 2}
SENTENCES = {"text_granularity": "sentence", "temporal_position": True, "section_loss_weight": 1.0}


def make_trainable_benchmark(folder: Path, num_songs: int = 6) -> Path:
    """Corpus, `encoders/`, `text/`, `features/`, `models/ours-0` and `mean-0` and the command that trained "ours"."""
    (folder / "corpus").mkdir(parents=True)
    lines = {split: [] for split in ("train", "validation", "content", *(f"long_{m}" for m in LENGTHS_MIN))}
    for index in range(num_songs):
        for split in lines:
            lines[split].append(_line(folder / "corpus", split, index))
    for split, of_split in lines.items():
        (folder / "corpus" / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in of_split))

    torch.manual_seed(0)
    BeatsModel(tiny_beats_config()).save_pretrained(folder / "encoders" / "music")
    WhisperModel(tiny_whisper_config()).save_pretrained(folder / "encoders" / "speech")
    RobertaModel(tiny_text_config(), add_pooling_layer=False).save_pretrained(folder / "text")
    tiny_tokenizer(" ".join(LEADS), "a plays the tune here .").save_pretrained(folder / "text")
    towers = {f"{kind}_model": str(folder / "encoders" / kind) for kind in ("music", "speech")}
    towers["text_model"] = str(folder / "text")
    config = ConfigArguments(text_granularity="sentence", temporal_position=True, **FIELDS)
    model, processor = load_model(ModelArguments(**towers), config, CollapModel)
    for row in ("ours-0", "mean-0"):
        model.save_pretrained(folder / "models" / row)
        processor.save_pretrained(folder / "models" / row)
    songs = sorted(str(file) for file in (folder / "corpus").glob("*.wav"))
    extract_features(songs, folder / "features", model.audio_model, processor.feature_extractor)

    recipe = {"use_cpu": "true", "report_to": "none", "save_strategy": "no", "disable_tqdm": "true"}
    recipe |= {"num_train_epochs": 1, "per_device_train_batch_size": 3, "train_manifest": "elsewhere/train.jsonl"}
    recipe |= towers | FIELDS | SENTENCES
    command = ["python", "train_row.py", "--output_dir=elsewhere", *(f"--{k}={v}" for k, v in recipe.items())]
    (folder / "done").mkdir()
    (folder / "done" / "train-ours-0.json").write_text(json.dumps(command))
    return folder


def _line(corpus: Path, split: str, index: int) -> dict:
    """A song of two sections; the second has a voice in every other song. Lengths are seconds, not minutes."""
    seconds = 1.5 + 0.2 * index
    seconds *= int(split.split("_")[1]) / 2 if split.startswith("long") else 1
    # By the name: other noise in each split, the same in each process
    noise = np.random.default_rng([index, *split.encode()]).standard_normal(int(16_000 * seconds))
    name = f"{split}-{index}.wav"
    soundfile.write(corpus / name, 0.1 * noise, 16_000)
    leads = [LEADS[index % 4], LEADS[(index + 1 + index // 4) % 4]]
    texts = [f"a {lead} plays the tune here ." for lead in leads]
    sections = []
    for place, lead in enumerate(leads):
        tags = {"lead": lead, "accompaniment": "harp", "bass": "none", "drums": "none", "texture": "sustained"}
        tags |= {"dynamics": "soft", "voice": "male" if place and index % 2 else "none"}
        tags |= {"key": "G", "mode": "minor", "tempo": "medium"}
        section = {"start_s": place * seconds / 2, "end_s": (place + 1) * seconds / 2, "label": "verse", "tags": tags}
        section["sentences"] = [[place + 1]] * 2 if split == "train" else [place + 1]
        section |= {f"query{wording}": [texts[place]] for wording in ("", "_new")}
        sections.append(section)
    line = {"audio": name, "duration_s": seconds, "sections": sections, "paraphrase_style": STYLES[index % 4]}
    caption = [f"a tune {index} .", *texts]
    german = [f"Eine Melodie {index} .", *(f"Hier spielt {GERMAN[lead]} ." for lead in leads)]
    for place, section in enumerate(sections):
        section["sentences_german"] = section["sentences"]
        section["query_german"] = [german[place + 1]]
    if split == "train":
        return line | {"texts": [caption, caption], "texts_german": [german, german]}
    return line | {"text_german": german} | {f"text{wording}": caption for wording in ("", "_new", "_paraphrase")}


def run_steps_here(steps: Sequence[Step], logs: Path, at_once: int) -> None:
    """As `run_steps`, in this process: no interpreter has to start and import everything."""
    for step in steps:
        if not step.is_done():
            SCRIPTS[Path(step.command[1]).name](step.command[2:])
            step.marker.parent.mkdir(parents=True, exist_ok=True)
            step.marker.write_text(json.dumps(step.command))


@pytest.fixture
def in_this_process(monkeypatch) -> list[str]:
    """Steps run here; holds the names of those that were run."""
    import ablation
    import open_questions

    ran: list[str] = []

    def run(steps: Sequence[Step], logs: Path, at_once: int) -> None:
        ran.extend(step.name for step in steps if not step.is_done())
        run_steps_here(steps, logs, at_once)

    for module in (ablation, open_questions):
        monkeypatch.setattr(module, "run_steps", run)
    return ran


__all__ = ["EXAMPLES", "STYLES", "in_this_process", "make_trainable_benchmark"]
