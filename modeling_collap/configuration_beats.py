# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Configuration of BEATs (Bidirectional Encoder representation from Audio Transformers, arXiv 2212.09058)."""

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig
from transformers.activations import ACT2FN
from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

DROPOUTS = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "layerdrop")


@strict
class BeatsConfig(PreTrainedConfig):
    r"""
    Configuration of a [`BeatsModel`]. The defaults are those of the released base model (90 million parameters).

    All released checkpoints share the choices that are therefore built in and not configurable: residuals scaled as
    in DeepNet ("deep norm") with the norm after each block, a gated relative position bias, patches without bias.

    Args:
        num_mel_bins (`int`): Mel bins of a filter bank frame, a multiple of `patch_size`.
        patch_size (`int`): Side of the square patches: 16 frames (160 ms) by 16 mel bins.
        embed_dim (`int`): Width of a patch before it is projected to `hidden_size`.
        hidden_size (`int`): Width of the encoder.
        num_hidden_layers (`int`): Layers *N* of the encoder; the residuals are scaled by *(2N)^(1/4)*.
        num_attention_heads (`int`): Attention heads of a layer; divides `hidden_size`.
        intermediate_size (`int`): Width of the feed-forward part of a layer.
        hidden_act (`str`): Activation of the feed-forward part. "gelu" is the exact one (erf), not its tanh twin.
        hidden_dropout (`float`): Dropout after the attention, after the feed-forward part and before the first layer.
        attention_dropout (`float`): Dropout of the attention weights.
        activation_dropout (`float`): Dropout inside the feed-forward part.
        feat_proj_dropout (`float`): Dropout of the projected patches.
        layerdrop (`float`): Probability that a layer is skipped in training.
        layer_norm_eps (`float`): Epsilon of all layer norms.
        num_conv_pos_embeddings (`int`): Kernel of the convolution that gives absolute positions, in tokens.
        num_conv_pos_embedding_groups (`int`): Groups of that convolution; divides `hidden_size`.
        num_buckets (`int`): Buckets of the relative position bias: half of them for keys before the query and half
            for keys after it; of each half, one half is exact and the other logarithmic.
        max_bucket_distance (`int`): Distance in tokens from which on all keys share the last bucket.
        initializer_range (`float`): Standard deviation of the initial weights that deep norm does not rule.

    Raises:
        StrictDataclassClassValidationError: if fields contradict each other; it names them and their values.

    Example:

    ```python
    >>> from collap import BeatsConfig, BeatsModel

    >>> config = BeatsConfig(hidden_size=96, num_hidden_layers=2, num_attention_heads=6, intermediate_size=192)
    >>> config.num_frequency_patches
    8
    >>> model = BeatsModel(config)

    ```
    """

    # Should transformers get a BEATs of its own, the name is taken, and the Auto classes mean that one by it.
    model_type = "collap-beats" if "beats" in CONFIG_MAPPING_NAMES else "beats"

    num_mel_bins: int = 128
    patch_size: int = 16
    embed_dim: int = 512
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    hidden_act: str = "gelu"
    hidden_dropout: float | int = 0.1
    attention_dropout: float | int = 0.1
    activation_dropout: float | int = 0.0
    feat_proj_dropout: float | int = 0.1
    layerdrop: float | int = 0.05
    layer_norm_eps: float = 1e-5
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    num_buckets: int = 320
    max_bucket_distance: int = 800
    initializer_range: float = 0.02

    @property
    def num_frequency_patches(self) -> int:
        """Patches, and so tokens, of one time step of `patch_size` frames."""
        return self.num_mel_bins // self.patch_size

    def num_tokens(self, num_frames: int) -> int:
        """Tokens of a clip of `num_frames` filter bank frames: an incomplete last time step has none."""
        return num_frames // self.patch_size * self.num_frequency_patches

    def validate_architecture(self) -> None:
        """Checks the numbers against each other; called by `@strict` when a configuration is made or saved."""
        super().validate_architecture()
        sizes = (
            "num_mel_bins",
            "patch_size",
            "embed_dim",
            "hidden_size",
            "num_hidden_layers",
            "num_attention_heads",
            "intermediate_size",
            "num_conv_pos_embeddings",
            "num_conv_pos_embedding_groups",
        )
        for name in sizes:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in (*DROPOUTS, "layer_norm_eps", "initializer_range"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be between 0 and 1, got {getattr(self, name)}.")
        if self.hidden_act not in ACT2FN:
            raise ValueError(f"hidden_act must be an activation of transformers, got {self.hidden_act!r}.")
        multiples = (
            ("num_mel_bins", "patch_size"),
            ("hidden_size", "num_attention_heads"),
            ("hidden_size", "num_conv_pos_embedding_groups"),
        )
        for whole, part in multiples:
            if getattr(self, whole) % getattr(self, part):
                raise ValueError(
                    f"{whole} must be a multiple of {part}, got {getattr(self, whole)} and {getattr(self, part)}."
                )
        if self.num_buckets < 4 or self.num_buckets % 4:
            raise ValueError(f"num_buckets must be a multiple of 4, got {self.num_buckets}.")
        if self.max_bucket_distance <= self.num_buckets // 4:
            raise ValueError(
                f"max_bucket_distance must be greater than num_buckets // 4 (the exact buckets of one side), "
                f"got {self.max_bucket_distance} and num_buckets={self.num_buckets}."
            )
