# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common processor tests of transformers, run against CollapProcessor."""

import unittest

import numpy as np
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast
from transformers_tests.test_processing_common import ProcessorTesterMixin

from collap import CollapFeatureExtractor, CollapProcessor

SAMPLING_RATE = 16000


class CollapProcessorTest(ProcessorTesterMixin, unittest.TestCase):
    processor_class = CollapProcessor
    audio_input_name = "fbank_features"

    @classmethod
    def _setup_tokenizer(cls) -> PreTrainedTokenizerFast:
        """Words, and letters for what is no word; special tokens as RoBERTa has them."""
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        words = [*special, *"abcdefghijklmnopqrstuvwxyz<>./", "lower", "newer", "upper", "older", "longer", "string"]
        tokenizer = Tokenizer(models.WordLevel({word: index for index, word in enumerate(words)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
        return PreTrainedTokenizerFast(
            tokenizer_object=tokenizer,
            bos_token="<s>",
            cls_token="<s>",
            eos_token="</s>",
            sep_token="</s>",
            pad_token="<pad>",
            unk_token="<unk>",
        )

    @classmethod
    def _setup_feature_extractor(cls) -> CollapFeatureExtractor:
        return CollapFeatureExtractor(chunk_length_s=0.64, num_speech_mel_bins=20)

    @staticmethod
    def prepare_processor_dict() -> dict[str, object]:
        return {"text_granularity": "sentence", "max_text_tokens": 300}

    def prepare_audio_inputs(self, batch_size: int | None = None) -> list[dict]:
        # The inherited arrays have no sampling rate, without which ours are refused.
        array = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLING_RATE).astype(np.float32)
        return [{"array": array, "sampling_rate": SAMPLING_RATE}] * (batch_size or 1)


class CollapDocumentProcessorTest(CollapProcessorTest):
    @staticmethod
    def prepare_processor_dict() -> dict[str, object]:
        return {"text_granularity": "document", "max_text_tokens": 300}
