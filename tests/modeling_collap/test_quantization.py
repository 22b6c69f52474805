# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Weights of 8 and 4 bits, on a GPU if there is one: close to float32, and trained by LoRA on top (QLoRA)."""

import copy
import math
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from tiny_models import (
    FBANK_FRAMES,
    VOCAB_SIZE,
    audio_inputs,
    text_inputs,
    tiny_beats_config,
    tiny_config,
    tiny_whisper_config,
)
from torch import nn
from transformers import BitsAndBytesConfig, RobertaConfig

from collap import BeatsModel, CollapModel

needs_bitsandbytes = pytest.mark.skipif(find_spec("bitsandbytes") is None, reason="needs bitsandbytes")

# Least cosine to what float32 gives.
EIGHT_BITS = pytest.param(BitsAndBytesConfig(load_in_8bit=True), 0.99, id="8bit")
LORA_LAYERS = ["q_proj", "query", "text_model.projection", "adapter"]  # of both audio towers, of the text, and ours
FOUR_BITS = pytest.param(BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4"), 0.95, id="4bit")


@pytest.fixture
def folder(tmp_path) -> Path:
    """A saved model of width 64: bitsandbytes gives 64 weights one scale."""
    torch.manual_seed(0)
    width = {"hidden_size": 64, "intermediate_size": 128}
    model = CollapModel(
        tiny_config(
            music_config=tiny_beats_config(embed_dim=64, **width),
            speech_config=tiny_whisper_config(d_model=64, encoder_ffn_dim=128),
            text_config=RobertaConfig(
                vocab_size=VOCAB_SIZE,
                num_hidden_layers=2,
                num_attention_heads=2,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                **width,
            ),
            projection_dim=64,
            text_granularity="sentence",
            temporal_position=True,
        )
    )
    model.save_pretrained(tmp_path / "model")
    model.audio_model.music_model.save_pretrained(tmp_path / "beats")
    return tmp_path


def batch(device: torch.device) -> dict[str, torch.Tensor]:
    """Two songs and two texts of two sentences."""
    torch.manual_seed(1)
    inputs = audio_inputs([3 * FBANK_FRAMES, FBANK_FRAMES + 30]) | text_inputs([9, 5, 7, 8], [2, 2])
    return {name: value.to(device) for name, value in inputs.items()}


def least_cosine(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float(torch.cosine_similarity(found.float(), expected.float(), dim=-1).min())


@torch.no_grad()
def check_outputs(quantized: CollapModel, model: CollapModel, least: float) -> None:
    inputs = batch(quantized.device)  # bitsandbytes takes the GPU if there is one
    found, expected = quantized(**inputs), model.to(quantized.device)(**inputs)
    real = expected.audio_model_output.frame_mask
    frames = [output.audio_model_output.last_hidden_state[real] for output in (found, expected)]
    assert least_cosine(*frames) >= least
    assert least_cosine(found.text_model_output.query_embeds, expected.text_model_output.query_embeds) >= least
    assert least_cosine(found.audio_embeds, expected.audio_embeds) >= least
    assert least_cosine(found.text_embeds, expected.text_embeds) >= least
    # A score is a mean of cosines, and no angle is off by more than twice that of two vectors of this cosine.
    angle = 2 * math.acos(least)
    similarities = [output.logits_per_audio / output.logit_scale for output in (found, expected)]
    torch.testing.assert_close(*similarities, atol=angle, rtol=0)


@needs_bitsandbytes
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("quantization", "least"), [EIGHT_BITS, FOUR_BITS])
def test_collap_of_few_bits(folder, quantization, least, dtype):
    options = {"quantization_config": copy.deepcopy(quantization), "dtype": dtype}
    quantized = CollapModel.from_pretrained(folder / "model", **options)
    layer = quantized.text_model.encoder.encoder.layer[0].attention.self.query
    assert not layer.weight.is_floating_point()
    check_outputs(quantized, CollapModel.from_pretrained(folder / "model"), least)


@needs_bitsandbytes
@pytest.mark.parametrize(("quantization", "least"), [EIGHT_BITS, FOUR_BITS])
def test_beats_of_few_bits(folder, quantization, least):
    quantized = BeatsModel.from_pretrained(folder / "beats", quantization_config=copy.deepcopy(quantization))
    model = BeatsModel.from_pretrained(folder / "beats")
    assert not quantized.encoder.layers[0].self_attn.q_proj.weight.is_floating_point()
    torch.manual_seed(1)
    inputs = torch.randn(2, FBANK_FRAMES, 128).to(quantized.device)
    with torch.no_grad():
        found, expected = quantized(inputs).last_hidden_state, model.to(inputs.device)(inputs).last_hidden_state
    assert least_cosine(found, expected) >= least


@needs_bitsandbytes
@pytest.mark.parametrize("quantization", [EIGHT_BITS.values[0], FOUR_BITS.values[0]], ids=["8bit", "4bit"])
def test_lora_trains_on_few_bits(folder, quantization):
    model = CollapModel.from_pretrained(folder / "model", quantization_config=copy.deepcopy(quantization))
    model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model = get_peft_model(model, LoraConfig(target_modules=LORA_LAYERS, r=4)).train()
    learned = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(any(layer in name for name in learned) for layer in LORA_LAYERS)
    optimizer = torch.optim.SGD(learned.values(), lr=0.01)
    losses = []
    for _ in range(2):
        loss = model(**batch(model.device), return_loss=True).loss
        loss.backward()
        losses.append(float(loss.detach()))
        # The first step moves each B; the gradient of A is zero as long as B is.
        assert all(weight.grad.isfinite().all() for weight in learned.values())
        assert all(weight.grad.any() for name, weight in learned.items() if "lora_B" in name)
        optimizer.step()
        optimizer.zero_grad()
    assert losses[1] < losses[0]


@pytest.mark.filterwarnings("ignore")  # torch recommends another package for it
def test_layers_that_torch_quantizes_dynamically(folder):
    model = CollapModel.from_pretrained(folder / "model")
    quantized = torch.ao.quantization.quantize_dynamic(model, {nn.Linear})
    assert not isinstance(quantized.audio_model.adapter, nn.Linear)
    check_outputs(quantized, model, 0.99)
