# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common model tests of transformers as our models need them: what they pass over for classes of other packages or
without an accelerator runs here."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

import pytest
import torch
from accelerate import cpu_offload
from torch import nn
from transformers import PreTrainedModel
from transformers.integrations.accelerate import compute_module_sizes
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.auto.modeling_auto import MODEL_MAPPING_NAMES
from transformers.testing_utils import torch_device
from transformers.utils import ModelOutput
from transformers_tests.test_modeling_common import ModelTesterMixin


def flatten(output: ModelOutput) -> list[torch.Tensor]:
    """All tensors of an output and of those inside it; without the hash, which offloaded weights lack."""
    values = [value for name, value in output.items() if value is not None and name != "model_fingerprint"]
    nested = [flatten(value) if isinstance(value, ModelOutput) else [value] for value in values]
    return [value for part in nested for value in part if isinstance(value, torch.Tensor)]


@dataclass
class OutputWithLoss(BaseModelOutput):
    """An encoder's output with something to differentiate."""

    loss: torch.FloatTensor | None = None


def needs_loss(test_name: str) -> bool:
    """Whether a common test trains, for which an encoder has no loss of its own."""
    return "training" in test_name or "input_require_grads" in test_name


def distance_to_line(values: torch.Tensor) -> torch.Tensor:
    """A loss: how far all numbers of a tensor are from numbers that rise evenly from -1 to 1."""
    target = torch.linspace(-1, 1, values.numel(), device=values.device).view_as(values)
    return (values - target).square().mean()


def on_cpu(inputs: dict[str, Any]) -> dict[str, Any]:
    return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in inputs.items()}


class CommonModelTests(ModelTesterMixin):
    @contextmanager
    def listed_in_transformers(self) -> Iterator[None]:
        """Several inherited tests pass over classes that transformers itself does not list."""
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        with mock.patch.dict(MODEL_MAPPING_NAMES, {config.model_type: self.all_model_classes[0].__name__}):
            yield

    def test_model_forward_default_config_values(self) -> None:
        with self.listed_in_transformers():
            super().test_model_forward_default_config_values()

    def test_inputs_embeds_matches_input_ids(self) -> None:
        with self.listed_in_transformers():
            super().test_inputs_embeds_matches_input_ids()

    def test_model_get_set_embeddings(self) -> None:
        if self.test_resize_embeddings:
            return super().test_model_get_set_embeddings()
        # As inherited, but what stands for the embeddings of an audio model is a convolution over its input.
        for model, _ in self.models_and_inputs():
            assert isinstance(model.get_input_embeddings(), nn.Conv2d)
            assert model.get_output_embeddings() is None

    def models_and_inputs(self) -> Iterator[tuple[PreTrainedModel, dict[str, Any]]]:
        """A model of each class in evaluation mode, and its inputs."""
        for model_class in self.all_model_classes:
            config, inputs = self.model_tester.prepare_config_and_inputs_for_common()
            yield model_class(config).to(torch_device).eval(), inputs

    # The inherited tests of offloading need an accelerator. Without one, too, weights are on the device "meta" until
    # their module runs.

    @torch.no_grad()
    def test_cpu_offload_without_accelerator(self) -> None:
        for model, inputs in self.models_and_inputs():
            expected = flatten(model(**inputs))
            cpu_offload(model, execution_device=torch.device(torch_device))
            assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
            torch.testing.assert_close(flatten(model(**inputs)), expected)

    @torch.no_grad()
    def test_disk_offload_without_accelerator(self) -> None:
        for model, inputs in self.models_and_inputs():
            inputs = on_cpu(inputs)
            expected = flatten(model.cpu()(**inputs))
            for part in self.model_split_percents:
                with self.subTest(part=part), tempfile.TemporaryDirectory() as folder:
                    model.save_pretrained(folder)
                    memory = {"cpu": int(part * compute_module_sizes(model)[0][""])}
                    offloaded = type(model).from_pretrained(
                        folder, device_map="auto", max_memory=memory, offload_folder=folder
                    )
                    assert "disk" in offloaded.hf_device_map.values()
                    torch.testing.assert_close(flatten(offloaded(**inputs)), expected)

    @pytest.mark.slow
    def test_torch_compile_for_training(self) -> None:
        # The inherited test needs an accelerator and a language model. In evaluation mode nothing is dropped, and the
        # backend "aot_eager" needs no compiler.
        for model, inputs in self.models_and_inputs():
            torch._dynamo.reset()
            gradients = []
            for run in (model, torch.compile(model, backend="aot_eager", fullgraph=True)):
                model.zero_grad()
                run(**inputs).loss.backward()
                gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
            torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)

    def test_flex_attention_with_grads(self) -> None:
        # BEATs adds a gated position bias to every logit, for which there is eager and sdpa attention only.
        config, _ = self.model_tester.prepare_config_and_inputs_for_common()
        for model_class in self.all_model_classes:
            with pytest.raises(ValueError, match="flex_attention"):
                model_class._from_config(config, attn_implementation="flex_attention")
