# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a text model of sentence-transformers says about itself beside its weights: its pooling, layers and prompts."""

import json
from os.path import isdir
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers.utils import cached_file, logging

logger = logging.get_logger(__name__)

# Names of old and of new versions. "mean_sqrt_len_tokens" is a multiple of the mean, so it has the same direction.
POOLINGS = {"cls_token": "first", "cls": "first", "lasttoken": "last"}
POOLINGS |= dict.fromkeys(("mean_tokens", "mean", "mean_sqrt_len_tokens"), "mean")
# `Normalize` changes the length of a vector only. Ours goes through a linear layer, and has length 1 after it.
USED = ("Transformer", "Pooling", "Normalize")


def find_text_pooling(name_or_path: str, text_pooling: str | None, hub: dict[str, Any]) -> str | None:
    """
    Returns `text_pooling`, or if that is `None` the one that a model of sentence-transformers was trained with.

    What else such a model has and is not used here (a `Dense` layer, prompts) is named in a warning. `hub` says where
    to look, as the arguments of `from_pretrained`.

    Raises:
        ValueError: if the model was trained with another pooling (the maximum, several), and none is given.
    """
    modules = _read_json(name_or_path, "modules.json", hub)
    if modules is None:
        found = isdir(name_or_path) or try_to_load_from_cache(name_or_path, "modules.json", hub.get("cache_dir"))
        if text_pooling is None and not found:  # and also not known to be absent
            warning = "modules.json of %s is not in the cache, so its pooling is unknown offline: give text_pooling."
            logger.warning(warning, name_or_path)
        return text_pooling
    # The classes have moved between versions; the last part of their name has not changed.
    paths = {module["type"].rsplit(".", 1)[-1]: module["path"] for module in modules}
    if unused := " and ".join(kind for kind in paths if kind not in USED):
        logger.warning("%s of %s is not used: CoLLAP's own projection follows the pooling.", unused, name_or_path)
    prompts = (_read_json(name_or_path, "config_sentence_transformers.json", hub) or {}).get("prompts") or {}
    if named := [prompt for prompt in prompts.values() if prompt]:
        logger.warning("%s was trained with prompts, which are not used: %s.", name_or_path, named)
    if text_pooling is not None or "Pooling" not in paths:
        return text_pooling
    file = f"{paths['Pooling']}/config.json"
    pooling = _read_json(name_or_path, file, hub)
    if pooling is None:
        raise ValueError(f"text_pooling must be given for {name_or_path}, because {file} with its own is missing.")
    start = "pooling_mode_"  # in old versions each has a field of its own
    old = [name.removeprefix(start) for name, is_on in pooling.items() if name.startswith(start) and is_on]
    modes = pooling.get("pooling_mode", old)
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise ValueError(
            f"text_pooling must be given for {name_or_path}, because its own pooling is not supported: "
            f"{' and '.join(modes) or 'none'}. The mean is the most usual one."
        )
    return POOLINGS[modes[0]]


def _read_json(name_or_path: str, file: str, hub: dict[str, Any]) -> Any:
    """Content of a JSON file of a model, or None if it has no such file."""
    path = cached_file(name_or_path, file, _raise_exceptions_for_missing_entries=False, **hub)
    return None if path is None else json.loads(Path(path).read_text(encoding="utf-8"))
