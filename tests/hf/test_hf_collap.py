# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common model and configuration tests of transformers, run against CoLLAP."""

import unittest

import pytest
import test_hf_beats
import torch
from common_model_tests import CommonModelTests, OutputWithLoss, distance_to_line, needs_loss
from tiny_models import (
    FBANK_FRAMES,
    MEL_FRAMES,
    VOCAB_SIZE,
    tiny_beats_config,
    tiny_config,
    tiny_text_config,
    tiny_whisper_config,
)
from transformers import GPT2Config, PreTrainedModel, RobertaConfig
from transformers.testing_utils import torch_device
from transformers.utils import ModelOutput
from transformers_tests.test_configuration_common import ConfigTester
from transformers_tests.test_modeling_common import floats_tensor, ids_tensor

import collap
from collap import CollapAudioModel, CollapConfig, CollapModel, CollapTextModel

AUDIO_INPUTS = ("fbank_features", "input_features", "audio_attention_mask")


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
        audio_attention_mask[0, 1:] = 0  # a song of one chunk ...
        audio_attention_mask[1, -1, 20:] = 0  # ... and one whose last chunk is short
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


class CollapAudioModelTester(CollapModelTester):
    """The songs alone."""

    def prepare_config_and_inputs_for_common(self) -> tuple[CollapConfig, dict[str, torch.Tensor]]:
        config, inputs = super().prepare_config_and_inputs_for_common()
        return config, {name: inputs[name] for name in AUDIO_INPUTS}


class CollapTextModelTester(CollapSentenceModelTester):
    """The texts alone, of two sentences."""

    def prepare_config_and_inputs_for_common(self) -> tuple[CollapConfig, dict[str, torch.Tensor]]:
        return self.get_config(), self.get_texts()


class CollapAudioModelWithLoss(CollapAudioModel):
    """Half a model has no loss; the training tests need one."""

    def forward(self, fbank_features: torch.Tensor, **inputs: torch.Tensor) -> OutputWithLoss:
        output = super().forward(fbank_features, **inputs)
        return OutputWithLoss(loss=distance_to_line(output.pooler_output), last_hidden_state=output.last_hidden_state)


class CollapTextModelWithLoss(CollapTextModel):
    def forward(self, input_ids: torch.Tensor, **inputs: torch.Tensor) -> OutputWithLoss:
        output = super().forward(input_ids, **inputs)
        loss = distance_to_line(output.query_embeds) + distance_to_line(output.time_query_embeds)
        return OutputWithLoss(loss=loss, last_hidden_state=output.last_hidden_state)


class CollapTests(CommonModelTests):
    """What is special about a model of several towers."""

    additional_model_inputs = AUDIO_INPUTS
    _is_composite = True

    def towers(self, outputs: ModelOutput) -> list[ModelOutput]:
        """The outputs of the towers in an output of the model."""
        raise NotImplementedError

    def test_config(self) -> None:
        ConfigTester(self, config_class=CollapConfig, has_text_modality=False).run_common_tests()

    def run_with(self, in_config: bool, **options: bool) -> ModelOutput:
        """Run the model with options given in the call, or else in the configuration of model and towers."""
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        if in_config:
            for name, value in options.items():
                setattr(config, name, value)
                self._set_subconfig_attributes(config, name, value)
            options = {}
        model = self.all_model_classes[0]._from_config(config, attn_implementation="eager").to(torch_device).eval()
        with torch.no_grad():
            return model(**inputs, **options)

    def check_towers(self, outputs: ModelOutput, name: str, expected: int) -> None:
        """Each tower gives `expected` tensors called `name` (hidden_states or attentions)."""
        for tower in self.towers(outputs):
            assert len(getattr(tower, name)) == expected

    def test_hidden_states_output(self) -> None:
        # As inherited, but the hidden states are those of several towers.
        for in_config in (False, True):
            with self.subTest(in_config=in_config):
                outputs = self.run_with(in_config, output_hidden_states=True)
                self.check_towers(outputs, "hidden_states", self.model_tester.num_hidden_layers + 1)

    def test_attention_outputs(self) -> None:
        # As inherited, but the attentions are those of several towers.
        for in_config in (False, True):
            with self.subTest(in_config=in_config):
                outputs = self.run_with(in_config, output_attentions=True)
                self.check_towers(outputs, "attentions", self.model_tester.num_hidden_layers)

    def test_can_capture_specific_layers_hidden_states(self) -> None:
        # As inherited, but the numbers of the layers are those in each tower.
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = self.all_model_classes[0](config).to(torch_device).eval()
        with torch.no_grad():
            captured, expected = (
                self.towers(model(**inputs, output_hidden_states=layers)) for layers in ([0, 2], True)
            )
        for some, every in zip(captured, expected, strict=True):
            torch.testing.assert_close(some.hidden_states[::2], every.hidden_states[::2])
            assert some.hidden_states[1] is None

    def test_model_outputs_equivalence(self) -> None:
        # As inherited, but the inherited test subtracts all tensors from each other, and frame_mask is boolean.
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        model = self.all_model_classes[0]._from_config(config, attn_implementation="eager").to(torch_device).eval()
        for options in ({}, {"output_hidden_states": True, "output_attentions": True}):
            with torch.no_grad():
                as_tuple = model(**inputs, **options, return_dict=False)
                as_dict = model(**inputs, **options, return_dict=True)
            assert isinstance(as_tuple, tuple)
            torch.testing.assert_close(as_tuple, as_dict.to_tuple())


class CollapModelTest(CollapTests, unittest.TestCase):
    all_model_classes = (CollapModel,)

    def setUp(self) -> None:
        self.model_tester = CollapModelTester(self)

    def towers(self, outputs: ModelOutput) -> list[ModelOutput]:
        audio = outputs.audio_model_output
        return [outputs.text_model_output, audio.music_model_output, audio.speech_model_output]

    def _audio_features_prepare_config_and_inputs(self) -> tuple[CollapConfig, dict[str, torch.Tensor]]:
        config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
        return config, {name: inputs[name] for name in AUDIO_INPUTS}

    # Two towers make the audio features.
    def _audio_features_get_expected_num_hidden_states(self) -> int:
        return 2 * (self.model_tester.num_hidden_layers + 1)

    def _audio_features_get_expected_num_attentions(self) -> int:
        return 2 * self.model_tester.num_hidden_layers

    def _check_features_ignore_output_hidden_states(
        self, model_class: type, config: CollapConfig, inputs: dict[str, torch.Tensor], method_name: str
    ) -> None:
        # As inherited, but the outputs of the towers are there only if they were requested.
        model = model_class(config).to(torch_device).eval()
        with torch.no_grad():
            outputs, outputs_all = (
                getattr(model, method_name)(**inputs, output_hidden_states=flag) for flag in (False, True)
            )
        for name in ("last_hidden_state", "pooler_output"):
            torch.testing.assert_close(outputs[name], outputs_all[name])

    @unittest.skip("CollapSentenceModelTest compiles the whole model")
    def test_torch_compile_for_training(self) -> None:
        pass

    def test_own_attentions(self) -> None:
        outputs = self.run_with(in_config=False, output_attentions=True)
        assert outputs.kernel_attentions.ndim == 4
        assert outputs.temporal_attentions.ndim == 3

    @unittest.skip("CollapOutput has no hidden_states of its own; CollapTextModelTest runs this for the text tower")
    def test_retain_grad_hidden_states_attentions(self) -> None:
        pass


class CollapSentenceModelTest(CollapModelTest):
    def setUp(self) -> None:
        self.model_tester = CollapSentenceModelTester(self)

    @pytest.mark.slow
    def test_torch_compile_for_training(self) -> None:
        self.model_tester.batch_size, self.model_tester.num_chunks = 2, 3  # a loop over two micro-batches, unrolled
        CollapTests.test_torch_compile_for_training(self)


class CollapAudioModelTest(CollapTests, unittest.TestCase):
    all_model_classes = (CollapAudioModel,)
    test_resize_embeddings = False  # no tokens

    def setUp(self) -> None:
        self.model_tester = CollapAudioModelTester(self)
        if needs_loss(self._testMethodName):
            self.all_model_classes = (CollapAudioModelWithLoss,)

    def towers(self, outputs: ModelOutput) -> list[ModelOutput]:
        return [outputs.music_model_output, outputs.speech_model_output]

    @unittest.skip("CollapSentenceModelTest compiles the whole model")
    def test_torch_compile_for_training(self) -> None:
        pass

    @unittest.skip(
        "the returned hidden states are joined from those of micro-batches: the frames do not come from them"
    )
    def test_retain_grad_hidden_states_attentions(self) -> None:
        pass


class CollapTextModelTest(CollapTests, unittest.TestCase):
    all_model_classes = (CollapTextModel,)

    def setUp(self) -> None:
        self.model_tester = CollapTextModelTester(self)
        if needs_loss(self._testMethodName):
            self.all_model_classes = (CollapTextModelWithLoss,)

    def towers(self, outputs: ModelOutput) -> list[ModelOutput]:
        return [outputs]

    @unittest.skip("CollapSentenceModelTest compiles the whole model")
    def test_torch_compile_for_training(self) -> None:
        pass


def test_every_exported_model_has_the_common_tests() -> None:
    exported = [value for value in vars(collap).values() if isinstance(value, type)]
    models = {value for value in exported if issubclass(value, PreTrainedModel) and "PreTrained" not in value.__name__}
    tests = [*vars(test_hf_beats).values(), *globals().values()]
    assert models == {model for test in tests for model in getattr(test, "all_model_classes", ())}
