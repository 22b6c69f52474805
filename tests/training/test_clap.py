# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A ClapModel behind the interface that the trainer asks models through; its training: `test_train_clap.py`."""

import inspect

import torch
from tiny_clap import tiny_clap

from collap import CollapAudioOutput, CollapModel, CollapTextOutput
from collap.training.clap import TrainableClap


def test_similarity_is_asked_for_as_of_a_collap():
    assert inspect.signature(TrainableClap.similarity) == inspect.signature(CollapModel.similarity)


def test_similarity_by_hand_knows_neither_time_nor_moments():
    model = TrainableClap(tiny_clap("a choir")[0].config)
    songs = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    audio = CollapAudioOutput(last_hidden_state=songs[:, None], frame_mask=torch.ones(2, 1, dtype=torch.bool))
    queries = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.8, 0.6]])
    text = CollapTextOutput(query_embeds=queries, sentence_counts=torch.ones(3, dtype=torch.long))
    expected = torch.tensor([[0.0, 1.0, 0.8], [0.8, 0.6, 0.96]])
    torch.testing.assert_close(model.similarity(audio, text), expected)
    torch.testing.assert_close(model.similarity(audio, text, use_time=False, section_query=True), expected)
