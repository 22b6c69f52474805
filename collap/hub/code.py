# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
What goes to the Hub brings its code, so that `trust_remote_code=True` loads it where this package is not installed.

transformers copies the code of a class that is registered for an auto class, whenever one of it is saved. Ours are
registered only while something is saved for the Hub: else every checkpoint of a training would hold the code.
"""

import copy
import functools
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub.utils import HFValidationError, validate_repo_id
from transformers import PreTrainedConfig, PreTrainedModel

from collap.modeling_collap.configuration_beats import BeatsConfig
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_beats import BeatsModel
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.modeling_collap.modeling_collap_base import record_unfrozen_encoders
from collap.modeling_collap.modeling_collap_text import CollapTextModel
from collap.processing.feature_extraction_beats import BeatsFeatureExtractor
from collap.processing.feature_extraction_collap import CollapFeatureExtractor
from collap.processing.processing_collap import CollapProcessor

AUTO_CLASSES = {
    BeatsConfig: "AutoConfig",
    BeatsModel: "AutoModel",
    BeatsFeatureExtractor: "AutoFeatureExtractor",
    CollapConfig: "AutoConfig",
    CollapModel: "AutoModel",
    CollapTextModel: "AutoModelForTextEncoding",
    CollapAudioModel: "AutoModelForAudioXVector",
    CollapFeatureExtractor: "AutoFeatureExtractor",
    CollapProcessor: "AutoProcessor",
}
HALVES = {  # load from the folder of a CollapModel, whose code includes theirs
    "AutoModelForTextEncoding": "modeling_collap_text.CollapTextModel",
    "AutoModelForAudioXVector": "modeling_collap_audio.CollapAudioModel",
}


def register_auto_classes() -> None:
    """Our classes load by the auto classes; called on import."""
    for ours, auto_class in AUTO_CLASSES.items():
        config = BeatsConfig if ours.__name__.startswith("Beats") else CollapConfig
        key = config.model_type if ours is config else config
        getattr(transformers, auto_class).register(key, ours, exist_ok=True)


@contextmanager
def code_is_saved() -> Iterator[None]:
    """Inside, `save_pretrained` of our classes copies their code and names it in the JSON files (`auto_map`)."""
    for ours, auto_class in AUTO_CLASSES.items():
        ours.register_for_auto_class(auto_class)
    try:
        yield
    finally:
        for ours in AUTO_CLASSES:
            ours._auto_class = None


def for_the_hub(ours: Any) -> Any:
    """A copy of a model (its weights are shared), processor or configuration, without what only this machine has."""
    if isinstance(ours, PreTrainedModel):
        record_unfrozen_encoders(ours)  # into the configuration that is copied
        model = copy.copy(ours)
        model.config = for_the_hub(ours.config)
        model.config.auto_map = dict(HALVES) if isinstance(ours, CollapModel) else {}
        return model
    ours = copy.deepcopy(ours)
    if isinstance(ours, PreTrainedConfig):
        for tower in (getattr(ours, name) for name in ours.sub_configs):
            if tower is not None and not is_hub_id(tower._name_or_path):
                tower._name_or_path = ""
    elif isinstance(ours, CollapProcessor):
        for name in ("is_local", "local_files_only"):  # how this process found the tokenizer
            ours.tokenizer.init_kwargs.pop(name, None)
    return ours


def is_hub_id(name: str) -> bool:
    """Whether a name is a possible repository of the Hub, and not a folder of this machine."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not Path(name).exists()


def copy_sentence_transformers_files(folder: str | Path) -> None:
    """Writes the files by which sentence-transformers loads a folder; without them it cuts long texts silently."""
    for name in ("modules.json", "sentence_bert_config.json"):
        shutil.copy(Path(__file__).with_name(name), folder)


def push_with_code() -> None:
    """Our classes upload their code with `push_to_hub()` and `save_pretrained(push_to_hub=True)`; called on import."""
    for ours in AUTO_CLASSES:
        for name in ("push_to_hub", "save_pretrained"):
            setattr(ours, name, _with_code(getattr(ours, name)))
    upload = CollapProcessor._upload_modified_files  # the last step of both

    @functools.wraps(upload)
    def upload_more(self: CollapProcessor, working_dir: str | Path, *args: Any, **kwargs: Any) -> Any:
        copy_sentence_transformers_files(working_dir)
        return upload(self, working_dir, *args, **kwargs)

    CollapProcessor._upload_modified_files = upload_more


def _with_code(method: Callable) -> Callable:
    @functools.wraps(method)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        if method.__name__ == "push_to_hub" or kwargs.get("push_to_hub"):
            with code_is_saved():
                return method(for_the_hub(self), *args, **kwargs)
        return method(self, *args, **kwargs)

    return wrapper
