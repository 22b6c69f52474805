# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the CoLLAP models share: initialisation, loading, saving, and the names of their inputs."""

import hashlib
import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers import initialization as init

from .configuration_collap import CollapConfig

AUDIO_INPUTS = ("fbank_features", "input_features", "audio_attention_mask", "encoder_frames", "frame_mask")
TEXT_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids", "inputs_embeds", "sentence_counts")
TEXT_INPUTS += ("pooled_text_states",)
PAIR_INPUTS = ("song_ids", "text_ids", "section_ids", "return_loss")


class CollapPreTrainedModel(PreTrainedModel):
    """Initialisation, loading and saving of all CoLLAP models."""

    config: CollapConfig
    base_model_prefix = "collap"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _no_split_modules = []  # noqa: RUF012 - the towers add theirs

    def initialize_weights(self) -> None:
        # The towers first, each by its own rule: the inherited loop would take them all for custom code (see below).
        for module in self.modules():
            if isinstance(module, PreTrainedModel) and not isinstance(module, CollapPreTrainedModel):
                module.initialize_weights()
        super().initialize_weights()

    def _initialize_weights(self, module: nn.Module, is_custom_code: bool = False) -> None:
        # For classes outside its own package, transformers does not call `_init_weights` on modules without parameters
        # of their own, because it could overwrite loaded weights. Ours uses transformers.initialization: it cannot.
        super()._initialize_weights(module, is_custom_code=False)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in `PreTrainedModel`; then freezes the encoders that the configuration freezes."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        # Loading replaces every parameter by a new, trainable one.
        for module in model.modules():
            if hasattr(module, "freeze_encoders"):
                module.freeze_encoders()
        return loaded

    def train(self, mode: bool = True) -> "CollapPreTrainedModel":
        """As usual, but frozen encoders, and frozen layers of others, stay in evaluation mode: no dropout."""
        super().train(mode)
        for module in self.modules():
            if module.training and any(True for _ in module.parameters()) and not is_trainable(module):
                module.eval()
        return self

    def save_pretrained(self, *args: Any, **kwargs: Any) -> None:
        """As in `PreTrainedModel`; an encoder that was unfrozen by `requires_grad_()` is saved as not frozen."""
        record_unfrozen_encoders(self)
        super().save_pretrained(*args, **kwargs)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only CoLLAP's own layers come here: the three towers initialise themselves.
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


def record_unfrozen_encoders(model: nn.Module) -> None:
    """Sets in the configuration that encoders which were unfrozen by `requires_grad_()` are not frozen."""
    for module in model.modules():
        for name in ("music", "speech"):
            encoder = getattr(module, f"{name}_model", None)
            if encoder is not None and all(parameter.requires_grad for parameter in encoder.parameters()):
                setattr(module.config, f"freeze_{name}_model", False)


def is_trainable(module: nn.Module) -> bool:
    """Whether any parameter is trainable; evaluated at each call, so that LoRA in a frozen tower gets its gradient."""
    return any(parameter.requires_grad for parameter in module.parameters())


def has_sharded_layers(module: nn.Module) -> bool:
    """
    Whether weights inside are spread over processes (FSDP2, FSDP, ZeRO-3), each of which then has to call the same
    layers equally often, or all wait for each other forever.
    """
    marks = ("device_mesh", "_is_fsdp_flattened", "ds_id")
    return any(hasattr(parameter, mark) for parameter in module.parameters() for mark in marks)


def fingerprint(module: nn.Module, batch_size: int) -> torch.Tensor | None:
    """
    Hash of the first values of each weight, int64 of shape `(batch_size,)` as all outputs have; None where weights are
    sharded, offloaded or traced.

    It is computed in bfloat16, so that a model in float32 and its copy in bfloat16 have the same one. A training
    changes the beginning of each weight that it trains.
    """
    parameters = list(module.parameters())
    if torch.compiler.is_compiling() or has_sharded_layers(module) or any(weight.is_meta for weight in parameters):
        return None
    digest = hashlib.sha256()
    for weight in parameters:
        first = weight.detach().reshape(-1)[:16].to("cpu", torch.bfloat16)
        digest.update(first.view(torch.int16).numpy().tobytes())
    return torch.full((batch_size,), int.from_bytes(digest.digest()[:8], "big", signed=True))


def floating_dtype(module: nn.Module) -> torch.dtype:
    """
    Precision in which a module computes: that of its first floating-point parameter, else float32.

    The weights of a quantized layer are integers, or no parameters at all.
    """
    return next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), torch.float32)


def with_output_flags(config: CollapConfig, kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` with `output_hidden_states` and `output_attentions` from the caller, or else from `config`."""
    flags = ("output_hidden_states", "output_attentions")
    return kwargs | {flag: getattr(config, flag) for flag in flags if kwargs.get(flag) is None}


def without_inputs(kwargs: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`kwargs` without the named inputs and those of pairs, so that one half of the model takes a whole batch."""
    return {name: value for name, value in kwargs.items() if name not in (*names, *PAIR_INPUTS)}


def check_tensors(inputs: dict[str, Any]) -> None:
    """Raises a TypeError for an input that is no tensor, as a processor gives it without `return_tensors`."""
    for name, value in inputs.items():
        if value is not None and not isinstance(value, torch.Tensor):
            raise TypeError(
                f"{name} must be a torch.Tensor, got {type(value).__name__}: call the processor with "
                'return_tensors="pt".'
            )


def resolve_name(name_or_path: str) -> str:
    """The absolute path of a folder, or a Hub name as it is; a ValueError for what can be neither."""
    if os.path.isdir(name_or_path):
        # A configuration remembers the name: relative, it could be a repository's on the Hub in another folder.
        return os.path.abspath(name_or_path)
    if name_or_path.startswith((".", os.sep)) or name_or_path.count("/") > 1:
        raise ValueError(f"{name_or_path} must be a folder, or a name on the Hub, got neither: it is not there.")
    return name_or_path


def load_complete(model_class: Any, name_or_path: str, needed: str = "", **options: Any) -> PreTrainedModel:
    """
    Loads a pretrained model and refuses a checkpoint that lacks weights, which would be random ones then.

    Args:
        model_class: A model class, an auto class, or a function with the arguments of their `from_pretrained`.
        name_or_path (`str`): Folder or Hub name.
        needed (`str`): Beginning of the names of the weights that must not be missing; by default all.
        options: Further arguments of `from_pretrained`.

    Raises:
        ValueError: if a weight of the model is not in the checkpoint, a model of another class of CoLLAP was saved, or
            the folder is not there.
    """
    name_or_path = resolve_name(name_or_path)
    load = getattr(model_class, "from_pretrained", model_class)
    model, report = load(name_or_path, output_loading_info=True, **options)
    saved = model.config.architectures
    if isinstance(model, CollapPreTrainedModel) and saved not in (None, [type(model).__name__]):
        # A baseline has the same weights and other scores.
        raise ValueError(f"{name_or_path!r} must hold a {type(model).__name__}, got a {' or '.join(saved)}.")
    parameters = {name for name, _ in model.named_parameters()}
    missing = sorted(name for name in parameters.intersection(report["missing_keys"]) if name.startswith(needed))
    if missing:
        raise ValueError(
            f"{name_or_path!r} lacks {len(missing)} weights of a {type(model).__name__}, such as {missing[0]}; is it "
            "the right kind of checkpoint?"
        )
    return model
