# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""LoRA (arXiv 2106.09685) for CoLLAP: adapters in the towers, and CoLLAP's own layers trained whole."""

from collections.abc import Sequence
from typing import Any

from peft import LoraConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from collap.modeling_collap.modeling_collap import CollapModel

TOWERS = {"music": "audio_model.music_model", "speech": "audio_model.speech_model", "text": "text_model.encoder"}


def lora_config(
    model: CollapModel,
    towers: Sequence[str] = ("text",),
    r: int = 8,
    lora_alpha: float = 16,
    lora_dropout: float = 0.0,
    **lora_config_fields: Any,
) -> LoraConfig:
    r"""
    LoRA in all linear layers of the given towers; the layers that CoLLAP adds to its towers are trained whole.

    For `peft.get_peft_model(model, config)` and for transformers' own `model.add_adapter(config)`.

    Args:
        model ([`CollapModel`]): The model to adapt; it is not changed.
        towers (`Sequence[str]`): Of `"music"` (BEATs), `"speech"` (Whisper's encoder) and `"text"`.
        r, lora_alpha, lora_dropout, lora_config_fields: Fields of `peft.LoraConfig`.

    Raises:
        ValueError: if a tower is unknown, or the model does not have it.

    Example:

    ```python
    >>> from peft import get_peft_model
    >>> from collap import CollapConfig, CollapModel
    >>> from collap.training.lora import lora_config

    >>> tiny_beats = {"embed_dim": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> tiny_text = {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> model = CollapModel(CollapConfig(music_config=tiny_beats, speech_config=None, text_config=tiny_text))
    >>> adapted = get_peft_model(model, lora_config(model, towers=["text"]))
    >>> len([name for name, _ in adapted.named_modules() if name.endswith("lora_A")])  # 4 of attention, 2 of the MLP
    6

    ```
    """
    if isinstance(towers, str) or not towers or not set(towers) <= set(TOWERS):
        raise ValueError(f"towers must be a list of one or more of {tuple(TOWERS)}, got {towers!r}.")
    targets = {}
    for tower in towers:
        if getattr(model.config, f"{tower}_config") is None:
            raise ValueError(
                f"towers: this model has no {tower} tower (config.{tower}_config is None), got {tower!r}."
            )
        for name, module in model.get_submodule(TOWERS[tower]).named_modules(prefix=TOWERS[tower]):
            if isinstance(module, nn.Linear | Conv1D):
                targets[name] = module
    time_query = [] if model.text_model.time_query is None else ["text_model.time_query"]
    config = {
        "target_modules": list(targets),
        "modules_to_save": ["audio_model.adapter", "text_model.projection", *time_query, "logit_scale"],
        # GPT-2's layers hold their weight transposed. Where kinds are mixed, PEFT detects it, with a warning.
        "fan_in_fan_out": all(isinstance(target, Conv1D) for target in targets.values()),
    }
    return LoraConfig(r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, **{**config, **lora_config_fields})
