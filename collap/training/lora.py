# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""LoRA (arXiv 2106.09685) for CoLLAP: into which layers of which tower it goes, and what is trained whole."""

import re
from collections.abc import Sequence
from typing import Any

from peft import LoraConfig
from transformers.pytorch_utils import Conv1D

from collap.modeling_collap.modeling_collap import CollapModel

TOWER_MODULES = {"music": "audio_model.music_model", "speech": "audio_model.speech_model", "text": "text_model"}

_BERT = {
    "attention": r"encoder\.layer\.\d+\.attention\.(self\.(query|key|value)|output\.dense)",
    "mlp": r"encoder\.layer\.\d+\.(intermediate|output)\.dense",
}
# Names of the layers inside a tower, as regular expressions, by the `model_type` of the tower's config.
LORA_LAYERS = {
    "beats": {
        "attention": r"encoder\.layers\.\d+\.self_attn\.(q|k|v|out)_proj",
        "mlp": r"encoder\.layers\.\d+\.fc[12]",
    },
    "whisper": {"attention": r"layers\.\d+\.self_attn\.(q|k|v|out)_proj", "mlp": r"layers\.\d+\.fc[12]"},
    "bert": _BERT,
    "roberta": _BERT,
    "xlm-roberta": _BERT,
    "gpt2": {"attention": r"h\.\d+\.attn\.c_(attn|proj)", "mlp": r"h\.\d+\.mlp\.c_(fc|proj)"},
}


def lora_config(
    model: CollapModel,
    towers: Sequence[str] = ("text",),
    layers: Sequence[str] = ("attention", "mlp"),
    r: int = 8,
    lora_alpha: float = 16,
    lora_dropout: float = 0.0,
    **lora_config_fields: Any,
) -> LoraConfig:
    r"""
    LoRA in the towers that are named, and in no other; CoLLAP's own layers are trained whole and saved beside it.

    For `peft.get_peft_model(model, config)` as for transformers' own `model.add_adapter(config)`.

    Args:
        model ([`CollapModel`]): The model that LoRA is meant for; it stays as it is.
        towers (`Sequence[str]`): Of `"music"` (BEATs), `"speech"` (Whisper's encoder) and `"text"`.
        layers (`Sequence[str]`):
            Of `"attention"` (its projections of queries, keys, values and output) and `"mlp"` (its two layers).
        r (`int`): Rank of the two matrices beside each weight.
        lora_alpha (`float`): Their product counts `lora_alpha / r` times.
        lora_dropout (`float`): Dropout on their input in training.
        lora_config_fields: Further fields of `peft.LoraConfig`.

    Returns:
        `peft.LoraConfig`

    Raises:
        ValueError: if a tower or a layer is unknown, the model lacks the tower, or no layers are known for its kind of
            model.

    Example:

    ```python
    >>> from peft import get_peft_model
    >>> from collap import CollapConfig, CollapModel
    >>> from collap.training.lora import lora_config

    >>> tiny_beats = {"embed_dim": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> tiny_text = {"model_type": "roberta", "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    >>> model = CollapModel(CollapConfig(music_config=tiny_beats, speech_config=None, text_config=tiny_text))
    >>> adapted = get_peft_model(model, lora_config(model, towers=["music"], layers=["mlp"]))
    >>> [name for name, _ in adapted.get_base_model().named_modules() if name.endswith("lora_A")]
    ['audio_model.music_model.encoder.layers.0.fc1.lora_A', 'audio_model.music_model.encoder.layers.0.fc2.lora_A']

    ```
    """
    patterns, targets = [], []
    modules = dict(model.named_modules())
    for tower in _checked(towers, tuple(TOWER_MODULES), "towers"):
        kind = _kind_of_tower(model, tower)
        for layer in _checked(layers, ("attention", "mlp"), "layers"):
            pattern = rf"{re.escape(TOWER_MODULES[tower])}\.{LORA_LAYERS[kind][layer]}"
            found = [module for name, module in modules.items() if re.fullmatch(pattern, name)]
            if not found:
                raise ValueError(f"layers: the {tower} tower (a {kind!r} model) has no {layer!r} layer {pattern!r}.")
            patterns.append(pattern)
            targets += found
    fields = {
        "target_modules": "|".join(patterns),
        "modules_to_save": own_layers(model),
        # GPT-2's layers hold their weight transposed. Where kinds are mixed, PEFT finds out by itself, and says so.
        "fan_in_fan_out": all(isinstance(target, Conv1D) for target in targets),
    }
    return LoraConfig(r=r, lora_alpha=lora_alpha, lora_dropout=lora_dropout, **{**fields, **lora_config_fields})


def own_layers(model: CollapModel) -> list[str]:
    """Names of what CoLLAP adds to its towers, for PEFT's `modules_to_save`: small, and trained whole."""
    time_query = [] if model.time_query is None else ["time_query"]
    return ["audio_model.adapter", "text_projection", *time_query, "logit_scale"]


def _kind_of_tower(model: CollapModel, tower: str) -> str:
    """`model_type` of a tower that is there and has its layers in the table."""
    config = getattr(model.config, f"{tower}_config")
    if config is None:
        raise ValueError(f"towers: this model has no {tower} tower (config.{tower}_config is None), got {tower!r}.")
    if config.model_type not in LORA_LAYERS:
        raise ValueError(
            f"towers: for the {tower} tower, a {config.model_type!r} model, no layers are known, only for "
            f"{sorted(LORA_LAYERS)}. Write a peft.LoraConfig of your own, with modules_to_save=own_layers(model)."
        )
    return config.model_type


def _checked(names: Sequence[str], known: tuple[str, ...], argument: str) -> list[str]:
    """`names` without repetition, all of them known, at least one."""
    if isinstance(names, str) or not names or not set(names) <= set(known):
        raise ValueError(f"{argument} must be a list of one or more of {known}, got {names!r}.")
    return list(dict.fromkeys(names))


__all__ = ["LORA_LAYERS", "TOWER_MODULES", "lora_config", "own_layers"]
