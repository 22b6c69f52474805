# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""LoRA: which layers have it, that all of it is trained in every way of training, and that all of it is saved."""

import copy
import math
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from tiny_models import audio_inputs, text_inputs, tiny_config, tiny_text_config
from torch import nn
from transformers import AutoModel, BertConfig, DistilBertConfig

from collap import CollapModel
from collap.training.arguments import CollapTrainingArguments
from collap.training.lora import lora_config
from collap.training.trainer import CollapTrainer

ALL_TOWERS = ("music", "speech", "text")
WAYS = pytest.mark.parametrize("way", ["get_peft_model", "add_adapter"])
TEXT_CONFIGS = {
    "bert": BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=24
    ),
    "distilbert": DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=24, vocab_size=50),
}


def tiny_model(text: str = "roberta", **changes) -> CollapModel:
    text_config = TEXT_CONFIGS[text] if text in TEXT_CONFIGS else tiny_text_config(text)
    changes = {"text_config": text_config, "text_granularity": "sentence", "temporal_position": True, **changes}
    return CollapModel(tiny_config(**changes))


def inputs() -> dict[str, torch.Tensor]:
    """Two songs of three and two chunks with two texts: more chunks than `encoder_batch_size`."""
    return {**audio_inputs([150, 100]), **text_inputs([4, 5, 6], [1, 2])}


def adapt(model: CollapModel, way: str = "get_peft_model", **arguments) -> nn.Module:
    """The model with LoRA, added in one of the two ways."""
    config = lora_config(model, **arguments)
    if way == "get_peft_model":
        return get_peft_model(model, config)
    model.add_adapter(config)
    return model


def shake(model: nn.Module) -> None:
    """Random values for all that is trained: new LoRA is zero, which would hide what is not saved or not used."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            nn.init.normal_(parameter, mean=1.0 if parameter.numel() == 1 else 0.0, std=0.1)


def gradients(model: nn.Module, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    model.zero_grad()
    model.train()(**batch, return_loss=True).loss.backward()
    return {name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad}


def all_weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name.removeprefix("base_model.model."): value for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    ("text", "per_block"), [("roberta", 6), ("xlm-roberta", 6), ("bert", 6), ("gpt2", 4), ("distilbert", 6)]
)
def test_every_linear_layer_of_a_tower_has_lora(text: str, per_block: int):
    model = adapt(tiny_model(text), towers=ALL_TOWERS).get_base_model()
    adapted = [name.removesuffix(".lora_A") for name, _ in model.named_modules() if name.endswith(".lora_A")]
    prefixes = ("audio_model.music_model.", "audio_model.speech_model.", "text_model.encoder.")
    counts = [sum(name.startswith(prefix) for name in adapted) for prefix in prefixes]
    # BEATs: two blocks of attention (4), its gate and MLP (2), and the projection of the patches.
    assert counts == [2 * 7 + 1, 6, per_block]
    assert len(adapted) == sum(counts)
    for tower, prefix in zip(ALL_TOWERS, prefixes, strict=True):
        targets = lora_config(tiny_model(text), towers=[tower]).target_modules
        assert targets == {name for name in adapted if name.startswith(prefix)}


@WAYS
def test_trained_are_lora_and_our_own_layers(way: str):
    model = adapt(tiny_model(), way)
    trained = {
        name.removeprefix("base_model.model.") for name, weight in model.named_parameters() if weight.requires_grad
    }
    heads = {re.split(r"\.modules_to_save", name)[0] for name in trained if "lora_" not in name}
    assert heads == {"audio_model.adapter", "text_model.projection", "text_model.time_query", "logit_scale"}
    without_time = lora_config(tiny_model(temporal_position=False))
    assert set(without_time.modules_to_save) == heads - {"text_model.time_query"}


@pytest.mark.parametrize(
    ("changes", "towers", "message"),
    [
        ({}, ["lyrics"], r"towers must be a list of one or more of .*'lyrics'"),
        ({}, [], r"towers must be a list"),
        ({"speech_config": None}, ["speech"], r"towers: this model has no speech tower"),
    ],
)
def test_wrong_towers(changes: dict, towers, message: str):
    with pytest.raises(ValueError, match=message):
        lora_config(tiny_model(**changes), towers)


@pytest.mark.parametrize("text", ["roberta", "gpt2"])
@WAYS
def test_new_lora_changes_nothing_and_every_part_of_it_is_trained(way: str, text: str):
    model = tiny_model(text).eval()
    assert not any(weight.requires_grad for weight in model.audio_model.music_model.parameters())  # a frozen tower
    batch = inputs()
    with torch.no_grad():
        before = model(**batch).logits_per_audio
    adapted = adapt(model, way, towers=ALL_TOWERS).eval()
    with torch.no_grad():
        torch.testing.assert_close(adapted(**batch).logits_per_audio, before)
    shake(adapted)
    for name, gradient in gradients(adapted, batch).items():
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name


@WAYS
@pytest.mark.parametrize("use_reentrant", [True, False])
def test_activation_checkpointing_changes_no_gradient(way: str, use_reentrant: bool):
    batch = inputs()
    plain = adapt(tiny_model(), way, towers=ALL_TOWERS)
    shake(plain)
    checkpointed = copy.deepcopy(plain)
    checkpointed.activation_checkpointing_enable({"use_reentrant": use_reentrant})
    expected = gradients(plain, batch)
    for name, gradient in gradients(checkpointed, batch).items():
        torch.testing.assert_close(gradient, expected[name], msg=name)


def test_bf16_autocast_trains_lora_in_float32():
    model = adapt(tiny_model(), towers=ALL_TOWERS)
    shake(model)
    batch = inputs()
    expected = gradients(model, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(model, batch)
    for name, gradient in found.items():
        if "lora_" in name:
            assert gradient.dtype == torch.float32
            assert nn.functional.cosine_similarity(gradient.flatten(), expected[name].flatten(), dim=0) > 0.9, name


def step(model: nn.Module, batch: dict, folder: Path, **arguments) -> dict[str, torch.Tensor]:
    """What one step of the trainer with SGD at a rate of 1 adds to the weights: their gradients."""
    before = {name: weight.detach().clone() for name, weight in model.named_parameters() if weight.requires_grad}
    songs = list(range(len(batch["sentence_counts"])))
    settings = CollapTrainingArguments(
        output_dir=str(folder),
        max_steps=1,
        contrastive_batch_size=len(songs),
        optim="sgd",
        learning_rate=1.0,
        max_grad_norm=0.0,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        **arguments,
    )
    CollapTrainer(model, settings, train_dataset=songs, data_collator=lambda _: {**batch, "return_loss": True}).train()
    return {name: weight.detach() - before[name] for name, weight in model.named_parameters() if name in before}


@WAYS
@pytest.mark.parametrize("activation_checkpointing", [False, True])
def test_micro_batches_change_no_gradient(tmp_path: Path, way: str, activation_checkpointing: bool):
    whole = adapt(tiny_model(), way, towers=ALL_TOWERS)
    shake(whole)
    in_parts = copy.deepcopy(whole)
    batch = {**audio_inputs([150, 100, 40]), **text_inputs([4, 5, 6, 3], [1, 2, 1])}
    expected = step(whole, batch, tmp_path)
    found = step(in_parts, batch, tmp_path, micro_batch_size=1, activation_checkpointing=activation_checkpointing)
    assert {"music_model", "speech_model", "text_model"} <= {part for name in expected for part in name.split(".")}
    for name, gradient in expected.items():
        scale = gradient.abs().max().item()
        assert scale > 0, name
        torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-5 * max(scale, 1), msg=name)


def load_adapter(base: Path, adapter: Path) -> CollapModel:
    model = CollapModel.from_pretrained(base)
    model.load_adapter(str(adapter), is_trainable=True)
    return model


LOADERS: dict[str, Callable[[Path, Path], nn.Module]] = {
    "PeftModel.from_pretrained": lambda base, adapter: PeftModel.from_pretrained(
        CollapModel.from_pretrained(base), adapter, is_trainable=True
    ),
    "model.load_adapter": load_adapter,
}


@pytest.mark.parametrize("loader", LOADERS)
@WAYS
@pytest.mark.parametrize("text", ["roberta", "gpt2"])
def test_double_round_trip(tmp_path: Path, way: str, loader: str, text: str):
    tiny_model(text).save_pretrained(tmp_path / "base")
    model = adapt(CollapModel.from_pretrained(tmp_path / "base"), way, towers=ALL_TOWERS)
    shake(model)
    batch = inputs()
    for trip in ("first", "second"):
        before = {name: value.clone() for name, value in all_weights(model).items()}
        with torch.no_grad():
            expected = model.eval()(**batch).logits_per_audio
        model.save_pretrained(tmp_path / trip)
        files = {file.name for file in (tmp_path / trip).iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json"} <= files
        assert "model.safetensors" not in files

        model = LOADERS[loader](tmp_path / "base", tmp_path / trip)
        torch.testing.assert_close(all_weights(model), before, rtol=0, atol=0)
        with torch.no_grad():
            torch.testing.assert_close(model.eval()(**batch).logits_per_audio, expected, rtol=0, atol=1e-6)
        for name, gradient in gradients(model, batch).items():  # a step of training
            model.get_parameter(name).data.sub_(0.1 * gradient)
        changed = {name for name, value in all_weights(model).items() if not torch.equal(value, before[name])}
        assert changed == {name for name in before if "lora_" in name or ".modules_to_save." in name}


@WAYS
@pytest.mark.parametrize("auto_class", [CollapModel, AutoModel])
def test_the_folder_of_an_adapter_names_its_base(tmp_path: Path, way: str, auto_class: type):
    tiny_model().save_pretrained(tmp_path / "base")
    model = adapt(CollapModel.from_pretrained(tmp_path / "base"), way, towers=ALL_TOWERS).eval()
    shake(model)
    nn.init.constant_((model if way == "add_adapter" else model.base_model).logit_scale.weight, math.log(7))
    model.save_pretrained(tmp_path / "adapter")
    loaded = auto_class.from_pretrained(tmp_path / "adapter").eval()
    assert isinstance(loaded, CollapModel)
    torch.testing.assert_close(all_weights(loaded), all_weights(model), rtol=0, atol=0)
    assert loaded.logit_scale().item() == pytest.approx(7)
    loaded.disable_adapters()
    assert loaded.logit_scale().item() == pytest.approx(1 / 0.07)


@pytest.mark.parametrize("text", ["roberta", "gpt2"])
def test_the_merged_model_is_a_plain_one_and_equals_the_adapted(tmp_path: Path, text: str):
    adapted = adapt(tiny_model(text), towers=ALL_TOWERS).eval()
    shake(adapted)
    batch = inputs()
    with torch.no_grad():
        expected = adapted(**batch).logits_per_audio
        merged = adapted.merge_and_unload()
        assert type(merged) is CollapModel
        torch.testing.assert_close(merged(**batch).logits_per_audio, expected, rtol=0, atol=1e-5)
    assert merged.state_dict().keys() == tiny_model(text).state_dict().keys()

    merged.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    loaded, report = CollapModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    torch.testing.assert_close(loaded.state_dict(), merged.state_dict(), rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(loaded.eval()(**batch).logits_per_audio, expected, rtol=0, atol=1e-5)
