# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The audio half of CoLLAP: BEATs and Whisper over the chunks of whole songs, joined by a linear adapter."""

import math
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.processing_utils import Unpack
from transformers.utils import TransformersKwargs, can_return_tuple, logging

from .configuration_collap import BEATS_PATCH_FRAMES, HOP_S, VECTOR_S, CollapConfig
from .modeling_beats import BeatsModel
from .modeling_collap_base import (
    TEXT_INPUTS,
    CollapPreTrainedModel,
    check_tensors,
    fingerprint,
    floating_dtype,
    has_sharded_layers,
    is_trainable,
    with_output_flags,
    without_inputs,
)
from .outputs_collap import CollapAudioOutput

logger = logging.get_logger(__name__)


def frame_times(config: CollapConfig, num_frames: int, device: torch.device | str | None = None) -> torch.Tensor:
    """
    Start and end of the first `num_frames` frames of a song in seconds, of shape `(num_frames, 2)`.

    The last 0.08 s of a full chunk of 30 s have no frame.
    """
    index = torch.arange(num_frames, device=device)
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

    `U = adapter([O, S])` of the paper, over the chunks of a song one after the other. (This adapter is the paper's
    linear layer, not an adapter of PEFT.) The LayerNorm that the authors put on each encoder has no weights here: the
    linear adapter includes them. So the frames of frozen encoders can be computed once and cached
    ([`~CollapAudioModel.encode`]). `CollapAudioModel.from_pretrained` takes the folder of a [`CollapModel`] and loads
    its audio half only. Its auto class is `AutoModelForAudioXVector`: an x-vector is one vector of a whole recording,
    here `pooler_output`.
    """

    main_input_name = "fbank_features"
    base_model_prefix = "audio_model"
    input_modalities = ("audio",)
    _keys_to_ignore_on_load_unexpected = [r"^text_model", r"^logit_scale"]  # noqa: RUF012

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
        kwargs = without_inputs(kwargs, TEXT_INPUTS)
        encoder_frames, frame_mask, _, _ = self._encode(fbank_features, input_features, audio_attention_mask, **kwargs)
        return encoder_frames, frame_mask

    def _encode(
        self,
        fbank_features: torch.Tensor | None,
        input_features: torch.Tensor | None,
        audio_attention_mask: torch.Tensor | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor, BaseModelOutput | None, BaseModelOutput | None]:
        self._check_shapes(fbank_features, input_features, audio_attention_mask)
        in_graph = torch.compiler.is_compiling()  # shapes and errors must then not depend on values
        if not in_graph:
            self._check_mask(audio_attention_mask)
        kwargs = with_output_flags(self.config, kwargs)
        with_outputs = bool(kwargs["output_hidden_states"] or kwargs["output_attentions"])
        num_songs, num_chunks, num_fbank_frames = audio_attention_mask.shape
        chunk_mask = audio_attention_mask.flatten(0, 1)  # (B * C, fbank frames)
        lengths = chunk_mask.sum(-1)  # (B * C,)
        fbank_chunks = None if self.music_model is None else fbank_features.flatten(0, 1)
        speech_chunks = None if self.speech_model is None else input_features.flatten(0, 1)

        def run_encoders(part: torch.Tensor) -> tuple[torch.Tensor, BaseModelOutput | None, BaseModelOutput | None]:
            music, speech = None, None
            # BEATs needs no padding beyond the longest chunk of this part: its masks are exact. (Outputs that are
            # returned must have one length, so that they can be joined.)
            longest = num_fbank_frames if in_graph or with_outputs else int(lengths[part].max())
            if self.music_model is not None:
                mask = chunk_mask[part, :longest]
                music = self._run(self.music_model, fbank_chunks[part, :longest], attention_mask=mask, **kwargs)
            if self.speech_model is not None:
                speech = self._run(self.speech_model, speech_chunks[part], **kwargs)
            num_frames = math.ceil(self.config.num_vectors(longest) / self.config.frame_pooling)
            frames = self._join(music, speech, self.config.num_vectors(lengths[part]), num_frames)
            frames = nn.functional.pad(frames, (0, 0, 0, self.config.frames_per_chunk - num_frames))
            return (frames, music, speech) if with_outputs else (frames, None, None)

        # Chunks of padding, or too short for a vector, are not encoded. In a graph all are: the masks hide them.
        chunks = torch.arange(num_songs * num_chunks, device=lengths.device)
        if not in_graph:
            chunks = chunks[lengths >= BEATS_PATCH_FRAMES]
        # Trainable encoders hold the activations of one part at a time and recompute them in the backward pass: the
        # memory does not grow with the song. With gradient checkpointing the layers do so instead, not inside of a
        # part, where each would be computed three times. Only their inputs are then kept, but those of all parts:
        # about 0.1 GB for a chunk of 30 s and BEATs' base size, a tenth of its activations.
        recompute = (
            torch.is_grad_enabled()
            and not with_outputs
            and not self._recomputes_layers()
            and self._needs_graph(fbank_features, input_features)
        )
        # In a graph a number of parts fixes the number of chunks: several only where the memory needs them.
        in_one_part = torch.compiler.is_exporting() or (in_graph and not recompute)
        parts = (chunks,) if in_one_part else chunks.split(self.config.encoder_batch_size)
        recompute = recompute and len(parts) > 1
        outputs = [
            checkpoint(run_encoders, part, use_reentrant=False) if recompute else run_encoders(part) for part in parts
        ]
        frames, music_outputs, speech_outputs = (list(column) for column in zip(*outputs, strict=True))
        frames = torch.cat(frames)  # (encoded chunks, F, E)
        of_all_chunks = frames.new_zeros(num_songs * num_chunks, *frames.shape[1:]).index_copy(0, chunks, frames)
        encoder_frames = of_all_chunks.unflatten(0, (num_songs, num_chunks)).flatten(1, 2)  # (B, C * F, E)

        # Only the last chunk of a song may be short, so that its real frames come first.
        frame_counts = (self.config.num_vectors(lengths) + self.config.frame_pooling - 1) // self.config.frame_pooling
        frame_mask = torch.arange(frames.shape[1], device=lengths.device) < frame_counts[:, None]  # (B * C, F)
        frame_mask = frame_mask.unflatten(0, (num_songs, num_chunks)).flatten(1)  # (B, C * F)
        if not in_graph:
            longest_song = int(frame_mask.sum(-1).max())
            encoder_frames, frame_mask = encoder_frames[:, :longest_song], frame_mask[:, :longest_song]
        return (
            encoder_frames,
            frame_mask,
            concatenate_outputs(music_outputs) if with_outputs and self.music_model is not None else None,
            concatenate_outputs(speech_outputs) if with_outputs and self.speech_model is not None else None,
        )

    def _trained_encoders(self) -> list[PreTrainedModel]:
        encoders = (self.music_model, self.speech_model)
        return [encoder for encoder in encoders if encoder is not None and is_trainable(encoder)]

    def _recomputes_layers(self) -> bool:
        """Whether all layers of the trained encoders are checkpointed."""
        trained = self._trained_encoders()
        return bool(trained) and all(own.training and own.is_activation_checkpointing for own in trained)

    def _needs_graph(self, *features: torch.Tensor | None) -> bool:
        return bool(self._trained_encoders()) or any(own is not None and own.requires_grad for own in features)

    def _check_shapes(
        self,
        fbank_features: torch.Tensor | None,
        input_features: torch.Tensor | None,
        audio_attention_mask: torch.Tensor | None,
    ) -> None:
        features = {"fbank_features": fbank_features, "input_features": input_features}
        check_tensors(features | {"audio_attention_mask": audio_attention_mask})
        if audio_attention_mask is None:
            raise ValueError("audio_attention_mask is missing: 1 for fbank frames of audio, 0 for padding.")
        num_fbank_frames = round(self.config.chunk_length_s / HOP_S) - 2
        if audio_attention_mask.dim() != 3 or audio_attention_mask.shape[-1] != num_fbank_frames:
            raise ValueError(
                f"audio_attention_mask must have the shape (batch_size, num_chunks, {num_fbank_frames}) for chunks of "
                f"{self.config.chunk_length_s} s, got {tuple(audio_attention_mask.shape)}."
            )
        songs, music, speech = audio_attention_mask.shape[:2], self.config.music_config, self.config.speech_config
        mel_shape = None if speech is None else (*songs, speech.num_mel_bins, 2 * speech.max_source_positions)
        fbank_shape = None if music is None else (*songs, num_fbank_frames, music.num_mel_bins)
        for name, features, encoder, shape in (
            ("fbank_features", fbank_features, "music", fbank_shape),
            ("input_features", input_features, "speech", mel_shape),
        ):
            if shape is None:
                if features is not None:
                    logger.warning_once(
                        f"{name} are not used: this model has no {encoder} encoder. Make the processor with "
                        f"{encoder}=False, which saves their computation."
                    )
            elif features is None:
                raise ValueError(f"{name} are missing: this model has a {encoder} encoder (config.{encoder}_config).")
            elif features.shape != shape:
                raise ValueError(
                    f"{name} must have the shape {shape} by the configuration of the {encoder} encoder and by "
                    f"audio_attention_mask, got {tuple(features.shape)}."
                )

    def _check_mask(self, audio_attention_mask: torch.Tensor) -> None:
        real_frames = audio_attention_mask.sum(-1)  # (B, C)
        if (real_frames.max(-1).values < BEATS_PATCH_FRAMES).any():
            raise ValueError(
                f"audio_attention_mask has a song without a chunk of at least {BEATS_PATCH_FRAMES} real frames."
            )
        if ((real_frames[:, 1:] > 0) & (real_frames[:, :-1] < audio_attention_mask.shape[-1])).any():
            raise ValueError(
                "audio_attention_mask has a chunk after one that is not full; only the last may be short."
            )

    @staticmethod
    def _run(encoder: PreTrainedModel, features: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Runs an encoder in its own precision, without a graph if nothing needs a gradient."""
        if has_sharded_layers(encoder):
            logger.warning_once(
                "The layers of an audio encoder are sharded over processes. Processes whose songs have different "
                "numbers of chunks would wait for each other forever: shard the model as one unit, or pass cached "
                "frames (encoder_frames)."
            )
        with torch.set_grad_enabled(torch.is_grad_enabled() and (is_trainable(encoder) or features.requires_grad)):
            return encoder(features.to(floating_dtype(encoder)), return_dict=True, **kwargs)

    def _join(
        self, music: BaseModelOutput | None, speech: BaseModelOutput | None, num_vectors: torch.Tensor, num_frames: int
    ) -> torch.Tensor:
        """
        Normalises, joins and pools the encoders' vectors of some chunks: `(chunks, num_frames, E)`, 0 for padding.

        `num_vectors` `(chunks,)` are the real ones.
        """
        pooling = self.config.frame_pooling
        parts = []
        for output in (music, speech):
            if output is None:
                continue
            states = output.last_hidden_state.float().to(num_vectors.device)  # (chunks, vectors, hidden)
            states = nn.functional.layer_norm(states, states.shape[-1:])
            # BEATs may have fewer vectors (padded with zeros, as the authors do); Whisper may have more.
            missing = num_frames * pooling - states.shape[1]
            parts.append(nn.functional.pad(states, (0, 0, 0, missing)))
        vectors = torch.cat(parts, dim=-1)  # (chunks, frames * pooling, E)
        is_real = torch.arange(vectors.shape[1], device=vectors.device) < num_vectors[:, None]
        vectors = vectors * is_real[..., None]
        vectors = vectors.unflatten(1, (num_frames, pooling)).sum(2)  # (chunks, frames, E)
        per_frame = is_real.unflatten(1, (num_frames, pooling)).sum(2)  # (chunks, frames)
        return (vectors / per_frame.clamp(min=1)[..., None]).to(floating_dtype(self.adapter))

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
            kwargs: `output_hidden_states`, `output_attentions` and `return_dict`. The inputs of [`CollapTextModel`]
                are ignored, so that a whole batch of [`CollapProcessor`] can be given.

        Returns:
            [`CollapAudioOutput`]

        Raises:
            ValueError: as `encode`; if `encoder_frames` come without `frame_mask` or with audio features; or if the
                real frames of a song are none, or do not come first.
        """
        check_tensors({"encoder_frames": encoder_frames, "frame_mask": frame_mask})
        music_output, speech_output = None, None
        if encoder_frames is None:
            encoder_frames, frame_mask, music_output, speech_output = self._encode(
                fbank_features, input_features, audio_attention_mask, **without_inputs(kwargs, TEXT_INPUTS)
            )
        elif frame_mask is None:
            raise ValueError("frame_mask is missing: encoder_frames need it.")
        elif fbank_features is not None or input_features is not None:
            raise ValueError("encoder_frames replace fbank_features and input_features; got both.")
        frame_mask = frame_mask.bool()
        if not torch.compiler.is_compiling() and (
            not frame_mask[:, 0].all() or (frame_mask[:, 1:] & ~frame_mask[:, :-1]).any()
        ):
            raise ValueError("frame_mask must be 1 for the frames of a song, one at least, and then 0 for padding.")
        dtype = floating_dtype(self.adapter)
        frames = self.adapter(encoder_frames.to(dtype))  # (B, N, d)
        frame_mask = frame_mask.to(frames.device)
        frames = nn.functional.normalize(frames.float(), dim=-1) * frame_mask[..., None]
        pooled = nn.functional.normalize(frames.sum(1), dim=-1)  # (B, d)
        return CollapAudioOutput(
            last_hidden_state=frames.to(dtype),
            pooler_output=pooled.to(dtype),
            hidden_states=_of_both(music_output, speech_output, "hidden_states"),
            attentions=_of_both(music_output, speech_output, "attentions"),
            frame_mask=frame_mask,
            music_model_output=music_output,
            speech_model_output=speech_output,
            model_fingerprint=None if self.training else fingerprint(self, frames.shape[0]),
        )


def _of_both(
    music: BaseModelOutput | None, speech: BaseModelOutput | None, name: str
) -> tuple[torch.Tensor, ...] | None:
    """Hidden states or attentions of the layers of BEATs, then of those of Whisper."""
    layers = [getattr(output, name) for output in (music, speech) if output is not None]
    found = tuple(layer for of_encoder in layers if of_encoder is not None for layer in of_encoder)
    return found or None
