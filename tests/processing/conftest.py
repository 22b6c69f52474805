# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers of a few words, made on the spot."""

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = ["a", "choir", "sings", "piano", "starts", "then", "drums", "set", "in", "it", "fades", ".", "!", ","]


def word_tokenizer(special_tokens: list[str]) -> Tokenizer:
    """A token a word; the special tokens come first, so that ids count up from 0."""
    vocabulary = {word: index for index, word in enumerate([*special_tokens, "<unk>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return tokenizer


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    """Wraps a sentence in two special tokens and pads with a third, as RoBERTa's does. Takes 32 tokens."""
    backend = word_tokenizer(["<s>", "<pad>", "</s>"])
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=32,
    )


@pytest.fixture
def gpt2_tokenizer() -> PreTrainedTokenizerFast:
    """Adds no token and has none to pad with, as GPT-2's; and names no limit."""
    backend = word_tokenizer(["<|endoftext|>"])
    return PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|endoftext|>", unk_token="<unk>")
