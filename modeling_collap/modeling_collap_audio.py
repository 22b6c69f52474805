# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The audio half of CoLLAP: BEATs and Whisper over the chunks of whole songs, joined by a linear adapter."""

import math
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple

from .configuration_collap import BEATS_PATCH_FRAMES, HOP_S, VECTOR_S, CollapConfig
from .modeling_beats import BeatsModel
from .outputs_collap import CollapAudioOutput


class CollapPreTrainedModel(PreTrainedModel):
    """Initialisation and loading of all CoLLAP models."""

    config: CollapConfig
    base_model_prefix = "collap"
    input_modalities = ("audio", "text")
    supports_gradient_checkpointing = True
    _supports_sdpa = True

    @classmethod
    def is_custom_code(cls) -> bool:
        # For classes outside its own package, transformers does not call `_init_weights` on modules without parameters
        # of their own, because it could overwrite loaded weights. Ours uses transformers.initialization: it cannot.
        return False

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As in `PreTrainedModel`; then freezes the encoders that the configuration freezes."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        # Loading replaces every parameter by a new, trainable one.
        for module in model.modules():
            if isinstance(module, CollapAudioModel):
                module.freeze_encoders()
        return loaded

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        # Only CoLLAP's own layers come here: the three towers initialise themselves.
        if isinstance(module, nn.Linear):
            init.normal_(module.weight, mean=0.0, std=self.config.initializer_range)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)


def is_trainable(module: nn.Module) -> bool:
    """Whether any parameter is trainable; evaluated at each call, so that LoRA in a frozen tower gets its gradient."""
    return any(parameter.requires_grad for parameter in module.parameters())


def with_output_flags(config: CollapConfig, kwargs: dict[str, Any]) -> dict[str, Any]:
    """`kwargs` with `output_hidden_states` and `output_attentions` from the caller, or else from `config`."""
    flags = ("output_hidden_states", "output_attentions")
    return kwargs | {flag: getattr(config, flag) for flag in flags if kwargs.get(flag) is None}


def frame_times(config: CollapConfig, num_frames: int) -> torch.Tensor:
    """
    Start and end of the first `num_frames` frames of a song in seconds, of shape `(num_frames, 2)`.

    The last 0.08 s of a full chunk of 30 s have no frame.
    """
    index = torch.arange(num_frames)
    chunk_start = (index // config.frames_per_chunk) * config.chunk_length_s
    first_vector = (index % config.frames_per_chunk) * config.frame_pooling
    last_vector = (first_vector + config.frame_pooling).clamp(max=config.vectors_per_chunk)
    vectors = torch.stack((first_vector, last_vector), dim=-1)  # (N, 2)
    return chunk_start[:, None] + vectors * VECTOR_S


def concatenate_outputs(outputs: list[BaseModelOutput]) -> BaseModelOutput:
    """Joins the outputs of micro-batches along the batch."""

    def join(name: str) -> tuple[torch.Tensor, ...] | None:
        layers = [getattr(output, name) for output in outputs]
        if layers[0] is None:
            return None
        # A layer is None if only some were requested.
        return tuple(None if layer[0] is None else torch.cat(layer) for layer in zip(*layers, strict=True))

    return BaseModelOutput(
        last_hidden_state=torch.cat([output.last_hidden_state for output in outputs]),
        hidden_states=join("hidden_states"),
        attentions=join("attentions"),
    )


class CollapAudioModel(CollapPreTrainedModel):
    r"""
    Encodes whole songs: BEATs for music and Whisper for speech, joined by one linear adapter.

    `U = adapter([O, S])` of the paper, over the chunks of a song one after the other. The LayerNorm that the authors
    put on each encoder has no weights here: the linear adapter includes them. So the frames of frozen encoders can be
    computed once and cached ([`~CollapAudioModel.encode`]).
    """

    main_input_name = "fbank_features"
    base_model_prefix = "audio_model"
    input_modalities = ("audio",)
    _keys_to_ignore_on_load_unexpected = [r"^text_", r"^time_query", r"^logit_scale"]  # noqa: RUF012

    def __init__(self, config: CollapConfig):
        super().__init__(config)
        self.music_model = None if config.music_config is None else BeatsModel(config.music_config)
        self.speech_model = None if config.speech_config is None else WhisperEncoder(config.speech_config)
        self.adapter = nn.Linear(config.encoder_hidden_size, config.projection_dim)
        self.freeze_encoders()
        self.post_init()

    def freeze_encoders(self) -> None:
        """Freezes BEATs by `config.freeze_music_model` and Whisper by `config.freeze_speech_model`."""
        if self.music_model is not None and self.config.freeze_music_model:
            self.music_model.requires_grad_(False)
        if self.speech_model is not None and self.config.freeze_speech_model:
            self.speech_model.requires_grad_(False)

    def get_input_embeddings(self) -> nn.Module:
        return (self.music_model or self.speech_model).get_input_embeddings()

    def train(self, mode: bool = True) -> "CollapAudioModel":
        """As usual, but a frozen encoder stays in evaluation mode: no dropout, no layerdrop."""
        super().train(mode)
        for encoder in (self.music_model, self.speech_model):
            if encoder is not None and not is_trainable(encoder):
                encoder.eval()
        return self

    def encode(
        self,
        fbank_features: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        r"""
        Encodes the chunks of songs into joined, pooled frames, before the adapter.

        Frames of frozen encoders do not change in training: they can be computed once, cached, and passed to the model
        as `encoder_frames`.

        Args:
            fbank_features (`torch.Tensor` of shape `(batch_size, num_chunks, num_fbank_frames, num_mel_bins)`):
                Input of BEATs.
            input_features (`torch.Tensor` of shape `(batch_size, num_chunks, num_mel_bins, num_mel_frames)`):
                Input of Whisper.
            audio_attention_mask (`torch.Tensor` of shape `(batch_size, num_chunks, num_fbank_frames)`):
                1 where an fbank frame (10 ms) is real audio; real frames come first in their chunk, real chunks come
                first in their song, and only the last of them may be short.

        Returns:
            `encoder_frames` of shape `(batch_size, num_frames, encoder_hidden_size)` and the boolean `frame_mask` of
            shape `(batch_size, num_frames)`.

        Raises:
            ValueError: if an input is missing, has the wrong shape, or a song has no real audio.
        """
        encoder_frames, frame_mask, _, _ = self._encode(fbank_features, input_features, audio_attention_mask, **kwargs)
        return encoder_frames, frame_mask

    def _encode(
        self,
        fbank_features: torch.Tensor | None,
        input_features: torch.Tensor | None,
        audio_attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, BaseModelOutput | None, BaseModelOutput | None]:
        self._check_inputs(fbank_features, input_features, audio_attention_mask)
        is_real_chunk = audio_attention_mask.any(-1)  # (B, C)
        chunk_mask = audio_attention_mask[is_real_chunk]  # (chunks, fbank_frames)
        lengths = chunk_mask.sum(-1).tolist()
        fbank_chunks = None if self.music_model is None else fbank_features[is_real_chunk]
        speech_chunks = None if self.speech_model is None else input_features[is_real_chunk]
        kwargs = with_output_flags(self.config, kwargs)
        with_outputs = bool(kwargs["output_hidden_states"] or kwargs["output_attentions"])

        def run_encoders(part: slice) -> tuple[torch.Tensor, BaseModelOutput | None, BaseModelOutput | None]:
            music, speech = None, None
            if self.music_model is not None:
                # BEATs needs no padding beyond the longest chunk of this part: its masks are exact. (Outputs that are
                # returned must have one length, so that they can be joined.)
                longest = fbank_chunks.shape[1] if with_outputs else max(lengths[part])
                music = self._run(
                    self.music_model, fbank_chunks[part, :longest], attention_mask=chunk_mask[part, :longest], **kwargs
                )
            if self.speech_model is not None:
                speech = self._run(self.speech_model, speech_chunks[part], **kwargs)
            frames = self._join(music, speech, [self.config.num_vectors(length) for length in lengths[part]])
            return (frames, music, speech) if with_outputs else (frames, None, None)

        size = self.config.encoder_batch_size
        parts = [slice(start, start + size) for start in range(0, len(lengths), size)]
        # Trainable encoders hold the activations of one part at a time and recompute them in the backward pass: the
        # memory does not grow with the song.
        recompute = torch.is_grad_enabled() and len(parts) > 1 and not with_outputs and self._encoders_train()
        outputs = [
            checkpoint(run_encoders, part, use_reentrant=False) if recompute else run_encoders(part) for part in parts
        ]
        frames, music_outputs, speech_outputs = (list(column) for column in zip(*outputs, strict=True))
        counts = [math.ceil(self.config.num_vectors(length) / self.config.frame_pooling) for length in lengths]

        # Frames of the chunks, one after the other: song by song, without the padding.
        chunk_frame_counts = torch.tensor(counts, device=chunk_mask.device)  # (chunks,)
        flat = torch.cat(frames)  # (all real frames, E)
        song_of_chunk = is_real_chunk.nonzero()[:, 0]  # (chunks,)
        frames_per_song = torch.zeros_like(is_real_chunk.sum(-1)).index_add(0, song_of_chunk, chunk_frame_counts)
        frame_mask = torch.arange(int(frames_per_song.max()), device=flat.device) < frames_per_song[:, None]  # (B, N)
        encoder_frames = flat.new_zeros(*frame_mask.shape, flat.shape[-1])
        encoder_frames[frame_mask] = flat  # (B, N, E)
        return (
            encoder_frames,
            frame_mask,
            concatenate_outputs(music_outputs) if with_outputs and self.music_model is not None else None,
            concatenate_outputs(speech_outputs) if with_outputs and self.speech_model is not None else None,
        )

    def _encoders_train(self) -> bool:
        encoders = (self.music_model, self.speech_model)
        return any(encoder is not None and is_trainable(encoder) for encoder in encoders)

    def _check_inputs(
        self,
        fbank_features: torch.Tensor | None,
        input_features: torch.Tensor | None,
        audio_attention_mask: torch.Tensor | None,
    ) -> None:
        if audio_attention_mask is None:
            raise ValueError("audio_attention_mask is missing: 1 for fbank frames of audio, 0 for padding.")
        if self.music_model is not None and fbank_features is None:
            raise ValueError("fbank_features are missing: this model has a music encoder (config.music_config).")
        if self.speech_model is not None and input_features is None:
            raise ValueError("input_features are missing: this model has a speech encoder (config.speech_config).")
        num_fbank_frames = round(self.config.chunk_length_s / HOP_S) - 2
        if audio_attention_mask.dim() != 3 or audio_attention_mask.shape[-1] != num_fbank_frames:
            raise ValueError(
                f"audio_attention_mask must have the shape (batch_size, num_chunks, {num_fbank_frames}) for chunks of "
                f"{self.config.chunk_length_s} s, got {tuple(audio_attention_mask.shape)}."
            )
        real_frames = audio_attention_mask.sum(-1)  # (B, C)
        if (real_frames.max(-1).values < BEATS_PATCH_FRAMES).any():
            raise ValueError(
                f"audio_attention_mask has a song without a chunk of at least {BEATS_PATCH_FRAMES} real frames."
            )
        if ((real_frames[:, 1:] > 0) & (real_frames[:, :-1] < num_fbank_frames)).any():
            raise ValueError(
                "audio_attention_mask has a chunk after one that is not full; only the last may be short."
            )

    @staticmethod
    def _run(encoder: PreTrainedModel, features: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Runs an encoder in its own precision, without a graph if nothing in it is trainable."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and is_trainable(encoder)):
            return encoder(features.to(encoder.dtype), return_dict=True, **kwargs)

    def _join(
        self, music: BaseModelOutput | None, speech: BaseModelOutput | None, num_vectors: list[int]
    ) -> torch.Tensor:
        """Normalises, joins and pools the encoders' vectors of some chunks; `(real frames of these chunks, E)`."""
        pooling = self.config.frame_pooling
        num_frames = math.ceil(max(num_vectors) / pooling)
        parts = []
        for output in (music, speech):
            if output is None:
                continue
            states = output.last_hidden_state.float()  # (chunks, vectors, hidden)
            states = nn.functional.layer_norm(states, states.shape[-1:])
            # BEATs may have fewer vectors (padded with zeros, as the authors do); Whisper may have more.
            missing = num_frames * pooling - states.shape[1]
            parts.append(nn.functional.pad(states, (0, 0, 0, missing)))
        vectors = torch.cat(parts, dim=-1)  # (chunks, frames * pooling, E)
        counts = torch.tensor(num_vectors, device=vectors.device)
        is_real = torch.arange(vectors.shape[1], device=vectors.device) < counts[:, None]  # (chunks, frames * pooling)
        vectors = vectors * is_real[..., None]
        vectors = vectors.unflatten(1, (num_frames, pooling)).sum(2)  # (chunks, frames, E)
        per_frame = is_real.unflatten(1, (num_frames, pooling)).sum(2)  # (chunks, frames)
        is_frame = per_frame > 0
        frames = vectors[is_frame] / per_frame[is_frame][:, None]  # (real frames, E)
        return frames.to(self.adapter.weight.dtype)

    @can_return_tuple
    def forward(
        self,
        fbank_features: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        audio_attention_mask: torch.Tensor | None = None,
        encoder_frames: torch.Tensor | None = None,
        frame_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> CollapAudioOutput:
        r"""
        Args:
            fbank_features, input_features, audio_attention_mask: As in [`~CollapAudioModel.encode`].
            encoder_frames (`torch.Tensor` of shape `(batch_size, num_frames, encoder_hidden_size)`, *optional*):
                Result of `encode`, instead of the three inputs above.
            frame_mask (`torch.Tensor` of shape `(batch_size, num_frames)`, *optional*): Needed with `encoder_frames`.

        Returns:
            [`CollapAudioOutput`]

        Raises:
            ValueError: as `encode`; or if `encoder_frames` come without `frame_mask` or with audio features.
        """
        music_output, speech_output = None, None
        if encoder_frames is None:
            encoder_frames, frame_mask, music_output, speech_output = self._encode(
                fbank_features, input_features, audio_attention_mask, **kwargs
            )
        elif frame_mask is None:
            raise ValueError("frame_mask is missing: encoder_frames need it.")
        elif fbank_features is not None or input_features is not None:
            raise ValueError("encoder_frames replace fbank_features and input_features; got both.")
        frame_mask = frame_mask.bool()
        frames = self.adapter(encoder_frames.to(self.adapter.weight.dtype))  # (B, N, d)
        frames = nn.functional.normalize(frames.float(), dim=-1) * frame_mask[..., None]
        pooled = nn.functional.normalize(frames.sum(1), dim=-1)  # (B, d)
        dtype = self.adapter.weight.dtype
        return CollapAudioOutput(
            last_hidden_state=frames.to(dtype),
            pooler_output=pooled.to(dtype),
            frame_mask=frame_mask,
            music_model_output=music_output,
            speech_model_output=speech_output,
        )
