# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Saving and loading: nothing is lost, nothing is made up, precision, device and attention arrive in every tower."""

import json

import pytest
import torch
from accelerate import infer_auto_device_map
from accelerate.hooks import AlignDevicesHook, add_hook_to_module
from tiny_models import (
    FBANK_FRAMES,
    audio_inputs,
    text_inputs,
    tiny_beats_config,
    tiny_config,
    tiny_text_config,
    tiny_whisper_config,
)
from transformers import AutoConfig, AutoModel, GPT2Model, RobertaModel, WhisperForConditionalGeneration, WhisperModel

from collap import BeatsModel, CollapAudioModel, CollapModel

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
ON_GPU = [pytest.mark.gpu, NEEDS_GPU]


def randomise(model: torch.nn.Module) -> torch.nn.Module:
    """Other weights than any fresh model has, in every tensor."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


@pytest.fixture
def model() -> CollapModel:
    return randomise(CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)))


@pytest.fixture
def inputs() -> dict[str, torch.Tensor]:
    return {**audio_inputs([2 * FBANK_FRAMES + 20, 40]), **text_inputs([5, 6, 7], [1, 2])}


def assert_same_weights(actual: torch.nn.Module, expected: torch.nn.Module) -> None:
    assert actual.state_dict().keys() == expected.state_dict().keys()
    for name, value in expected.state_dict().items():
        torch.testing.assert_close(actual.state_dict()[name], value, atol=0, rtol=0, msg=name)


@pytest.mark.parametrize("max_shard_size", ["5GB", "10KB"], ids=["one file", "shards"])
def test_round_trip_by_auto_classes(tmp_path, model, inputs, max_shard_size: str):
    model.save_pretrained(tmp_path, max_shard_size=max_shard_size)
    assert (len(list(tmp_path.glob("*.safetensors"))) > 1) == (max_shard_size == "10KB")
    reloaded, report = AutoModel.from_pretrained(tmp_path, output_loading_info=True)
    assert isinstance(reloaded, CollapModel)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_weights(reloaded, model)
    with torch.no_grad():
        torch.testing.assert_close(
            reloaded(**inputs).logits_per_audio, model(**inputs).logits_per_audio, atol=0, rtol=0
        )
    assert isinstance(AutoConfig.from_pretrained(tmp_path), type(model.config))
    assert json.loads((tmp_path / "config.json").read_text())["model_type"] == "collap"


def test_freezing_survives(tmp_path, model):
    model.save_pretrained(tmp_path)
    reloaded = CollapModel.from_pretrained(tmp_path).train()
    assert not any(p.requires_grad for p in reloaded.audio_model.music_model.parameters())
    assert not reloaded.audio_model.music_model.training
    assert reloaded.audio_model.adapter.weight.requires_grad


def test_the_audio_half_loads_alone(tmp_path, model, inputs):
    model.save_pretrained(tmp_path)
    half, report = CollapAudioModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_same_weights(half, model.audio_model)


def test_names_that_the_model_does_not_have_are_reported(tmp_path, model):
    """What one half of the model leaves out of the folder is no surprise; what nobody takes is."""
    weights = {**model.state_dict(), "text_model.head.weight": torch.ones(2), "logit_scale.bias": torch.ones(1)}
    model.save_pretrained(tmp_path, state_dict=weights)
    _, report = CollapModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["unexpected_keys"]) == {"text_model.head.weight", "logit_scale.bias"}


@pytest.mark.gpu
@NEEDS_GPU
def test_towers_on_several_devices(model, inputs):
    with torch.no_grad():
        expected = model(**inputs)
        places = {
            "audio_model.music_model": "cuda",
            "audio_model.speech_model": "cpu",
            "audio_model.adapter": "cpu",
            "text_model.encoder": "cpu",
            "text_model.projection": "cuda",
            "text_model.time_query": "cuda",
            "logit_scale": "cuda",
        }
        for name, device in places.items():
            add_hook_to_module(model.get_submodule(name).to(device), AlignDevicesHook(device))
        for device in ("cpu", "cuda"):
            output = model(**{name: value.to(device) for name, value in inputs.items()}, output_attentions=True)
            assert (output.logits_per_audio.cpu() - expected.logits_per_audio).abs().max() < 1e-4


@pytest.mark.parametrize("places", [["cpu", "disk"], pytest.param([0, "cpu", "disk"], marks=ON_GPU)], ids=str)
def test_offloading_by_limits_of_memory(tmp_path, model, inputs, places: list[str | int]):
    model.save_pretrained(tmp_path)
    size = sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())
    limits = dict.fromkeys(places, size // len(places)) | {"disk": size}
    device_map = infer_auto_device_map(model, limits, no_split_module_classes=model._no_split_modules)
    assert set(device_map.values()) == set(places)
    loaded = CollapModel.from_pretrained(tmp_path, device_map=device_map, offload_folder=tmp_path / "offload")
    with torch.no_grad():
        found = loaded(**inputs).logits_per_audio
        assert (found.cpu() - model(**inputs).logits_per_audio).abs().max() < 1e-4


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(tmp_path, model, inputs, dtype: torch.dtype):
    model.save_pretrained(tmp_path)
    half = CollapModel.from_pretrained(tmp_path, dtype=dtype)
    precisions = {name: parameter.dtype for name, parameter in half.named_parameters()}
    assert precisions.pop("logit_scale.weight") == torch.float32
    assert set(precisions.values()) == {dtype}
    with torch.no_grad():
        output, expected = half(**inputs), model(**inputs)
    assert output.audio_model_output.last_hidden_state.dtype == dtype
    assert output.logits_per_audio.dtype == torch.float32
    # One to three epsilons by the kind of processor: kernels round in different places.
    limit = 16 * torch.finfo(dtype).eps
    for name in ("audio_embeds", "text_embeds"):  # of unit length
        assert (output[name].float() - expected[name]).norm(dim=-1).max() < limit
    scores, expected_scores = (each.logits_per_audio / each.logit_scale for each in (output, expected))
    assert (scores - expected_scores).abs().max() < limit
    torch.testing.assert_close(output.logit_scale, expected.logit_scale, rtol=limit, atol=0)


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
def test_the_attention_implementation_reaches_all_towers(tmp_path, model, inputs, implementation: str):
    model.save_pretrained(tmp_path)
    loaded = CollapModel.from_pretrained(tmp_path, attn_implementation=implementation)
    towers = (loaded.audio_model.music_model, loaded.audio_model.speech_model, loaded.text_model.encoder)
    assert [tower.config._attn_implementation for tower in towers] == [implementation] * 3
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(**inputs).logits_per_audio, model(**inputs).logits_per_audio, atol=1e-5, rtol=0
        )


class TestFromPretrainedTowers:
    @pytest.fixture
    def towers(self, tmp_path) -> dict[str, str]:
        models = {
            "music": BeatsModel(tiny_beats_config()),
            "speech": WhisperForConditionalGeneration(tiny_whisper_config()),
            "roberta": RobertaModel(tiny_text_config("roberta")),
            "gpt2": GPT2Model(tiny_text_config("gpt2")),
        }
        for name, tower in models.items():
            randomise(tower).save_pretrained(tmp_path / name)
        return {name: str(tmp_path / name) for name in models}

    @pytest.mark.parametrize("text", ["roberta", "gpt2"])
    def test_every_weight_of_every_encoder_arrives(self, towers, text: str):
        model = CollapModel.from_music_speech_text_pretrained(
            towers["music"], towers["speech"], towers[text], kernel_size=4, kernel_stride=4
        )
        assert model.config.kernel_size == 4
        assert model.config.chunk_length_s == 0.64
        assert model.config.text_pooling == ("last" if text == "gpt2" else "first")
        assert_same_weights(model.audio_model.music_model, BeatsModel.from_pretrained(towers["music"]))
        assert_same_weights(model.audio_model.speech_model, WhisperModel.from_pretrained(towers["speech"]).encoder)
        keywords = {"add_pooling_layer": False} if text == "roberta" else {}
        assert_same_weights(model.text_model.encoder, AutoModel.from_pretrained(towers[text], **keywords))

    def test_the_precision_is_that_of_the_weights(self, towers, tmp_path):
        model = CollapModel.from_music_speech_text_pretrained(
            towers["music"], None, towers["roberta"], chunk_length_s=0.64, dtype="bfloat16", local_files_only=True
        )
        precisions = {name: parameter.dtype for name, parameter in model.named_parameters()}
        assert precisions.pop("logit_scale.weight") == torch.float32
        assert set(precisions.values()) == {torch.bfloat16}
        model.save_pretrained(tmp_path / "saved")
        assert CollapModel.from_pretrained(tmp_path / "saved").dtype == torch.bfloat16

    @pytest.mark.parametrize("name", ["kernel_width", "revision"])
    def test_an_unknown_argument_is_refused(self, towers, name: str):
        with pytest.raises(TypeError, match=f"{name} is no field of CollapConfig"):
            CollapModel.from_music_speech_text_pretrained(towers["music"], None, towers["roberta"], **{name: 3})

    @pytest.mark.parametrize("absent", ["music", "speech"])
    def test_an_encoder_may_be_left_out(self, towers, absent: str):
        towers[absent] = None
        model = CollapModel.from_music_speech_text_pretrained(
            towers["music"], towers["speech"], towers["roberta"], chunk_length_s=0.64
        )
        assert getattr(model.config, f"{absent}_config") is None

    def test_a_checkpoint_without_the_weights_is_refused(self, towers, tmp_path):
        # A bare Whisper encoder, saved as such, holds nothing under the names a Whisper model looks for.
        WhisperModel(tiny_whisper_config()).encoder.save_pretrained(tmp_path / "bare")
        with pytest.raises(ValueError, match=r"lacks .* weights of a WhisperModel"):
            CollapModel.from_music_speech_text_pretrained(towers["music"], str(tmp_path / "bare"), towers["roberta"])
