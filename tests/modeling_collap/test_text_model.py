# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tests of CollapTextModel: any text model of transformers, with padding on either side, in any batch."""

import pytest
import torch
from tiny_models import VOCAB_SIZE, audio_inputs, text_inputs, tiny_config
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    BertConfig,
    BertModel,
)

from collap import CollapAudioModel, CollapModel, CollapTextModel

SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
TEXT_MODELS = {
    "bert": SMALL,
    "roberta": SMALL | {"max_position_embeddings": 40},
    "mpnet": SMALL | {"max_position_embeddings": 40},
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24},
    "modernbert": SMALL | {"pad_token_id": 1, "reference_compile": False},
    "qwen2": SMALL | {"num_key_value_heads": 2},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2},
    "opt": {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "ffn_dim": 24,
        "word_embed_proj_dim": 16,
    },
    "t5": {"d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 2, "num_heads": 2},
}


def make_model(kind: str = "roberta", **fields) -> CollapTextModel:
    text_config = AutoConfig.for_model(kind, vocab_size=VOCAB_SIZE, **TEXT_MODELS[kind])
    return CollapTextModel(tiny_config(text_config=text_config, **fields)).eval()


def pad_left(inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same sentences with their padding before them."""
    lengths = inputs["attention_mask"].sum(-1).tolist()
    rolled = {
        name: torch.stack([row.roll(len(row) - length) for row, length in zip(value, lengths, strict=True)])
        for name, value in inputs.items()
        if name != "sentence_counts"
    }
    return inputs | rolled


@torch.no_grad()
@pytest.mark.parametrize("kind", TEXT_MODELS)
def test_padding_on_either_side_changes_nothing(kind: str):
    model = make_model(kind, text_pooling="last" if kind in ("gpt2", "opt", "qwen2") else None)
    right = text_inputs([9, 4, 6])
    left = pad_left(right)
    options = {"output_hidden_states": True}
    on_right, on_left = model(**right, **options), model(**left, **options)
    for sentence, length in enumerate([9, 4, 6]):
        alone = {name: value[sentence : sentence + 1, :length] for name, value in right.items()}
        expected = model(**alone, **options)
        for output, real in ((on_right, slice(length)), (on_left, slice(9 - length, 9))):
            torch.testing.assert_close(output.query_embeds[sentence], expected.query_embeds[0])
            torch.testing.assert_close(output.last_hidden_state[sentence, real], expected.last_hidden_state[0])
            torch.testing.assert_close(output.hidden_states[1][sentence, real], expected.hidden_states[1][0])


@torch.no_grad()
def test_attentions_of_texts_that_are_padded_on_the_left():
    model = make_model("bert")
    model.set_attn_implementation("eager")
    right = text_inputs([5, 3])
    weights = model(**right, output_attentions=True).attentions[0]
    moved = model(**pad_left(right), output_attentions=True).attentions[0]  # (S, heads, queries, keys)
    torch.testing.assert_close(moved[1, :, 2:, 2:], weights[1, :, :3, :3])
    torch.testing.assert_close(moved[0], weights[0])


@torch.no_grad()
@pytest.mark.parametrize("side", ["right", "left"])
def test_many_sentences_with_inputs_of_every_token(side: str):
    """From 32 sentences on they are encoded in groups: each input has to follow its sentence."""
    model = make_model("bert")
    inputs = text_inputs([3 + index % 7 for index in range(40)])
    inputs["token_type_ids"] = torch.randint(0, 2, inputs["input_ids"].shape)
    inputs["position_ids"] = torch.stack([torch.randperm(9) for _ in range(40)])
    together = model(**(inputs if side == "right" else pad_left(inputs))).query_embeds
    one_by_one = [model(**{name: value[[row]] for name, value in inputs.items()}).query_embeds for row in range(40)]
    torch.testing.assert_close(together, torch.cat(one_by_one))


@torch.no_grad()
def test_embeddings_in_place_of_tokens():
    model = make_model("gpt2")
    inputs = pad_left(text_inputs([7, 5]))
    expected = model(**inputs)
    embeds = model.get_input_embeddings()(inputs.pop("input_ids"))
    torch.testing.assert_close(model(inputs_embeds=embeds, **inputs).query_embeds, expected.query_embeds)


def test_of_an_encoder_decoder_the_encoder_is_taken(tmp_path):
    model = make_model("t5")
    model.save_pretrained(tmp_path)
    for of_model in (model, CollapTextModel.from_pretrained(tmp_path)):
        assert type(of_model.encoder).__name__ == "T5EncoderModel"
        assert of_model.config.text_pooling == "mean"
    bart = AutoConfig.for_model("bart", vocab_size=VOCAB_SIZE, d_model=16)
    with pytest.raises(ValueError, match=r"text_config must be of a text encoder, .*got 'bart'"):
        CollapTextModel(tiny_config(text_config=bart))


def test_no_cache_for_generation_is_built():
    model = make_model("gpt2")
    caches = []
    model.encoder.register_forward_hook(lambda module, args, output: caches.append(output.past_key_values))
    model(**text_inputs([4]))
    assert caches == [None]


def test_errors():
    model = make_model()
    inputs = text_inputs([4, 3])
    with pytest.raises(ValueError, match="input_ids or inputs_embeds must be given, one of them; got none"):
        model(attention_mask=inputs["attention_mask"])
    with pytest.raises(ValueError, match="got both"):
        model(**inputs, inputs_embeds=torch.zeros(2, 4, 16))
    with pytest.raises(ValueError, match="attention_mask must have a token in each row, got only zeros in row 1"):
        model(inputs["input_ids"], torch.tensor([[1, 1, 1, 1], [0, 0, 0, 0]]))


@torch.no_grad()
def test_both_halves_load_from_the_folder_of_the_whole_model(tmp_path):
    whole = CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()
    whole.save_pretrained(tmp_path)
    texts, songs = text_inputs([5, 4, 6], sentence_counts=[2, 1]), audio_inputs([100, 40])
    text_model, report = CollapTextModel.from_pretrained(tmp_path, output_loading_info=True)
    audio_model, audio_report = CollapAudioModel.from_pretrained(tmp_path, output_loading_info=True)
    for found in (report, audio_report):
        assert not found["missing_keys"]
        assert not found["unexpected_keys"]
    assert {name.split(".")[0] for name, _ in text_model.named_parameters()} == {"encoder", "projection", "time_query"}
    expected = whole(**texts, **songs)
    text, audio = (
        text_model.eval()(**texts, **songs),
        audio_model.eval()(**texts, **songs),
    )  # each ignores the other half
    torch.testing.assert_close(text.query_embeds, expected.text_model_output.query_embeds)
    torch.testing.assert_close(text.time_query_embeds, expected.text_model_output.time_query_embeds)
    torch.testing.assert_close(audio.pooler_output, expected.audio_embeds)
    torch.testing.assert_close(whole.score(audio, text), expected.logits_per_audio)


class BertWithInPlaceInitialization(BertModel):
    """As in many models on the Hub: initial weights are written in place, past transformers' own guard."""

    class Config(BertConfig):
        model_type = "bert-with-in-place-initialization"

    config_class = Config

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear | nn.Embedding):
            module.weight.data.normal_(mean=5.0, std=0.01)


def test_weights_of_a_registered_text_model_survive_loading(tmp_path):
    config_class = BertWithInPlaceInitialization.Config
    AutoConfig.register(config_class.model_type, config_class, exist_ok=True)
    AutoModel.register(config_class, BertWithInPlaceInitialization, exist_ok=True)
    model = CollapModel(tiny_config(text_config=config_class(vocab_size=VOCAB_SIZE, **SMALL)))
    with torch.no_grad():
        for parameter in model.text_model.encoder.parameters():
            parameter.normal_()
    model.save_pretrained(tmp_path)
    loaded = CollapModel.from_pretrained(tmp_path)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(loaded.get_parameter(name), parameter, rtol=0, atol=0)


def test_layers_that_are_sharded_over_processes_are_called_once():
    model = make_model("bert")
    inputs = text_inputs([3 + index % 7 for index in range(64)])
    calls = []
    model.encoder.register_forward_pre_hook(lambda *_: calls.append(1))
    model(**inputs)
    assert len(calls) == 4
    next(model.encoder.parameters()).ds_id = 0  # the mark of ZeRO-3
    model(**inputs)
    assert len(calls) == 5


@torch.no_grad()
@pytest.mark.parametrize(("kind", "most"), [("roberta", 38), ("mpnet", 38), ("bert", 512)])
def test_as_many_tokens_as_there_are_positions(kind: str, most: int):
    model = make_model(kind)
    assert model(**text_inputs([most])).query_embeds.isfinite().all()
    with pytest.raises(ValueError, match=f"input_ids must have at most {most} tokens a row.* got {most + 1}"):
        model(**text_inputs([most + 1]))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["modernbert", "qwen2", "t5"])
def test_relative_positions_have_no_end(kind: str):
    model = make_model(kind)
    if model.config.text_config.to_dict().get("max_position_embeddings"):
        model.config.text_config.max_position_embeddings = 40
    assert model(**text_inputs([50])).query_embeds.isfinite().all()
