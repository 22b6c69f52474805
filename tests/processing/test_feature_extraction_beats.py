# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Kaldi's filter bank against the original's output, the checks of a waveform, and the extractor around them."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from collap import BeatsFeatureExtractor
from collap.processing.feature_extraction_beats import kaldi_fbank, mel_filters, validate_waveform

PARITY = 3e-5  # what we aim at; the promise is 1e-4, and the reference itself is 2.4e-5 from float64
SILENCE = -2.391692876815796  # any mel bin of digital silence


class TestFilterBank:
    @pytest.mark.parametrize("clip", ["real", "tones", "click"])
    def test_original(self, goldens: Path, clip: str):
        tensors = load_file(goldens / "beats_fbank.safetensors")
        if clip == "real":
            samples, _ = soundfile.read(goldens / "beats_fbank_real.wav", dtype="float32")
            waveform = torch.from_numpy(samples)
        else:
            waveform = tensors[f"{clip}.waveform"]
        features = kaldi_fbank(waveform)
        expected = tensors[f"{clip}.input_values"]
        assert features.dtype == torch.float32
        assert features.shape == expected.shape
        assert (features - expected).abs().max() < PARITY

    @pytest.mark.parametrize(("samples", "frames"), [(400, 1), (559, 1), (560, 2), (2799, 15), (2800, 16)])
    def test_number_of_frames_and_silence(self, samples: int, frames: int):
        torch.testing.assert_close(kaldi_fbank(torch.zeros(samples)), torch.full((frames, 128), SILENCE))

    @pytest.mark.parametrize(("samples", "clips"), [(10240, 40), (40960, 7), (41280, 3), (480000, 2)])
    def test_equal_to_the_last_bit_in_any_batch(self, samples: int, clips: int):
        # Several clips a block, several blocks a clip, and last blocks that are not full.
        waveforms = torch.rand(clips, samples) - 0.5
        alone = torch.stack([kaldi_fbank(waveform) for waveform in waveforms])
        assert torch.equal(kaldi_fbank(waveforms), alone)

    def test_slow_reference(self):
        """Frame by frame in float64, as in Kaldi's manual."""
        waveform = torch.rand(8000, dtype=torch.float64) - 0.5
        hann = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(400, dtype=torch.float64) / 399)
        filters = mel_filters(128, torch.device("cpu")).double()
        expected = []
        for start in range(0, len(waveform) - 399, 160):
            frame = waveform[start : start + 400] * 32768
            frame = frame - frame.mean()
            frame = (frame - 0.97 * torch.cat([frame[:1], frame[:-1]])) * hann**0.85
            power = torch.fft.rfft(frame, n=512).abs() ** 2
            expected.append(((power @ filters).clamp(min=torch.finfo(torch.float32).eps).log() - 15.41663) / 13.11164)
        features = kaldi_fbank(waveform.float())
        torch.testing.assert_close(features.double(), torch.stack(expected), atol=PARITY, rtol=0)


def spoilt(value: float) -> np.ndarray:
    waveform = np.zeros(3000, dtype=np.float32)
    waveform[1500] = value
    return waveform


class TestWaveform:
    @pytest.mark.parametrize(
        "waveform",
        [
            [0.25] * 3000,
            np.full(3000, 0.25),
            np.full(3000, 0.25, dtype=np.float16),
            np.broadcast_to(np.float32(0.25), 3000),  # must not be written to
            np.full(3000, 0.25)[::-1],
            torch.full((3000,), 0.25, dtype=torch.bfloat16),
            torch.full((3000,), 0.25, requires_grad=True),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_valid(self, waveform: Any):
        checked = validate_waveform(waveform, "audio")
        assert isinstance(checked, torch.Tensor)
        assert not checked.requires_grad
        torch.testing.assert_close(checked, torch.full((3000,), 0.25))

    def test_no_copy(self):
        waveform = np.zeros(3000, dtype=np.float32)
        assert validate_waveform(waveform, "audio").data_ptr() == waveform.ctypes.data

    @pytest.mark.parametrize(
        ("waveform", "error", "message"),
        [
            (None, TypeError, "must be a numpy array, a torch tensor or a list of floats, got NoneType"),
            (np.zeros(3000, dtype=np.int16), ValueError, "must be floats in [-1, 1], got int16: divide"),
            (torch.zeros(3000, dtype=torch.int32), ValueError, "must be floats in [-1, 1], got torch.int32: divide"),
            (spoilt(-12000.0), ValueError, "must be in [-1, 1], got samples from -12000 to 0: divide"),
            (
                np.zeros((2, 3000)),
                ValueError,
                "must be one mono waveform of shape (samples,), got the shape (2, 3000)",
            ),
            (np.zeros(2799), ValueError, "must have at least 2800 samples (175 ms at 16000 Hz), got 2799"),
            (spoilt(np.nan), ValueError, "must be finite"),
        ],
    )
    def test_invalid(self, waveform: Any, error: type[Exception], message: str):
        with pytest.raises(error, match=re.escape("audio[1] ") + ".*" + re.escape(message)):
            validate_waveform(waveform, "audio[1]")


class TestExtractor:
    def test_clips_of_different_length(self):
        clips = [torch.rand(16000) - 0.5, (np.random.rand(8000) - 0.5).tolist(), np.random.rand(2800) - 0.5]
        extractor = BeatsFeatureExtractor()
        inputs = extractor(clips, sampling_rate=16000, return_tensors="pt")
        assert inputs["input_values"].shape == (3, 98, 128)
        assert inputs["attention_mask"].sum(dim=-1).tolist() == [98, 48, 16]
        for row, clip in enumerate(clips):
            alone = kaldi_fbank(torch.as_tensor(clip, dtype=torch.float32))
            assert torch.equal(inputs["input_values"][row, : len(alone)], alone)
            assert torch.equal(inputs["input_values"][row, len(alone) :], torch.zeros(98 - len(alone), 128))

    def test_lengths_are_in_frames(self):
        extractor, clip = BeatsFeatureExtractor(), np.zeros(16000)
        options = {"sampling_rate": 16000, "return_tensors": "np"}
        padded = extractor(clip, padding="max_length", max_length=120, **options)
        assert padded["input_values"].shape == (1, 120, 128)
        assert padded["attention_mask"].sum() == 98
        cut = extractor(clip, padding="max_length", max_length=40, truncation=True, **options)
        assert cut["input_values"].shape == (1, 40, 128)

    @pytest.mark.parametrize("sampling_rate", [None, 44100])
    def test_sampling_rate(self, sampling_rate: int | None):
        with pytest.raises(ValueError, match=f"sampling_rate must be given and be 16000 .Hz., got {sampling_rate}"):
            BeatsFeatureExtractor()(np.zeros(16000), sampling_rate=sampling_rate)
        with pytest.raises(ValueError, match="sampling_rate must be 16000"):
            BeatsFeatureExtractor(sampling_rate=8000)

    def test_errors_name_the_clip(self):
        with pytest.raises(ValueError, match=re.escape("raw_speech[1] must be finite")):
            BeatsFeatureExtractor()([np.zeros(3000), spoilt(np.nan)], sampling_rate=16000)
        with pytest.raises(ValueError, match="raw_speech must hold at least one waveform"):
            BeatsFeatureExtractor()([], sampling_rate=16000)


def test_files_are_refused():
    with pytest.raises(TypeError, match=r"^raw_speech must be waveforms, got the file 'a\.ogg': decode it first"):
        BeatsFeatureExtractor()("a.ogg")
