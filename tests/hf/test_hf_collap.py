# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common model and configuration tests of transformers, run against CoLLAP."""

import unittest
from unittest import mock

import torch
from tiny_models import (
    FBANK_FRAMES,
    MEL_FRAMES,
    VOCAB_SIZE,
    tiny_beats_config,
    tiny_config,
    tiny_text_config,
    tiny_whisper_config,
)
from transformers import GPT2Config, RobertaConfig
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.testing_utils import torch_device
from transformers.utils import ModelOutput
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import ModelTesterMixin, floats_tensor, ids_tensor

from collap import CollapConfig, CollapModel


class CollapModelTester:
    """Makes the tiny model and the batch of the common tests: the paper's reading, with RoBERTa."""

    def __init__(self, parent: unittest.TestCase):
        self.parent = parent
        self.batch_size = 7  # what the comparison of attention implementations would fill up to, with noise for masks
        self.num_chunks = 2  # of 0.64 s
        self.num_fbank_frames = FBANK_FRAMES
        self.num_mel_frames = MEL_FRAMES
        self.num_mel_bins = 20
        self.seq_length = 7  # tokens
        self.vocab_size = VOCAB_SIZE
        self.hidden_size = 16
        self.num_hidden_layers = 2  # of each tower
        self.is_training = True

    def get_config(self) -> CollapConfig:
        return tiny_config(
            music_config=tiny_beats_config(),
            speech_config=tiny_whisper_config(num_mel_bins=self.num_mel_bins, encoder_layers=self.num_hidden_layers),
            text_config=self.get_text_config(),
            freeze_music_model=False,  # so that every weight must get its gradient
            freeze_speech_model=False,
            **self.get_own_fields(),
        )

    def get_text_config(self) -> RobertaConfig | GPT2Config:
        config = tiny_text_config("roberta")
        config.num_hidden_layers = self.num_hidden_layers
        return config

    def get_own_fields(self) -> dict:
        """The fields of CollapConfig in which the two readings differ."""
        return {}

    def get_texts(self) -> dict[str, torch.Tensor]:
        # Tokens from 3 on: RoBERTa takes its positions from where the padding token (1) is.
        input_ids = ids_tensor([self.batch_size, self.seq_length], self.vocab_size - 3) + 3
        return {"input_ids": input_ids, "attention_mask": torch.ones_like(input_ids)}

    def prepare_config_and_inputs_for_common(self) -> tuple[CollapConfig, dict[str, torch.Tensor]]:
        songs = (self.batch_size, self.num_chunks)
        audio_attention_mask = torch.ones(*songs, self.num_fbank_frames, dtype=torch.long, device=torch_device)
        audio_attention_mask[0, 1] = 0  # a song of one chunk ...
        audio_attention_mask[1, 1, 20:] = 0  # ... and one whose last chunk is short
        inputs = {
            **self.get_texts(),
            "fbank_features": floats_tensor([*songs, self.num_fbank_frames, 128]),
            "input_features": floats_tensor([*songs, self.num_mel_bins, self.num_mel_frames]),
            "audio_attention_mask": audio_attention_mask,
            "return_loss": True,
        }
        return self.get_config(), inputs


class CollapSentenceModelTester(CollapModelTester):
    """The same with what is ours: two sentences a text, each with its time, and GPT-2."""

    def get_text_config(self) -> RobertaConfig | GPT2Config:
        config = tiny_text_config("gpt2")
        config.n_layer, config.pad_token_id = self.num_hidden_layers, 1
        return config

    def get_own_fields(self) -> dict:
        return {"text_granularity": "sentence", "temporal_position": True, "num_time_features": 4}

    def get_texts(self) -> dict[str, torch.Tensor]:
        input_ids = ids_tensor([2 * self.batch_size, self.seq_length], self.vocab_size - 3) + 3
        attention_mask = torch.ones_like(input_ids)
        attention_mask[1, 4:] = 0
        return {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "sentence_counts": torch.full((self.batch_size,), 2, device=torch_device),
        }


class CollapModelTest(ModelTesterMixin, unittest.TestCase):
    all_model_classes = (CollapModel,)
    additional_model_inputs = ("fbank_features", "input_features", "audio_attention_mask")
    _is_composite = True

    def setUp(self) -> None:
        self.model_tester = CollapModelTester(self)
        self.config_tester = ConfigTester(self, config_class=CollapConfig, has_text_modality=False)

    def test_config(self) -> None:
        self.config_tester.run_common_tests()

    def test_model_forward_default_config_values(self) -> None:
        # The inherited test passes over classes that transformers itself does not list.
        with mock.patch.dict(MODEL_MAPPING_NAMES, collap="CollapModel"):
            super().test_model_forward_default_config_values()

    def _audio_features_prepare_config_and_inputs(self) -> tuple[CollapConfig, dict[str, torch.Tensor]]:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        return config, {name: inputs[name] for name in self.additional_model_inputs}

    def check_towers(self, outputs: ModelOutput, name: str, expected: int) -> None:
        """Each of the three towers gives `expected` tensors called `name` (hidden_states or attentions)."""
        audio = outputs.audio_model_output
        for tower in (outputs.text_model_output, audio.music_model_output, audio.speech_model_output):
            assert len(getattr(tower, name)) == expected

    def run_with(self, in_config: bool, **options: bool) -> ModelOutput:
        """Run the model with options given in the call, or else in the configuration of model and towers."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        if in_config:
            for name, value in options.items():
                setattr(config, name, value)
                self._set_subconfig_attributes(config, name, value)
            options = {}
        model = CollapModel._from_config(config, attn_implementation="eager").to(torch_device).eval()
        with torch.no_grad():
            return model(**inputs, **options)

    def test_hidden_states_output(self) -> None:
        # As inherited, but the hidden states are those of three towers and lie in the towers' outputs.
        for in_config in (False, True):
            with self.subTest(in_config=in_config):
                outputs = self.run_with(in_config, output_hidden_states=True)
                self.check_towers(outputs, "hidden_states", self.model_tester.num_hidden_layers + 1)

    def test_attention_outputs(self) -> None:
        # As inherited, but for three towers; CoLLAP's own attentions come with theirs.
        for in_config in (False, True):
            with self.subTest(in_config=in_config):
                outputs = self.run_with(in_config, output_attentions=True)
                self.check_towers(outputs, "attentions", self.model_tester.num_hidden_layers)
                assert outputs.kernel_attentions.ndim == 4
                assert outputs.temporal_attentions.ndim == 3

    def test_model_outputs_equivalence(self) -> None:
        # As inherited, but the inherited test subtracts all tensors from each other, and frame_mask is boolean.
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = CollapModel._from_config(config, attn_implementation="eager").to(torch_device).eval()
        for options in ({}, {"output_hidden_states": True, "output_attentions": True}):
            with torch.no_grad():
                as_tuple = model(**inputs, **options, return_dict=False)
                as_dict = model(**inputs, **options, return_dict=True)
            assert isinstance(as_tuple, tuple)
            torch.testing.assert_close(as_tuple, as_dict.to_tuple())

    @unittest.skip("CollapOutput has no hidden_states of its own: two audio towers and a text tower have theirs")
    def test_retain_grad_hidden_states_attentions(self) -> None:
        pass

    @unittest.skip("two towers make the audio features; test_hidden_states_output looks at the hidden states of each")
    def test_get_audio_features_hidden_states(self) -> None:
        pass

    @unittest.skip("two towers make the audio features; test_attention_outputs looks at the attentions of each")
    def test_get_audio_features_attentions(self) -> None:
        pass


class CollapSentenceModelTest(CollapModelTest):
    def setUp(self) -> None:
        super().setUp()
        self.model_tester = CollapSentenceModelTester(self)
