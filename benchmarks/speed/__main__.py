# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Seconds and memory of each step of CoLLAP on a CPU, beside other encoders, in one run.

    OMP_NUM_THREADS=1 python -m benchmarks.speed --output cpu.json              # about 20 minutes
    OMP_NUM_THREADS=1 python -m benchmarks.speed --output cpu.json --quick      # about 2 minutes

Models have their published sizes and random weights, which cost what trained ones do. Functions that are compared
take turns. Compare rows of one run only: README.md beside this file says what the numbers mean.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from torch.nn.functional import normalize
from transformers import ClapAudioConfig, ClapAudioModel, PeAudioEncoder, PeAudioEncoderConfig, WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from collap import BeatsConfig, BeatsModel, CollapAudioModel, CollapConfig, CollapFeatureExtractor
from collap.data.audio_files import read_audio
from collap.modeling_collap.configuration_collap import HOP_S
from collap.modeling_collap.scoring_collap import score_sentences, time_features
from collap.processing.feature_extraction_collap import settings_of_model
from collap.search.first_stage import WindowQuery, score_windows

from . import operations
from .measure import Row, compare, matmul_tflops, measure, run_parts

CPU = torch.device("cpu")
RATE = 16_000
MATMUL_WIDTH = 2048
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WHISPER_BASE = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
WINDOWS_PER_SONG = 32  # of the first stage: a song of four minutes


@dataclass(frozen=True)
class Size:
    """How much each part does."""

    clip_s: float = 30.0  # that the encoders take
    num_runs: int = 5
    song_s: float = 288.0  # the paper's mean
    score_songs: int = 100
    sentences: int = 2000
    lengths_s: tuple[float, ...] = (30, 120, 480, 1800, 3600)
    batches: tuple[int, ...] = (1, 4, 16, 64)
    texts: tuple[int, ...] = (10, 100, 1000, 10_000)
    searched: tuple[int, ...] = (100, 1000, 10_000, 100_000)


QUICK = Size(10.0, 1, 60.0, 20, 400, (30, 120, 480), (1, 4, 16), (10, 100, 1000), (100, 1000, 10_000))


def ceilings(size: Size) -> Iterator[Row]:
    """What the CPU can do at best: products of square matrices."""
    for name in DTYPES:
        yield f"matmul {name}", {"tflops": matmul_tflops(CPU, name, MATMUL_WIDTH)}


def ceilings_at_the_end(size: Size) -> Iterator[Row]:
    """The same again: the machine may have become slower, or faster."""
    yield from ceilings(size)


@torch.no_grad()
def encoders(size: Size) -> Iterator[Row]:
    """A clip through each encoder alone. Whisper's clips are 30 s, whatever is in them."""
    num_frames, beats, whisper = round(size.clip_s / HOP_S) - 2, BeatsConfig(), WhisperConfig(**WHISPER_BASE)
    fbank, mel = torch.randn(1, num_frames, beats.num_mel_bins), torch.randn(1, 80, 3000)
    cases = {}  # a call, the seconds of audio that it takes, and its operations where they are counted
    beats_size = (size.clip_s, operations.beats(beats, num_frames))
    whisper_size = (30.0, operations.whisper_encoder(whisper))
    for name, dtype in DTYPES.items():
        cases[f"BEATs base, {name}"] = _call(BeatsModel(beats), fbank, dtype), *beats_size
        cases[f"Whisper base, {name}"] = _call(WhisperEncoder(whisper), mel, dtype), *whisper_size
    eager = BeatsModel(BeatsConfig(attn_implementation="eager"))
    cases["BEATs base, eager attention"] = _call(eager, fbank), *beats_size
    clap, pe_audio = ClapAudioConfig(), PeAudioEncoderConfig()
    log_mel = torch.randn(1, 1, 1001, clap.num_mel_bins)
    cases["CLAP (HTSAT)"] = _call(ClapAudioModel(clap), log_mel), 10.0, None
    samples = torch.randn(1, 1, round(size.clip_s * pe_audio.dac_config.sampling_rate))
    cases["PE-Audio"] = _call(PeAudioEncoder(pe_audio), samples), size.clip_s, None
    rates = {name: matmul_tflops(CPU, name, MATMUL_WIDTH) for name in DTYPES}
    rows = compare({name: call for name, (call, _, _) in cases.items()}, CPU, size.num_runs, budget_s=600)
    for name, row in rows.items():
        _, seconds, num_operations = cases[name]
        row["seconds_per_minute"] = 60 * row["seconds"] / seconds
        if num_operations is not None:
            row["tflop"] = num_operations / 1e12
            row["mfu"] = row["tflop"] / row["seconds"] / rates["bfloat16" if name.endswith("bfloat16") else "float32"]
        yield name, row


def _call(model: Any, inputs: torch.Tensor, dtype: torch.dtype = torch.float32) -> Callable[[], Any]:
    model, inputs = model.eval().to(dtype), inputs.to(dtype)
    return lambda: model(inputs)


@torch.no_grad()
def steps(size: Size) -> Iterator[Row]:
    """The other steps of a song: decoding, features, the adapter; then scores and the first stage of a search."""
    config = CollapConfig(speech_config=WhisperConfig(**WHISPER_BASE))
    extractor = CollapFeatureExtractor(**settings_of_model(config))
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, round(size.song_s * 44_100)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        files = {name: Path(folder, f"song.{name}") for name in ("flac", "mp3")}
        for file in files.values():
            soundfile.write(file, waveform, 44_100)
        functions = {f"decode {name}": lambda file=file: read_audio(file, RATE) for name, file in files.items()}
        at_rate = waveform[: round(size.song_s * RATE)]
        functions["features"] = lambda: extractor(at_rate, sampling_rate=RATE, return_tensors="pt")
        for name, row in compare(functions, CPU, size.num_runs, budget_s=60).items():
            yield name, row | {"seconds_per_minute": 60 * row["seconds"] / size.song_s}
    num_frames = int(size.song_s / config.frame_length_s)
    model = CollapAudioModel(CollapConfig(music_config=None, speech_config=WhisperConfig(**WHISPER_BASE))).eval()
    frames = torch.randn(1, num_frames, model.config.encoder_hidden_size)
    mask = torch.ones(1, num_frames, dtype=torch.bool)
    row = measure(lambda: model(encoder_frames=frames, frame_mask=mask), CPU, size.num_runs)
    yield "adapter", row | {"seconds_per_minute": 60 * row["seconds"] / size.song_s}
    for frame_pooling in (8, 64):
        kernel = 256 // frame_pooling  # 5.12 s
        config = CollapConfig(frame_pooling=frame_pooling, kernel_size=kernel, kernel_stride=kernel)
        yield from _scoring(size, config)
    row = measure(_search(1000), CPU, size.num_runs)
    yield "first stage, 1,000 songs", row


def _scoring(size: Size, config: CollapConfig) -> Iterator[Row]:
    """All songs against all sentences with time, and one pair after the other on a hundredth of the pairs."""
    inputs = _score_inputs(config, size.score_songs, size.song_s, size.sentences)
    frames, mask, queries, _, times, time_queries = inputs
    few_songs, few_sentences = max(1, size.score_songs // 10), max(1, size.sentences // 10)

    def one_by_one() -> None:
        for song in range(few_songs):
            for sentence in range(few_sentences):
                one, other = slice(song, song + 1), slice(sentence, sentence + 1)
                score_sentences(frames[one], mask[one], queries[other], config, times[one], time_queries[other])

    functions = {"score": lambda: score_sentences(*inputs), "one by one": one_by_one}
    rows = compare(functions, CPU, size.num_runs, budget_s=60)
    rows["score"]["pairs_per_s"] = size.score_songs * size.sentences / rows["score"]["seconds"]
    rows["one by one"]["pairs_per_s"] = few_songs * few_sentences / rows["one by one"]["seconds"]
    for name, row in rows.items():
        yield f"{name}, {frames.shape[1]} frames a song", row


def _score_inputs(config: CollapConfig, num_songs: int, song_s: float, num_sentences: int) -> tuple[Any, ...]:
    """The arguments of `score_sentences`."""
    num_frames, num_features = int(song_s / config.frame_length_s), config.num_time_features
    frames = normalize(torch.randn(num_songs, num_frames, config.projection_dim), dim=-1)
    queries = normalize(torch.randn(num_sentences, config.projection_dim), dim=-1)
    times = time_features(torch.linspace(0, 1, num_frames), num_features).expand(num_songs, -1, -1)
    mask = torch.ones(num_songs, num_frames, dtype=torch.bool)
    return frames, mask, queries, config, times, torch.randn(num_sentences, num_features)


def _search(num_songs: int, width: int = 512, num_queries: int = 20) -> Callable[[], Any]:
    generator = np.random.default_rng(0)
    vectors = np.tile(
        generator.standard_normal((1000 * WINDOWS_PER_SONG, width), np.float32).astype(np.float16),
        (max(1, num_songs // 1000), 1),
    )
    vectors = vectors[: num_songs * WINDOWS_PER_SONG]
    starts = np.arange(num_songs + 1) * WINDOWS_PER_SONG
    query = WindowQuery(generator.standard_normal((num_queries, width), np.float32), 0.1, 0.7, 0.5)
    return lambda: score_windows(vectors, starts, query)


@torch.no_grad()
def curves(size: Size) -> Iterator[Row]:
    """How the time grows; the exponent of a fitted power of the amount, 1 where it grows in proportion."""
    small = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 128}
    beats = BeatsConfig(
        embed_dim=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=2, intermediate_size=128
    )
    config = CollapConfig(music_config=beats, speech_config=WhisperConfig(**small))
    model, extractor = CollapAudioModel(config).eval(), CollapFeatureExtractor(**settings_of_model(config))

    def encode(num_songs: int, length_s: float) -> Callable[[], Any]:
        song = np.random.default_rng(0).uniform(-0.5, 0.5, round(length_s * RATE)).astype(np.float32)
        inputs = extractor([song] * num_songs, sampling_rate=RATE, return_tensors="pt")
        return lambda: model(**inputs)

    def score(num_sentences: int) -> Callable[[], Any]:
        config = CollapConfig(frame_pooling=64, kernel_size=4, kernel_stride=4)
        inputs = _score_inputs(config, 100, size.song_s, num_sentences)
        return lambda: score_sentences(*inputs)

    yield "seconds of a song, small encoders", _curve(size.lengths_s, lambda length_s: encode(1, length_s))
    yield "songs of 30 s in a batch", _curve(size.batches, lambda num_songs: encode(num_songs, 30.0))
    yield "sentences, 100 songs", _curve(size.texts, score)
    yield "songs, first stage of a search", _curve(size.searched, _search)


def _curve(amounts: Sequence[float], make: Callable[[Any], Callable[[], Any]]) -> dict[str, Any]:
    rows = {amount: measure(make(amount), CPU, num_runs=3, budget_s=20) for amount in amounts}
    exponent, _ = np.polyfit(np.log(amounts), np.log([row["seconds"] for row in rows.values()]), 1)
    columns = {
        name: {str(amount): row[name] for amount, row in rows.items()} for name in ("seconds", "peak_memory_gb")
    }
    return {"exponent": float(exponent), **columns}


PARTS = {ceilings: 60, encoders: 900, steps: 400, curves: 600, ceilings_at_the_end: 60}  # with their most seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file, written again after each row")
    parser.add_argument("--quick", action="store_true", help="shorter clips, one run of each")
    arguments = parser.parse_args(argv)
    return run_parts(PARTS, QUICK if arguments.quick else Size(), CPU, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
