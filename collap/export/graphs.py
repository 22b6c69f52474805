# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A CoLLAP as the four graphs that a search calls one after the other: tensors in, tensors out."""

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.modeling_collap.modeling_collap_text import CollapTextModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.processing.feature_extraction_beats import (
    FBANK_MEAN,
    FBANK_STD,
    FFT_LENGTH,
    FRAME_LENGTH,
    HOP_LENGTH,
    MIN_SAMPLES,
    PREEMPHASIS,
    mel_filters,
    povey_window,
)
from collap.processing.feature_extraction_collap import WHISPER_FFT_LENGTH, whisper_log_mel_of_power
from collap.processing.processing_collap import CollapProcessor

Tensors = tuple[torch.Tensor, ...]

OF_SONGS, OF_TOKENS, OF_SENTENCES = {0: "songs", 1: "frames"}, {0: "sentences", 1: "tokens"}, {0: "sentences"}
# The axes of inputs whose size is free.
AXES = dict.fromkeys(("encoder_frames", "frame_embeds", "frame_mask"), OF_SONGS)
AXES |= dict.fromkeys(("input_ids", "attention_mask", "token_type_ids"), OF_TOKENS)
AXES |= dict.fromkeys(("query_embeds", "time_query_embeds"), OF_SENTENCES) | {"sentence_counts": {0: "texts"}}


class Graph(nn.Module):
    """A function of a model and tensors: traced with the first of two examples, checked with the second."""

    def __init__(
        self,
        function: Callable[..., Tensors],
        model: nn.Module,
        examples: list[dict[str, torch.Tensor]],
        names: list[str],
        outputs: list[str],
        max_tokens: int | None = None,
    ):
        super().__init__()
        self.function, self.model, self.outputs, self.max_tokens = function, model, outputs, max_tokens
        self.inputs, self.others = ({name: example[name] for name in names} for example in examples)
        self.axes = [AXES.get(name, {}) for name in names]

    def forward(self, *inputs: torch.Tensor) -> Tensors:
        return self.function(self.model, **dict(zip(self.inputs, inputs, strict=True)))

    def program(self) -> ExportedProgram:
        """The program of `torch.export`."""
        names = {name for axes in self.axes for name in axes.values()}
        sizes = {name: Dim(name, max=self.max_tokens if name == "tokens" else None) for name in names}
        shapes = tuple({axis: sizes[name] for axis, name in axes.items()} for axes in self.axes)
        inputs = tuple(self.inputs.values())
        with torch.no_grad():
            self(*inputs)  # constants are cached by the first call: they must be no traced ones
            return torch.export.export(self, inputs, dynamic_shapes=(shapes,))


def encode_chunk(model: CollapAudioModel, waveform: torch.Tensor, num_samples: torch.Tensor) -> Tensors:
    """
    A chunk `(1, samples)` at 16 kHz, 0 from `num_samples` `(1,)` on, to `encoder_frames`
    `(1, frames of a chunk, encoder width)` and `frame_mask`.
    """
    config, features = model.config, {}
    if config.music_config is not None:
        features["fbank_features"] = _kaldi_fbank(waveform, config.music_config.num_mel_bins)[None]
    if config.speech_config is not None:
        half = WHISPER_FFT_LENGTH // 2
        padded = nn.functional.pad(waveform[:, None], (half, half), mode="reflect")[:, 0]
        frames = padded.unfold(-1, WHISPER_FFT_LENGTH, HOP_LENGTH)[:, :-1]  # (1, frames, 400)
        power = _fourier_power(frames, torch.hann_window(WHISPER_FFT_LENGTH, dtype=torch.float64), WHISPER_FFT_LENGTH)
        mel = whisper_log_mel_of_power(power.transpose(1, 2), config.speech_config.num_mel_bins)
        features["input_features"] = mel[None]
    of_chunk, real = (1 + (samples - FRAME_LENGTH) // HOP_LENGTH for samples in (waveform.shape[1], num_samples))
    mask = torch.arange(of_chunk) < real[:, None]  # (1, frames of 10 ms)
    frames, frame_mask = model.encode(**features, audio_attention_mask=mask[None].long())
    missing = config.frames_per_chunk - frames.shape[1]  # 0 in a graph
    return nn.functional.pad(frames, (0, 0, 0, missing)), nn.functional.pad(frame_mask, (0, missing))


def _kaldi_fbank(waveform: torch.Tensor, num_mel_bins: int) -> torch.Tensor:
    """The filter bank of `kaldi_fbank`, of a chunk."""
    frames = waveform.unfold(-1, FRAME_LENGTH, HOP_LENGTH)  # (1, frames, 400)
    frames = frames - frames.mean(dim=-1, keepdim=True)
    frames = nn.functional.pad(frames[..., 1:] - PREEMPHASIS * frames[..., :-1], (1, 0))
    power = _fourier_power(frames, povey_window(waveform.device).double(), FFT_LENGTH)
    mel = power @ mel_filters(num_mel_bins, waveform.device)
    return (mel.clamp(min=torch.finfo(torch.float32).eps).log() - FBANK_MEAN) / (2 * FBANK_STD)


def _fourier_power(frames: torch.Tensor, window: torch.Tensor, fft_length: int) -> torch.Tensor:
    """
    The power `(1, frames, frequencies)` of windowed frames by a product of matrices.

    The operators STFT and DFT of onnxruntime are up to a hundred times less exact.
    """
    time, frequency = torch.arange(len(window)), torch.arange(fft_length // 2 + 1)
    angles = 2 * math.pi / fft_length * torch.outer(time, frequency).double()
    waves = torch.cat((window[:, None] * angles.cos(), window[:, None] * angles.sin()), dim=1).float()
    real, imaginary = (frames @ waves).square().chunk(2, dim=-1)
    return real + imaginary


def embed_frames(model: CollapAudioModel, **frames: torch.Tensor) -> Tensors:
    """`encoder_frames` of songs, chunk after chunk, and `frame_mask` to `frame_embeds` and `song_embeds`."""
    songs = model(**frames)
    return songs.last_hidden_state, songs.pooler_output


def embed_texts(model: CollapTextModel, **tokens: torch.Tensor) -> Tensors:
    """Tokens and `sentence_counts` to `query_embeds`, `text_embeds` and, if there are any, `time_query_embeds`."""
    texts = model(**tokens)
    found = (texts.query_embeds, texts.pooler_output, texts.time_query_embeds)
    return tuple(tensor for tensor in found if tensor is not None)


def score(model: CollapModel, frame_embeds: torch.Tensor, frame_mask: torch.Tensor, **texts: torch.Tensor) -> Tensors:
    """The scores `(songs, texts)` of the embeddings that the other graphs return."""
    # A graph has no branch for songs that are shorter than a segment, so all get padding of that length.
    segment = max(model.config.kernel_size, model.config.kernel_stride)
    frame_embeds = nn.functional.pad(frame_embeds, (0, 0, 0, segment))
    songs = CollapAudioOutput(last_hidden_state=frame_embeds, frame_mask=nn.functional.pad(frame_mask, (0, segment)))
    return (model.score(songs, CollapTextOutput(**texts)),)


def make_graphs(model: CollapModel, processor: CollapProcessor) -> dict[str, Graph]:
    """The graphs of a model in evaluation mode, by the names of their files."""
    config, audio, text = model.config, model.audio_model, model.text_model
    examples = [_example_inputs(config, processor, num_texts) for num_texts in (2, 3)]
    tokens = [name for name in examples[0] if AXES.get(name) is OF_TOKENS]
    times = ["time_query_embeds"] if config.temporal_position else []
    of_scores = ["frame_embeds", "frame_mask", "sentence_counts", "query_embeds", *times]
    of_texts, encoded = ["query_embeds", "text_embeds", *times], ["encoder_frames", "frame_mask"]
    return {
        "audio": Graph(encode_chunk, audio, examples, ["waveform", "num_samples"], encoded),
        "adapter": Graph(embed_frames, audio, examples, encoded, ["frame_embeds", "song_embeds"]),
        "text": Graph(embed_texts, text, examples, [*tokens, "sentence_counts"], of_texts, config.max_text_tokens),
        "scores": Graph(score, model, examples, of_scores, ["scores"]),
    }


def _example_inputs(config: CollapConfig, processor: CollapProcessor, num_texts: int) -> dict[str, torch.Tensor]:
    """Random inputs of all graphs, with padding. All sizes that are free grow with the number of texts."""
    generator, samples = torch.Generator().manual_seed(0), processor.feature_extractor.num_chunk_samples
    songs, frames, counts = num_texts + 1, num_texts * config.frames_per_chunk + 1, [1] * num_texts
    if config.text_granularity == "sentence":
        counts[0] = 2 * num_texts
    num_samples = max(MIN_SAMPLES, num_texts * samples // 4)
    longest, short = " ".join("abcdefghi"[: 3 * num_texts]), ["a b"] * (sum(counts) - 1)
    tokens = processor.tokenizer([longest, *short], padding=True, return_attention_mask=True, return_tensors="pt")
    widths = {
        "waveform": (1, samples),
        "encoder_frames": (songs, frames, config.encoder_hidden_size),
        "frame_embeds": (songs, frames, config.projection_dim),
        "query_embeds": (sum(counts), config.projection_dim),
        "time_query_embeds": (sum(counts), config.num_time_features),
    }
    inputs = {name: torch.randn(shape, generator=generator) for name, shape in widths.items()}
    inputs["waveform"] *= 0.1 * (torch.arange(samples) < num_samples)
    inputs["frame_mask"] = torch.arange(frames) < torch.linspace(1, frames, songs)[:, None]  # (songs, frames)
    return {**tokens, **inputs, "num_samples": torch.tensor([num_samples]), "sentence_counts": torch.tensor(counts)}
