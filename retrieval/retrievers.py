# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a model has to do to be evaluated: embed songs, embed texts, score them. And by what its results are known."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from torch import nn
from transformers import PreTrainedModel

from ..training.feature_store import hash_weights

REVISION_LENGTH = 16  # hexadecimal digits
FORMAT_VERSION = 1  # of what our code makes of the same song with the same weights; raised when that changes
ORIGIN = ("_name_or_path", "transformers_version", "dtype", "architectures", "processor_class")


@dataclass(frozen=True)
class SongEmbedding:
    """
    A song as a model has heard it.

    Args:
        frames (`np.ndarray` of shape `(N, d)`): float32; models that make one vector of a song have one frame.
        heard_s (`float`): Seconds of the song that the frames stand for.
        duration_s (`float`): Length of the song in seconds.
    """

    frames: np.ndarray
    heard_s: float
    duration_s: float


class Retriever(Protocol):
    """
    A model that finds songs by texts, as all models are evaluated.

    Attributes:
        name (`str`): For tables: the class, the checkpoint, and every choice that changes scores.
        revision (`str`): Hash of the weights and of all settings that embeddings depend on.
        song_revision (`str`): Hash of what a song's embedding depends on: that part of the above, and where and in
            which precision it is computed.
        num_truncated_texts (`int`): Different texts so far of which something was cut off.
    """

    name: str
    revision: str
    song_revision: str
    num_truncated_texts: int

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """Raises what `embed_texts` would, without the model."""

    def embed_song(self, path: str) -> SongEmbedding:
        """
        Hears a file. May be called by several threads at once, and each song's frames are its own, whoever else is
        embedded.

        Raises:
            ValueError: if the file cannot be heard.
        """

    def embed_texts(self, texts: Sequence[str | list[str]]) -> Any:
        """Reads texts, each a string or its sentences. The result has a length and `select(start, stop)`."""

    def score(self, songs: Sequence[np.ndarray], texts: Any) -> np.ndarray:
        """Scores of songs, each given by its frames, and of what `embed_texts` gave: `(songs, texts)` float32."""


def hash_model(
    model: PreTrainedModel, part: nn.Module | None = None, without: Sequence[str] = (), **settings: Any
) -> str:
    """
    The `revision` or `song_revision` of a [`Retriever`]: 16 hexadecimal digits of the class, the configuration and
    the weights.

    Where a model was loaded from and by whom it was saved does not count.

    Args:
        model (`PreTrainedModel`): The model.
        part (`nn.Module`, *optional*): Whose weights count; all by default.
        without (`Sequence[str]`): Fields of the configuration that do not count.
        settings: What embeddings depend on beside it, for JSON.
    """
    described = {
        "format_version": FORMAT_VERSION,
        "class": type(model).__name__,
        "config": {name: value for name, value in model.config.to_dict().items() if name not in without},
        "weights": hash_weights(model if part is None else part),
        "settings": settings,
    }
    content = json.dumps(_without_origin(described), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:REVISION_LENGTH]


def describe_computation(model: PreTrainedModel) -> list[str]:
    """The kind of device and the precision that a model computes on and in: numbers differ a little with them."""
    return [model.device.type, str(model.dtype)]


def load_all_weights(from_pretrained: Callable[..., Any], name_or_path: str) -> PreTrainedModel:
    """
    Loads a model of which nothing is missing.

    Raises:
        ValueError: if the checkpoint lacks weights of the model, which would be random ones then.
    """
    model, info = from_pretrained(name_or_path, output_loading_info=True)
    missing = sorted(set(info["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if missing:
        raise ValueError(
            f"{name_or_path} lacks {len(missing)} weights of a {type(model).__name__}, such as {missing[0]}."
        )
    return model


def _without_origin(settings: Any) -> Any:
    """Settings without what only tells where and how a model was saved."""
    if not isinstance(settings, dict):
        return settings
    return {name: _without_origin(value) for name, value in settings.items() if name not in ORIGIN}


__all__ = ["Retriever", "SongEmbedding", "describe_computation", "hash_model", "load_all_weights"]
