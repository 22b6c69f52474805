# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/finetune_peft.py` with three songs: it learns, prints metrics before and after, and loads again."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from peft import get_peft_model
from processes import run_processes
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoProcessor

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.training.lora import lora_config
from examples import extract_features
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
    """Moves the mean of all frames and of all sentences to zero: random towers give everything nearly one vector."""
    songs = {name: batch[name] for name in ("fbank_features", "input_features", "audio_attention_mask")}
    frames, frame_mask = model.audio_model.encode(**songs)
    model.audio_model.adapter.bias.copy_(-model.audio_model.adapter.weight @ frames[frame_mask].mean(0))
    states = model.text_model.encoder(batch["input_ids"], batch["attention_mask"]).last_hidden_state[:, 0]
    model.text_model.projection.bias.copy_(-model.text_model.projection.weight @ states.mean(0))


def arguments(folder: Path, output: str, *more: str) -> list[str]:
    shared = [f"--model_name_or_path={folder / 'model'}", f"--train_manifest={folder / 'songs.jsonl'}", "--use_cpu"]
    shared += [f"--output_dir={folder / output}", "--learning_rate=0.02", "--disable_tqdm=true", "--report_to=none"]
    return [*shared, "--save_strategy=no", *more]


def run(folder: Path, output: str, *more: str) -> tuple[float, float]:
    """Loss before and after."""
    after = main(arguments(folder, output, *more))["eval_loss"]
    return json.loads((folder / output / "before_results.json").read_text())["before_loss"], after


def logits(folder: Path, name: str) -> torch.Tensor:
    model, processor = CollapModel.from_pretrained(folder / name), AutoProcessor.from_pretrained(folder / name)
    batch = processor(text=list(TEXTS.values()), audio=[str(folder / f"{song}.wav") for song in TEXTS])
    with torch.no_grad():
        return model.eval()(**batch.convert_to_tensors("pt")).logits_per_audio


def test_three_songs(folder: Path, capsys):
    towers = ["--lora_towers", "text", "music", "speech"]
    before, after = run(folder, "lora", "--merge", *towers, "--num_train_epochs=30")
    assert after < before / 2
    printed = capsys.readouterr().out.rpartition("On the training songs")[2]
    recalls = re.search(r"text_to_audio_recall@1 +\| +([\d.]+)% \| +([\d.]+)% \|$", printed, flags=re.MULTILINE)
    assert float(recalls[2]) > float(recalls[1])
    assert f"| loss | {before:.4g} | {after:.4g} |" in re.sub(" +", " ", printed)
    assert "recall@5" not in printed  # of three songs
    adapter = folder / "lora" / "adapter_model.safetensors"
    assert f"{adapter}, {adapter.stat().st_size / 1e6:.3g} MB" in printed
    adapted = CollapModel.from_pretrained(folder / "lora")
    trained = sum(
        weight.numel() for name, weight in adapted.named_parameters() if "lora_" in name or "modules_to_save" in name
    )
    assert f"Trained: {trained:,} of {adapted.num_parameters():,} parameters" in printed

    # The folder and the merged model give the same scores; the base model gives others.
    scores = logits(folder, "lora")
    torch.testing.assert_close(logits(folder, "lora/merged"), scores, rtol=0, atol=1e-4)
    assert contrastive_loss(scores).item() == pytest.approx(after, rel=1e-3)
    assert contrastive_loss(logits(folder, "model")).item() == pytest.approx(before, rel=1e-3)


def test_a_stopped_run_is_resumed(folder: Path):
    run(folder, "whole", "--num_train_epochs=4", "--save_strategy=epoch", "--save_total_limit=4")
    expected = (folder / "whole" / "adapter_model.safetensors").read_bytes()
    checkpoint = folder / "whole" / "checkpoint-2"
    assert (checkpoint / "adapter_model.safetensors").is_file()
    run(folder, "whole", "--num_train_epochs=4", f"--resume_from_checkpoint={checkpoint}")
    assert (folder / "whole" / "adapter_model.safetensors").read_bytes() == expected


@pytest.mark.slow
def test_two_processes_train_the_adapter_of_one(folder: Path):
    options = ["--contrastive_batch_size=3", "--max_steps=1", "--save_strategy=steps", "--save_steps=1"]
    options += ["--logging_strategy=steps", "--logging_steps=1", "--lora_towers", "text", "music"]
    main(arguments(folder, "one", *options))
    script = REPOSITORY / "examples" / "finetune_peft.py"
    printed = run_processes(2, script, *arguments(folder, "two", *options), "--micro_batch_size=1")
    assert printed.count("Trained: ") == 1
    # Not the weights: Adam turns a gradient of almost zero into a whole step by its sign. A loss of the songs of one
    # process would differ by half; the centred embeddings amplify rounding.
    states = [json.loads((folder / name / "checkpoint-1/trainer_state.json").read_text()) for name in ("one", "two")]
    one, two = (state["log_history"][0] for state in states)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert two["grad_norm"] == pytest.approx(one["grad_norm"], rel=1e-2)


def test_it_learns_from_cached_features(folder: Path):
    live, _ = run(folder, "live", "--num_train_epochs=1")
    features = f"--features={folder / 'features'}"
    model = f"--model_name_or_path={folder / 'model'}"
    extract_features.main([model, f"--manifests={folder / 'songs.jsonl'}", features, "--use_cpu"])
    before, after = run(folder, "cached", "--num_train_epochs=30", features)
    assert before == pytest.approx(live, rel=1e-3)
    assert after < 0.8 * before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--lora_towers", "text", "music", "--features=frames"], "leave music out of --lora_towers"),
        (["--output_dir={model}"], "--output_dir .* holds a whole model"),
        (["--lora_towers", "lyrics"], "towers must be a list of one or more of"),
        (["--model_name_or_path={adapter}"], "--model_name_or_path must be a whole model, got the adapter"),
    ],
)
def test_arguments_that_do_not_go_together(folder: Path, given: list[str], message: str):
    model = CollapModel.from_pretrained(folder / "model")
    get_peft_model(model, lora_config(model)).save_pretrained(folder / "adapter")
    AutoProcessor.from_pretrained(folder / "model").save_pretrained(folder / "adapter")
    given = [argument.format(model=folder / "model", adapter=folder / "adapter") for argument in given]
    with pytest.raises(ValueError, match=message):
        main(arguments(folder, "refused", *given))
    assert not list(folder.glob("refused/*"))
