# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files and texts as the inputs of models that hear clips of some seconds, such as transformers' CLAP."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from transformers import BatchFeature, ClapFeatureExtractor, ClapModel
from transformers.audio_utils import window_function


@dataclass(frozen=True)
class AudioExcerpt:
    """
    A part of a file, or all of it.

    Args:
        waveform (`np.ndarray` of shape `(num_samples,)`): Mono float32 at the rate that was asked for.
        duration_s (`float`): Length of the whole file in seconds, as decoded or, of a part, as its head says.
    """

    waveform: np.ndarray
    duration_s: float


def read_audio(
    source: str | Mapping[str, Any], sampling_rate: int, start_s: float = 0.0, length_s: float | None = None
) -> AudioExcerpt:
    """
    Decodes a file of audio, averages its channels and resamples it; no more of it is read than is asked for.

    Args:
        source (`str` or `dict`): A path, or what an undecoded row of `datasets` holds: a dict with `bytes` or `path`.
        sampling_rate (`int`): Hz of what is returned.
        start_s (`float`): Where to begin, in seconds.
        length_s (`float`, *optional*): How much to read; less is returned where the file ends. Default: all.

    Raises:
        ValueError: if the file cannot be read, holds no sample there, or one that is not finite.
    """
    with _opened(source) as reader:
        start = min(round(start_s * reader.samplerate), reader.frames)
        length = -1 if length_s is None else round(length_s * reader.samplerate)
        reader.seek(start)
        channels = reader.read(length, dtype="float32", always_2d=True)  # (samples, channels)
        rate, num_samples = reader.samplerate, reader.frames
    if length_s is None:
        num_samples = start + len(channels)
    waveform = channels.mean(axis=1)
    if len(waveform) and rate != sampling_rate:
        waveform = soxr.resample(waveform, rate, sampling_rate)
    if len(waveform) == 0 or not np.isfinite(waveform).all():
        what = "no sample" if len(waveform) == 0 else "samples that are not finite"
        raise ValueError(f"{_name(source)!r} holds {what} from {start_s:g} s on.")
    if length_s is not None:  # resampling may round up
        waveform = waveform[: round(length_s * sampling_rate)]
    return AudioExcerpt(waveform, num_samples / rate)


def duration_s(source: str | Mapping[str, Any]) -> float:
    """Length of a file in seconds, as its head says; arguments and errors as in [`read_audio`]."""
    with _opened(source) as reader:
        return reader.frames / reader.samplerate


@contextmanager
def _opened(source: str | Mapping[str, Any]) -> Iterator[soundfile.SoundFile]:
    """The file for reading; what it fails at, inside too, becomes a ValueError that names it."""
    if isinstance(source, Mapping) and source.get("bytes") is None and source.get("path") is None:
        raise ValueError(f"audio must be a path or a dict with 'bytes' or 'path', got a dict with {sorted(source)}.")
    is_content = isinstance(source, Mapping) and source.get("bytes") is not None
    try:
        with soundfile.SoundFile(BytesIO(source["bytes"]) if is_content else _name(source)) as reader:
            yield reader
    except (OSError, RuntimeError, TypeError) as error:
        raise ValueError(f"audio must be a file that soundfile can read, got {_name(source)!r}: {error}") from error


def _name(source: str | Mapping[str, Any]) -> str:
    return (source.get("path") or "a row's bytes") if isinstance(source, Mapping) else source


def clap_features(extractor: ClapFeatureExtractor, windows: Sequence[np.ndarray]) -> BatchFeature:
    """
    `input_features` and `is_longer` of windows that are no longer than the model's 10 s, without anything random.

    `ClapFeatureExtractor` cuts a waveform that is longer than its 10 s at a random place (`truncation="rand_trunc"`)
    or makes three random cuts of its spectrogram (`"fusion"`), and where none is longer it marks a random one as such.
    Here all windows have its length, or are shorter and padded in its way (by default repeated as often as they fit
    whole, then zeros), and none is marked. The spectrograms are its own, in float32 throughout and an eighth of the
    time.

    Args:
        extractor (`ClapFeatureExtractor`): Its settings are what counts.
        windows (`Sequence[np.ndarray]`): Waveforms at its sampling rate.

    Returns:
        `input_features` `(B, 1, num_frames, num_mel_bins)` float32 (with `truncation="fusion"` 4 equal ones in place
        of 1), and `is_longer` `(B, 1)`, all False.

    Raises:
        ValueError: if a window is longer.
    """
    longest = max(len(window) for window in windows)
    if longest > extractor.nb_max_samples:
        raise ValueError(f"a window must have at most {extractor.nb_max_samples} samples, got {longest}.")
    is_fusion = extractor.truncation == "fusion"
    filters = extractor.mel_filters if is_fusion else extractor.mel_filters_slaney
    spectrograms = [_log_mel(extractor, _padded(extractor, window), filters) for window in windows]
    features = torch.stack(spectrograms)[:, None]  # (B, 1, num_frames, bins)
    if is_fusion:
        features = features.repeat(1, 4, 1, 1)
    return BatchFeature({"input_features": features, "is_longer": torch.zeros(len(windows), 1, dtype=torch.bool)})


def _padded(extractor: ClapFeatureExtractor, window: np.ndarray) -> np.ndarray:
    length = extractor.nb_max_samples
    if extractor.padding == "repeat":
        window = np.resize(window, length)
    elif extractor.padding == "repeatpad":
        window = np.tile(window, length // len(window))
    return np.pad(window, (0, length - len(window)))


def _log_mel(extractor: ClapFeatureExtractor, waveform: np.ndarray, filters: np.ndarray) -> torch.Tensor:
    """Mel bins in dB, `(num_frames, bins)` float32: all spectra at once, which the extractor makes one by one."""
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
    """Tokens that a CLAP's text model takes: as in RoBERTa, positions count from the one after the padding's."""
    config = model.config.text_config
    return config.max_position_embeddings - config.pad_token_id - 1


def text_limit(tokenizer: Any, position_limit: int) -> int:
    """Most tokens of a text: what both the tokenizer and the positions of the model allow."""
    return min(tokenizer.model_max_length, position_limit)


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
    # Last, because a fast tokenizer keeps the options of its last call and saves them; and ClapProcessor hands a saved
    # max_length on to the feature extractor, as a number of samples.
    lengths = [len(ids) for ids in tokenizer(list(texts), verbose=False)["input_ids"]]
    return tokens, [index for index, length in enumerate(lengths) if length > limit]


__all__ = ["AudioExcerpt", "clap_features", "clap_positions", "duration_s", "read_audio", "text_limit", "tokenize"]
