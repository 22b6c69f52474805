# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Pretrains a small BEATs or Whisper encoder on the tags of short crops of the song corpus.

It stands in for the released encoders where they cannot be had. The tags are the very attributes that the captions of
the corpus describe, so this is strong supervision: figures made with it say how CoLLAP scores songs, not how well
BEATs or Whisper hear.
"""

import argparse
import json
import random
import sys
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import nn
from tqdm.auto import tqdm
from transformers import WhisperConfig, WhisperModel

from collap import BeatsConfig, BeatsModel, CollapFeatureExtractor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.corpus.tags import TAGS, window_targets

SAMPLING_RATE = 16_000
CHUNK_LENGTH_S = 2.56  # short chunks, so that attention over 120 vectors is cheap on a CPU


def build_encoder(kind: str, chunk_length_s: float = CHUNK_LENGTH_S) -> nn.Module:
    """A small BEATs (`"music"`) or a small Whisper (`"speech"`) for chunks of that length, with random weights."""
    if kind == "music":
        return BeatsModel(
            BeatsConfig(
                embed_dim=64,
                hidden_size=64,
                num_hidden_layers=2,
                num_attention_heads=2,
                intermediate_size=192,
                num_conv_pos_embeddings=16,
                num_conv_pos_embedding_groups=16,
                num_buckets=64,
                max_bucket_distance=256,
                hidden_dropout=0.0,
                attention_dropout=0.0,
                feat_proj_dropout=0.0,
                layerdrop=0.0,
            )
        )
    return WhisperModel(
        WhisperConfig(
            d_model=64,
            encoder_layers=2,
            encoder_attention_heads=2,
            encoder_ffn_dim=192,
            decoder_layers=1,  # never used, but a Whisper folder has a decoder
            decoder_attention_heads=4,
            decoder_ffn_dim=64,
            vocab_size=64,
            max_source_positions=round(chunk_length_s * 50),
            max_target_positions=8,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
            suppress_tokens=None,
            begin_suppress_tokens=None,
        )
    )


class Tagger(nn.Module):
    """An encoder, the mean over its vectors, and one softmax a tag."""

    def __init__(self, encoder: nn.Module):
        super().__init__()
        self.encoder = encoder
        config = encoder.config
        self.norm = nn.LayerNorm(config.hidden_size)
        self.heads = nn.Linear(config.hidden_size, sum(len(names) for names in TAGS.values()))

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        encoder = self.encoder.encoder if isinstance(self.encoder, WhisperModel) else self.encoder
        vectors = encoder(features).last_hidden_state  # (batch, vectors, hidden)
        logits = self.heads(self.norm(vectors).mean(1))
        return logits.split([len(names) for names in TAGS.values()], dim=-1)


def crops(manifest: Path, extractor: CollapFeatureExtractor, key: str, batch_size: int, seed: int):
    """Endless random crops of a chunk each, with the share of each tag in them: `(features, targets)`."""
    songs = [json.loads(line) for line in manifest.read_text().splitlines()]
    generator = random.Random(seed)
    length_s, num_samples = extractor.chunk_length_s, extractor.num_chunk_samples
    shortest = min(song["duration_s"] for song in songs)
    if shortest < length_s:
        raise ValueError(f"chunk_length_s must not exceed the shortest song of {shortest:g} s, got {length_s:g}.")
    while True:
        waveforms, targets = [], []
        for song in generator.choices(songs, k=batch_size):
            start_s = generator.uniform(0, song["duration_s"] - length_s)
            waveform, _ = soundfile.read(
                manifest.parent / song["audio"],
                start=int(start_s * SAMPLING_RATE),
                frames=num_samples,
                dtype="int16",  # as the corpus has them: libsndfile takes long to make floats
                fill_value=0,
            )
            waveforms.append(waveform)
            targets.append(window_targets(song["sections"], start_s, start_s + length_s))
        # As one song: its chunks are the crops, and many chunks take less time together than each alone.
        waveform = np.concatenate(waveforms) / np.float32(2**15)
        features = extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")[key][0]
        yield features, torch.from_numpy(np.stack(targets)).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("music", "speech"), required=True)
    parser.add_argument("--manifest", type=Path, required=True, help="train.jsonl of the song corpus")
    parser.add_argument("--output_dir", type=Path, required=True)
    parser.add_argument("--num_steps", type=int, default=600)
    parser.add_argument("--batch_size", type=int, default=32)
    parser.add_argument("--learning_rate", type=float, default=6e-3)
    parser.add_argument("--chunk_length_s", type=float, default=CHUNK_LENGTH_S, help="seconds of a crop")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    torch.set_num_threads(1)
    is_music = arguments.kind == "music"
    extractor = CollapFeatureExtractor(chunk_length_s=arguments.chunk_length_s, music=is_music, speech=not is_music)
    key = "fbank_features" if is_music else "input_features"
    tagger = Tagger(build_encoder(arguments.kind, arguments.chunk_length_s)).to(arguments.device).train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=arguments.learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, arguments.learning_rate, arguments.num_steps, pct_start=0.1
    )
    batches = crops(arguments.manifest, extractor, key, arguments.batch_size, arguments.seed)

    right = torch.zeros(len(TAGS), device=arguments.device)
    progress = tqdm(range(arguments.num_steps), desc=f"Pretraining {arguments.kind}", unit="step")
    for step in progress:
        features, targets = (tensor.to(arguments.device) for tensor in next(batches))
        parts = targets.split([len(names) for names in TAGS.values()], dim=-1)
        logits = tagger(features)
        loss = sum(nn.functional.cross_entropy(logit, part) for logit, part in zip(logits, parts, strict=True))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        hits = torch.stack([(a.argmax(-1) == b.argmax(-1)).float().mean() for a, b in zip(logits, parts, strict=True)])
        right = hits if step == 0 else 0.97 * right + 0.03 * hits
        progress.set_postfix(loss=f"{loss.item():.2f}", accuracy=f"{right.mean():.2f}")
    accuracies = ", ".join(f"{tag} {100 * value:.0f} %" for tag, value in zip(TAGS, right.tolist(), strict=True))
    tqdm.write(f"Tags of training crops that the {arguments.kind} encoder names: {accuracies}")
    tagger.encoder.save_pretrained(arguments.output_dir)


if __name__ == "__main__":
    main()
