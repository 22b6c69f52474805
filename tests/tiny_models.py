# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tiny random models and inputs that the tests share: chunks of 0.64 s, one or two narrow layers, no dropout."""

import torch
from transformers import GPT2Config, RobertaConfig, WhisperConfig, XLMRobertaConfig

from collap import BeatsConfig, CollapConfig

CHUNK_LENGTH_S = 0.64
FBANK_FRAMES = 62  # 64 hops of 10 ms less 2: three BEATs time steps, 24 vectors
MEL_FRAMES = 64
VOCAB_SIZE = 50


def tiny_beats_config(**changes) -> BeatsConfig:
    fields = {
        "embed_dim": 8,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 24,
        "num_conv_pos_embeddings": 8,
        "num_conv_pos_embedding_groups": 2,
        "hidden_dropout": 0.0,
        "attention_dropout": 0.0,
        "feat_proj_dropout": 0.0,
        "layerdrop": 0.0,
    }
    return BeatsConfig(**{**fields, **changes})


def tiny_whisper_config(**changes) -> WhisperConfig:
    fields = {
        "d_model": 12,
        "encoder_layers": 1,
        "encoder_attention_heads": 2,
        "encoder_ffn_dim": 20,
        "decoder_layers": 1,
        "decoder_attention_heads": 2,
        "decoder_ffn_dim": 20,
        "num_mel_bins": 80,
        "max_source_positions": MEL_FRAMES // 2,
        "vocab_size": VOCAB_SIZE,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "decoder_start_token_id": 1,
    }
    return WhisperConfig(**{**fields, **changes})


def tiny_text_config(kind: str = "roberta"):
    if kind == "gpt2":
        no_dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        return GPT2Config(
            vocab_size=VOCAB_SIZE, n_embd=16, n_layer=1, n_head=2, bos_token_id=2, eos_token_id=2, **no_dropout
        )
    config_class = {"roberta": RobertaConfig, "xlm-roberta": XLMRobertaConfig}[kind]
    return config_class(
        vocab_size=VOCAB_SIZE,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=64,
        type_vocab_size=1,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )


def tiny_config(text: str = "roberta", **changes) -> CollapConfig:
    """A CoLLAP with all three towers; kernel of 2 frames, so that tiny songs have several segments."""
    fields = {
        "music_config": tiny_beats_config(),
        "speech_config": tiny_whisper_config(),
        "text_config": tiny_text_config(text),
        "projection_dim": 16,
        "chunk_length_s": CHUNK_LENGTH_S,
        "kernel_size": 2,
        "kernel_stride": 2,
        "encoder_batch_size": 3,
    }
    return CollapConfig(**{**fields, **changes})


def audio_inputs(fbank_frames: list[int], num_mel_bins: int = 80) -> dict[str, torch.Tensor]:
    """Random inputs of songs with so many real fbank frames in all; padding holds values that must not matter."""
    chunks = [-(-frames // FBANK_FRAMES) for frames in fbank_frames]
    mask = torch.zeros(len(chunks), max(chunks), FBANK_FRAMES, dtype=torch.long)
    for song, frames in enumerate(fbank_frames):
        mask[song].view(-1)[:frames] = 1
    fbank = torch.randn(*mask.shape, 128)
    return {
        "fbank_features": torch.where(mask[..., None] == 1, fbank, 7.0),
        "input_features": torch.randn(*mask.shape[:2], num_mel_bins, MEL_FRAMES),
        "audio_attention_mask": mask,
    }


def text_inputs(sentence_lengths: list[int], sentence_counts: list[int] | None = None) -> dict[str, torch.Tensor]:
    """Random sentences of so many tokens, padded on the right with RoBERTa's pad token 1."""
    attention_mask = (torch.arange(max(sentence_lengths)) < torch.tensor(sentence_lengths)[:, None]).long()
    input_ids = torch.randint(3, VOCAB_SIZE, attention_mask.shape) * attention_mask + (1 - attention_mask)
    inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
    if sentence_counts is not None:
        inputs["sentence_counts"] = torch.tensor(sentence_counts)
    return inputs
