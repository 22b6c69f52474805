# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
CoLLAP on one GPU: what the card can do, and the speed of encoding, training and scoring.

    python -m benchmarks.speed.gpu --output gpu.json
    python -m benchmarks.speed.gpu --output tiny.json --device cpu --tiny    # all of it on a CPU, in seconds

Models have the paper's sizes and random weights, which cost what trained ones do. The parts run one after the other,
each within its time budget, together within 4 minutes. The output file is written again after each row, so that a run
that is cut off keeps what it has. A part that fails is recorded, the others still run, and the exit status is 1.
Imports only torch, transformers, numpy and collap's models. README.md beside this file says what the numbers mean.
"""

import argparse
import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import RobertaConfig, WhisperConfig

from collap import BeatsConfig, CollapAudioModel, CollapConfig, CollapFeatureExtractor, CollapModel
from collap.modeling_collap.scoring_collap import mean_over_sentences, score_sentences
from collap.processing.feature_extraction_collap import settings_of_model

from . import operations
from .measure import Function, Row, matmul_tflops, measure, now, run_parts


@dataclass(frozen=True)
class Size:
    """How much each part does."""

    song_s: float = 288.0  # the paper's mean
    matmul: tuple[int, ...] = (4096, 8192, 16384)  # widths of square matrices
    copy_bytes: int = 2**31
    encode_songs: int = 8
    chunks: tuple[int, ...] = (8, 32, 80)  # encoded at a time
    train_songs: int = 256
    document_tokens: int = 350  # of the paper's captions of 256 words
    sentences: int = 20  # of a text
    sentence_tokens: tuple[int, int] = (10, 25)  # the least and the most
    score_songs: int = 1000
    score_blocks: tuple[int, ...] = (2**22, 2**26)  # pairs of frame and sentence at a time


TINY = Size(
    song_s=2.5,
    matmul=(64,),
    copy_bytes=2**20,
    encode_songs=2,
    chunks=(2,),
    train_songs=4,
    document_tokens=12,
    sentences=3,
    sentence_tokens=(4, 8),
    score_songs=5,
    score_blocks=(2**10,),
)


@dataclass
class Run:
    """What all parts share."""

    device: torch.device
    size: Size

    @cached_property
    def bf16_tflops(self) -> float:
        return max(matmul_tflops(self.device, "bfloat16", width) for width in self.size.matmul)

    def utilisation(self, num_operations: int, row: dict[str, Any]) -> dict[str, float]:
        """Operations by hand, and those a second as a share of what the device reaches in bf16 products."""
        tflop = num_operations / 1e12
        rate = tflop / row["seconds"]
        return {"tflop": tflop, "tflops": rate, "mfu": rate / self.bf16_tflops}

    def config(self, **fields: Any) -> CollapConfig:
        """BEATs base, the encoder of whisper-large-v2 and RoBERTa base (the defaults); small ones with `--tiny`."""
        if self.size is not TINY:
            return CollapConfig(**fields)
        size = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24}
        whisper = {"d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 24}
        return CollapConfig(
            music_config=BeatsConfig(embed_dim=16, **size),
            speech_config=WhisperConfig(max_source_positions=50, **whisper),
            text_config=RobertaConfig(vocab_size=100, **size),
            chunk_length_s=1.0,
            projection_dim=16,
            kernel_size=4,
            kernel_stride=4,
            **fields,
        )


def make_model(model_class: type, config: CollapConfig, device: torch.device) -> Any:
    """A model of random weights, made on the device itself."""
    with device:
        return model_class(config).eval()


def make_songs(config: CollapConfig, seconds: list[float], device: torch.device) -> dict[str, torch.Tensor]:
    """Features of songs of noise, of so many seconds."""
    extractor = CollapFeatureExtractor(**settings_of_model(config))
    songs = [2 * torch.rand(round(length * extractor.sampling_rate), device=device) - 1 for length in seconds]
    return dict(extractor(songs, sampling_rate=extractor.sampling_rate, return_tensors="pt").to(device))


def make_texts(config: CollapConfig, size: Size, num_texts: int, device: torch.device) -> dict[str, torch.Tensor]:
    """Texts of random tokens: one document each, or sentences of different lengths."""
    least, most = size.sentence_tokens
    lengths = torch.randint(least, most + 1, (num_texts * size.sentences,))
    if config.text_granularity == "document":
        lengths = torch.full((num_texts,), size.document_tokens)
    attention_mask = (torch.arange(int(lengths.max())) < lengths[:, None]).long()
    input_ids = torch.randint(3, config.text_config.vocab_size, attention_mask.shape)
    texts = {
        "input_ids": input_ids.masked_fill(attention_mask == 0, config.text_config.pad_token_id),
        "attention_mask": attention_mask,
        "sentence_counts": torch.full((num_texts,), len(lengths) // num_texts),
    }
    return {name: tensor.to(device) for name, tensor in texts.items()}


def make_score_inputs(
    config: CollapConfig,
    num_songs: int,
    song_s: float,
    num_sentences: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> tuple[Any, ...]:
    """The arguments of `score_sentences`: songs without padding, sentences with time."""
    shapes = (num_songs, int(song_s / config.frame_length_s)), (num_sentences,)
    rows = [torch.randn(*shape, config.projection_dim, device=device, dtype=dtype) for shape in shapes]
    frames, queries = (nn.functional.normalize(row, dim=-1) for row in rows)
    times = [torch.randn(*shape, config.num_time_features, device=device) for shape in shapes]
    return frames, torch.ones(shapes[0], dtype=torch.bool, device=device), queries, config, *times


def make_training(
    model: CollapModel, size: Size, num_songs: int, num_frames: int, device: torch.device, dtype: torch.dtype
) -> tuple[Function, list[int]]:
    """A step on cached frames (forward in autocast, backward, clipping, AdamW), and how many tokens each text has."""
    batch = make_texts(model.config, size, num_songs, device) | {
        "encoder_frames": torch.randn(num_songs, num_frames, model.config.encoder_hidden_size, device=device).half(),
        "frame_mask": torch.ones(num_songs, num_frames, dtype=torch.bool, device=device),
    }
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learned, lr=1e-4, fused=device.type == "cuda")

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            loss = model(**batch, return_loss=True).loss
        loss.backward()
        nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()

    return step, batch["attention_mask"].sum(1).tolist()


def ceilings(run: Run) -> Iterator[Row]:
    """What the card can do at best: products of square matrices, and copies within its memory."""
    for name in ("bfloat16", "float16", "float32"):
        rates = {width: matmul_tflops(run.device, name, width) for width in run.size.matmul}
        yield f"matmul {name}", {"tflops": max(rates.values()), "tflops_by_width": rates}
    source = torch.ones(run.size.copy_bytes, dtype=torch.uint8, device=run.device)
    target = torch.empty_like(source)
    seconds = measure(lambda: target.copy_(source), run.device, num_runs=20, budget_s=2)["seconds"]
    yield "copy", {"gb_per_s": 2 * run.size.copy_bytes / seconds / 1e9}  # read and written


@torch.no_grad()
def encode(run: Run) -> Iterator[Row]:
    """Songs to frames with encoders in bf16, as `extract_features.py --precision bfloat16`; more chunks at a time."""
    config, size = run.config(), run.size
    model = make_model(CollapAudioModel, config, run.device)
    for encoder in (model.music_model, model.speech_model):
        encoder.to(torch.bfloat16)
    songs = make_songs(config, [size.song_s] * size.encode_songs, run.device)
    for batch_size in size.chunks:
        model.config.encoder_batch_size = batch_size
        row = measure(lambda: model(**songs), run.device, budget_s=8)
        row["shares"] = encoder_shares(model, lambda: model(**songs), run.device)
        num_operations = size.encode_songs * operations.encode_song(config, size.song_s)
        row |= {"songs_per_s": size.encode_songs / row["seconds"], **run.utilisation(num_operations, row)}
        yield f"{batch_size} chunks", row


def encoder_shares(model: CollapAudioModel, function: Function, device: torch.device) -> dict[str, float]:
    """Shares of BEATs, of Whisper and of the rest (joining, pooling, adapter) in the time of a call."""
    marks: dict[str, list[float]] = {"beats": [], "whisper": []}  # beginning, end, beginning, end ...
    hooks = []
    for name, encoder in (("beats", model.music_model), ("whisper", model.speech_model)):
        hooks.append(encoder.register_forward_pre_hook(lambda *_, name=name: marks[name].append(now(device))))
        hooks.append(encoder.register_forward_hook(lambda *_, name=name: marks[name].append(now(device))))
    started = now(device)
    function()
    seconds = now(device) - started
    for hook in hooks:
        hook.remove()
    shares = {name: (sum(own[1::2]) - sum(own[::2])) / seconds for name, own in marks.items()}
    return shares | {"fusion": 1 - sum(shares.values())}


def train(run: Run) -> Iterator[Row]:
    """A step on cached features in bf16 autocast: documents, then sentences with time; halved until it fits."""
    for granularity in ("document", "sentence"):
        config = run.config(text_granularity=granularity, temporal_position=granularity == "sentence")
        model = make_model(CollapModel, config, run.device).train()
        num_songs, row = 2 * run.size.train_songs, None
        while row is None and num_songs > 2:
            num_songs //= 2
            with contextlib.suppress(torch.OutOfMemoryError):
                row = measure_training(run, model, num_songs)
            model.zero_grad()
        if row is None:
            raise torch.OutOfMemoryError("not even two songs fit")
        yield granularity, row
        del model


def measure_training(run: Run, model: CollapModel, num_songs: int) -> dict[str, Any]:
    num_frames = int(run.size.song_s / model.config.frame_length_s)
    step, lengths = make_training(model, run.size, num_songs, num_frames, run.device, torch.bfloat16)
    row = {"songs": num_songs, "frames_per_song": num_frames, **measure(step, run.device, budget_s=10)}
    row |= {"sequences": len(lengths), "tokens": sum(lengths), "songs_per_s": num_songs / row["seconds"]}
    return row | run.utilisation(operations.train_step(model.config, lengths, num_songs, num_frames), row)


@torch.no_grad()
def score(run: Run) -> Iterator[Row]:
    """Songs against long texts of sentences with time, all encoded, with different numbers of pairs at a time."""
    size, config = run.size, run.config(text_granularity="sentence", temporal_position=True)
    num_songs, num_sentences = size.score_songs, size.score_songs * size.sentences
    inputs = make_score_inputs(config, num_songs, size.song_s, num_sentences, run.device, torch.bfloat16)
    counts = torch.full((num_songs,), size.sentences, device=run.device)

    def score_texts() -> torch.Tensor:
        return mean_over_sentences(score_sentences(*inputs), counts)

    for block_size in size.score_blocks:
        config.score_block_size = block_size
        row = measure(score_texts, run.device, num_runs=3, budget_s=8)
        row |= {"songs": num_songs, "texts": num_songs, "sentences": num_sentences}
        yield f"blocks of {block_size:,}", row | {"pairs_per_s": num_songs**2 / row["seconds"]}


PARTS = {ceilings: 25, encode: 80, train: 75, score: 40}  # with their time budgets in seconds


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True, help="JSON file, written again after each row")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--skip", nargs="+", choices=[part.__name__ for part in PARTS], default=[])
    parser.add_argument("--tiny", action="store_true", help="tiny models and inputs, to see that all parts run")
    arguments = parser.parse_args(argv)
    run = Run(torch.device(arguments.device), TINY if arguments.tiny else Size())
    torch.set_float32_matmul_precision("highest")  # no TF32, neither in products ...
    torch.backends.cudnn.allow_tf32 = False  # ... nor in convolutions
    parts = {part: seconds for part, seconds in PARTS.items() if part.__name__ not in arguments.skip}
    return run_parts(parts, run, run.device, arguments.output)


if __name__ == "__main__":
    sys.exit(main())
