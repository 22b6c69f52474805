# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Models that make one vector of a song and one of a text, as [`Retriever`]s: transformers' CLAP and PE-Audio.

They hear clips of some seconds, so a choice has to be made of what they hear of a song. It is a part of their name:

- `"first"`: the first window, as one gets who gives a song to a model of clips;
- `"mean"`: all windows of the song one after the other, each to a vector, and of these the mean, weighted by the
  seconds that each holds: the last window is shorter, and counts for less, but is not left out.

Nothing is drawn at random, which in CLAP's own feature extractor much is ([`clap_features`]): the same file gives the
same vector.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, BatchFeature, ClapModel, PeAudioModel, PreTrainedModel, ProcessorMixin

from collap.baselines.clip_inputs import clap_features, clap_positions, read_audio, text_limit, tokenize
from collap.data.cache import SongEmbedding, describe_computation, hash_model, load_all_weights


@dataclass(frozen=True)
class TextVectors:
    """Texts as a [`VectorRetriever`] embeds them: `vectors` `(T, d)` float32."""

    vectors: np.ndarray

    def __len__(self) -> int:
        return len(self.vectors)

    def select(self, start: int, stop: int) -> "TextVectors":
        """The texts from `start` on, before `stop`."""
        return TextVectors(self.vectors[start:stop])


def _join(texts: Sequence[str | list[str]]) -> list[str]:
    """Texts as strings, the sentences of a list joined by spaces; a ValueError if there is none or one is empty."""
    if not texts:
        raise ValueError("texts must hold at least one text, got none.")
    joined = [text if isinstance(text, str) else " ".join(text) for text in texts]
    for number, (text, given) in enumerate(zip(joined, texts, strict=True)):
        if not text.strip():
            raise ValueError(f"texts must not be empty, got {given!r} as number {number}.")
    return joined


class VectorRetriever(ABC):
    r"""
    A [`Retriever`] of a model that has one vector a song and one a text, compared by their dot product.

    A subclass says how windows and texts become vectors: `_embed_windows` and `_embed_tokens`.

    Args:
        model (`PreTrainedModel`): Put into evaluation mode.
        processor (`ProcessorMixin`): Its feature extractor and its tokenizer.
        windows (`str`): What is heard of a song: one of the class's `WINDOWS`.
        window_s (`float`, *optional*): Length of a window in seconds; None for a model that hears songs whole only.
        position_limit (`int`): Tokens that the text model has positions for.
        max_text_tokens (`int`, *optional*):
            Most tokens of a text, special ones included. Default: what tokenizer and text model take.
        batch_size (`int`): Windows, and texts, that the model takes at a time.

    Attributes:
        num_truncated_texts (`int`):
            Different texts so far that were longer than `max_text_tokens` and of which the rest was cut off.

    Raises:
        ValueError: if `windows` is none of `WINDOWS`, or a number is less than 1.
    """

    WINDOWS: tuple[str, ...] = ("first", "mean")
    MODEL_CLASS: type[PreTrainedModel]

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        windows: str,
        window_s: float | None,
        position_limit: int,
        max_text_tokens: int | None = None,
        batch_size: int = 16,
    ):
        if windows not in self.WINDOWS:
            raise ValueError(f"windows must be one of {', '.join(map(repr, self.WINDOWS))}, got {windows!r}.")
        for name, value in (("max_text_tokens", max_text_tokens), ("batch_size", batch_size)):
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}.")
        self.model = model.eval()
        self.processor = processor
        self.windows = windows
        self.window_s = window_s
        limit = text_limit(processor.tokenizer, position_limit)
        self.max_text_tokens = limit if max_text_tokens is None else min(limit, max_text_tokens)
        self.batch_size = batch_size
        heard = {"first": f"first {window_s} s", "mean": f"mean of {window_s} s windows"}.get(windows, "whole songs")
        self.name = f"{self.MODEL_CLASS.__name__} {model.config._name_or_path} ({heard})".replace("  ", " ")
        heard_by = {"feature_extractor": processor.feature_extractor.to_dict(), "windows": [windows, window_s]}
        self.song_revision = hash_model(model, **heard_by, computed=describe_computation(model))
        self.revision = hash_model(
            model,
            **heard_by,
            tokenizer=sorted(processor.tokenizer.get_vocab().items()),
            max_text_tokens=self.max_text_tokens,
        )
        self._truncated: set[bytes] = set()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, device: str | torch.device = "cpu", **options: Any
    ) -> "VectorRetriever":
        """
        Loads model and processor from a folder or the Hub; `options` are those of the class.

        Raises:
            ValueError: if the checkpoint lacks weights of the model, which would be random ones then.
        """
        model = load_all_weights(cls.MODEL_CLASS.from_pretrained, name_or_path)
        return cls(model.to(device), AutoProcessor.from_pretrained(name_or_path), **options)

    @property
    def num_truncated_texts(self) -> int:
        return len(self._truncated)

    @property
    def sampling_rate(self) -> int:
        """Hz that the model hears."""
        return self.processor.feature_extractor.sampling_rate

    def embed_song(self, path: str) -> SongEmbedding:
        """
        The vector of a song, as frames of shape `(1, d)`.

        Raises:
            ValueError: if the file cannot be read; see [`read_audio`].
        """
        audio = read_audio(path, self.sampling_rate, length_s=self.window_s if self.windows == "first" else None)
        waveform = audio.waveform
        size = len(waveform) if self.windows == "whole" else round(self.window_s * self.sampling_rate)
        windows = [waveform[start : start + size] for start in range(0, len(waveform), size)]
        batches = [windows[first : first + self.batch_size] for first in range(0, len(windows), self.batch_size)]
        with torch.inference_mode():
            vectors = torch.cat([self._embed_windows(batch).float().cpu() for batch in batches]).numpy()  # (W, d)
        weights = np.array([len(window) for window in windows], dtype=np.float64)
        return SongEmbedding(
            frames=self._mean(vectors, weights)[None].astype(np.float32),
            encoded_s=min(len(waveform) / self.sampling_rate, audio.duration_s),
            duration_s=audio.duration_s,
        )

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """A ValueError if there is no text, or an empty one; any other can be read, as what is too long is cut."""
        _join(texts)

    def embed_texts(self, texts: Sequence[str | list[str]]) -> TextVectors:
        """The vectors of texts; the sentences of a list are joined by spaces, what is too long is cut and counted."""
        texts = _join(texts)
        vectors = []
        for first in range(0, len(texts), self.batch_size):
            tokens, truncated = tokenize(
                self.processor.tokenizer, texts[first : first + self.batch_size], self.max_text_tokens
            )
            self._truncated |= {hashlib.sha256(texts[first + index].encode()).digest() for index in truncated}
            with torch.inference_mode():
                vectors.append(self._embed_tokens(tokens.to(self.model.device)).float().cpu().numpy())
        return TextVectors(np.concatenate(vectors))

    def score(self, songs: Sequence[np.ndarray], texts: TextVectors) -> np.ndarray:
        """Dot products of songs, each `(1, d)`, and texts: `(songs, texts)` float32; of CLAP they are cosines."""
        return np.concatenate(songs).astype(np.float32) @ texts.vectors.T

    @abstractmethod
    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        """Waveforms to `(windows, d)`."""

    @abstractmethod
    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        """`input_ids` and `attention_mask` to `(texts, d)`."""

    def _mean(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One vector `(d,)` of `(windows, d)` and the samples of each window."""
        return np.average(vectors, axis=0, weights=weights)


class ClapRetriever(VectorRetriever):
    r"""
    transformers' `ClapModel` as a [`Retriever`]; a score is the cosine that its logits are a multiple of.

    A model with `enable_fusion` gets each window as a clip that is not longer than its 10 s, which is what it is: its
    own way with longer clips, three random cuts beside a shrunken whole, is not one of the two ways here.

    Args:
        model (`ClapModel`): The model; put into evaluation mode.
        processor (`ClapProcessor`): Its processor. A window is as long as its feature extractor says.
        windows (`str`): `"first"` or `"mean"`. The mean of the windows' unit vectors is scaled to unit length.
        max_text_tokens (`int`, *optional*):
            Most tokens of a text; longer ones are cut, as `ClapProcessor` does it on demand, and counted. By default
            what tokenizer and text model take, 512 in the released ones.
        batch_size (`int`): Windows, and texts, that the model takes at a time.
    """

    MODEL_CLASS = ClapModel

    def __init__(
        self,
        model: ClapModel,
        processor: ProcessorMixin,
        windows: str = "first",
        max_text_tokens: int | None = None,
        batch_size: int = 16,
    ):
        window_s = processor.feature_extractor.max_length_s
        super().__init__(model, processor, windows, window_s, clap_positions(model), max_text_tokens, batch_size)

    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        features = clap_features(self.processor.feature_extractor, windows).to(self.model.device, self.model.dtype)
        return self.model.get_audio_features(**features).pooler_output

    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        return self.model.get_text_features(**tokens).pooler_output

    def _mean(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        mean = super()._mean(vectors, weights)
        return mean / max(np.linalg.norm(mean), 1e-12)


class PeAudioRetriever(VectorRetriever):
    r"""
    transformers' `PeAudioModel` as a [`Retriever`]; a score is the dot product that its logits are a multiple of.

    The model does not scale its vectors to unit length, so neither is it done here.

    Args:
        model (`PeAudioModel`): The model; put into evaluation mode.
        processor (`PeAudioProcessor`): Its processor, which reads clips of any length.
        windows (`str`):
            `"whole"`: the song as one clip, which is how the model takes a file, and costs memory in proportion to
            the length of the song; `"first"` and `"mean"` as above.
        window_s (`float`): Length of a window in seconds, for `"first"` and `"mean"`.
        max_text_tokens (`int`, *optional*): Most tokens of a text; by default what tokenizer and text model take.
        batch_size (`int`): Texts that the model takes at a time. Clips go one by one: padding would change them.
    """

    MODEL_CLASS = PeAudioModel
    WINDOWS = ("whole", "first", "mean")

    def __init__(
        self,
        model: PeAudioModel,
        processor: ProcessorMixin,
        windows: str = "whole",
        window_s: float = 10.0,
        max_text_tokens: int | None = None,
        batch_size: int = 16,
    ):
        positions = model.config.text_config.max_position_embeddings
        super().__init__(
            model, processor, windows, None if windows == "whole" else window_s, positions, max_text_tokens, batch_size
        )

    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        vectors = []
        for window in windows:
            clip = self.processor.feature_extractor(window, sampling_rate=self.sampling_rate, return_tensors="pt")
            clip = clip.to(self.model.device, self.model.dtype)
            vectors.append(self.model.get_audio_embeds(**clip))
        return torch.cat(vectors)

    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        # `get_text_audio_embeds` reads hidden states that it does not ask for, and fails.
        states = self.model.text_model(**tokens, output_hidden_states=True).hidden_states[-1]
        return self.model.text_audio_head(states[:, 0])


__all__ = ["ClapRetriever", "PeAudioRetriever", "TextVectors", "VectorRetriever"]
