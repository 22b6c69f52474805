# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common model and configuration tests of transformers, run against BEATs."""

import unittest

import torch
from common_model_tests import CommonModelTests, OutputWithLoss, distance_to_line, needs_loss
from transformers.testing_utils import torch_device
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import floats_tensor

from collap import BeatsConfig, BeatsModel


class BeatsModelTester:
    """Makes the tiny model and the input of the common tests."""

    def __init__(self, parent: unittest.TestCase):
        self.parent = parent
        self.batch_size = 3
        self.num_frames = 64  # 10 ms each
        self.seq_length = 32  # tokens: 8 frequency patches for each of the 64 // 16 time steps
        self.embed_dim = 16
        self.hidden_size = 32
        self.num_hidden_layers = 2
        self.num_attention_heads = 4
        self.intermediate_size = 37
        self.is_training = True

    def get_config(self) -> BeatsConfig:
        return BeatsConfig(
            embed_dim=self.embed_dim,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            intermediate_size=self.intermediate_size,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=2,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[BeatsConfig, dict[str, torch.Tensor]]:
        inputs = {
            "input_values": floats_tensor([self.batch_size, self.num_frames, 128]),
            "attention_mask": torch.ones(self.batch_size, self.num_frames, dtype=torch.long, device=torch_device),
        }
        return self.get_config(), inputs


class BeatsModelWithLoss(BeatsModel):
    """An encoder has no loss; the training tests need one."""

    def forward(self, input_values: torch.Tensor, attention_mask: torch.Tensor | None = None) -> OutputWithLoss:
        states = super().forward(input_values, attention_mask).last_hidden_state
        return OutputWithLoss(last_hidden_state=states, loss=distance_to_line(states))


class BeatsModelTest(CommonModelTests, unittest.TestCase):
    all_model_classes = (BeatsModel,)
    test_resize_embeddings = False  # no tokens

    def setUp(self) -> None:
        self.model_tester = BeatsModelTester(self)
        if needs_loss(self._testMethodName):
            self.all_model_classes = (BeatsModelWithLoss,)
        self.config_tester = ConfigTester(self, config_class=BeatsConfig, has_text_modality=False)

    def test_config(self) -> None:
        self.config_tester.run_common_tests()
