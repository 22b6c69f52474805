# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/train.py` end to end on tiny towers and short tones: it learns, saves, resumes and uses features."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import tiny_beats_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoModel, AutoProcessor, RobertaModel, WhisperModel

from collap import BeatsModel, CollapModel
from examples import extract_features
from examples.train import main

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


def towers(folder: Path) -> list[str]:
    named = (f"--{name}_model={folder / name}" for name in ("music", "speech", "text"))
    return [*named, "--projection_dim=16", "--kernel_size=2", "--kernel_stride=2"]


def run(folder: Path, output: str, *more: str) -> dict[str, float]:
    arguments = [f"--output_dir={folder / output}", f"--train_manifest={folder / 'songs.jsonl'}"]
    arguments += [f"--eval_manifest={folder / 'songs.jsonl'}", "--report_to=none", "--use_cpu", "--disable_tqdm=true"]
    return main([*arguments, "--per_device_train_batch_size=6", "--learning_rate=0.01", *more])


def test_it_learns_from_features_and_is_trained_further_on_audio(folder: Path):
    sentence = ["--text_granularity=sentence", "--temporal_position=true", "--sentence_shuffle_probability=0"]
    features = [f"--features={folder / 'features'}"]
    extract_features.main([*towers(folder), f"--manifests={folder / 'songs.jsonl'}", *features, "--use_cpu"])
    metrics = run(
        folder, "first", *towers(folder), *sentence, *features, "--num_train_epochs=100", "--save_strategy=no"
    )
    assert metrics["eval_text_to_audio_recall@1"] >= 5 / 6
    assert metrics["eval_loss"] < 1.0

    # The folder holds model and processor, and scores audio as it scored the features.
    model = AutoModel.from_pretrained(folder / "first").eval()
    processor = AutoProcessor.from_pretrained(folder / "first")
    assert isinstance(model, CollapModel)
    lines = [json.loads(line) for line in (folder / "songs.jsonl").read_text().splitlines()]
    audio = [str(folder / line["audio"]) for line in lines]
    with torch.no_grad():
        batch = processor(text=[line["text"] for line in lines], audio=audio, return_tensors="pt")
        logits = model(**batch).logits_per_audio
    assert (logits.argmax(0) == torch.arange(6)).float().mean() >= 5 / 6

    # Trained further on 1.5 s at most, in bf16 with checkpointed activations.
    more = run(
        folder, "more", f"--model_name_or_path={folder / 'first'}", "--num_train_epochs=2", "--bf16",
        "--activation_checkpointing", "--max_length_s=1.5", "--learning_rate=1e-4", "--save_strategy=no",
        "--max_text_tokens=40", "--trainable_text_layers=0",
    )  # fmt: skip
    assert more["eval_loss"] < 1.5
    processor = AutoProcessor.from_pretrained(folder / "more")
    assert (processor.feature_extractor.max_length_s, processor.max_text_tokens) == (1.5, 40)
    again = AutoModel.from_pretrained(folder / "more").text_model  # frozen: as it was
    assert torch.equal(again.encoder.get_input_embeddings().weight, model.get_input_embeddings().weight)
    assert not torch.equal(again.projection.weight, model.text_model.projection.weight)


def test_a_resumed_training_is_the_uninterrupted_one(folder: Path):
    options = [*towers(folder), "--num_train_epochs=4", "--save_strategy=epoch"]
    whole = run(folder, "whole", *options)
    resumed = run(folder, "whole", *options, f"--resume_from_checkpoint={folder / 'whole' / 'checkpoint-2'}")
    assert resumed["eval_loss"] == pytest.approx(whole["eval_loss"], abs=1e-6)


def write_manifest(folder: Path, manifest: Path, texts: list[str]) -> Path:
    lines = [{"audio": str(folder / f"{note}.wav"), "text": text} for note, text in zip(NOTES, texts, strict=False)]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return manifest


def test_texts_that_are_too_long_are_named_before_the_training(folder: Path, tmp_path: Path):
    short = write_manifest(folder, tmp_path / "short.jsonl", ["A song.", "It ends."])
    long = write_manifest(folder, tmp_path / "long.jsonl", ["A song.", "sound " * 100, "It ends."])
    features = [f"--features={tmp_path / 'features'}"]
    extract_features.main([*towers(folder), f"--manifests={long}", *features, "--use_cpu"])
    given = [*towers(folder), *features, f"--output_dir={tmp_path / 'run'}", f"--train_manifest={short}", "--use_cpu"]
    given += ["--max_steps=1", "--report_to=none", "--disable_tqdm=true", "--save_strategy=no"]
    for name in ("train", "eval"):
        with pytest.raises(ValueError, match=r"row 2, .*middle\.wav: text must .* got 102: --truncate_texts cuts it"):
            main([*given, f"--{name}_manifest={long}"])
    assert not (tmp_path / "run" / "model.safetensors").exists()
    main([*given, f"--train_manifest={long}", "--on_bad_audio=skip"])
    (skipped,) = map(json.loads, (tmp_path / "run" / "skipped.jsonl").read_text().splitlines())
    assert skipped["audio"].endswith("middle.wav")
    main([*given, f"--eval_manifest={long}", "--truncate_texts"])
    assert (tmp_path / "run" / "skipped.jsonl").read_text() == ""  # of this run


def test_choices_are_named(folder: Path, capsys):
    for option in ("--text_granularity=words", "--text_pooling=words"):
        with pytest.raises(SystemExit):
            run(folder, "none", *towers(folder), option)
        assert "invalid choice: 'words'" in capsys.readouterr().err


def test_a_section_loss_needs_sections(folder: Path):
    with pytest.raises(ValueError, match=r"section_loss_weight has no effect, got 1\.0: no song of .* `sections`"):
        run(folder, "none", *towers(folder), "--text_granularity=sentence", "--section_loss_weight=1")


def test_skipped_songs_are_listed(folder: Path, tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    songs = [(str(folder / f"{note}.wav"), f"A song of {note} sound.") for note in NOTES[:2]]
    songs.insert(1, ("broken.wav", "A song."))
    lines = [json.dumps({"audio": audio, "text": text}) for audio, text in songs]
    (tmp_path / "songs.jsonl").write_text("\n".join(lines))
    given = [*towers(folder), f"--train_manifest={tmp_path / 'songs.jsonl'}", f"--output_dir={tmp_path / 'run'}"]
    given += ["--use_cpu", "--max_steps=1", "--report_to=none", "--disable_tqdm=true", "--save_strategy=no"]
    with pytest.raises(ValueError, match=r"broken\.wav"):
        main(given)
    for _ in range(2):  # the list is that of a run
        main([*given, "--on_bad_audio=skip"])
    (skipped,) = map(json.loads, (tmp_path / "run" / "skipped.jsonl").read_text().splitlines())
    assert (skipped["manifest"], skipped["audio"]) == (str(tmp_path / "songs.jsonl"), str(tmp_path / "broken.wav"))
    assert skipped["problem"].startswith("audio cannot be decoded")
