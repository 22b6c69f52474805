# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A tokenizer of the words at hand, for tests that need no more than one."""

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

SPECIAL_TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def tiny_tokenizer(*texts: str) -> PreTrainedTokenizerFast:
    """Knows the words of `texts`; begins, pads and ends with RoBERTa's tokens 0, 1 and 2. Takes 60 tokens."""
    splitter = pre_tokenizers.Whitespace()
    words = sorted({word for text in texts for word, _ in splitter.pre_tokenize_str(text)})
    ids = {word: index for index, word in enumerate([*SPECIAL_TOKENS.values(), *words])}
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    tokenizer.pre_tokenizer = splitter
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=60, **SPECIAL_TOKENS)
