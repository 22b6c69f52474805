# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Operations of the models, counted by hand from their configurations: torch's counter misses fused attention on a CPU.

A multiply-add is two operations. Only products count (linear layers, convolutions, attention): norms, activations,
biases and softmax are some percent of the time, and of no use to compare with a rate of matrix products.
"""

import itertools
import math

from transformers import PretrainedConfig, WhisperConfig

from collap import BeatsConfig, CollapConfig
from collap.modeling_collap.configuration_collap import HOP_S


def linear(num_rows: int, *widths: int) -> int:
    """Linear layers from each width to the next."""
    return sum(2 * num_rows * first * second for first, second in itertools.pairwise(widths))


def transformer_layer(num_tokens: int, width: int, inner_width: int) -> int:
    """Queries, keys, values and output; the products of queries and keys, and of weights and values; feed-forward."""
    projections = 4 * linear(num_tokens, width, width)
    attention = 2 * linear(num_tokens, width, num_tokens)
    return projections + attention + linear(num_tokens, width, inner_width, width)


def beats(config: BeatsConfig, num_frames: int) -> int:
    """A clip of `num_frames` filter bank frames."""
    num_tokens = num_frames // config.patch_size * config.num_frequency_patches
    width, kernel = config.hidden_size, config.num_conv_pos_embeddings
    embeddings = linear(num_tokens, config.patch_size**2, config.embed_dim, width)
    positions = linear(num_tokens, kernel * width // config.num_conv_pos_embedding_groups, width)
    gates = linear(num_tokens * config.num_attention_heads, width // config.num_attention_heads, 8)
    layer = transformer_layer(num_tokens, width, config.intermediate_size) + gates
    return embeddings + positions + config.num_hidden_layers * layer


def whisper_encoder(config: WhisperConfig) -> int:
    """A window of 30 s (`max_source_positions` vectors): two convolutions of three frames, then the layers."""
    num_tokens, width = config.max_source_positions, config.d_model
    convolutions = linear(2 * num_tokens, 3 * config.num_mel_bins, width) + linear(num_tokens, 3 * width, width)
    return convolutions + config.encoder_layers * transformer_layer(num_tokens, width, config.encoder_ffn_dim)


def encode_song(config: CollapConfig, song_s: float) -> int:
    """A song by both encoders and the adapter. BEATs takes the length of the last chunk, Whisper always 30 s."""
    num_chunks = math.ceil(song_s / config.chunk_length_s)
    num_frames = int(song_s / config.frame_length_s)
    num_operations = linear(num_frames, config.encoder_hidden_size, config.projection_dim)
    if config.music_config is not None:
        last_s = song_s - (num_chunks - 1) * config.chunk_length_s
        full, last = (
            beats(config.music_config, round(length / HOP_S) - 2) for length in (config.chunk_length_s, last_s)
        )
        num_operations += (num_chunks - 1) * full + last
    if config.speech_config is not None:
        num_operations += num_chunks * whisper_encoder(config.speech_config)
    return num_operations


def text_encoder(config: PretrainedConfig, lengths: list[int]) -> int:
    """Sequences of so many tokens through the layers of a BERT or RoBERTa."""
    layers = [transformer_layer(length, config.hidden_size, config.intermediate_size) for length in lengths]
    return config.num_hidden_layers * sum(layers)


def score(num_songs: int, num_frames: int, num_sentences: int, width: int, num_time_features: int = 0) -> int:
    """Dot products of all frames and all sentences, and of their time features."""
    return linear(num_songs * num_frames, width + num_time_features, num_sentences)


def train_step(config: CollapConfig, lengths: list[int], num_songs: int, num_frames: int) -> int:
    """
    A step on cached frames and sequences of so many tokens. The backward pass takes two products for each of the
    forward pass, for the gradients of both its factors; one in the adapter, whose frames need none.
    """
    num_time_features = config.num_time_features if config.temporal_position else 0
    adapter = linear(num_songs * num_frames, config.encoder_hidden_size, config.projection_dim)
    scores = score(num_songs, num_frames, len(lengths), config.projection_dim, num_time_features)
    return 2 * adapter + 3 * (text_encoder(config.text_config, lengths) + scores)
