# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/train.py` end to end on tiny towers and short tones: it learns, saves, resumes and uses features."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import tiny_beats_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoModel, AutoProcessor, RobertaModel, WhisperModel

from collap import BeatsModel, CollapModel
from examples.train import main

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = ["low", "middle", "high", "noise", "silence", "sweep"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Towers, and six songs of 1 to 2 s with a text each."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("train")
    BeatsModel(tiny_beats_config()).save_pretrained(folder / "music")
    WhisperModel(tiny_whisper_config()).save_pretrained(folder / "speech")
    texts = [f"A song of {note} sound. It ends with {note} again." for note in NOTES]
    tiny_tokenizer(*texts).save_pretrained(folder / "text")
    RobertaModel(tiny_text_config()).save_pretrained(folder / "text")

    generator = np.random.default_rng(0)
    lines = []
    for index, (note, text) in enumerate(zip(NOTES, texts, strict=True)):
        time = np.arange(16_000 + 3_000 * index) / 16_000
        waveform = 0.3 * np.sin(2 * np.pi * 200 * 2**index * time) + 0.01 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{note}.wav", waveform.astype(np.float32), 16_000)
        lines.append({"audio": f"{note}.wav", "text": text})
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def extract(folder: Path, *arguments: str) -> None:
    command = [sys.executable, str(REPOSITORY / "examples" / "extract_features.py")]
    command += ["--manifests", str(folder / "songs.jsonl"), "--features", str(folder / "features"), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]


def run(folder: Path, output: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, str(REPOSITORY / "examples" / "train.py"), "--output_dir", str(folder / output)]
    command += ["--train_manifest", str(folder / "songs.jsonl"), "--eval_manifest", str(folder / "songs.jsonl")]
    command += ["--report_to", "none", "--use_cpu", "--per_device_train_batch_size", "6", "--disable_tqdm", "true"]
    result = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    return json.loads((folder / output / "eval_results.json").read_text())


def towers(folder: Path) -> list[str]:
    named = (f"--{name}_model={folder / name}" for name in ("music", "speech", "text"))
    return [*named, "--projection_dim=16", "--kernel_size=2", "--kernel_stride=2", "--learning_rate=0.01"]


@pytest.mark.slow
def test_it_learns_saves_and_goes_on(folder: Path):
    sentence = ["--text_granularity=sentence", "--temporal_position=true", "--sentence_shuffle_probability=0"]
    extract(folder, *towers(folder)[:-1])
    features = ["--features", str(folder / "features")]
    metrics = run(
        folder, "first", *towers(folder), *sentence, *features, "--num_train_epochs=100", "--save_strategy=no"
    )
    assert metrics["eval_text_to_audio_recall@1"] >= 5 / 6
    assert metrics["eval_loss"] < 1.0

    # The saved folder holds model and processor, and scores audio as it scored the features.
    model = AutoModel.from_pretrained(folder / "first").eval()
    processor = AutoProcessor.from_pretrained(folder / "first")
    assert isinstance(model, CollapModel)
    lines = [json.loads(line) for line in (folder / "songs.jsonl").read_text().splitlines()]
    batch = processor(
        text=[line["text"] for line in lines],
        audio=[str(folder / line["audio"]) for line in lines],
        return_tensors="pt",
    )
    with torch.no_grad():
        logits = model(**batch).logits_per_audio
    assert (logits.argmax(0) == torch.arange(6)).float().mean() >= 5 / 6

    # Resumed in the middle, the second half of the training is the same as uninterrupted.
    whole = run(folder, "whole", *towers(folder), "--num_train_epochs=4", "--save_strategy=epoch")
    resumed = run(
        folder,
        "whole",
        *towers(folder),
        "--num_train_epochs=4",
        f"--resume_from_checkpoint={folder}/whole/checkpoint-2",
    )
    assert resumed["eval_loss"] == pytest.approx(whole["eval_loss"], abs=1e-6)

    # Two more epochs from what was saved, on ten seconds at most, in bf16 with checkpointed activations.
    more = run(
        folder, "more", f"--model_name_or_path={folder / 'first'}", "--num_train_epochs=2", "--bf16",
        "--activation_checkpointing", "--max_length_s=1.5", "--learning_rate=1e-4",
    )  # fmt: skip
    assert more["eval_loss"] < 1.5
    assert AutoProcessor.from_pretrained(folder / "more").feature_extractor.max_length_s == 1.5


def test_a_manifest_is_needed(tmp_path: Path):
    with pytest.raises(ValueError, match="--train_manifest, --eval_manifest"):
        main([f"--output_dir={tmp_path}", "--use_cpu"])


def test_skipped_songs_are_listed(folder: Path, tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    lines = [
        {"audio": str(folder / "low.wav"), "text": "A song of low sound."},
        {"audio": "broken.wav", "text": "A song."},
    ]
    (tmp_path / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = [*towers(folder), f"--train_manifest={tmp_path / 'songs.jsonl'}", f"--output_dir={tmp_path / 'run'}"]
    given += ["--use_cpu", "--max_steps=1", "--report_to=none", "--disable_tqdm=true", "--save_strategy=no"]
    with pytest.raises(ValueError, match=r"broken\.wav"):
        main(given)
    main([*given, "--on_bad_audio=skip"])
    (skipped,) = map(json.loads, (tmp_path / "run" / "skipped_songs.jsonl").read_text().splitlines())
    assert (skipped["index"], skipped["song"]) == (1, str(tmp_path / "broken.wav"))
