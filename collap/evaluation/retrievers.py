# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Models that find songs by texts: CoLLAP and the baselines behind one interface."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoProcessor

from collap.baselines.clap import ClapRetriever
from collap.baselines.mean_pooling import MeanPoolingCollap, load_collap, load_config
from collap.baselines.pe_audio import PeAudioFrameRetriever, PeAudioRetriever
from collap.data.cache import (
    SongEmbedding,
    TensorCache,
    describe_computation,
    describe_features,
    describe_settings,
    hash_described,
    hash_model,
    hash_weights,
)
from collap.encode import Song, encode_streams, in_batches, limit_length, stream_features
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_base import fingerprint, load_complete
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.modeling_collap.scoring_collap import mean_over_sentences
from collap.precision import lower_precision
from collap.processing.feature_extraction_collap import CollapBatchFeature
from collap.processing.processing_collap import CollapProcessor


class Retriever(Protocol):
    """
    A model that finds songs by texts.

    Attributes:
        name (`str`): For tables: the class, the checkpoint, and every option that changes scores.
        revision (`str`): Hash of the weights and all settings; options of scores, such as `use_time`, are in `name`.
        song_revision (`str`): Hash of all that the frames of a song depend on: a part of the above, the kind of device
            and the precision.
        num_truncated_texts (`int`): How many different texts were cut so far.
    """

    name: str
    revision: str
    song_revision: str
    num_truncated_texts: int

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """Raises what `embed_texts` would, without the model."""

    def embed_song(self, song: Song) -> SongEmbedding:
        """
        Encodes an audio file, or the `bytes` of one in a dict; a ValueError if it cannot be encoded. Several threads
        may call it at once, and the result depends on no other song.
        """

    def embed_texts(self, texts: Sequence[str | list[str]]) -> Any:
        """Encodes texts, each a string or its sentences. The result has a length and slices."""

    def score(self, songs: Sequence[np.ndarray], texts: Any) -> np.ndarray:
        """Scores `(songs, texts)` in float32 of the frames of songs and of what `embed_texts` gave."""

    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray | None:
        """Start and end in seconds `(N, 2)` of the frames of a song; None if the model does not tell where."""

    def frame_queries(self, texts: Any) -> np.ndarray:
        """A vector `(T, d)` for each of what `embed_texts` gave: its dot products with frames say how they fit."""


# https://github.com/embeddings-benchmark/mteb/issues/5069
BROKEN = {"laion/larger_clap_music": "this checkpoint is broken on the Hub, all texts have nearly the same vector"}
BATCH_SIZE = 32  # texts that the model takes at a time


@dataclass(frozen=True)
class CollapTexts:
    """Texts as [`CollapRetriever`] encodes them."""

    output: CollapTextOutput

    def __len__(self) -> int:
        return len(self.output.sentence_counts)

    def __getitem__(self, part: slice) -> "CollapTexts":
        """Some consecutive texts."""
        start, stop, _ = part.indices(len(self))
        ends = [0, *self.output.sentence_counts.cumsum(0).tolist()]
        sentences = slice(ends[start], ends[stop])
        rows = {"query_embeds": sentences, "time_query_embeds": sentences}
        rows |= {"sentence_counts": part, "model_fingerprint": part}
        chosen = {name: self.output[name][own] for name, own in rows.items() if name in self.output}
        return CollapTexts(CollapTextOutput(**chosen))


class CollapRetriever:
    r"""
    A CoLLAP as a [`Retriever`]. Scores are similarities, which its logits are a multiple of.

    Args:
        model ([`CollapModel`]): Put into evaluation mode.
        processor ([`CollapProcessor`]): Its processor. Songs longer than its `max_length_s` are cut.
        use_time, section_query (`bool`): As in [`CollapModel.similarity`].
        truncate_texts (`bool`): Whether texts (or sentences) that are too long are cut and counted instead of refused.
        features ([`TensorCache`], *optional*): Cached frames of the encoders, in float16; the encoders are not run.
        precision (`str`, *optional*): Of the audio encoders, which are converted for good ([`lower_precision`]).

    Raises:
        ValueError: if both `features` and `precision` are given, or the processor does not fit the model.

    Attributes:
        weights (`str`): Hash of the beginning of all weights, in the precision in which they were loaded.
        precision (`str`, *optional*): Of the audio encoders; `None` if it is that in which they were loaded.
    """

    def __init__(
        self,
        model: CollapModel,
        processor: CollapProcessor,
        use_time: bool = True,
        section_query: bool = False,
        truncate_texts: bool = False,
        features: TensorCache | None = None,
        precision: str | None = None,
    ):
        if features is not None and precision is not None:
            raise ValueError(f"precision must be None with features, which have their own, got {precision}.")
        processor.check_model(model.config)
        self.model = model.eval()
        stamp = fingerprint(model, 1)  # None if the weights are spread over devices
        self.weights = "" if stamp is None else f"{int(stamp) & (2**64 - 1):016x}"
        self.precision = (
            lower_precision(model.audio_model, precision) if features is None else features.fingerprint["precision"]
        )
        self.processor = processor
        self.use_time = use_time
        self.section_query = section_query
        self.truncate_texts = truncate_texts
        self.features = features
        self._truncated: set[int] = set()
        max_length_s = processor.feature_extractor.max_length_s
        attends = not isinstance(model, MeanPoolingCollap)  # the others have no use for sections and time
        by_section = section_query and attends and model.config.text_granularity == "sentence"
        options = {
            "section query": by_section,
            "without time": not use_time and not by_section and attends and model.config.temporal_position,
            f"first {max_length_s} s": max_length_s is not None,
            f"{self.precision}": self.precision is not None,
        }
        given = ", ".join(name for name, is_given in options.items() if is_given)
        self.name = f"{type(model).__name__} {model.config._name_or_path}".strip() + (f" ({given})" if given else "")

    @cached_property
    def revision(self) -> str:
        """See [`Retriever`]. The first access takes seconds for a large model."""
        processor = self.processor
        return hash_model(
            self.model,
            feature_extractor=processor.feature_extractor.to_dict(),
            cached_features=self._feature_precision,
            tokenizer=sorted(processor.tokenizer.get_vocab().items()),
            texts=[processor.text_granularity, processor.max_text_tokens, processor.language, self.truncate_texts],
        )

    @cached_property
    def song_revision(self) -> str:
        """See [`Retriever`]."""
        settings = describe_settings(self.model.config, self.processor.feature_extractor)
        weights, computed = hash_weights(self.model.audio_model), describe_computation(self.model)
        own = {"weights": weights, "computed": computed, "cached_features": self._feature_precision}
        return hash_described(settings | own)

    @property
    def _feature_precision(self) -> list[str | None] | None:
        if self.features is None:
            return None
        return [self.features.fingerprint[name] for name in ("frame_dtype", "precision")]

    @property
    def num_truncated_texts(self) -> int:
        return len(self._truncated)

    @torch.inference_mode()
    def embed_song(self, song: Song) -> SongEmbedding:
        """The frames of a song; a ValueError if it cannot be encoded, is cut off, or `features` lack it."""
        if self.features is None:
            model, extractor = self.model, self.processor.feature_extractor
            parts = stream_features(song, extractor, model.config, truncation=True)
            (encoded,) = encode_streams(model.audio_model, [parts])
            if isinstance(encoded, Exception):
                raise encoded
        else:
            encoded = self.features.read(self.features.find(song))
        encoder_frames = torch.from_numpy(encoded.frames)[None].to(self.model.device, torch.float32)  # (1, N, E)
        mask = torch.ones(encoder_frames.shape[:2], dtype=torch.bool, device=encoder_frames.device)
        audio = self.model.get_audio_features(encoder_frames=encoder_frames, frame_mask=mask)
        frames = audio.last_hidden_state[0]  # (N, d)
        seconds = encoded.encoded_s, encoded.duration_s
        return SongEmbedding(frames.float().cpu().numpy(), *seconds, encoded.is_truncated)

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """Raises the errors of [`embed_texts`] without running the model."""
        for _ in self._tokenize(texts):
            pass

    def _tokenize(self, texts: Sequence[str | list[str]]) -> Iterator[CollapBatchFeature]:
        """Inputs of the text model, a batch of texts at a time."""
        if not texts:
            raise ValueError("texts must hold at least one text, got none.")
        for batch in in_batches(texts, BATCH_SIZE):
            inputs = self.processor(text=batch, truncation=self.truncate_texts, return_tensors="pt")
            for text, coverage in zip(batch, inputs.text_coverage, strict=True):
                if coverage.num_encoded_tokens < coverage.num_tokens:
                    self._truncated.add(hash(text if isinstance(text, str) else tuple(text)))
            yield inputs

    @torch.inference_mode()
    def embed_texts(self, texts: Sequence[str | list[str]]) -> CollapTexts:
        """The queries of texts; a ValueError if there is none, one is empty, or too long without `truncate_texts`."""
        parts = [self.model.get_text_features(**inputs.to(self.model.device)) for inputs in self._tokenize(texts)]
        fields = ("query_embeds", "time_query_embeds", "sentence_counts", "model_fingerprint")
        joined = {name: torch.cat([part[name] for part in parts]) for name in fields if name in parts[0]}
        return CollapTexts(CollapTextOutput(**joined))

    @torch.inference_mode()
    def score(self, songs: Sequence[np.ndarray], texts: CollapTexts) -> np.ndarray:
        """`(songs, texts)` float32 of the frames `(N, d)` of each song."""
        options = {"use_time": self.use_time, "section_query": self.section_query}
        return self.model.similarity(self.as_batch(songs), texts.output, **options).float().cpu().numpy()

    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray:
        """Start and end of each frame in seconds, `(N, 2)`."""
        return self.model.frame_times(num_frames, duration_s).double().numpy()

    def frame_queries(self, texts: CollapTexts) -> np.ndarray:
        """Means `(T, d)` of the queries of each text's sentences: dot products are the mean cosines of sentences."""
        return mean_over_sentences(texts.output.query_embeds.float().T, texts.output.sentence_counts).T.cpu().numpy()

    def as_batch(self, songs: Sequence[np.ndarray]) -> CollapAudioOutput:
        """The frames `(N, d)` of each song as the output of the model that they come from."""
        counts = torch.tensor([len(song) for song in songs])
        frames = pad_sequence([torch.from_numpy(song) for song in songs], batch_first=True)  # (B, N, d)
        mask = torch.arange(frames.shape[1]) < counts[:, None]
        device = self.model.device
        return CollapAudioOutput(last_hidden_state=frames.to(device), frame_mask=mask.to(device))


def load_retriever(
    name_or_path: str,
    device: str | torch.device = "cpu",
    use_time: bool = True,
    section_query: bool = False,
    windows: str | None = None,
    max_length_s: float | None = None,
    truncate_texts: bool = False,
    features: str | Path | None = None,
    precision: str | None = None,
) -> Retriever:
    """
    Loads a model of any type that can be evaluated, by the `model_type` of its configuration.

    Args:
        name_or_path (`str`): A folder or a name on the Hub; also a LoRA adapter of a CoLLAP.
        device (`str` or `torch.device`): Where it runs.
        use_time, section_query, truncate_texts:
            As in [`CollapRetriever`]. Baselines ignore time and section queries, and always cut long texts.
        windows (`str`, *optional*):
            As in [`ClapRetriever`] (default `"mean"`) and [`PeAudioRetriever`] (default `"whole"`; the only one of a
            `PeAudioFrameLevelModel`).
        max_length_s (`float`, *optional*): A CoLLAP encodes the first seconds only. Default: as its processor.
        features (`str` or `Path`, *optional*): Folder of cached features of a CoLLAP.
        precision (`str`, *optional*): Of the audio encoders of a CoLLAP, as in [`lower_precision`].

    Raises:
        ValueError: if the model is of another type, lacks weights, is known to be broken, or has no such option.
    """
    if name_or_path in BROKEN:
        raise ValueError(f"name_or_path must be a model that works, got {name_or_path!r}: {BROKEN[name_or_path]}.")
    config = load_config(name_or_path)
    model_type = config.get("model_type")
    if model_type not in ("collap", "clap", "pe_audio"):
        raise ValueError(
            f"name_or_path must hold a model of type collap, clap or pe_audio, got {model_type!r} in {name_or_path}."
        )
    of_collap = {"features": features, "max_length_s": max_length_s, "precision": precision}
    others = {"windows": windows} if model_type == "collap" else of_collap
    for name, value in others.items():
        if value is not None:
            raise ValueError(f"{name} must be None for a {model_type} ({name_or_path}), got {value}.")
    if model_type == "clap":
        return ClapRetriever.from_pretrained(name_or_path, device, windows or "mean")
    if model_type == "pe_audio":
        of_frames = config.get("architectures") == [PeAudioFrameRetriever.MODEL_CLASS.__name__]
        retriever_class = PeAudioFrameRetriever if of_frames else PeAudioRetriever
        return retriever_class.from_pretrained(name_or_path, device, windows or "whole")
    model = load_complete(load_collap, name_or_path).to(device)
    model.config._name_or_path = str(name_or_path)  # of an adapter its own, not that of the base model
    processor = AutoProcessor.from_pretrained(name_or_path)
    limit_length(processor.feature_extractor, max_length_s)
    cache = None
    if features is not None:
        cache = TensorCache(features, describe_features(model.audio_model, processor.feature_extractor))
    options = {"truncate_texts": truncate_texts, "features": cache, "precision": precision}
    return CollapRetriever(model, processor, use_time, section_query, **options)
