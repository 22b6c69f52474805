# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CoLLAP without its attentions: a baseline that shows what they contribute.

Encoders, text tower and training are those of CoLLAP. A saved model differs in its `architectures` only, by which
[`load_collap`] finds the class.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import PreTrainedConfig

from collap import CollapAudioOutput, CollapModel, CollapTextOutput
from collap.modeling_collap.modeling_collap_base import resolve_name
from collap.modeling_collap.scoring_collap import mean_over_sentences


class MeanPoolingCollap(CollapModel):
    """Scores are cosines of the mean of a song's frames and the mean of a text's sentences."""

    def _similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool, section_query: bool
    ) -> torch.Tensor:
        # `use_time` and `section_query` have no effect.
        pooled = normalize(audio.last_hidden_state.float().sum(1), dim=-1)  # (B, d); frames of padding are zero
        pooled_text = mean_over_sentences(text.query_embeds.float().T, text.sentence_counts).T  # (T, d)
        with torch.autocast(device_type=pooled.device.type, enabled=False):
            return pooled @ normalize(pooled_text, dim=-1).T


def load_config(name_or_path: str) -> dict[str, Any]:
    """The configuration of a model; of a LoRA adapter that of its base model."""
    adapter = Path(name_or_path) / "adapter_config.json"
    if adapter.is_file():
        name_or_path = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    return PreTrainedConfig.get_config_dict(resolve_name(name_or_path))[0]


def load_collap(name_or_path: str, **options: Any) -> CollapModel:
    """
    A CoLLAP or a [`MeanPoolingCollap`], whichever was saved; a ValueError if it is of another class. `options` are
    those of `from_pretrained`.
    """
    classes = {model_class.__name__: model_class for model_class in (CollapModel, MeanPoolingCollap)}
    (architecture,) = load_config(name_or_path).get("architectures") or ["CollapModel"]
    if architecture not in classes:
        raise ValueError(f"name_or_path must hold a model of {' or '.join(classes)}, got {architecture}.")
    return classes[architecture].from_pretrained(name_or_path, **options)
