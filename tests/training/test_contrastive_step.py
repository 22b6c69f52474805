# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Parts of the exact step: cutting a batch, the same dropout twice, the loss from what the parts gave."""

from collections import Counter

import pytest
import torch
from tiny_models import FBANK_FRAMES, audio_inputs, text_inputs, tiny_config
from torch import nn

from collap import CollapModel, CollapTextOutput
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.modeling_collap import modeling_beats
from collap.training.loss import (
    Pairs,
    caption_loss,
    gather_pairs,
    loss_and_backward,
    section_queries_of,
    split_ids,
    split_pairs,
)

SONGS = [2 * FBANK_FRAMES + 40, 17, FBANK_FRAMES, 4 * FBANK_FRAMES, 30]
SENTENCES = [[3, 4], [5], [6, 7, 3], [9], [4, 4]]


def make_batch() -> dict:
    counts = [len(text) for text in SENTENCES]
    text = text_inputs([length for text in SENTENCES for length in text], counts)
    ids = {"song_ids": torch.tensor([1, 2, 3, 1, 4]), "text_ids": torch.tensor([1, 2, 3, 4, 5])}
    return {**audio_inputs(SONGS), **text, **ids, "return_loss": True}


def make_model(dropout: float = 0.0, model_class: type[CollapModel] = CollapModel, **changes) -> CollapModel:
    torch.manual_seed(0)
    unfrozen = {"freeze_music_model": False, "freeze_speech_model": False}
    config = tiny_config(text_granularity="sentence", temporal_position=True, **unfrozen, **changes)
    config.text_config.hidden_dropout_prob = dropout
    for audio_config, name in ((config.music_config, "hidden_dropout"), (config.speech_config, "dropout")):
        if audio_config is not None:
            setattr(audio_config, name, dropout)
    model = model_class(config).train()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return model


def cached_step(model: CollapModel, parts: list[dict], ids: dict) -> torch.Tensor:
    return loss_and_backward(
        lambda part: Pairs.of(model(**part, return_logits=False)),
        parts,
        len(parts),
        lambda pairs: loss_of(model, pairs, ids),
        lambda value: value.backward(),
        lambda: torch.enable_grad(),
        torch.device("cpu"),
    )


def loss_of(model: CollapModel, pairs: Pairs, ids: dict) -> torch.Tensor:
    return caption_loss(gather_pairs(model, pairs, ids))


@pytest.mark.parametrize("num_parts", [1, 2, 3, 5, 9])
def test_parts_embed_to_what_the_batch_does(num_parts: int):
    model = make_model().eval()
    inputs, ids = split_ids(make_batch())
    assert ids.keys() == {"song_ids", "text_ids"}
    assert "return_loss" not in inputs
    parts = split_pairs(inputs, num_parts)
    assert [len(part["sentence_counts"]) for part in parts] == {
        1: [5], 2: [3, 2], 3: [2, 2, 1], 5: [1] * 5, 9: [1] * 5,
    }[num_parts]  # fmt: skip
    with torch.no_grad():
        whole = Pairs.of(model(**inputs, return_logits=False))
        joined = Pairs.join([Pairs.of(model(**part, return_logits=False)) for part in parts])
    for name in ("frame_mask", "sentence_counts"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name))
    for name, value in whole.embeddings().items():
        torch.testing.assert_close(joined.embeddings()[name], value, atol=1e-5, rtol=0)


def test_parts_have_no_padding_of_others():
    inputs, _ = split_ids(make_batch())
    parts = split_pairs(inputs, 5)
    assert [part["fbank_features"].shape[1] for part in parts] == [3, 1, 1, 4, 1]  # chunks
    assert [part["input_ids"].shape[1] for part in parts] == [4, 5, 7, 9, 4]  # tokens
    frames = {"encoder_frames": torch.randn(2, 6, 4), "frame_mask": torch.tensor([[1, 1, 0, 0, 0, 0], [1] * 6]).bool()}
    parts = split_pairs({**frames, **text_inputs([3, 4], [1, 1])}, 2)
    assert [part["encoder_frames"].shape[1] for part in parts] == [2, 6]


@pytest.mark.parametrize(
    ("dropout", "model_class"),
    [(0.0, CollapModel), (0.2, CollapModel), (0.2, MeanPoolingCollap)],  # the last does not use all embeddings
)
def test_the_second_embedding_drops_out_what_the_first_did(dropout: float, model_class: type[CollapModel]):
    inputs, ids = split_ids(make_batch())
    parts = split_pairs(inputs, 3)

    def gradients(step) -> tuple[torch.Tensor, dict[str, torch.Tensor], torch.Tensor]:
        model = make_model(dropout, model_class)
        torch.manual_seed(5)
        loss = step(model)
        return loss, {name: value.grad for name, value in model.named_parameters()}, torch.rand(())

    def at_once(model: CollapModel) -> torch.Tensor:
        """The obvious way: all parts are embedded with their graphs, one loss, one backward pass."""
        loss = loss_of(model, Pairs.join([Pairs.of(model(**part, return_logits=False)) for part in parts]), ids)
        loss.backward()
        return loss.detach()

    def cached(model: CollapModel) -> torch.Tensor:
        return cached_step(model, parts, ids)

    expected, ours = gradients(at_once), gradients(cached)
    torch.testing.assert_close(ours[0], expected[0])
    assert ours[2] == expected[2]  # the random numbers go on as if each part had been embedded once
    for name, gradient in expected[1].items():
        own = ours[1][name]
        if gradient is None and own is not None:
            gradient = torch.zeros_like(own)
        torch.testing.assert_close(own, gradient, rtol=1e-4, atol=1e-6)
    if dropout:
        assert abs(gradients(lambda model: at_once(model.eval()))[0] - expected[0]) > 1e-3


# How often a layer and its attention are computed, by chunks at a time, gradient checkpointing, micro-batches. BEATs
# makes the masks of a block of queries again, and so its attention, where the layer is not checkpointed.
PASSES = {
    (99, False, 1): (1, 2),
    (99, True, 1): (2, 2),
    (1, False, 1): (2, 3),
    (1, True, 1): (2, 2),  # the layers are, not the parts too
    (99, False, 3): (2, 3),  # without a graph, with a graph
    (1, False, 3): (3, 4),
    (1, True, 3): (3, 3),
}


@pytest.mark.parametrize("tower", ["music", "speech"])
@pytest.mark.parametrize("case", PASSES)
def test_what_saves_memory_computes_a_layer_so_often(
    case: tuple[int, bool, int], tower: str, monkeypatch: pytest.MonkeyPatch
):
    inputs = {
        **audio_inputs([2 * FBANK_FRAMES, 4 * FBANK_FRAMES, 3 * FBANK_FRAMES]),
        **text_inputs([4, 5, 6], [1, 1, 1]),
    }
    attend, computed = nn.functional.scaled_dot_product_attention, Counter()
    monkeypatch.setattr(modeling_beats, "QUERY_BLOCK_SIZE", 5)

    def count_attention(query: torch.Tensor, key: torch.Tensor, *args: torch.Tensor, **kwargs) -> torch.Tensor:
        if key.shape[2] > 20:  # not of a text
            computed["attention"] += query.shape[0] * query.shape[2]
        return attend(query, key, *args, **kwargs)

    def count_layer(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        computed["layer"] += inputs[0].shape[0] * inputs[0].shape[1]

    def step(encoder_batch_size: int, checkpointing: bool, num_parts: int) -> tuple[torch.Tensor, dict]:
        absent = {"music": "speech_config", "speech": "music_config"}[tower]
        model = make_model(encoder_batch_size=encoder_batch_size, **{absent: None})
        if checkpointing:
            model.audio_model.activation_checkpointing_enable()
        layers = [module for name, module in model.audio_model.named_modules() if name.endswith(".fc1")]
        layers[0].register_forward_pre_hook(count_layer)
        with monkeypatch.context() as patch:
            patch.setattr(nn.functional, "scaled_dot_product_attention", count_attention)
            loss = cached_step(model, split_pairs(inputs, num_parts), {})
        computed["attention"] //= len(layers)
        return loss, {name: value.grad for name, value in model.named_parameters() if value.requires_grad}

    loss, gradients = step(99, False, 1)
    once = computed["layer"]
    computed.clear()
    found_loss, found_gradients = step(*case)
    assert computed["layer"] == PASSES[case][0] * once
    assert computed["attention"] == PASSES[case][tower == "music"] * once  # Whisper has no masks to make again
    torch.testing.assert_close(found_loss, loss)
    for name, gradient in gradients.items():
        assert (found_gradients[name] - gradient).norm() <= 1e-4 * gradient.norm() + 1e-6, name


def test_sentences_of_a_section_become_one_text():
    """Two texts: sentences 0 and 2 of the first describe one section, 1 another; of the second, 4 one and 3 none."""
    queries = torch.arange(5.0)[:, None]
    texts = CollapTextOutput(query_embeds=queries, sentence_counts=torch.tensor([3, 2]))
    sections, origins = section_queries_of(texts, torch.tensor([7, 2, 7, -1, 7]))
    assert sections.query_embeds.flatten().tolist() == [1, 0, 2, 4]
    assert sections.sentence_counts.tolist() == [1, 2, 1]
    assert origins.tolist() == [0, 0, 1]
