# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A CoLLAP as the four graphs that a search calls one after the other: tensors in, tensors out."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.processing.feature_extraction_beats import FRAME_LENGTH, HOP_LENGTH, kaldi_fbank
from collap.processing.feature_extraction_collap import WHISPER_FFT_LENGTH, whisper_log_mel_of_power
from collap.processing.processing_collap import CollapProcessor

Tensors = tuple[torch.Tensor, ...]


@dataclass
class Graph:
    """
    A module with example inputs by name, the axes of them whose size is free, the names of its outputs, and the most
    tokens of a sentence.
    """

    module: nn.Module
    inputs: dict[str, torch.Tensor]
    axes: dict[str, dict[int, str]]
    outputs: list[str]
    max_tokens: int | None = None

    def export(self) -> ExportedProgram:
        """The program of `torch.export`."""
        limits = {"tokens": self.max_tokens}
        sizes = {name: Dim(name, max=limits.get(name)) for axes in self.axes.values() for name in axes.values()}
        shapes = {name: {axis: sizes[size] for axis, size in self.axes.get(name, {}).items()} for name in self.inputs}
        with torch.no_grad():
            self.module(**self.inputs)  # constants are cached by the first call: they must be no traced ones
            return torch.export.export(self.module, (), self.inputs, dynamic_shapes=shapes)


class Audio(nn.Module):
    """One chunk of a song to its frames, before the adapter."""

    def __init__(self, model: CollapModel, num_fbank_frames: int):
        super().__init__()
        self.audio_model, self.num_fbank_frames = model.audio_model, num_fbank_frames

    def forward(self, waveform: torch.Tensor, num_samples: torch.Tensor) -> Tensors:
        """`waveform` `(1, samples of a chunk)` is 0 from `num_samples` `(1,)` on."""
        config, features = self.audio_model.config, {}
        if config.music_config is not None:
            features["fbank_features"] = kaldi_fbank(waveform)[None]
        if config.speech_config is not None:
            mel = whisper_log_mel_of_power(_whisper_power(waveform), config.speech_config.num_mel_bins)
            features["input_features"] = mel[None]
        num_real = 1 + (num_samples - FRAME_LENGTH) // HOP_LENGTH
        mask = torch.arange(self.num_fbank_frames) < num_real[:, None]  # (1, fbank frames)
        return self.audio_model.encode(**features, audio_attention_mask=mask[None].long())


def _whisper_power(waveform: torch.Tensor) -> torch.Tensor:
    """
    The power `(1, 201 frequencies, frames)` of a short-time Fourier transform by a product of matrices.

    The operator STFT of onnxruntime is a hundred times less exact.
    """
    half = WHISPER_FFT_LENGTH // 2
    padded = nn.functional.pad(waveform[:, None], (half, half), mode="reflect")[:, 0]
    frames = padded.unfold(-1, WHISPER_FFT_LENGTH, HOP_LENGTH)[:, :-1]  # (1, frames, 400)
    time = torch.arange(WHISPER_FFT_LENGTH, dtype=torch.float64)
    angles = 2 * math.pi / WHISPER_FFT_LENGTH * torch.outer(time, time[: half + 1])  # (400, 201)
    window = torch.hann_window(WHISPER_FFT_LENGTH, dtype=torch.float64)[:, None]
    waves = torch.cat((window * angles.cos(), window * angles.sin()), dim=1).float()  # (400, 402)
    real, imaginary = (frames @ waves).square().chunk(2, dim=-1)
    return (real + imaginary).transpose(1, 2)


class Adapter(nn.Module):
    """The frames of songs to their embeddings, and to the vectors of a first search stage."""

    def __init__(self, model: CollapModel):
        super().__init__()
        self.audio_model = model.audio_model

    def forward(self, encoder_frames: torch.Tensor, frame_mask: torch.Tensor) -> Tensors:
        songs = self.audio_model(encoder_frames=encoder_frames, frame_mask=frame_mask)
        return songs.last_hidden_state, songs.pooler_output


class Text(nn.Module):
    """The tokens of texts to their queries, the times of these if the model has any, and a vector of each text."""

    def __init__(self, model: CollapModel):
        super().__init__()
        self.text_model = model.text_model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        sentence_counts: torch.Tensor,
        token_type_ids: torch.Tensor | None = None,
    ) -> Tensors:
        texts = self.text_model(input_ids, attention_mask, token_type_ids, sentence_counts=sentence_counts)
        found = (texts.query_embeds, texts.pooler_output, texts.time_query_embeds)
        return tuple(tensor for tensor in found if tensor is not None)


class Scores(nn.Module):
    """The scores of songs and texts, from what the other graphs return."""

    def __init__(self, model: CollapModel):
        super().__init__()
        self.model = model

    def forward(
        self,
        frame_embeds: torch.Tensor,
        frame_mask: torch.Tensor,
        query_embeds: torch.Tensor,
        sentence_counts: torch.Tensor,
        time_query_embeds: torch.Tensor | None = None,
    ) -> torch.Tensor:
        # A graph has no branch for songs that are shorter than a segment, so all get padding of that length.
        segment = max(self.model.config.kernel_size, self.model.config.kernel_stride)
        frame_embeds = nn.functional.pad(frame_embeds, (0, 0, 0, segment))
        songs = CollapAudioOutput(
            last_hidden_state=frame_embeds, frame_mask=nn.functional.pad(frame_mask, (0, segment))
        )
        texts = CollapTextOutput(
            query_embeds=query_embeds, sentence_counts=sentence_counts, time_query_embeds=time_query_embeds
        )
        return self.model.score(songs, texts)


def make_graphs(model: CollapModel, processor: CollapProcessor) -> dict[str, Graph]:
    """
    The graphs of a model in evaluation mode:

    - `audio`: a chunk of a waveform at 16 kHz to `encoder_frames` `(1, frames of a chunk, encoder width)` and
      `frame_mask`;
    - `adapter`: the frames of songs, chunk after chunk, to `frame_embeds` `(songs, frames, d)` and `song_embeds`;
    - `text`: tokens `(sentences, tokens)` and `sentence_counts` `(texts,)` to `query_embeds`, `text_embeds` and, if
      the model has time queries, `time_query_embeds`;
    - `scores`: `frame_embeds` and the queries to the `scores` `(songs, texts)`.
    """
    extractor, config = processor.feature_extractor, model.config
    samples = extractor.num_chunk_samples
    waveform = torch.linspace(-0.1, 0.1, samples)[None].clone()
    audio = Graph(
        Audio(model, extractor.num_chunk_fbank_frames),
        {"waveform": waveform, "num_samples": torch.tensor([samples])},
        {},
        ["encoder_frames", "frame_mask"],
    )
    songs, frames, texts = 3, 2 * config.frames_per_chunk + 1, 2
    sentences = 5 if config.text_granularity == "sentence" else texts
    song_axes, sentence_axes = {0: "songs", 1: "frames"}, {0: "sentences"}
    mask = torch.ones(songs, frames, dtype=torch.bool)
    adapter = Graph(
        Adapter(model),
        {"encoder_frames": torch.randn(songs, frames, config.encoder_hidden_size), "frame_mask": mask},
        {"encoder_frames": song_axes, "frame_mask": song_axes},
        ["frame_embeds", "song_embeds"],
    )
    counts = torch.tensor([sentences - 1, 1])
    words = torch.tensor(processor.tokenizer("a b c d e f")["input_ids"]).expand(sentences, -1).clone()
    tokens = {"input_ids": words, "attention_mask": torch.ones_like(words)}
    if "token_type_ids" in processor.tokenizer.model_input_names:
        tokens["token_type_ids"] = torch.zeros_like(words)
    of_texts = ["query_embeds", "text_embeds", *["time_query_embeds"] * config.temporal_position]
    text = Graph(
        Text(model),
        {**tokens, "sentence_counts": counts},
        {name: {0: "sentences", 1: "tokens"} for name in tokens} | {"sentence_counts": {0: "texts"}},
        of_texts,
        config.max_text_tokens,
    )
    queries = {"query_embeds": torch.randn(sentences, config.projection_dim)}
    if config.temporal_position:
        queries["time_query_embeds"] = torch.randn(sentences, config.num_time_features)
    scores = Graph(
        Scores(model),
        {
            "frame_embeds": torch.randn(songs, frames, config.projection_dim),
            "frame_mask": mask,
            "sentence_counts": counts,
            **queries,
        },
        {"frame_embeds": song_axes, "frame_mask": song_axes, "sentence_counts": {0: "texts"}}
        | dict.fromkeys(queries, sentence_axes),
        ["scores"],
    )
    return {"audio": audio, "adapter": adapter, "text": text, "scores": scores}
