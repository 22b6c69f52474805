# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tests of graphs: `torch.export` with any numbers of songs, chunks and texts, and `torch.compile` without a break."""

import pytest
import torch
from tiny_models import FBANK_FRAMES, audio_inputs, text_inputs, tiny_config
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.export import Dim

from collap import CollapModel

AUDIO_AXES = {0: Dim("songs", max=64), 1: Dim("chunks", max=64)}
TOKEN_AXES = {0: Dim("sentences", max=512), 1: Dim("tokens", max=60)}
AXES = {
    "fbank_features": AUDIO_AXES,
    "input_features": AUDIO_AXES,
    "audio_attention_mask": AUDIO_AXES,
    "input_ids": TOKEN_AXES,
    "attention_mask": TOKEN_AXES,
    "sentence_counts": {0: Dim("texts", max=512)},
}


@pytest.fixture(scope="module")
def model() -> CollapModel:
    return CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).eval()


def export(model: nn.Module, inputs: dict[str, torch.Tensor]) -> nn.Module:
    axes = {name: AXES[name] for name in inputs}
    with torch.no_grad():
        return torch.export.export(model, (), inputs, dynamic_shapes=axes).module()


# Whole chunks, a short chunk, a last chunk of 5 frames (too few for a vector), and other numbers than were exported.
SONGS = [[2 * FBANK_FRAMES, 40], [FBANK_FRAMES + 5, FBANK_FRAMES], [3 * FBANK_FRAMES + 20, 30, 2 * FBANK_FRAMES]]


@torch.no_grad()
def test_the_audio_half_is_exported(model):
    exported = export(model.audio_model, audio_inputs(SONGS[0]))
    for frames in SONGS:
        inputs = audio_inputs(frames)
        found, expected = exported(**inputs), model.audio_model(**inputs)
        num_frames = expected.frame_mask.shape[1]  # a graph pads to whole chunks
        torch.testing.assert_close(found.last_hidden_state[:, :num_frames], expected.last_hidden_state)
        torch.testing.assert_close(found.frame_mask[:, :num_frames], expected.frame_mask)
        assert not found.frame_mask[:, num_frames:].any()
        torch.testing.assert_close(found.pooler_output, expected.pooler_output)


@torch.no_grad()
def test_the_whole_model_is_exported(model):
    exported = export(model, text_inputs([5, 4, 6, 3], [3, 1]) | audio_inputs(SONGS[0]))
    for frames, lengths, counts in zip(
        SONGS, ([5, 4, 6, 3], [2, 9, 3], [4] * 40), ([3, 1], [1, 2], [30, 9, 1]), strict=True
    ):
        inputs = text_inputs(lengths, counts) | audio_inputs(frames)
        torch.testing.assert_close(exported(**inputs).logits_per_audio, model(**inputs).logits_per_audio)


@pytest.mark.parametrize("part", ["audio_model.music_model", ""])
def test_compilation_has_no_graph_break(model, part: str):
    audio, text = audio_inputs(SONGS[0]), text_inputs([5, 4, 6], [2, 1])
    inputs = audio | text | {"return_loss": True}
    if part:
        inputs = {"input_values": audio["fbank_features"][0], "attention_mask": audio["audio_attention_mask"][0]}
    torch._dynamo.reset()
    assert torch._dynamo.explain(model.get_submodule(part))(**inputs).graph_break_count == 0


def cached_batch(num_pairs: int, num_frames: int, model: CollapModel) -> dict[str, torch.Tensor]:
    """Pairs of so many frames at most, with 1 to 3 sentences."""
    counts = [1 + (pair + num_frames) % 3 for pair in range(num_pairs)]
    lengths = torch.linspace(1, num_frames, num_pairs).long()
    frame_mask = torch.arange(num_frames) < lengths[:, None]
    frames = torch.randn(num_pairs, num_frames, model.config.encoder_hidden_size)
    texts = text_inputs([3 + sentence % num_pairs for sentence in range(sum(counts))], counts)
    return {"encoder_frames": frames, "frame_mask": frame_mask, **texts, "return_loss": True}


def test_a_compiled_training_step_takes_all_lengths():
    """From cached frames: one graph for the first lengths, one for all others, with the loss and the gradients."""
    model = CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).train()
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, backend=counter, fullgraph=True)
    for sizes in ((4, 7), (6, 9), (3, 30)):
        batch = cached_batch(*sizes, model)
        gradients = []
        for run in (model, compiled):
            model.zero_grad()
            loss = run(**batch).loss
            loss.backward()
            gradients.append({name: weight.grad for name, weight in model.named_parameters() if weight.requires_grad})
            gradients[-1]["loss"] = loss.detach()
        torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)
    assert counter.frame_count == 2


@torch.no_grad()
def test_a_compiled_audio_half_takes_all_lengths(model):
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model.audio_model, backend=counter, fullgraph=True)
    # Below 16 chunks: from there on torch chooses another convolution, which is one more graph.
    for num_songs, num_chunks in ((2, 3), (3, 5), (2, 7)):
        inputs = audio_inputs([num_chunks * FBANK_FRAMES - 9 * song for song in range(num_songs)])
        found, expected = compiled(**inputs), model.audio_model(**inputs)
        num_frames = expected.frame_mask.shape[1]
        torch.testing.assert_close(found.last_hidden_state[:, :num_frames], expected.last_hidden_state)
    assert counter.frame_count == 2
