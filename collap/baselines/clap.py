# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
transformers' `ClapModel` as a retriever of songs, and what it shares with other models of one vector a song.

Such models encode clips of some seconds. The name of a retriever says which part of a song it encodes:

- `"first"`: the first window;
- `"mean"`: all windows of the song, one after the other, and the mean of their vectors, weighted by their lengths
  (the last window is shorter).

Nothing is random, unlike in CLAP's own feature extractor ([`clap_features`]): a file always gives the same vector.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor, BatchFeature, ClapFeatureExtractor, ClapModel, PreTrainedModel, ProcessorMixin
from transformers.audio_utils import window_function

from collap.data.audio_files import read_audio
from collap.data.cache import SongEmbedding, describe_computation, hash_model
from collap.encode import Song, in_batches
from collap.modeling_collap.modeling_collap_base import load_complete

BATCH_SIZE = 16  # windows, and texts, that a model takes at a time


def clap_features(extractor: ClapFeatureExtractor, windows: Sequence[np.ndarray]) -> BatchFeature:
    """
    `input_features` and `is_longer` of windows that are no longer than the model's 10 s, without randomness.

    `ClapFeatureExtractor` cuts longer waveforms at random places, and where none is longer it marks a random one as
    such. Here no window is longer and none is marked; shorter ones are padded in the extractor's way. The spectrograms
    are the same, computed in float32 in an eighth of the time.

    Args:
        extractor (`ClapFeatureExtractor`): Only its settings are used.
        windows (`Sequence[np.ndarray]`): Waveforms at its sampling rate.

    Returns:
        `input_features` `(B, 1, num_frames, num_mel_bins)` float32 (with `truncation="fusion"` 4 equal ones in place
        of 1), and `is_longer` `(B, 1)`, all False.

    Raises:
        ValueError: if a window is longer.
    """
    longest = max(len(window) for window in windows)
    if longest > extractor.nb_max_samples:
        raise ValueError(f"windows must have at most {extractor.nb_max_samples} samples, got {longest}.")
    is_fusion = extractor.truncation == "fusion"
    filters = extractor.mel_filters if is_fusion else extractor.mel_filters_slaney
    spectrograms = [_log_mel(extractor, _pad(extractor, window), filters) for window in windows]
    features = torch.stack(spectrograms)[:, None]  # (B, 1, num_frames, bins)
    if is_fusion:
        features = features.repeat(1, 4, 1, 1)
    return BatchFeature({"input_features": features, "is_longer": torch.zeros(len(windows), 1, dtype=torch.bool)})


def _pad(extractor: ClapFeatureExtractor, window: np.ndarray) -> np.ndarray:
    length = extractor.nb_max_samples
    if extractor.padding == "repeat":
        window = np.resize(window, length)
    elif extractor.padding == "repeatpad":
        window = np.tile(window, length // len(window))
    return np.pad(window, (0, length - len(window)))


def _log_mel(extractor: ClapFeatureExtractor, waveform: np.ndarray, filters: np.ndarray) -> torch.Tensor:
    """Mel bins in dB, `(num_frames, bins)` float32."""
    size = extractor.fft_window_size
    spectra = torch.stft(
        torch.from_numpy(waveform.astype(np.float32)),
        size,
        extractor.hop_length,
        window=torch.from_numpy(window_function(size, "hann")).float(),
        center=True,
        pad_mode="reflect",
        return_complex=True,
    )  # (frequencies, num_frames)
    power = spectra.real.square() + spectra.imag.square()
    return 10 * torch.log10((power.T @ torch.from_numpy(filters).float()).clamp(min=1e-10))


def clap_positions(model: ClapModel) -> int:
    """Most tokens of CLAP's text model: as in RoBERTa, positions count from the one after the padding's."""
    config = model.config.text_config
    return config.max_position_embeddings - config.pad_token_id - 1


def tokenize(tokenizer: Any, texts: Sequence[str], limit: int) -> tuple[BatchFeature, list[int]]:
    """`input_ids` and `attention_mask` of texts, cut to `limit` tokens, and the indices of those that were cut."""
    tokens = tokenizer(
        list(texts),
        padding=True,
        truncation=True,
        max_length=limit,
        return_attention_mask=True,
        return_token_type_ids=False,
        return_tensors="pt",
    )
    # This call comes last: a fast tokenizer saves the options of its last call, and ClapProcessor would hand a saved
    # max_length on to the feature extractor, as a number of samples.
    lengths = [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    return tokens, [index for index, length in enumerate(lengths) if length > limit]


def join_sentences(texts: Sequence[str | list[str]]) -> list[str]:
    """Texts as strings, the sentences of a list joined by spaces; a ValueError if there is none or one is empty."""
    if not texts:
        raise ValueError("texts must hold at least one text, got none.")
    joined = [text if isinstance(text, str) else " ".join(text) for text in texts]
    for index, text in enumerate(joined):
        if not text.strip():
            raise ValueError(f"texts[{index}] must not be empty, got {texts[index]!r}.")
    return joined


class VectorRetriever(ABC):
    r"""
    A [`collap.evaluation.retrievers.Retriever`] with one vector a song and one a text, compared by their dot product.

    A subclass says how windows and texts become vectors: `_embed_windows` and `_embed_tokens`.

    Args:
        model (`PreTrainedModel`): Put into evaluation mode.
        processor (`ProcessorMixin`): Its feature extractor and its tokenizer.
        windows (`str`): Which part of a song is encoded: one of the class's `WINDOWS`.
        window_s (`float`, *optional*): Length of a window in seconds; None if songs are encoded whole.
        num_positions (`int`):
            Positions of the text model. Texts of more tokens than this, or than the tokenizer allows, are cut.

    Raises:
        ValueError: if `windows` is none of `WINDOWS`.
    """

    WINDOWS: tuple[str, ...] = ("first", "mean")
    MODEL_CLASS: type[PreTrainedModel]

    def __init__(
        self,
        model: PreTrainedModel,
        processor: ProcessorMixin,
        windows: str,
        window_s: float | None,
        num_positions: int,
    ):
        if windows not in self.WINDOWS:
            raise ValueError(f"windows must be one of {', '.join(map(repr, self.WINDOWS))}, got {windows!r}.")
        self.model = model.eval()
        self.processor = processor
        self.windows = windows
        self.window_s = window_s
        self.max_text_tokens = min(processor.tokenizer.model_max_length, num_positions)
        part = {"first": f"first {window_s} s", "mean": f"mean of {window_s} s windows"}.get(windows, "whole songs")
        self.name = f"{self.MODEL_CLASS.__name__} {model.config._name_or_path} ({part})".replace("  ", " ")
        settings = {"feature_extractor": processor.feature_extractor.to_dict(), "windows": [windows, window_s]}
        self.song_revision = hash_model(model, **settings, computed=describe_computation(model))
        self.revision = hash_model(
            model,
            **settings,
            tokenizer=sorted(processor.tokenizer.get_vocab().items()),
            max_text_tokens=self.max_text_tokens,
        )
        self._truncated: set[bytes] = set()

    @classmethod
    def from_pretrained(
        cls, name_or_path: str, device: str | torch.device = "cpu", windows: str = "mean"
    ) -> "VectorRetriever":
        """Loads model and processor from a folder or the Hub; a ValueError if the checkpoint lacks weights."""
        model = load_complete(cls.MODEL_CLASS, name_or_path)
        return cls(model.to(device), AutoProcessor.from_pretrained(name_or_path), windows)

    @property
    def num_truncated_texts(self) -> int:
        return len(self._truncated)

    def embed_song(self, song: Song) -> SongEmbedding:
        """The vector of a song, as frames of shape `(1, d)`; a ValueError if it cannot be decoded ([`read_audio`])."""
        length_s = self.window_s if self.windows == "first" else None
        sampling_rate = self.processor.feature_extractor.sampling_rate
        waveform, duration_s = read_audio(song, sampling_rate, length_s=length_s)
        size = len(waveform) if self.windows == "whole" else round(self.window_s * sampling_rate)
        windows = [waveform[start : start + size] for start in range(0, len(waveform), size)]
        with torch.inference_mode():
            batches = map(self._embed_windows, in_batches(windows, BATCH_SIZE))
            vectors = torch.cat([batch.float().cpu() for batch in batches]).numpy()  # (W, d)
        weights = np.array([len(window) for window in windows], dtype=np.float64)
        return SongEmbedding(
            frames=self._frames(vectors, weights).astype(np.float32),
            encoded_s=min(len(waveform) / sampling_rate, duration_s),
            duration_s=duration_s,
            is_truncated=length_s is not None and length_s < duration_s,
        )

    def check_texts(self, texts: Sequence[str | list[str]]) -> None:
        """Raises what `embed_texts` would."""
        join_sentences(texts)

    def embed_texts(self, texts: Sequence[str | list[str]]) -> np.ndarray:
        """Vectors `(T, d)` of texts; sentences of a list are joined by spaces, longer texts are cut and counted."""
        vectors = []
        for batch in in_batches(join_sentences(texts), BATCH_SIZE):
            tokens, truncated = tokenize(self.processor.tokenizer, batch, self.max_text_tokens)
            self._truncated |= {hashlib.sha256(batch[index].encode()).digest() for index in truncated}
            with torch.inference_mode():
                vectors.append(self._embed_tokens(tokens.to(self.model.device)).float().cpu().numpy())
        return np.concatenate(vectors)

    def score(self, songs: Sequence[np.ndarray], texts: np.ndarray) -> np.ndarray:
        """Dot products of songs and texts, of a song's best frame if it has several: `(songs, texts)` float32."""
        return np.stack([(song.astype(np.float32) @ texts.T).max(0) for song in songs])

    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray | None:
        """None: the one frame of a song says nothing of where."""
        return None

    def frame_queries(self, texts: np.ndarray) -> np.ndarray:
        """What `embed_texts` gave, `(T, d)`."""
        return texts

    @abstractmethod
    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        """Waveforms to `(windows, d)`."""

    @abstractmethod
    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        """`input_ids` and `attention_mask` to `(texts, d)`."""

    def _frames(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """One vector, `(1, d)`, of `(windows, d)` and the samples of each window."""
        return np.average(vectors, axis=0, weights=weights)[None]


class ClapRetriever(VectorRetriever):
    r"""
    transformers' `ClapModel`. Scores are cosines, which its logits are a multiple of.

    Args:
        processor (`ClapProcessor`): Its feature extractor gives the length of a window.
        windows (`str`): `"first"` or `"mean"`. The mean of the windows' unit vectors is scaled to unit length.
    """

    MODEL_CLASS = ClapModel

    def __init__(self, model: ClapModel, processor: ProcessorMixin, windows: str = "first"):
        super().__init__(model, processor, windows, processor.feature_extractor.max_length_s, clap_positions(model))

    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        features = clap_features(self.processor.feature_extractor, windows).to(self.model.device, self.model.dtype)
        return self.model.get_audio_features(**features).pooler_output

    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        return self.model.get_text_features(**tokens).pooler_output

    def _frames(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        mean = super()._frames(vectors, weights)
        return mean / max(np.linalg.norm(mean), 1e-12)
