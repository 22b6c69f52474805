# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Small towers that stand in for released ones: BEATs, Whisper and a text tower.

    python -m benchmarks.towers music --manifest songs/train.jsonl --output_dir encoders/music
    python -m benchmarks.towers speech --manifest songs/train.jsonl --output_dir encoders/speech
    python -m benchmarks.towers text --manifest songs/train.jsonl --output_dir text

The audio encoders are pretrained on the tags of short crops of the song corpus. The tags are the very attributes that
the captions describe, so this is strong supervision: metrics measured with them say how CoLLAP scores songs, not how
good BEATs or Whisper are. The text tower has random weights and a tokenizer trained on the captions.
"""

import argparse
import itertools
import json
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch import nn
from tqdm.auto import tqdm
from transformers import AutoModel, PreTrainedTokenizerFast, RobertaConfig, WhisperConfig, WhisperModel, set_seed

from collap import BeatsConfig, BeatsModel, CollapFeatureExtractor
from collap.files import atomic_write
from collap.modeling_collap.configuration_beats import DROPOUTS

from .corpus.tags import TAGS, window_targets

SAMPLING_RATE = 16_000
CHUNK_LENGTH_S = 2.56  # short chunks, so that attention over 120 vectors is cheap on a CPU
BATCH_SIZE = 32
LEARNING_RATE = 6e-3
CHECKPOINT_STEPS = 200
FEATURES = {"music": "fbank_features", "speech": "input_features"}
SPECIAL_TOKENS = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
MAX_TOKENS = 768  # a whole caption is one sequence in the paper's reading
# A Whisper folder has a decoder; its vocabulary must hold the ids of its tokens.
UNUSED_DECODER = {"decoder_layers": 1, "decoder_attention_heads": 4, "decoder_ffn_dim": 64, "max_target_positions": 8}
UNUSED_DECODER |= {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
UNUSED_DECODER |= {"decoder_start_token_id": 1, "begin_suppress_tokens": None}
BEATS = {
    "embed_dim": 64,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 192,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 16,
    "num_buckets": 64,
    "max_bucket_distance": 256,
    **dict.fromkeys(DROPOUTS, 0.0),
}
WHISPER = {"d_model": 64, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 192} | UNUSED_DECODER


def build_encoder(kind: str, chunk_length_s: float = CHUNK_LENGTH_S, **sizes: int) -> nn.Module:
    """
    A small BEATs (`"music"`) or a small Whisper (`"speech"`) for chunks of that length, with random weights; `sizes`
    replace those of the BEATs.
    """
    if kind == "music":
        return BeatsModel(BeatsConfig(**BEATS | sizes))
    return WhisperModel(WhisperConfig(max_source_positions=round(chunk_length_s * 50), **WHISPER))


@dataclass(frozen=True)
class Labels:
    """What an encoder is pretrained on: tags of windows of equal length, of which a crop has one or several."""

    num_tags: int
    targets: Callable[[Mapping[str, Any], float, float], np.ndarray]  # of a song between two times: (windows, tags)
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # of logits and targets, both (batch, windows, tags)


def corpus_targets(song: Mapping[str, Any], start_s: float, end_s: float) -> np.ndarray:
    """The share of a crop of a rendered song during which each tag holds, `(1, tags)`."""
    return window_targets(song["sections"], start_s, end_s)[None]


def corpus_loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """One softmax a tag, over its names."""
    counts = [len(names) for names in TAGS.values()]
    parts = zip(logits.split(counts, dim=-1), targets.split(counts, dim=-1), strict=True)
    return sum(nn.functional.cross_entropy(logit.flatten(0, 1), part.flatten(0, 1)) for logit, part in parts)


CORPUS_LABELS = Labels(sum(len(names) for names in TAGS.values()), corpus_targets, corpus_loss)


class Tagger(nn.Module):
    """An encoder, the mean over its vectors in each window, and a logit a tag."""

    def __init__(self, encoder: nn.Module, num_tags: int):
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(encoder.config.hidden_size)
        self.heads = nn.Linear(encoder.config.hidden_size, num_tags)

    def forward(self, features: torch.Tensor, num_windows: int = 1) -> torch.Tensor:
        """`(batch, windows, tags)`."""
        encoder = self.encoder.encoder if isinstance(self.encoder, WhisperModel) else self.encoder
        vectors = self.norm(encoder(features).last_hidden_state)  # (batch, vectors in the order of time, hidden)
        windows = nn.functional.adaptive_avg_pool1d(vectors.transpose(1, 2), num_windows)  # (batch, hidden, windows)
        return self.heads(windows.transpose(1, 2))


def crops(
    manifest: Path,
    extractor: CollapFeatureExtractor,
    kind: str,
    batch_size: int,
    seed: int,
    labels: Labels = CORPUS_LABELS,
    first_batch: int = 0,
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless random crops of a chunk each, with their targets: `(features, targets)`, from a batch on."""
    songs = [json.loads(line) for line in manifest.read_text().splitlines()]
    generator = random.Random(seed)
    length_s, num_samples = extractor.chunk_length_s, extractor.num_chunk_samples
    shortest = min(song["duration_s"] for song in songs)
    if shortest < length_s:
        raise ValueError(f"chunk_length_s must not exceed the shortest song of {shortest:g} s, got {length_s:g}.")
    for batch in itertools.count():
        drawn = generator.choices(songs, k=batch_size)
        starts_s = [generator.uniform(0, song["duration_s"] - length_s) for song in drawn]
        if batch < first_batch:
            continue
        waveforms, targets = [], []
        for song, start_s in zip(drawn, starts_s, strict=True):
            waveform, _ = soundfile.read(
                manifest.parent / song["audio"],
                start=int(start_s * SAMPLING_RATE),
                frames=num_samples,
                dtype="int16",  # as the corpus has them: libsndfile takes long to make floats
                fill_value=0,
            )
            waveforms.append(waveform)
            targets.append(labels.targets(song, start_s, start_s + length_s))
        # As one song: its chunks are the crops, and many chunks take less time together than each alone.
        waveform = np.concatenate(waveforms) / np.float32(2**15)
        features = extractor(waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")[FEATURES[kind]][0]
        yield features, torch.from_numpy(np.stack(targets)).float()


def pretrain(
    kind: str,
    manifest: Path,
    output_dir: Path,
    num_steps: int = 600,
    chunk_length_s: float = CHUNK_LENGTH_S,
    seed: int = 0,
    device: str = "cpu",
    labels: Labels = CORPUS_LABELS,
    batch_size: int = BATCH_SIZE,
    learning_rate: float = LEARNING_RATE,
    **sizes: int,
) -> Tagger:
    """
    Pretrains a small encoder (`kind` is `"music"` or `"speech"`) and writes it to `output_dir`. Every
    `CHECKPOINT_STEPS` steps its state is written there too: the same call, with equal arguments, continues after an
    interruption.
    """
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    extractor = CollapFeatureExtractor(chunk_length_s=chunk_length_s, music=kind == "music", speech=kind == "speech")
    tagger = Tagger(build_encoder(kind, chunk_length_s, **sizes), labels.num_tags).to(device).train()
    optimizer = torch.optim.AdamW(tagger.parameters(), lr=learning_rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, num_steps, pct_start=0.1)
    checkpoint, step = output_dir / "pretraining.pt", 0
    parts = {"tagger": tagger, "optimizer": optimizer, "schedule": schedule}
    options = {"kind": kind, "manifest": str(manifest), "num_steps": num_steps, "chunk_length_s": chunk_length_s}
    options |= {"seed": seed, "batch_size": batch_size, "learning_rate": learning_rate, **sizes}
    state = torch.load(checkpoint, map_location=device, weights_only=True) if checkpoint.is_file() else {}
    if state.get("options") == options:  # otherwise it is another pretraining, which begins anew
        step = state["step"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
    batches = crops(manifest, extractor, kind, batch_size, seed, labels, first_batch=step)

    progress = tqdm(range(step, num_steps), initial=step, total=num_steps, desc=f"Pretraining {kind}", unit="step")
    for step in progress:
        features, targets = (tensor.to(device) for tensor in next(batches))
        loss = labels.loss(tagger(features, targets.shape[1]), targets)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(tagger.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        progress.set_postfix(loss=f"{loss.item():.3f}")
        if (step + 1) % CHECKPOINT_STEPS == 0:
            states = {name: part.state_dict() for name, part in parts.items()}
            with atomic_write(checkpoint) as temporary:
                torch.save({"step": step + 1, "options": options} | states, temporary)
    tagger.encoder.save_pretrained(output_dir)
    checkpoint.unlink(missing_ok=True)
    return tagger


def build_text_tower(manifest: Path, output_dir: Path) -> None:
    """Writes a tokenizer trained on the captions of `train.jsonl`, and a model of one layer; the weights are last."""
    songs = [json.loads(line) for line in manifest.read_text().splitlines()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)  # bytes: no word is unknown
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=2000,
        special_tokens=SPECIAL_TOKENS,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((sentence for song in songs for text in song["texts"] for sentence in text), trainer)
    sizes = {"hidden_size": 96, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 192}
    save_text_tower(tokenizer, output_dir, **sizes)


def save_text_tower(tokenizer: Tokenizer, output_dir: Path, seed: int = 0, **sizes: int) -> None:
    """Writes a tokenizer that begins with some of `SPECIAL_TOKENS`, and a model of these sizes with random weights."""
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(token, tokenizer.token_to_id(token)) for token in ("<s>", "</s>")]
    )
    names = dict(zip(("bos_token", "pad_token", "eos_token", "unk_token", "mask_token"), SPECIAL_TOKENS, strict=True))
    special = {name: token for name, token in names.items() if tokenizer.token_to_id(token) is not None}
    wrapped = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=MAX_TOKENS, **special)
    wrapped.save_pretrained(output_dir)
    set_seed(seed)
    config = RobertaConfig(
        vocab_size=len(wrapped),
        max_position_embeddings=MAX_TOKENS + 2,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        **sizes,
    )
    AutoModel.from_config(config, add_pooling_layer=False).save_pretrained(output_dir)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    towers = parser.add_subparsers(dest="tower", required=True)
    for name in (*FEATURES, "text"):
        tower = towers.add_parser(name)
        tower.add_argument("--output_dir", type=Path, required=True)
        tower.add_argument("--manifest", type=Path, required=True, help="train.jsonl of the song corpus")
        if name in FEATURES:
            tower.add_argument("--seed", type=int, default=0)
            tower.add_argument("--num_steps", type=int, default=600)
            tower.add_argument("--chunk_length_s", type=float, default=CHUNK_LENGTH_S, help="seconds of a crop")
            tower.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    given = vars(parser.parse_args(arguments))
    name = given.pop("tower")
    if name == "text":
        build_text_tower(**given)
    else:
        pretrain(name, **given)


if __name__ == "__main__":
    main()
