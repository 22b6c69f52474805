# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Paths, arrays and audio columns of data sets to mono waveforms at 16 kHz."""

import logging
import math
import numbers
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from .feature_extraction_beats import MIN_SAMPLES, SAMPLING_RATE, validate_waveform

try:  # only other sampling rates need it
    import soxr
except ImportError:
    soxr = None

logger = logging.getLogger(__name__)

MAX_CHANNELS = 8  # an axis of a 2-D array that is longer than this holds samples, not channels

AudioLike = str | os.PathLike | np.ndarray | torch.Tensor | Sequence[float] | Mapping[str, Any]
"""One song: a file, a waveform, or what a row of `datasets` holds (a dict; an audio decoder passes too)."""


@dataclass(frozen=True)
class LoadedAudio:
    """One song, ready for the encoders."""

    name: str  # in messages: `"audio"`, in a list `"audio[3]"`, with the path of a file
    waveform: torch.Tensor  # `(num_samples,)`: mono float32 at 16 kHz, in [-1, 1]
    source_sampling_rate: int  # Hz, before it was resampled
    source_channels: int  # before they were averaged
    duration_s: float  # of the whole song, if the waveform is only its beginning
    problem: str | None = None  # why the file is not whole, None if it is


def load_songs(
    audio: AudioLike | Sequence[AudioLike],
    sampling_rate: int | None = None,
    downmix: bool = False,
    resample: bool = False,
    max_length_s: float | None = None,
) -> list[LoadedAudio]:
    """
    Loads and checks one song or a list of songs, of the kinds that [`CollapFeatureExtractor`] accepts.

    Of files no more than `max_length_s` seconds are decoded. Files that are damaged or end early are logged.

    Raises:
        TypeError: if an entry is of a type that is no audio.
        ValueError: if an entry is audio that the encoders cannot take; the message names the entry.
    """
    _refuse_pair(audio, "audio")
    # A column of `datasets` is a sequence without being a list.
    is_list = isinstance(audio, Sequence) and not isinstance(audio, str | bytes)
    if not is_list or (len(audio) > 0 and isinstance(audio[0], numbers.Number)):
        return list(stream_song(audio, "audio", sampling_rate, downmix, resample, max_length_s))
    if len(audio) == 0:
        raise ValueError("audio must hold at least one song, got an empty list.")
    options = sampling_rate, downmix, resample, max_length_s
    return [loaded for index, song in enumerate(audio) for loaded in stream_song(song, f"audio[{index}]", *options)]


def _refuse_pair(song: AudioLike, name: str) -> None:
    """What torchaudio and soundfile return of a file."""
    if isinstance(song, tuple) and len(song) == 2 and np.ndim(song[0]) > 0 and isinstance(song[1], numbers.Real):
        raise TypeError(
            f"{name} must be a waveform without its sampling rate, got a pair of both: pass the path of the file, or "
            f"the waveform with sampling_rate={song[1]} (and resample=True, downmix=True where they are needed)."
        )


def stream_song(
    song: AudioLike,
    name: str,
    sampling_rate: int | None = None,
    downmix: bool = False,
    resample: bool = False,
    max_length_s: float | None = None,
    block_size: float = math.inf,
) -> Iterator[LoadedAudio]:
    """One song as [`load_songs`] loads it; a file in blocks as those of [`stream_audio`]."""
    _refuse_pair(song, name)
    if isinstance(song, str | os.PathLike):
        return _load_file(song, name, max_length_s, block_size)
    if isinstance(song, Mapping) and song.get("array") is None:
        if song.get("bytes") is not None:
            return _load_file(song["bytes"], name, max_length_s, block_size)
        if song.get("path") is not None:
            return _load_file(song["path"], name, max_length_s, block_size)
    if isinstance(song, Mapping):
        return iter([_load_dict(song, name, sampling_rate, downmix, resample)])
    if hasattr(song, "get_all_samples"):
        return iter([_load_decoder(song, name, resample)])
    if isinstance(song, np.ndarray | torch.Tensor | list | tuple):
        return iter([_load_array(song, name, sampling_rate, downmix, resample)])
    raise TypeError(
        f"{name} must be a path, a numpy array, a torch tensor or an audio dict of `datasets`, got "
        f"{type(song).__name__}."
    )


def _load_file(
    source: str | os.PathLike | bytes, name: str, max_length_s: float | None, block_size: float
) -> Iterator[LoadedAudio]:
    place, min_samples = name, MIN_SAMPLES
    if not isinstance(source, bytes):
        if "://" in str(source):
            raise ValueError(
                f"{name} must be a file, got {str(source)!r}: addresses are not fetched, download it first."
            )
        source, name = os.path.abspath(source), f"{name} ({str(source)!r})"
    from .audio_decoding_collap import stream_audio  # it loads FFmpeg, 15 MB that arrays do not need

    blocks = stream_audio(source, length_s=max_length_s, block_size=block_size)
    while True:
        try:
            decoded = next(blocks, None)
        except ValueError as error:
            raise ValueError(f"{place} cannot be decoded: {error}") from error
        if decoded is None:
            return
        if decoded.problem is not None:
            logger.warning("%s is not whole: %s.", name, decoded.problem)
        waveform = validate_waveform(decoded.waveform, name, min_samples)
        min_samples = 0  # of the blocks behind the first
        yield LoadedAudio(
            name, waveform, decoded.sampling_rate, decoded.channels, decoded.duration_s, problem=decoded.problem
        )


def _load_dict(
    song: Mapping[str, Any], name: str, sampling_rate: int | None, downmix: bool, resample: bool
) -> LoadedAudio:
    if song.get("array") is None:
        raise ValueError(
            f"{name} must hold 'array' and 'sampling_rate', or 'bytes', or 'path', got a dict with "
            f"{[key for key, value in song.items() if value is not None]}."
        )
    own_rate = song.get("sampling_rate")
    if None not in (own_rate, sampling_rate) and own_rate != sampling_rate:
        raise ValueError(f"sampling_rate must be that of {name} or be left out, got {sampling_rate} and {own_rate}.")
    return _load_array(song["array"], name, sampling_rate if own_rate is None else own_rate, downmix, resample)


def _load_decoder(decoder: Any, name: str, resample: bool) -> LoadedAudio:
    """Takes torchcodec's `AudioDecoder`: what a decoded audio column of `datasets` holds."""
    samples = decoder.get_all_samples()  # (channels, samples)
    mono = _load_array(samples.data.mean(dim=0), name, samples.sample_rate, False, resample)
    return replace(mono, source_channels=len(samples.data))


def _load_array(
    array: np.ndarray | torch.Tensor | Sequence[float],
    name: str,
    sampling_rate: int | None,
    downmix: bool,
    resample: bool,
) -> LoadedAudio:
    _check_sampling_rate(sampling_rate, name, resample)
    array = np.asarray(array) if isinstance(array, list | tuple) else array
    channels = [array]
    if getattr(array, "ndim", None) == 2 and 0 not in array.shape:
        channels = _channels_first(array, name)  # (channels, samples)
    if len(channels) > 1 and not downmix:
        raise ValueError(
            f"{name} must have one channel, got {len(channels)} (its shape is {tuple(array.shape)}): pass "
            "downmix=True to average them."
        )
    shortest = MIN_SAMPLES if sampling_rate == SAMPLING_RATE else 1
    waveforms = [validate_waveform(channel, name, shortest) for channel in channels]
    waveform = waveforms[0] if len(waveforms) == 1 else torch.stack(waveforms).mean(dim=0)  # an only one is not copied
    if sampling_rate != SAMPLING_RATE:
        waveform = validate_waveform(_resample(waveform, sampling_rate), name)
    return LoadedAudio(name, waveform, sampling_rate, len(channels), len(waveforms[0]) / sampling_rate)


def _resample(waveform: torch.Tensor, sampling_rate: float) -> torch.Tensor:
    """To 16 kHz, as files are: equal to the last bit."""
    if soxr is None:
        raise ImportError("Resampling needs soxr: pip install soxr.")
    num_samples = math.ceil(len(waveform) * SAMPLING_RATE / sampling_rate)
    resampled = soxr.resample(waveform.cpu().numpy(), sampling_rate, SAMPLING_RATE, quality="soxr_hq")
    resampled = np.pad(resampled, (0, max(0, num_samples - len(resampled))))[:num_samples]
    return torch.from_numpy(resampled).to(waveform.device)


def _channels_first(array: np.ndarray | torch.Tensor, name: str) -> np.ndarray | torch.Tensor:
    """Torch code has `(channels, samples)`, soundfile `(samples, channels)`."""
    is_channel_axis = [length <= MAX_CHANNELS for length in array.shape]
    if is_channel_axis == [True, False]:
        return array
    if is_channel_axis == [False, True]:
        return array.T
    raise ValueError(
        f"{name} must be (samples,), (channels, samples) or (samples, channels) with at most {MAX_CHANNELS} channels, "
        f"got the shape {tuple(array.shape)}: pass several songs as a list."
    )


def _check_sampling_rate(sampling_rate: int | None, name: str, resample: bool) -> None:
    if sampling_rate is None:
        raise ValueError(
            f"sampling_rate must be given for {name}, an array, and be {SAMPLING_RATE} (Hz); got None. Only files "
            "contain it."
        )
    if isinstance(sampling_rate, bool) or not isinstance(sampling_rate, numbers.Real):
        raise TypeError(f"sampling_rate of {name} must be the number {SAMPLING_RATE} (Hz), got {sampling_rate!r}.")
    if sampling_rate != SAMPLING_RATE and not (resample and sampling_rate > 0):
        raise ValueError(
            f"sampling_rate of {name} must be {SAMPLING_RATE} (Hz), got {sampling_rate}: pass resample=True, or cast "
            f'a column of `datasets` with cast_column("audio", Audio(sampling_rate={SAMPLING_RATE})).'
        )
