# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Models of any kind that can be evaluated, by their names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoProcessor, PreTrainedConfig

from ..modeling_collap.modeling_collap import CollapModel
from ..training.feature_store import FeatureStore
from .collap_retriever import CollapRetriever
from .retrievers import Retriever, load_all_weights
from .vector_retrievers import ClapRetriever, PeAudioRetriever

MODEL_TYPES = ("collap", "clap", "pe_audio")
ADAPTER_FILE = "adapter_config.json"


def load_retriever(
    name_or_path: str,
    device: str | torch.device = "cpu",
    use_time: bool = True,
    one_moment: bool = False,
    windows: str | None = None,
    max_length_s: float | None = None,
    truncate_texts: bool = False,
    features: str | Path | None = None,
    load_collap: Callable[..., Any] | None = None,
) -> Retriever:
    """
    Loads a model of any kind that can be evaluated, by the `model_type` of its configuration.

    Args:
        name_or_path (`str`): A folder or a name on the Hub; a folder of a LoRA adapter of a CoLLAP too.
        device (`str` or `torch.device`): Where it runs.
        use_time, one_moment, max_length_s, truncate_texts: As in [`CollapRetriever`]. Other models know neither time
            nor moments, and cut and count texts that are too long.
        windows (`str`, *optional*): For `clap` and `pe_audio`, see [`ClapRetriever`] and [`PeAudioRetriever`]. By
            default a CLAP's windows are averaged, and PE-Audio hears songs whole.
        features (`str` or `Path`, *optional*): Folder of kept features, of a CoLLAP.
        load_collap (`Callable`, *optional*): `from_pretrained` of a class derived from CoLLAP.

    Returns:
        [`Retriever`]

    Raises:
        ValueError: if it is a model of another type, or of a class that `load_collap` does not make; lacks weights,
            which would be random ones then; or an option is given that its type does not have.
    """
    config = _read_config(name_or_path)
    model_type = config.get("model_type")
    if model_type == "collap":
        if windows is not None:
            raise ValueError(f"windows must be left out for a CoLLAP, which hears whole songs; got {windows!r}.")
        model = load_all_weights(load_collap or CollapModel.from_pretrained, name_or_path)
        architectures = config.get("architectures") or [type(model).__name__]
        if type(model).__name__ not in architectures:
            raise ValueError(
                f"name_or_path must hold a {type(model).__name__}, but {name_or_path} was saved by {architectures}, "
                "which scores otherwise; give load_collap, which loads that."
            )
        model.config._name_or_path = str(name_or_path)  # of an adapter its own, not that of the model it adapts
        processor = AutoProcessor.from_pretrained(name_or_path)
        model = model.to(device)
        store = None if features is None else FeatureStore(features, model.audio_model, processor.feature_extractor)
        return CollapRetriever(
            model, processor, use_time, one_moment, max_length_s, truncate_texts=truncate_texts, features=store
        )
    if model_type not in MODEL_TYPES:
        raise ValueError(
            f"name_or_path must hold a model of one of the types {', '.join(MODEL_TYPES)}, got {model_type!r} in "
            f"{name_or_path}."
        )
    for name, value in (("features", features), ("max_length_s", max_length_s)):
        if value is not None:
            raise ValueError(f"{name} is for CoLLAPs alone, got {value} for a {model_type} ({name_or_path}).")
    if model_type == "clap":
        return ClapRetriever.from_pretrained(name_or_path, device=device, windows=windows or "mean")
    return PeAudioRetriever.from_pretrained(name_or_path, device=device, windows=windows or "whole")


def _read_config(name_or_path: str) -> dict[str, Any]:
    """The configuration of a model; for an adapter that of the model that it adapts."""
    adapter = Path(name_or_path) / ADAPTER_FILE
    if adapter.is_file():
        name_or_path = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    return PreTrainedConfig.get_config_dict(name_or_path)[0]


__all__ = ["load_retriever"]
