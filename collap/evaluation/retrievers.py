# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Models that can be evaluated: they embed songs and texts and score them, and a result names them by a revision."""

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoProcessor, PreTrainedConfig

from collap.baselines.clip_inputs import duration_s
from collap.baselines.vector_retrievers import ClapRetriever, PeAudioRetriever
from collap.data.cache import FeatureStore, SongEmbedding, describe_computation, hash_model, load_all_weights
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.processing.batch_feature_collap import CollapBatchFeature
from collap.processing.processing_collap import CollapProcessor


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


# Of a CoLLAP's configuration what its texts and its scores depend on, and the frames of a song do not.
NOT_OF_SONGS = (
    "text_config",
    "text_granularity",
    "text_pooling",
    "temporal_position",
    "num_time_features",
    "time_query_heads",
    "kernel_size",
    "kernel_stride",
    "kernel_weight",
    "kernel_temperature",
    "temporal_weight",
    "temporal_temperature",
    "logit_scale_init_value",
    "score_block_size",
)


@dataclass(frozen=True)
class CollapTexts:
    """Texts as [`CollapRetriever`] embeds them."""

    output: CollapTextOutput

    def __len__(self) -> int:
        return len(self.output.sentence_counts)

    def select(self, start: int, stop: int) -> "CollapTexts":
        """The texts from `start` on, before `stop`."""
        ends = [0, *self.output.sentence_counts.cumsum(0).tolist()]
        stop = min(stop, len(self))
        sentences = slice(ends[start], ends[stop])
        times = self.output.time_query_embeds
        return CollapTexts(
            CollapTextOutput(
                query_embeds=self.output.query_embeds[sentences],
                time_query_embeds=None if times is None else times[sentences],
                sentence_counts=self.output.sentence_counts[start:stop],
            )
        )


class CollapRetriever:
    r"""
    A CoLLAP as a [`Retriever`]: whole songs, a frame each 0.16 s (or what `config.frame_pooling` says).

    Args:
        model ([`CollapModel`]): Put into evaluation mode.
        processor ([`CollapProcessor`]): Its processor.
        use_time (`bool`): Whether it counts when something is to happen ([`CollapModel.score`]).
        section_query (`bool`): Whether each text describes a moment in place of the song ([`CollapModel.score`]).
        max_length_s (`float`, *optional*): Hear only so many seconds of each song, from its start. Default: all.
        truncate_texts (`bool`):
            Whether texts (or sentences) of more tokens than the processor takes are cut, and counted in
            `num_truncated_texts`, instead of refused.
        batch_size (`int`): Texts that the model reads at a time.
        features ([`FeatureStore`], *optional*):
            Kept frames of the frozen encoders, which are then not run. They are rounded to float16.

    Raises:
        ValueError: if `batch_size` is less than 1, or both `features` and `max_length_s` are given.
    """

    def __init__(
        self,
        model: CollapModel,
        processor: CollapProcessor,
        use_time: bool = True,
        section_query: bool = False,
        max_length_s: float | None = None,
        truncate_texts: bool = False,
        batch_size: int = 32,
        features: FeatureStore | None = None,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}.")
        if features is not None and max_length_s is not None:
            raise ValueError(
                f"max_length_s={max_length_s:g} cannot be had of features, which were extracted with a length of "
                "their own; give one of the two."
            )
        self.model = model.eval()
        self.processor = processor
        self.use_time = use_time
        self.section_query = section_query
        self.truncate_texts = truncate_texts
        self.batch_size = batch_size
        self.features = features
        if max_length_s is not None:
            self.processor = copy.deepcopy(processor)
            self.processor.feature_extractor.max_length_s = max_length_s
        self._truncates_songs = max_length_s is not None
        self._truncated: set[int] = set()
        choices = {
            "one moment": section_query,
            "without time": not use_time and not section_query and model.config.temporal_position,
            f"first {max_length_s} s": max_length_s is not None,
        }
        chosen = ", ".join(name for name, is_chosen in choices.items() if is_chosen)
        self.name = f"{type(model).__name__} {model.config._name_or_path}".strip() + (f" ({chosen})" if chosen else "")

    @cached_property
    def revision(self) -> str:
        """See [`Retriever`]; made when it is first asked for, which takes seconds for a large model."""
        processor = self.processor
        return hash_model(
            self.model,
            feature_extractor=processor.feature_extractor.to_dict(),
            kept_features=self._kept_precision,
            tokenizer=sorted(processor.tokenizer.get_vocab().items()),
            texts=[processor.text_granularity, processor.max_text_tokens, processor.language, self.truncate_texts],
        )

    @cached_property
    def song_revision(self) -> str:
        """See [`Retriever`]."""
        return hash_model(
            self.model,
            part=self.model.audio_model,
            without=NOT_OF_SONGS,
            feature_extractor=self.processor.feature_extractor.to_dict(),
            kept_features=self._kept_precision,
            computed=describe_computation(self.model),
        )

    @property
    def _kept_precision(self) -> str | None:
        """In which precision the kept features were computed; None without them."""
        return None if self.features is None else self.features.header["mixed_precision"]

    @property
    def num_truncated_texts(self) -> int:
        return len(self._truncated)

    @torch.inference_mode()
    def embed_song(self, path: str) -> SongEmbedding:
        """
        The frames of a song.

        Raises:
            ValueError: if the file cannot be heard ([`CollapFeatureExtractor`]), or `features` lack it.
        """
        if self.features is not None:
            return self._embed_kept(path)
        inputs = self.processor(audio=path, truncation=self._truncates_songs, return_tensors="pt")
        frames = self.model.get_audio_features(**inputs.to(self.model.device)).last_hidden_state[0]  # (N, d)
        coverage = inputs.coverage[0]
        return SongEmbedding(frames.float().cpu().numpy(), coverage.encoded_s, coverage.duration_s)

    def _embed_kept(self, path: str) -> SongEmbedding:
        kept = self.features.load(path)[None].to(self.model.device)  # (1, N, E)
        mask = torch.ones(kept.shape[:2], dtype=torch.bool, device=kept.device)
        frames = self.model.get_audio_features(encoder_frames=kept.float(), frame_mask=mask).last_hidden_state[0]
        starts, ends = self.model.frame_times(len(frames)).unbind(-1)
        seconds = duration_s(path)
        return SongEmbedding(frames.float().cpu().numpy(), min(float((ends - starts).sum()), seconds), seconds)

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """Raises the errors of [`embed_texts`] without running the model."""
        for _ in self._read_texts(texts):
            pass

    def _read_texts(self, texts: Sequence[str | list[str]]) -> Iterator[CollapBatchFeature]:
        """Inputs of the text model, a batch of texts at a time."""
        if not texts:
            raise ValueError("texts must hold at least one text, got none.")
        for start in range(0, len(texts), self.batch_size):
            batch = texts[start : start + self.batch_size]
            inputs = self.processor(text=batch, truncation=self.truncate_texts, return_tensors="pt")
            for text, coverage in zip(batch, inputs.coverage, strict=True):
                if coverage.tokens_kept < coverage.tokens_given:
                    self._truncated.add(hash(text if isinstance(text, str) else tuple(text)))
            yield inputs

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str | list[str]]) -> CollapTexts:
        """
        The queries of texts.

        Raises:
            ValueError: if there is none, one is empty, or too long and `truncate_texts` is not set.
        """
        parts = [self.model.get_text_features(**inputs.to(self.model.device)) for inputs in self._read_texts(texts)]
        has_times = parts[0].time_query_embeds is not None
        return CollapTexts(
            CollapTextOutput(
                query_embeds=torch.cat([part.query_embeds for part in parts]),
                time_query_embeds=torch.cat([part.time_query_embeds for part in parts]) if has_times else None,
                sentence_counts=torch.cat([part.sentence_counts for part in parts]),
            )
        )

    @torch.inference_mode()
    def score(self, songs: Sequence[np.ndarray], texts: CollapTexts) -> np.ndarray:
        """`logits_per_audio` of songs, each `(N, d)`, and texts: `(songs, texts)` float32."""
        counts = torch.tensor([len(song) for song in songs])
        frames = pad_sequence([torch.from_numpy(song) for song in songs], batch_first=True)  # (B, N, d)
        audio = CollapAudioOutput(
            last_hidden_state=frames.to(self.model.device),
            frame_mask=(torch.arange(frames.shape[1]) < counts[:, None]).to(self.model.device),
        )
        scores = self.model.score(audio, texts.output, use_time=self.use_time, section_query=self.section_query)
        return scores.float().cpu().numpy()


MODEL_TYPES = ("collap", "clap", "pe_audio")
ADAPTER_FILE = "adapter_config.json"


def load_retriever(
    name_or_path: str,
    device: str | torch.device = "cpu",
    use_time: bool = True,
    section_query: bool = False,
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
        use_time, section_query, max_length_s, truncate_texts: As in [`CollapRetriever`]. Others know neither time
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
            model, processor, use_time, section_query, max_length_s, truncate_texts=truncate_texts, features=store
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


__all__ = [
    "NOT_OF_SONGS",
    "CollapRetriever",
    "CollapTexts",
    "Retriever",
    "SongEmbedding",
    "describe_computation",
    "hash_model",
    "load_all_weights",
    "load_retriever",
]
