# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common tests of transformers for feature extractors of sequences, run against both of ours."""

import unittest

import numpy as np
from transformers_tests.test_sequence_feature_extraction_common import SequenceFeatureExtractionTestMixin

from collap import BeatsFeatureExtractor, CollapFeatureExtractor


class FeatureExtractionTester:
    """Makes the settings of an extractor and features of several lengths for its `pad`."""

    def __init__(self, **settings: object):
        self.settings = settings
        self.feature_size = 128
        self.batch_size = 7
        self.min_seq_length = 20
        self.seq_length_diff = 5
        self.max_seq_length = self.min_seq_length + (self.batch_size - 1) * self.seq_length_diff

    def prepare_feat_extract_dict(self) -> dict[str, object]:
        # The inherited padding tests add up the padding of a longer batch than they made: right for zeros alone.
        return {"feature_size": self.feature_size, "sampling_rate": 16000, "padding_value": 0.0, **self.settings}

    def prepare_inputs_for_common(self, equal_length: bool = False, numpify: bool = False) -> list:
        """Features `(frames, feature_size)`, each longer than the one before it, as arrays or as nested lists."""
        lengths = range(self.min_seq_length, self.max_seq_length + 1, self.seq_length_diff)
        if equal_length:
            lengths = [self.max_seq_length] * self.batch_size
        generator = np.random.default_rng(0)
        features = [generator.random((length, self.feature_size), dtype=np.float32) for length in lengths]
        return features if numpify else [feature.tolist() for feature in features]


class BeatsFeatureExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = BeatsFeatureExtractor

    def setUp(self) -> None:
        self.feat_extract_tester = FeatureExtractionTester()


class CollapFeatureExtractorTest(SequenceFeatureExtractionTestMixin, unittest.TestCase):
    feature_extraction_class = CollapFeatureExtractor

    def setUp(self) -> None:
        self.feat_extract_tester = FeatureExtractionTester(chunk_length_s=0.64, num_speech_mel_bins=20)
