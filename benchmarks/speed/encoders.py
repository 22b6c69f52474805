# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A song from its waveform to vectors, by CoLLAP, by its encoders alone and by other models."""

from collections.abc import Iterator

import torch
import transformers
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from collap import BeatsConfig, BeatsFeatureExtractor, BeatsModel, CollapAudioModel, CollapConfig
from collap.baselines.clap import clap_features
from collap.modeling_collap.configuration_collap import HOP_S
from collap.precision import PRECISIONS, is_faster_on_this_cpu, lower_precision
from collap.processing.feature_extraction_collap import CollapFeatureExtractor, settings_of_model

from . import operations
from .cases import DTYPES, RATE, WHISPER_BASE, Case, Size, noise, run_cases
from .measure import Function, Row

HIGH_RATE = 48_000  # of CLAP and PE-Audio


@torch.no_grad()
def encoders(size: Size) -> Iterator[Row]:
    """All of a song by each model, features included: BEATs and Whisper by chunks of 30 s, CLAP by windows of 10 s."""
    waveform, at_rate = noise(size.clip_s, HIGH_RATE), {"sampling_rate": RATE, "return_tensors": "pt"}
    song = waveform[:: HIGH_RATE // RATE]
    chunks = [song[start : start + 30 * RATE] for start in range(0, len(song), 30 * RATE)]
    windows = [waveform[start : start + 10 * HIGH_RATE] for start in range(0, len(waveform), 10 * HIGH_RATE)]
    config = CollapConfig(speech_config=transformers.WhisperConfig(**WHISPER_BASE))
    extractor, fbank = CollapFeatureExtractor(**settings_of_model(config)), BeatsFeatureExtractor()
    mel, clap_mel = transformers.WhisperFeatureExtractor(), transformers.ClapFeatureExtractor(truncation="rand_trunc")
    pe_audio_input = transformers.PeAudioFeatureExtractor()

    def beats(dtype: str, **options: str) -> Function:
        model = BeatsModel(BeatsConfig(**options)).eval().to(getattr(torch, dtype))
        return lambda: model(fbank(chunks, **at_rate).input_values)

    def whisper(dtype: str) -> Function:
        model = WhisperEncoder(config.speech_config).eval().to(getattr(torch, dtype))
        return lambda: model(mel(chunks, **at_rate).input_features.to(model.dtype))

    def ours(precision: str | None) -> Function:
        model = CollapAudioModel(config).eval()
        lower_precision(model, precision)
        return lambda: model(**extractor(song, **at_rate))

    clap = transformers.ClapAudioModelWithProjection(transformers.ClapAudioConfig()).eval()
    pe_audio = transformers.PeAudioEncoder(transformers.PeAudioEncoderConfig()).eval()
    of_beats = sum(operations.beats(config.music_config, round(len(own) / RATE / HOP_S) - 2) for own in chunks)
    of_whisper = len(chunks) * operations.whisper_encoder(config.speech_config)

    high_rate = at_rate | {"sampling_rate": HIGH_RATE}
    calls = [
        ("CoLLAP (both)", ours(None), operations.encode_song(config, size.clip_s)),
        ("BEATs base, the original's algorithm", beats("float32", attn_implementation="eager"), of_beats),
        ("ClapModel (HTSAT)", lambda: clap(**clap_features(clap_mel, windows)), None),
        ("PE-Audio", lambda: pe_audio(**pe_audio_input(waveform, **high_rate)), None),
    ]
    cases = {name: Case(call, size.clip_s, count) for name, call, count in calls}
    for precision in filter(is_faster_on_this_cpu, PRECISIONS):
        cases[f"CoLLAP (both), {precision}"] = Case(ours(precision), size.clip_s)
    for dtype in DTYPES:
        cases[f"BEATs base, {dtype}"] = Case(beats(dtype), size.clip_s, of_beats, dtype)
        cases[f"Whisper base, {dtype}"] = Case(whisper(dtype), size.clip_s, of_whisper, dtype)
    yield from run_cases(cases, size, budget_s=400)
