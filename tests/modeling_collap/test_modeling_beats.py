# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
BEATs against the original code (by its recorded outputs) and against a slow, obvious attention; padding, precision,
loading. The recorded outputs carry float32 noise of about 2e-5; the smallest mistake tried on the original, the tanh
GELU, differs by 4.7e-4.
"""

import copy
import json
import math
import pickle
import zlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from safetensors.torch import load_file
from tiny_models import tiny_beats_config

from collap import BeatsConfig, BeatsModel
from collap.modeling_collap import modeling_beats
from collap.modeling_collap.convert_beats_checkpoint import (
    convert_beats_checkpoint,
    convert_config,
    convert_state_dict,
)
from collap.modeling_collap.modeling_beats import BeatsAttention, BeatsRelativePositionBias, relative_position_buckets
from collap.processing.feature_extraction_beats import kaldi_fbank

PARITY = 3e-5  # from the same filter bank; the promise is 1e-4
WAVEFORM_PARITY = 1e-4
SILENCE = -2.391692876815796  # any mel bin of digital silence


def random_model(**changes) -> BeatsModel:
    """A tiny model whose weights are large enough to make every part of it matter."""
    torch.manual_seed(0)
    model = BeatsModel(tiny_beats_config(**changes)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return model


def prefix_mask(lengths: list[int], num_frames: int) -> torch.Tensor:
    """`(batch, num_frames)`, 1 for the first so many frames of each row."""
    return (torch.arange(num_frames) < torch.tensor(lengths)[:, None]).long()


def load_golden(model_name: str, goldens: Path, tmp_path: Path, **options) -> tuple[BeatsModel, dict]:
    """A tiny checkpoint of the original code, converted and loaded, and what the original computes with it."""
    convert_beats_checkpoint(goldens / "beats_tiny" / f"{model_name}.pt", tmp_path / model_name)
    model = BeatsModel.from_pretrained(tmp_path / model_name, **options).eval()
    return model, load_file(goldens / "beats_tiny" / f"{model_name}_expected.safetensors")


def largest_difference(actual: torch.Tensor, expected: torch.Tensor) -> float:
    assert actual.shape == expected.shape
    return (actual - expected).abs().max().item()


class TestOriginal:
    """Same numbers as Microsoft's code."""

    def test_relative_position_buckets(self, goldens: Path):
        expected = load_file(goldens / "beats_relative_buckets.safetensors")
        buckets = relative_position_buckets(expected["relative_position"].long(), 320, 800)
        assert torch.equal(buckets.int(), expected["bucket_320_800"])

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_every_layer(self, goldens: Path, tmp_path: Path, attn_implementation: str):
        model, expected = load_golden("beats_tiny", goldens, tmp_path, attn_implementation=attn_implementation)
        features = load_file(goldens / "beats_fbank.safetensors")["tones.input_values"]
        with torch.no_grad():
            patches = model.embeddings.patch_embedding(features[None, None]).flatten(2).transpose(1, 2)
            embeddings = model.embeddings(features[None])
            positions = model.encoder.pos_conv_embed(embeddings)
            output = model(features[None], output_hidden_states=True)
        assert largest_difference(patches[0], expected["single.patch_embedding"]) < PARITY
        assert largest_difference(embeddings[0], expected["single.post_extract_proj"]) < PARITY
        assert largest_difference(positions[0], expected["single.pos_conv"]) < PARITY
        assert largest_difference(torch.cat(output.hidden_states), expected["single.hidden_states"]) < PARITY
        assert largest_difference(output.last_hidden_state[0], expected["single.last_hidden_state"]) < PARITY

    def test_fine_tuned(self, goldens: Path, tmp_path: Path):
        model, expected = load_golden("beats_tiny_finetuned", goldens, tmp_path)
        features = load_file(goldens / "beats_fbank.safetensors")["tones.input_values"]
        with torch.no_grad():
            output = model(features[None]).last_hidden_state[0]
        assert largest_difference(output, expected["single.last_hidden_state"]) < PARITY

    @pytest.mark.parametrize("model_name", ["beats_tiny", "beats_tiny_finetuned"])
    def test_batch(self, goldens: Path, tmp_path: Path, model_name: str):
        # The original's own padding mask is inexact: its padded row differs from the clip alone by 0.69. So the full
        # row is compared with the original's batch, and the padded one with what the original gives for it alone.
        model, expected = load_golden(model_name, goldens, tmp_path)
        batch = load_file(goldens / "beats_tiny" / "beats_tiny_expected.safetensors")
        num_samples = (~batch["batch.waveform_padding_mask"]).sum(dim=-1)
        features = kaldi_fbank(batch["batch.waveform"])
        attention_mask = prefix_mask((1 + (num_samples - 400) // 160).tolist(), features.shape[1])
        with torch.no_grad():
            output = model(features, attention_mask).last_hidden_state
        assert largest_difference(output[0], expected["batch.last_hidden_state"][0]) < WAVEFORM_PARITY
        if "second_alone.last_hidden_state" in expected:
            assert largest_difference(output[1, :80], expected["second_alone.last_hidden_state"]) < WAVEFORM_PARITY
        assert output[1, 80:].abs().max() == 0

    def test_base_size(self, goldens: Path):
        expected = load_file(goldens / "beats_base_seeded.safetensors")
        statistics = json.loads((goldens / "beats_base_seeded.json").read_text())["hidden_states"]
        config, state_dict = seeded_base_checkpoint(json.loads((goldens / "beats_base_parameters.json").read_text()))
        with torch.device("meta"):
            model = BeatsModel(config).eval()
        model.load_state_dict(convert_state_dict(state_dict, config), assign=True)

        samples, _ = soundfile.read(goldens / "beats_fbank_real.wav", dtype="float32")
        with torch.no_grad():
            output = model(kaldi_fbank(torch.from_numpy(samples))[None], output_hidden_states=True)
        tokens = output.last_hidden_state[0]
        assert tokens.shape == (496, 768)
        assert largest_difference(tokens[expected["token_index"]], expected["tokens"]) < PARITY
        assert largest_difference(tokens.mean(dim=0), expected["mean_over_tokens"]) < PARITY
        for hidden_state, statistic in zip(output.hidden_states, statistics, strict=True):
            assert hidden_state.mean().item() == pytest.approx(statistic["mean"], abs=1e-6)
            assert hidden_state.std().item() == pytest.approx(statistic["std"], abs=1e-5)
            assert hidden_state.abs().max().item() == pytest.approx(statistic["abs_max"], abs=PARITY)


def seeded_base_checkpoint(parameters: dict) -> tuple[BeatsConfig, dict[str, torch.Tensor]]:
    """The full-size checkpoint that was run through the original code: random weights that anybody can make again."""
    state_dict = {}
    for parameter in parameters["names"]:
        name, shape = parameter["name"], parameter["shape"]
        seed_name = parameters["tied"]["canonical"] if name in parameters["tied"]["copies"] else name
        last = name.rpartition(".")[2]
        if "layer_norm." in name:
            mean, std = (1.0, 0.1) if last == "weight" else (0.0, 0.1)
        elif name.endswith("relative_attention_bias.weight"):
            mean, std = 0.0, 1.0
        elif last == "weight":
            mean, std = 0.0, math.prod(shape[1:]) ** -0.5
        else:
            others = {"weight_g": (1.0, 0.25), "weight_v": (0.0, 1.0), "grep_a": (1.0, 0.5), "bias": (0.0, 0.1)}
            mean, std = others[last]
        bits = np.random.PCG64(zlib.crc32(f"beats-base/{seed_name}".encode())).random_raw(math.prod(shape))
        uniform = (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53
        values = mean + std * (uniform - 0.5) * math.sqrt(12.0)
        state_dict[name] = torch.from_numpy(values.astype(np.float32).reshape(shape))
    return convert_config(parameters["cfg_pretrained"]), state_dict


class TestPadding:
    """A clip gives the same in a batch as alone, whatever lies behind its end."""

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_batch_equals_alone(self, attn_implementation: str):
        model = random_model(num_conv_pos_embeddings=16, attn_implementation=attn_implementation)
        lengths = [100, 16, 47, 48, 64, 95]  # frames; 96 are six whole time steps
        features = torch.randn(len(lengths), 100, 128)
        attention_mask = prefix_mask(lengths, 100)
        features[attention_mask == 0] = torch.nan
        with torch.no_grad():
            batch = model(features, attention_mask).last_hidden_state
            for row, length in enumerate(lengths):
                num_tokens = 8 * (length // 16)
                alone = model(features[row : row + 1, :length]).last_hidden_state[0]
                assert alone.shape[0] == num_tokens == model.config.num_tokens(length)
                assert largest_difference(batch[row, :num_tokens], alone) < 1e-5
                assert batch[row, num_tokens:].abs().sum() == 0

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_row_of_nothing_but_padding(self, attn_implementation: str):
        model = random_model(attn_implementation=attn_implementation).train()
        attention_mask = prefix_mask([64, 0, 15], 64)
        output = model(torch.randn(3, 64, 128), attention_mask).last_hidden_state
        assert output[1:].abs().max() == 0
        output.square().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


def naive_attention(
    attention: BeatsAttention, bias: BeatsRelativePositionBias, states: torch.Tensor, num_valid: int
) -> torch.Tensor:
    """The attention of one clip, `(tokens, hidden_size)`, one query and one head at a time."""
    config = attention.config
    query, key, value = attention.q_proj(states), attention.k_proj(states), attention.v_proj(states)
    outputs = []
    for i in range(len(states)):
        heads = []
        for head, part in enumerate(torch.arange(config.hidden_size).chunk(config.num_attention_heads)):
            gates = torch.sigmoid(attention.gru_rel_pos_linear(query[i, part]).view(2, 4).sum(dim=1))
            gate = gates[0] * (gates[1] * attention.gru_rel_pos_const[0, head, 0, 0] - 1) + 2
            logits = []
            for j in range(num_valid):
                bucket = relative_position_buckets(torch.tensor(j - i), config.num_buckets, config.max_bucket_distance)
                content = query[i, part] @ key[j, part] / math.sqrt(len(part))
                logits.append(content + gate * bias.embedding.weight[bucket, head])
            heads.append(torch.stack(logits).softmax(dim=0) @ value[:num_valid, part])
        outputs.append(torch.cat(heads))
    return attention.out_proj(torch.stack(outputs))


class TestAttention:
    """The two implementations against the naive one and against each other, value and gradient."""

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_equals_naive(self, attn_implementation: str, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(modeling_beats, "QUERY_BLOCK_SIZE", 5)
        model = random_model(num_buckets=8, max_bucket_distance=6, attn_implementation=attn_implementation)
        attention, bias = model.encoder.layers[0].self_attn, model.encoder.relative_position_bias
        states = torch.randn(2, 11, 16, requires_grad=True)
        direction = torch.randn(2, 11, 16)
        num_valid = [11, 7]
        key_bias = torch.zeros(2, 1, 1, 11)
        key_bias[1, ..., 7:] = -torch.inf
        parameters = [states, *attention.parameters(), *bias.parameters()]

        output, _ = attention(states, bias(11, states.device), key_bias)
        gradients = torch.autograd.grad((output * direction).sum(), parameters)
        naive = torch.stack([naive_attention(attention, bias, *row) for row in zip(states, num_valid, strict=True)])
        naive_gradients = torch.autograd.grad((naive * direction).sum(), parameters)

        assert largest_difference(output, naive) < 1e-5
        for gradient, naive_gradient in zip(gradients, naive_gradients, strict=True):
            assert largest_difference(gradient, naive_gradient) < 1e-4

    def test_no_mask_is_kept_for_the_backward_pass(self):
        # 64 time steps of 8 patches. The mask of a block of 256 queries has 2 heads x 256 x 512 numbers.
        model, kept = random_model().train(), {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(torch.randn(1, 1024, 128))
        assert [size for size in kept.values() if size >= 2 * 256 * 512] == []

    def test_weights(self):
        model = random_model(attn_implementation="eager")
        attention_mask = prefix_mask([64, 40], 64)
        output = model(torch.randn(2, 64, 128), attention_mask, output_attentions=True, output_hidden_states=True)
        assert len(output.attentions) == 2
        assert len(output.hidden_states) == 3
        for weights in output.attentions:
            assert weights.shape == (2, 2, 32, 32)
            torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 2, 32))
            assert weights[1, :, :, 16:].abs().max() == 0


class TestPrecision:
    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
    def test_no_nan(self, dtype: torch.dtype, attn_implementation: str):
        model = random_model(attn_implementation=attn_implementation).to(dtype)
        features = torch.randn(4, 64, 128)
        features[1] = SILENCE
        features[2] = 0.0
        with torch.no_grad():
            output = model(features, prefix_mask([64, 64, 48, 0], 64)).last_hidden_state
        assert output.dtype == dtype
        assert output.isfinite().all()

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_logits_beyond_float16(self, attn_implementation: str):
        model = random_model(attn_implementation=attn_implementation)
        with torch.no_grad():
            for layer in model.encoder.layers:
                layer.self_attn.q_proj.weight.mul_(150)
                layer.self_attn.k_proj.weight.mul_(150)
            model.half()
            assert model(torch.randn(1, 64, 128)).last_hidden_state.isfinite().all()

    @pytest.mark.parametrize("attn_implementation", ["eager", "sdpa"])
    def test_autocast(self, attn_implementation: str):
        model = random_model(attn_implementation=attn_implementation).train()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(torch.randn(2, 64, 128), prefix_mask([64, 40], 64)).last_hidden_state
        output.float().square().sum().backward()
        assert all(parameter.grad.isfinite().all() for parameter in model.parameters())


class TestTraining:
    def test_layerdrop(self):
        model = random_model(layerdrop=1.0).train()
        output = model(torch.randn(1, 64, 128), output_hidden_states=True)
        assert all(torch.equal(state, output.hidden_states[0]) for state in output.hidden_states)
        # A dropped layer still takes part in the backward pass, or DDP would wait for it.
        output.last_hidden_state.sum().backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        model.eval()
        states = model(torch.randn(1, 64, 128), output_hidden_states=True).hidden_states
        assert not torch.equal(states[1], states[0])


class TestLoading:
    def test_default_config_is_the_released_one(self, goldens: Path):
        released = json.loads((goldens / "beats_base_parameters.json").read_text())
        assert convert_config(released["cfg_pretrained"]).to_dict() == BeatsConfig().to_dict()
        with torch.device("meta"):
            assert BeatsModel(BeatsConfig()).num_parameters() == released["parameters"]


class TestInterface:
    @pytest.mark.parametrize("shape", [(2, 64, 80), (64, 128), (2, 15, 128)])
    def test_wrong_input_shape(self, shape: tuple[int, ...]):
        with pytest.raises(ValueError, match="input_values must have the shape"):
            random_model()(torch.zeros(shape))

    def test_wrong_mask_shape(self):
        with pytest.raises(ValueError, match="attention_mask must have the shape"):
            random_model()(torch.zeros(2, 64, 128), torch.ones(2, 32))

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"num_attention_heads": 7}, "hidden_size must be a multiple of num_attention_heads, got 768 and 7"),
            ({"num_conv_pos_embedding_groups": 5}, "multiple of num_conv_pos_embedding_groups"),
            ({"num_mel_bins": 100}, "num_mel_bins must be a multiple of patch_size"),
            ({"num_buckets": 6}, "num_buckets must be a multiple of 4"),
            ({"max_bucket_distance": 80}, "max_bucket_distance must be greater"),
        ],
    )
    def test_contradictory_config(self, changes: dict, message: str):
        with pytest.raises(StrictDataclassClassValidationError, match=message):
            BeatsConfig(**changes)


def test_it_is_copied_but_not_pickled():
    """As of all models with PyTorch's weight norm; the docstring of BeatsModel says so."""
    model = BeatsModel(tiny_beats_config()).eval()
    inputs = torch.randn(1, 32, 128)
    with torch.no_grad():
        torch.testing.assert_close(copy.deepcopy(model)(inputs).last_hidden_state, model(inputs).last_hidden_state)
    with pytest.raises(RuntimeError, match=r"only\s+supported through state_dict"):
        pickle.dumps(model)
