# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Waveforms to the input of BEATs, a log-mel filter bank (Kaldi's, arXiv 2212.09058), and the checks of a waveform."""

import functools
import itertools
import math
import numbers
import os
from collections.abc import Sequence

import numpy as np
import torch
from transformers import BatchFeature, SequenceFeatureExtractor
from transformers.utils import PaddingStrategy, TensorType

SAMPLING_RATE = 16000  # Hz
FRAME_LENGTH = 400  # samples, 25 ms
HOP_LENGTH = 160  # samples, 10 ms
FFT_LENGTH = 512  # samples: the next power of two
MIN_FREQUENCY = 20.0  # Hz; the highest is half the sampling rate
PREEMPHASIS = 0.97
PCM_SCALE = 2**15  # Kaldi takes 16 bit integers
FBANK_MEAN, FBANK_STD = 15.41663, 6.55582  # of AudioSet, from the original code

MIN_SAMPLES = 2800  # 16 frames, one BEATs time step: 400 + 15 * 160 samples, 175 ms
MAX_AMPLITUDE = 16.0  # decoders overshoot 1 a little; PCM that nobody scaled goes to thousands

# Frames transformed at a time. A frame takes some ten times the memory of its features on the way, and so many of them
# stay in the cache of a processor.
FRAME_BLOCK_SIZE = 512


@functools.lru_cache(maxsize=8)
def povey_window(device: torch.device) -> torch.Tensor:
    """Kaldi's default window, `(400,)`: a Hann window to the power of 0.85. It also scales to integers of 16 bits."""
    window = torch.hann_window(FRAME_LENGTH, periodic=False, dtype=torch.float64) ** 0.85
    # A power of two rounds nothing, so it may come last, and costs nothing here.
    return window.to(device, torch.float32) * PCM_SCALE


@functools.lru_cache(maxsize=8)
def mel_filters(num_mel_bins: int, device: torch.device) -> torch.Tensor:
    """Kaldi's mel filters, `(257 frequencies, num_mel_bins)`: triangles on the mel scale, of height 1."""
    frequencies = torch.arange(FFT_LENGTH // 2 + 1, dtype=torch.float64) * (SAMPLING_RATE / FFT_LENGTH)
    mels = 1127.0 * torch.log1p(frequencies / 700.0)
    lowest = 1127.0 * math.log1p(MIN_FREQUENCY / 700.0)
    corners = torch.linspace(lowest, mels[-1].item(), num_mel_bins + 2, dtype=torch.float64)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    rising = (mels[:, None] - left) / (centre - left)
    falling = (right - mels[:, None]) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0.0).to(device, torch.float32)


@torch.no_grad()
def kaldi_fbank(waveform: torch.Tensor, num_mel_bins: int = 128) -> torch.Tensor:
    """
    The input of BEATs: Kaldi's log-mel filter bank, normalised by the mean and twice the deviation of AudioSet.

    Same numbers as `torchaudio.compliance.kaldi.fbank(waveform * 2**15, num_mel_bins=128, sample_frequency=16000)`
    and the original's normalisation. A frame that would pass the end of the waveform is left out ("snip edges").

    Args:
        waveform: `(..., samples)`, 16 kHz, in [-1, 1], on any device; at least 400 samples.
        num_mel_bins: Mel bins between 20 Hz and 8 kHz.

    Returns:
        `(..., 1 + (samples - 400) // 160, num_mel_bins)` float32 on the device of `waveform`; 100 frames a second.

    Raises:
        ValueError: if `waveform` is shorter than one frame.
    """
    if waveform.ndim == 0 or waveform.shape[-1] < FRAME_LENGTH:
        raise ValueError(f"waveform must have at least {FRAME_LENGTH} samples, got the shape {tuple(waveform.shape)}.")
    window = povey_window(waveform.device)
    filters = mel_filters(num_mel_bins, waveform.device)
    smallest_power = torch.finfo(torch.float32).eps

    *batch_shape, num_samples = waveform.shape
    frames = waveform.reshape(-1, num_samples).unfold(-1, FRAME_LENGTH, HOP_LENGTH)  # (batch, frames, 400), a view
    batch_size, num_frames, _ = frames.shape
    features = torch.empty(batch_size, num_frames, num_mel_bins, device=waveform.device)
    # The shapes of the products depend only on the length of a waveform: its features are the same in any batch.
    block_size = min(num_frames, FRAME_BLOCK_SIZE)
    rows = max(1, FRAME_BLOCK_SIZE // block_size)
    # What is transformed: frames between zeros, which are written once.
    buffer = torch.zeros(min(rows, batch_size), block_size, FFT_LENGTH, device=waveform.device)
    for row, start in itertools.product(range(0, batch_size, rows), range(0, num_frames, block_size)):
        block = frames[row : row + rows, start : start + block_size].float()  # (rows, block, 400)
        block = block - block.mean(dim=-1, keepdim=True)
        padded = buffer[: block.shape[0], : block.shape[1]]  # (rows, block, 512)
        # The window begins with zero, so the first sample, which has no predecessor, stays the zero that it is.
        emphasized = padded[..., 1:FRAME_LENGTH]
        torch.sub(block[..., 1:], block[..., :-1] * PREEMPHASIS, out=emphasized)
        emphasized *= window[1:]
        squares = torch.view_as_real(torch.fft.rfft(padded)).square_()  # (rows, block, 257, 2)
        power = squares[..., 0] + squares[..., 1]  # (rows, block, 257); sum(-1) is many times slower
        log_mel = torch.bmm(power, filters.expand(len(power), -1, -1)).clamp_(min=smallest_power).log_()
        features[row : row + rows, start : start + block_size] = log_mel.sub_(FBANK_MEAN).div_(2 * FBANK_STD)
    return features.reshape(*batch_shape, num_frames, num_mel_bins)


def validate_waveform(
    waveform: np.ndarray | torch.Tensor | Sequence[float], argument_name: str, min_samples: int = MIN_SAMPLES
) -> torch.Tensor:
    """
    Checks that a waveform is what the encoders expect: mono, float, in [-1, 1], at least 175 ms at 16 kHz.

    Returns `(samples,)` float32, on the device of `waveform` and without a copy where that is possible. Errors name
    the waveform by `argument_name`, such as `"audio[3]"`.

    Raises:
        TypeError: if it is no array, tensor or list of numbers.
        ValueError: if it is of integers (or floats that were never scaled), not of rank 1, empty, shorter than 2,800
            samples, or not finite.
    """
    if isinstance(waveform, (list, tuple)):
        waveform = np.array(waveform)
    if not isinstance(waveform, (np.ndarray, torch.Tensor)):
        raise TypeError(
            f"{argument_name} must be a numpy array, a torch tensor or a list of floats, got "
            f"{type(waveform).__name__}."
        )
    if isinstance(waveform, np.ndarray) and waveform.dtype.kind == "f":
        # torch takes neither long doubles nor negative strides, and warns of arrays that it must not write to.
        array = np.ascontiguousarray(waveform, dtype=np.float32)
        waveform = torch.from_numpy(array if array.flags.writeable else array.copy())
    if not (isinstance(waveform, torch.Tensor) and waveform.is_floating_point()):
        raise ValueError(
            f"{argument_name} must be floats in [-1, 1], got {waveform.dtype}: divide integer PCM by its full scale "
            "(int16 by 32768)."
        )
    tensor = waveform.detach().float()
    if tensor.ndim != 1:
        raise ValueError(
            f"{argument_name} must be one mono waveform of shape (samples,), got the shape {tuple(tensor.shape)}: "
            "average the channels of a stereo recording, and pass several recordings as a list."
        )
    if len(tensor) < min_samples:
        raise ValueError(
            f"{argument_name} must have at least {MIN_SAMPLES} samples ({1000 * MIN_SAMPLES // SAMPLING_RATE} ms at "
            f"{SAMPLING_RATE} Hz), got {'none' if len(tensor) == 0 else len(tensor)}."
        )
    lowest, highest = (bound.item() for bound in torch.aminmax(tensor)) if len(tensor) else (0.0, 0.0)
    if not (math.isfinite(lowest) and math.isfinite(highest)):
        raise ValueError(f"{argument_name} must be finite, but holds NaN or infinity.")
    if max(-lowest, highest) > MAX_AMPLITUDE:
        raise ValueError(
            f"{argument_name} must be in [-1, 1], got samples from {lowest:g} to {highest:g}: divide integer PCM by "
            "its full scale (int16 by 32768)."
        )
    return tensor


class BeatsFeatureExtractor(SequenceFeatureExtractor):
    r"""
    Waveforms to the input of [`BeatsModel`]: Kaldi's log-mel filter bank as BEATs was trained on.

    Args:
        feature_size (`int`): Mel bins.
        sampling_rate (`int`): Hz. BEATs needs 16000.
        padding_value (`float`): What fills the frames after a clip's end. The model does not look at them.
        return_attention_mask (`bool`): Whether to return the mask of padding that the model needs for a batch.

    Raises:
        ValueError: if `sampling_rate` is not 16000.

    Example:

    ```python
    >>> import numpy as np
    >>> from collap import BeatsFeatureExtractor

    >>> feature_extractor = BeatsFeatureExtractor()
    >>> clips = [np.zeros(16000), np.zeros(8000)]  # 1 s and 0.5 s
    >>> inputs = feature_extractor(clips, sampling_rate=16000, return_tensors="pt")
    >>> inputs["input_values"].shape
    torch.Size([2, 98, 128])
    >>> inputs["attention_mask"].sum(-1)
    tensor([98, 48])

    ```
    """

    model_input_names = ["input_values"]  # noqa: RUF012 - transformers' convention

    def __init__(
        self,
        feature_size: int = 128,
        sampling_rate: int = SAMPLING_RATE,
        padding_value: float = 0.0,
        return_attention_mask: bool = True,
        **kwargs: object,
    ):
        if sampling_rate != SAMPLING_RATE:
            raise ValueError(f"sampling_rate must be {SAMPLING_RATE} (Hz), got {sampling_rate}.")
        super().__init__(
            feature_size=feature_size,
            sampling_rate=sampling_rate,
            padding_value=padding_value,
            return_attention_mask=return_attention_mask,
            **kwargs,
        )

    def __call__(
        self,
        raw_speech: np.ndarray | torch.Tensor | Sequence,
        sampling_rate: int | None = None,
        padding: bool | str | PaddingStrategy = True,
        max_length: int | None = None,
        truncation: bool = False,
        pad_to_multiple_of: int | None = None,
        return_attention_mask: bool | None = None,
        return_tensors: str | TensorType | None = None,
        device: str | torch.device | None = None,
    ) -> BatchFeature:
        """
        Args:
            raw_speech: One waveform or a list of them: mono, 16 kHz, floats in [-1, 1], at least 175 ms each.
            sampling_rate: Of `raw_speech`, in Hz. Required: a wrong rate cannot be detected otherwise.
            padding: `True` or `"longest"`, `"max_length"`, or `False` for clips of their own length.
            max_length: In frames of 10 ms, for `padding="max_length"` and `truncation`.
            truncation: Whether to cut clips to `max_length` frames.
            pad_to_multiple_of: In frames of 10 ms.
            return_attention_mask: Overrules the extractor's own setting.
            return_tensors: `"pt"`, `"np"` or nothing (numpy arrays).
            device: Where to compute, for instance `"cuda"`; by default where each waveform lies. The result lies on
                the CPU.

        Returns:
            `input_values` `(batch, frames, feature_size)` float32, and `attention_mask` `(batch, frames)`, 1 for the
            frames of a clip.

        Raises:
            TypeError, ValueError: see [`validate_waveform`]; also if `sampling_rate` is missing or not 16000.
        """
        if isinstance(raw_speech, str | os.PathLike):
            raise TypeError(f"raw_speech must be waveforms, got the file {str(raw_speech)!r}: decode it first.")
        if sampling_rate != self.sampling_rate:
            raise ValueError(
                f"sampling_rate must be given and be {self.sampling_rate} (Hz), got {sampling_rate}: resample the "
                "waveform if it has another."
            )
        if isinstance(raw_speech, (list, tuple)) and not (raw_speech and isinstance(raw_speech[0], numbers.Number)):
            if not raw_speech:
                raise ValueError("raw_speech must hold at least one waveform, got an empty list.")
            waveforms = [validate_waveform(item, f"raw_speech[{index}]") for index, item in enumerate(raw_speech)]
        else:
            waveforms = [validate_waveform(raw_speech, "raw_speech")]

        # One at a time: padding the waveforms to a common length would cost the length of the longest for each.
        features = [kaldi_fbank(waveform.to(device=device), self.feature_size).cpu().numpy() for waveform in waveforms]
        return self.pad(
            BatchFeature({"input_values": features}),
            padding=padding,
            max_length=max_length,
            truncation=truncation,
            pad_to_multiple_of=pad_to_multiple_of,
            return_attention_mask=return_attention_mask,
            return_tensors=return_tensors,
        )
