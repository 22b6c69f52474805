# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common processor tests of transformers, run against CollapProcessor."""

import unittest

import numpy as np
from tiny_tokenizer import tiny_tokenizer
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
        words = [*"abcdefghijklmnopqrstuvwxyz<>./", "lower", "newer", "upper", "older", "longer", "string"]
        tokenizer = tiny_tokenizer(*words)
        tokenizer.cls_token, tokenizer.sep_token, tokenizer.model_max_length = "<s>", "</s>", 10**9
        return tokenizer

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
