# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/train.py` on a tiny ClapModel: it learns with the exact loss and saves an ordinary ClapModel."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from processes import run_processes
from tiny_clap import RATE, tiny_clap
from transformers import AutoProcessor, ClapModel, ClapProcessor

from collap.data.audio_files import read_audio
from collap.training.clap import lacks_mel_statistics
from examples.train import main

REPOSITORY = Path(__file__).resolve().parents[2]
NOTES = ["low", "middle", "high", "noise", "silence", "sweep"]
TEXTS = [[f"A song of {note} sound.", f"It ends with {note} again."] for note in NOTES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A new ClapModel of windows of 1 s, and six songs of 1.5 to 3 s with two texts each."""
    folder = tmp_path_factory.mktemp("train")
    model, processor = tiny_clap(*(sentence for text in TEXTS for sentence in text))
    model.save_pretrained(folder / "clap")
    processor.save_pretrained(folder / "clap")
    generator = np.random.default_rng(0)
    lines = []
    for index, (note, text) in enumerate(zip(NOTES, TEXTS, strict=True)):
        time = np.arange(12_000 + 2_400 * index) / RATE
        waveform = 0.3 * np.sin(2 * np.pi * 80 * 2**index * time) + 0.003 * generator.standard_normal(len(time))
        soundfile.write(folder / f"{note}.wav", waveform.astype(np.float32), RATE)
        lines.append({"audio": f"{note}.wav", "texts": [text, text[:1]]})
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def arguments(folder: Path, output: Path, *more: str) -> list[str]:
    shared = [f"--model_name_or_path={folder / 'clap'}", f"--output_dir={output}", "--use_cpu", "--report_to=none"]
    shared += [f"--train_manifest={folder / 'songs.jsonl'}", f"--eval_manifest={folder / 'songs.jsonl'}"]
    return [*shared, "--disable_tqdm=true", "--per_device_train_batch_size=6", "--learning_rate=0.003", *more]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return ClapModel.from_pretrained(folder).state_dict()


def test_it_learns_and_saves_an_ordinary_clap_model(folder, tmp_path):
    metrics = main(arguments(folder, tmp_path, "--num_train_epochs=50", "--save_strategy=no"))
    assert metrics["eval_text_to_audio_recall@1"] >= 5 / 6
    assert metrics["eval_loss"] < 1.0

    model = ClapModel.from_pretrained(tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    assert isinstance(processor, ClapProcessor)
    assert json.loads((tmp_path / "config.json").read_text())["architectures"] == ["ClapModel"]
    assert not lacks_mel_statistics(model)
    audio = [read_audio(str(folder / f"{note}.wav"), RATE, length_s=1.0)[0] for note in NOTES]
    inputs = processor(
        text=[" ".join(text) for text in TEXTS],
        audio=audio,
        sampling_rate=RATE,
        padding=True,
        return_tensors="pt",
        return_token_type_ids=False,
    )
    with torch.no_grad():
        logits = model(**inputs).logits_per_audio
    found = (logits.argmax(0) == torch.arange(6)).float().mean().item()
    assert found == pytest.approx(metrics["eval_text_to_audio_recall@1"])


def test_micro_batches_and_resuming_change_nothing(folder, tmp_path):
    options = ["--num_train_epochs=4", "--save_strategy=epoch", "--optim=sgd", "--max_grad_norm=0"]
    main(arguments(folder, tmp_path / "whole", *options))
    main(arguments(folder, tmp_path / "micro", *options, "--micro_batch_size=2"))
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    main(arguments(folder, tmp_path / "resumed", *options, f"--resume_from_checkpoint={checkpoint}"))
    whole = weights(tmp_path / "whole")
    for name in ("micro", "resumed"):
        torch.testing.assert_close(weights(tmp_path / name), whole, rtol=1e-3, atol=1e-4)
    change = whole["text_projection.linear2.bias"] - weights(folder / "clap")["text_projection.linear2.bias"]
    assert change.abs().max() > 1e-3


@pytest.mark.slow
def test_two_processes_train_as_one(folder, tmp_path):
    options = ["--num_train_epochs=3", "--save_strategy=no", "--contrastive_batch_size=6", "--optim=sgd"]
    one = main(arguments(folder, tmp_path / "one", *options))
    run_processes(2, REPOSITORY / "examples" / "train.py", *arguments(folder, tmp_path / "two", *options))
    torch.testing.assert_close(weights(tmp_path / "two"), weights(tmp_path / "one"), rtol=1e-3, atol=1e-4)
    two = json.loads((tmp_path / "two" / "eval_results.json").read_text())
    assert two["eval_text_to_audio_recall@1"] == one["eval_text_to_audio_recall@1"]


@pytest.mark.parametrize(
    "given", ["features=cached", "kernel_size=3", "temporal_position=false", "section_loss_weight=1", "push_to_hub"]
)
def test_arguments_of_a_collap_are_refused(folder, tmp_path, given: str):
    with pytest.raises(ValueError, match=f"--{given.split('=')[0]}"):
        main(arguments(folder, tmp_path, f"--{given}"))


def test_long_texts_are_cut_only_with_truncate_texts(folder, tmp_path):
    with pytest.raises(ValueError, match="texts must have at most 10 tokens, got more in"):
        main(arguments(folder, tmp_path, "--max_text_tokens=10"))
    options = ["--max_text_tokens=10", "--truncate_texts", "--max_steps=1", "--save_strategy=no"]
    main(arguments(folder, tmp_path, *options))
    assert AutoProcessor.from_pretrained(tmp_path).tokenizer.model_max_length == 10
