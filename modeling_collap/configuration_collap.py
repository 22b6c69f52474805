# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Configuration of CoLLAP (Contrastive Long-form Language-Audio Pretraining, arXiv 2410.02271)."""

import math
from dataclasses import field
from typing import Any, Literal

from huggingface_hub.dataclasses import strict
from transformers import AutoConfig, PreTrainedConfig, WhisperConfig
from transformers.configuration_utils import SubConfigSpec

from .configuration_beats import BeatsConfig

# The authors' public feature extractor encodes speech with whisper-large-v2. Only its encoder is built.
WHISPER_LARGE_V2 = {
    "d_model": 1280,
    "encoder_layers": 32,
    "encoder_attention_heads": 20,
    "encoder_ffn_dim": 5120,
    "decoder_layers": 32,
    "decoder_attention_heads": 20,
    "decoder_ffn_dim": 5120,
    "num_mel_bins": 80,
}

MAX_LOGIT_SCALE = math.log(100)  # as in CLIP: the largest logarithm of the factor on the scores
VECTOR_S = 0.02  # seconds between two vectors of either encoder, that is 50 vectors a second
HOP_S = 0.01  # seconds between two mel frames, of Whisper as of BEATs
BEATS_PATCH_FRAMES = 16  # fbank frames in one BEATs time step ...
BEATS_VECTORS_PER_STEP = 8  # ... which gives eight vectors, one for each frequency patch
# As "roberta" in a name: position embeddings begin with padding's, so the first token has position pad_token_id + 1.
POSITIONS_AFTER_PADDING = ("camembert", "data2vec-text", "ibert", "longformer", "luke", "mpnet", "xmod")


@strict
class CollapConfig(PreTrainedConfig):
    r"""
    Configuration of a [`CollapModel`].

    The defaults are the paper's where it gives them (encoders, joint width, temperature) and our reading of it where
    it does not (kernel, stride, weights, temperatures of the attention).

    Args:
        music_config (`BeatsConfig`, `dict` or `None`):
            The BEATs encoder. `None` leaves it out (the paper's ablation).
        speech_config (`WhisperConfig`, `dict` or `None`):
            The Whisper encoder, by default of the size of whisper-large-v2. `None` leaves it out.
        text_config (`PreTrainedConfig` or `dict`):
            Any text model that `AutoModel` builds; a `dict` names it by its `model_type`. Default: RoBERTa base.
        projection_dim (`int`): Joint width *d* of frames and texts.
        chunk_length_s (`float`):
            Seconds of audio that the encoders take at a time, a multiple of 0.02 s. Whisper fixes it at 30 s
            (`max_source_positions` vectors of 0.02 s).
        frame_pooling (`int`):
            Consecutive encoder vectors (0.02 s each) averaged into one frame. 8 is one BEATs time step, 0.16 s.
            1 joins the encoders by index, as the authors' code does.
        kernel_size (`int`): Frames *K* of a segment: what the kernel-wise attention weighs.
        kernel_stride (`int`): Frames from the start of a segment to the start of the next.
        kernel_weight (`float`): *gamma_K*, weight of the global alignment (mean over the segments).
        temporal_weight (`float`): *gamma_T*, weight of the temporal alignment (attention over the segments).
        kernel_temperature (`float`): *tau_K*, divides the cosines before the softmax over a segment's frames.
        temporal_temperature (`float`): *tau_T*, divides the segments' scores before the softmax over segments.
        logit_scale_init_value (`float`):
            Logarithm of the factor on the fused score, log(1 / 100) to log(100); the paper's is log(1 / 0.07).
        text_granularity (`"document"` or `"sentence"`):
            `"document"`: one vector a text (our reading of the paper). `"sentence"`: one vector a sentence (ours).
        temporal_position (`bool`):
            Whether the attention also uses the time of a frame relative to the song (ours; the paper's attention has
            no positions). Needs `text_granularity="sentence"`: the order of the sentences gives the time.
        num_time_features (`int`): Sines and cosines of relative time, *P*; an even number.
        time_query_heads (`int`): Attention heads of [`CollapTimeQuery`].
        text_pooling (`"first"`, `"last"`, `"mean"` or `None`):
            Vector of a sentence: its first token (RoBERTa), its last token without padding (GPT-2), or the mean of its
            tokens without padding (most models of sentence-transformers). `None`: `"last"` for GPT-2, `"mean"` for
            the encoder of an encoder-decoder (T5), else `"first"`.
        freeze_music_model (`bool`): Whether BEATs is not trained.
        freeze_speech_model (`bool`): Whether Whisper is not trained.
        encoder_batch_size (`int`): Chunks that go through an audio encoder at a time; bounds the memory.
        score_block_size (`int`):
            Pairs of frame and sentence scored at a time; bounds the memory (0.7 GB by default). Fewer on a CPU.
        initializer_range (`float`): Standard deviation of the initial weights of CoLLAP's own layers.

    Raises:
        StrictDataclassError: (of huggingface_hub) if a field has the wrong type, lies outside its range, or
            contradicts another; the message names the field.

    Example:

    ```python
    >>> from collap import CollapConfig

    >>> config = CollapConfig(kernel_size=64, kernel_stride=32)
    >>> config.frame_length_s
    0.16
    >>> config.encoder_hidden_size  # BEATs 768 + Whisper 1280
    2048

    ```
    """

    model_type = "collap"
    sub_configs_defaults = {  # noqa: RUF012 - transformers' own convention for composite configurations
        "music_config": SubConfigSpec(config_class=BeatsConfig, optional=True),
        "speech_config": SubConfigSpec(config_class=WhisperConfig, optional=True),
        "text_config": SubConfigSpec(config_class=AutoConfig, model_type="roberta"),
    }

    # `None` means "leave this encoder out", so "not given" needs a default of its own.
    music_config: dict | PreTrainedConfig | None = field(default_factory=dict)
    speech_config: dict | PreTrainedConfig | None = field(default_factory=lambda: dict(WHISPER_LARGE_V2))
    text_config: dict | PreTrainedConfig | None = None

    projection_dim: int = 512
    chunk_length_s: float | int = 30.0
    frame_pooling: int = 8
    kernel_size: int = 32
    kernel_stride: int = 32
    kernel_weight: float | int = 0.5
    temporal_weight: float | int = 0.5
    kernel_temperature: float | int = 0.1
    temporal_temperature: float | int = 0.1
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    text_granularity: Literal["document", "sentence"] = "document"
    temporal_position: bool = False
    num_time_features: int = 16
    time_query_heads: int = 4
    text_pooling: Literal["first", "last", "mean"] | None = None
    freeze_music_model: bool = True
    freeze_speech_model: bool = True
    encoder_batch_size: int = 8
    score_block_size: int = 67_108_864
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.text_pooling is None:
            self.text_pooling = "mean" if self.text_config.is_encoder_decoder else "first"
            if self.text_config.model_type == "gpt2":
                self.text_pooling = "last"

    @property
    def encoder_hidden_size(self) -> int:
        """Width *E* of a joined frame before the adapter."""
        widths = [config.hidden_size for config in (self.music_config, self.speech_config) if config is not None]
        return sum(widths)

    @property
    def frame_length_s(self) -> float:
        """Seconds from the start of a frame to the start of the next."""
        return self.frame_pooling * VECTOR_S

    @property
    def vectors_per_chunk(self) -> int:
        """Encoder vectors of a full chunk: 1,496 for 30 s (1,500 when joined by index)."""
        return self.num_vectors(round(self.chunk_length_s / HOP_S) - 2)

    @property
    def frames_per_chunk(self) -> int:
        """Frames of a full chunk: 187 for 30 s."""
        return math.ceil(self.vectors_per_chunk / self.frame_pooling)

    @property
    def max_text_tokens(self) -> int | None:
        """Tokens of a row that the text model has positions for, 512 for RoBERTa; `None` if it takes any number."""
        text = self.text_config
        positions = getattr(text, "max_position_embeddings", None) or 0
        is_relative = hasattr(text, "rope_parameters") or not getattr(text, "position_biased_input", True)
        if positions < 1 or is_relative:  # XLNet's number is -1
            return None
        after_padding = "roberta" in text.model_type or text.model_type in POSITIONS_AFTER_PADDING
        return positions - (text.pad_token_id + 1 if after_padding else 0)

    def num_vectors(self, num_fbank_frames: Any) -> Any:
        """
        Encoder vectors in a chunk of which `num_fbank_frames` (10 ms each) are real; whole numbers or tensors of them.

        Both encoders have `8 * (frames // 16)` of them. Joined by index (`frame_pooling=1`, as the authors do) the
        number is Whisper's, and BEATs is padded with zeros.
        """
        if self.frame_pooling == 1:
            return (num_fbank_frames >= BEATS_PATCH_FRAMES) * ((num_fbank_frames + 2) // 2)
        return BEATS_VECTORS_PER_STEP * (num_fbank_frames // BEATS_PATCH_FRAMES)

    def validate_collap(self) -> None:
        """Checks the fields; called by `@strict` after `__post_init__`."""
        if self.music_config is None and self.speech_config is None:
            raise ValueError("music_config and speech_config are both None: CoLLAP needs at least one audio encoder.")
        at_least_one = (
            "projection_dim",
            "frame_pooling",
            "kernel_size",
            "kernel_stride",
            "encoder_batch_size",
            "score_block_size",
            "num_time_features",
            "time_query_heads",
        )
        for name in at_least_one:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}.")
        for name in ("kernel_temperature", "temporal_temperature"):  # well inside float32, where they divide
            if not 1e-6 <= getattr(self, name) <= 1e6:
                raise ValueError(f"{name} must be between 1e-6 and 1e6, got {getattr(self, name)}.")
        for name in ("kernel_weight", "temporal_weight", "initializer_range"):
            if not 0 <= getattr(self, name) <= 1e6:
                raise ValueError(f"{name} must be between 0 and 1e6, got {getattr(self, name)}.")
        if not abs(self.logit_scale_init_value) <= MAX_LOGIT_SCALE:
            raise ValueError(
                f"logit_scale_init_value is the logarithm of the factor and must be at most log(100) = "
                f"{MAX_LOGIT_SCALE:.3f} above or below 0 (the paper's is log(1 / 0.07) = 2.659), got "
                f"{self.logit_scale_init_value}."
            )
        if self.kernel_weight + self.temporal_weight == 0:
            raise ValueError("kernel_weight and temporal_weight are both 0: expected one above 0.")
        self._validate_time()
        self._validate_chunks()

    def _validate_time(self) -> None:
        if self.num_time_features % 2:
            raise ValueError(f"num_time_features must be even (sines and cosines), got {self.num_time_features}.")
        if self.temporal_position and self.text_granularity != "sentence":
            raise ValueError(
                "temporal_position=True needs text_granularity='sentence' (the order of the sentences gives the "
                f"time), got text_granularity={self.text_granularity!r}."
            )
        if self.temporal_position and self.projection_dim % self.time_query_heads:
            raise ValueError(
                f"projection_dim ({self.projection_dim}) must be a multiple of time_query_heads "
                f"({self.time_query_heads})."
            )

    def _validate_chunks(self) -> None:
        num_vectors = self.chunk_length_s / VECTOR_S
        if not math.isfinite(num_vectors) or abs(num_vectors - round(num_vectors)) > 1e-6:
            raise ValueError(f"chunk_length_s must be a multiple of {VECTOR_S} s, got {self.chunk_length_s}.")
        if self.vectors_per_chunk == 0:
            raise ValueError(f"chunk_length_s must hold 16 fbank frames (0.18 s), got {self.chunk_length_s}.")
        if self.speech_config is not None and self.speech_config.max_source_positions != round(num_vectors):
            raise ValueError(
                f"chunk_length_s={self.chunk_length_s} gives {round(num_vectors)} Whisper vectors, but "
                f"speech_config.max_source_positions is {self.speech_config.max_source_positions}; "
                f"chunk_length_s must be {self.speech_config.max_source_positions * VECTOR_S:g}."
            )
