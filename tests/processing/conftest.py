# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers of a few words, made on the spot."""

import pytest
from tiny_tokenizer import tiny_tokenizer
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

WORDS = ["a", "choir", "sings", "piano", "starts", "then", "drums", "set", "in", "it", "fades", ".", "!", ","]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """As RoBERTa's, of 32 tokens."""
    tokenizer = tiny_tokenizer(*WORDS)
    tokenizer.model_max_length = 32
    return tokenizer


@pytest.fixture
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Adds no token and has none to pad with, as GPT-2's; and names no limit."""
    ids = {word: index for index, word in enumerate(["<|endoftext|>", "<unk>", *WORDS])}
    backend = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", unk_token="<unk>")
