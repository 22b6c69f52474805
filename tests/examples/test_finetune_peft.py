# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/finetune_peft.py` with three songs: it learns, prints metrics before and after, and loads again."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from peft import get_peft_model
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoProcessor

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.training.lora import lora_config
from examples.finetune_peft import main

REPOSITORY = Path(__file__).resolve().parents[2]
TEXTS = {
    "hum": "A deep hum opens. It stays low.",
    "clicks": "A clock from the start. It never stops.",
    "hiss": "Only noise. No tone at all.",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A tiny CoLLAP with its processor, and three songs of about a second with a text each."""
    folder = tmp_path_factory.mktemp("finetune")
    generator = np.random.default_rng(0)
    lines = []
    for index, (name, text) in enumerate(TEXTS.items()):
        time = np.arange(16_000 + 3_000 * index) / 16_000
        waveform = {
            "hum": 0.3 * np.sin(2 * np.pi * 110 * time),
            "clicks": 0.9 * (np.arange(len(time)) % 4_000 == 0),
            "hiss": 0.1 * generator.standard_normal(len(time)),
        }[name]
        soundfile.write(folder / f"{name}.wav", waveform.astype(np.float32), 16_000)
        lines.append({"audio": f"{name}.wav", "text": text})
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    torch.manual_seed(0)
    model = CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    processor = CollapProcessor(extractor, tiny_tokenizer(*TEXTS.values()), "sentence")
    center(model, processor([*TEXTS.values()], [str(folder / f"{name}.wav") for name in TEXTS], return_tensors="pt"))
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    return folder


@torch.no_grad()
def center(model: CollapModel, batch: dict[str, torch.Tensor]) -> None:
    """Puts the mean of all frames and of all sentences at zero: random towers give everything nearly one vector."""
    songs = {name: batch[name] for name in ("fbank_features", "input_features", "audio_attention_mask")}
    frames, frame_mask = model.audio_model.encode(**songs)
    model.audio_model.adapter.bias.copy_(-model.audio_model.adapter.weight @ frames[frame_mask].mean(0))
    states = model.text_model(batch["input_ids"], batch["attention_mask"]).last_hidden_state[:, 0]
    model.text_projection.bias.copy_(-model.text_projection.weight @ states.mean(0))


def run(
    folder: Path, output: str, *arguments: str, launcher: tuple[str, ...] = (sys.executable,)
) -> subprocess.CompletedProcess[str]:
    command = [
        *launcher,
        str(REPOSITORY / "examples" / "finetune_peft.py"),
        f"--model_name_or_path={folder / 'model'}",
    ]
    command += [f"--train_manifest={folder / 'songs.jsonl'}", f"--output_dir={folder / output}"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    quick = ["--use_cpu", "--learning_rate=0.02", "--disable_tqdm=true", "--save_strategy=no"]
    return subprocess.run([*command, *quick, *arguments], env=environment, capture_output=True, text=True, check=False)


def succeed(folder: Path, output: str, *arguments: str, **keywords: tuple[str, ...]) -> str:
    result = run(folder, output, *arguments, **keywords)
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout


def losses(printed: str) -> list[float]:
    """Before and after, of the table that is printed."""
    found = re.search(r"^\| loss +\| +([\d.]+) \| +([\d.]+) \|$", printed, flags=re.MULTILINE)
    return [float(value) for value in found.groups()]


def logits(folder: Path, model: CollapModel, processor: CollapProcessor) -> torch.Tensor:
    batch = processor(text=list(TEXTS.values()), audio=[str(folder / f"{name}.wav") for name in TEXTS])
    with torch.no_grad():
        return model.eval()(**batch.convert_to_tensors("pt")).logits_per_audio


@pytest.mark.slow
def test_three_songs(folder: Path):
    printed = succeed(folder, "lora", "--merge", "--lora_towers", "text", "music", "speech", "--num_train_epochs=30")
    found = re.search(r"text_to_audio_recall@1 +\| +([\d.]+)% \| +([\d.]+)% \|$", printed, flags=re.MULTILINE)
    assert float(found[2]) > float(found[1])
    assert "recall@5" not in printed.rpartition("On the training songs")[2]  # of three songs
    before, after = losses(printed)
    assert after < before / 2
    adapter = folder / "lora" / "adapter_model.safetensors"
    assert f"{adapter}, {adapter.stat().st_size / 1e6:.3g} MB" in printed
    trained, total, share = re.search(r"Trained: ([\d,]+) of ([\d,]+) parameters \(([\d.]+)%\)", printed).groups()
    trained, total = int(trained.replace(",", "")), int(total.replace(",", ""))
    assert float(share) == pytest.approx(100 * trained / total, abs=0.01)

    # The folder and the merged model give the same scores; the base model gives others.
    adapted = CollapModel.from_pretrained(folder / "lora")
    assert trained == sum(
        weight.numel() for name, weight in adapted.named_parameters() if "lora_" in name or "modules_to_save" in name
    )
    assert total == adapted.num_parameters()
    scores = logits(folder, adapted, AutoProcessor.from_pretrained(folder / "lora"))
    merged = CollapModel.from_pretrained(folder / "lora" / "merged")
    assert not hasattr(merged, "peft_config")
    merged_scores = logits(folder, merged, AutoProcessor.from_pretrained(folder / "lora" / "merged"))
    torch.testing.assert_close(merged_scores, scores, rtol=0, atol=1e-4)
    assert contrastive_loss(scores).item() == pytest.approx(after, rel=1e-3)  # four digits are printed
    base = CollapModel.from_pretrained(folder / "model")
    base_scores = logits(folder, base, AutoProcessor.from_pretrained(folder / "model"))
    assert contrastive_loss(base_scores).item() == pytest.approx(before, rel=1e-3)


@pytest.mark.slow
def test_a_stopped_run_goes_on(folder: Path):
    succeed(folder, "whole", "--num_train_epochs=4", "--save_strategy=epoch", "--save_total_limit=4")
    expected = (folder / "whole" / "adapter_model.safetensors").read_bytes()
    checkpoint = folder / "whole" / "checkpoint-2"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    succeed(folder, "whole", "--num_train_epochs=4", f"--resume_from_checkpoint={checkpoint}")
    assert (folder / "whole" / "adapter_model.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(folder: Path):
    arguments = ["--contrastive_batch_size=3", "--max_steps=1", "--save_strategy=steps", "--save_steps=1"]
    arguments += ["--logging_strategy=steps", "--logging_steps=1", "--lora_towers", "text", "music"]
    succeed(folder, "one", *arguments)
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
    printed = succeed(folder, "two", *arguments, "--micro_batch_size=1", launcher=torchrun)
    assert printed.count("Trained: ") == 1
    # Not the weights: Adam turns a gradient of almost zero into a whole step by its sign. A loss of the songs of one
    # process would differ by half; the centred embeddings amplify rounding.
    states = [
        json.loads((folder / name / "checkpoint-1" / "trainer_state.json").read_text()) for name in ("one", "two")
    ]
    one, two = (state["log_history"][0] for state in states)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-2)


@pytest.mark.slow
def test_it_learns_from_cached_features(folder: Path):
    live = losses(succeed(folder, "live", "--num_train_epochs=1"))
    extract = [sys.executable, str(REPOSITORY / "examples" / "extract_features.py"), "--use_cpu"]
    extract += [f"--model_name_or_path={folder / 'model'}", f"--manifests={folder / 'songs.jsonl'}"]
    subprocess.run([*extract, f"--features={folder / 'features'}"], capture_output=True, check=True)
    cached = losses(succeed(folder, "cached", "--num_train_epochs=30", f"--features={folder / 'features'}"))
    assert cached[0] == pytest.approx(live[0], rel=2e-3)  # four digits are printed
    assert cached[1] < 0.8 * cached[0]


@pytest.mark.slow
def test_in_bf16_with_checkpointed_activations_and_micro_batches(folder: Path):
    arguments = ["--bf16", "--activation_checkpointing", "--micro_batch_size=1", "--learning_rate=0.005"]
    printed = succeed(
        folder, "little", *arguments, "--num_train_epochs=30", "--lora_towers", "text", "music", "speech"
    )
    before, after = losses(printed)
    assert after < before / 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lora_towers", "text", "music", "--features=frames"], "leave music out of --lora_towers"),
        (["--output_dir={model}"], "holds a whole model; an adapter needs another folder"),
        (["--lora_towers", "lyrics"], "towers must be a list of one or more of"),
    ],
)
def test_arguments_that_do_not_go_together(folder: Path, arguments: list[str], message: str):
    given = [f"--model_name_or_path={folder / 'model'}", f"--train_manifest={folder / 'songs.jsonl'}"]
    given += [f"--output_dir={folder / 'refused'}", "--use_cpu"]
    given += [argument.format(model=folder / "model") for argument in arguments]
    with pytest.raises(ValueError, match=message):
        main(given)
    assert not list(folder.glob("refused/*"))


def test_an_adapter_is_not_fine_tuned(folder: Path):
    model = CollapModel.from_pretrained(folder / "model")
    get_peft_model(model, lora_config(model)).save_pretrained(folder / "adapter")
    AutoProcessor.from_pretrained(folder / "model").save_pretrained(folder / "adapter")
    given = [f"--model_name_or_path={folder / 'adapter'}", f"--train_manifest={folder / 'songs.jsonl'}"]
    with pytest.raises(ValueError, match="--model_name_or_path must be a whole model, got the adapter"):
        main([*given, f"--output_dir={folder / 'refused'}", "--use_cpu"])
