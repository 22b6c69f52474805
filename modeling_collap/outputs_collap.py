# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Outputs of the CoLLAP models."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling
from transformers.utils import ModelOutput


@dataclass
class CollapAudioOutput(BaseModelOutputWithPooling):
    r"""
    Output of [`CollapAudioModel`]; all that [`CollapModel.score`] needs of songs, so it can be cached.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, num_frames, projection_dim)`):
            Frame embeddings of unit length, 0 where a shorter song has none.
        pooler_output (`torch.FloatTensor` of shape `(batch_size, projection_dim)`):
            The text-free vector of the song, its mean frame scaled to unit length, for a first search stage.
        hidden_states, attentions (`tuple[torch.FloatTensor]`, *optional*, if requested):
            Those of the layers of BEATs, then those of the layers of Whisper, as in the two fields below.
        frame_mask (`torch.BoolTensor` of shape `(batch_size, num_frames)`): True where a frame is real.
        music_model_output, speech_model_output (`BaseModelOutput`, *optional*):
            The encoders' own outputs over the real chunks of all songs one after the other, only if hidden states or
            attentions were requested (an hour of them takes a gigabyte).
        model_fingerprint (`torch.LongTensor` of shape `(batch_size,)`, in evaluation mode):
            Hash of the weights that encoded the songs: no other model scores them.
    """

    frame_mask: torch.BoolTensor | None = None
    music_model_output: BaseModelOutput | None = None
    speech_model_output: BaseModelOutput | None = None
    model_fingerprint: torch.LongTensor | None = None


@dataclass
class CollapTextOutput(BaseModelOutputWithPooling):
    r"""
    Output of [`CollapModel.get_text_features`].

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(num_sentences, num_tokens, hidden_size)`):
            Token states of the text model.
        pooler_output (`torch.FloatTensor` of shape `(num_texts, projection_dim)`):
            One vector a text, the mean of its sentences scaled to unit length; for a document the sentence itself.
        query_embeds (`torch.FloatTensor` of shape `(num_sentences, projection_dim)`):
            One vector of unit length a sentence: the queries of the attention.
        time_query_embeds (`torch.FloatTensor` of shape `(num_sentences, num_time_features)`, *optional*):
            Time query of each sentence: its dot product with the time features of a frame is added to the logit of
            the frame. Only with `temporal_position`.
        sentence_counts (`torch.LongTensor` of shape `(num_texts,)`): Sentences of each text.
        model_fingerprint (`torch.LongTensor` of shape `(num_texts,)`, in evaluation mode):
            Hash of the weights that encoded the texts, as in [`CollapAudioOutput`].
    """

    query_embeds: torch.FloatTensor | None = None
    time_query_embeds: torch.FloatTensor | None = None
    sentence_counts: torch.LongTensor | None = None
    model_fingerprint: torch.LongTensor | None = None


@dataclass
class CollapAttentions(ModelOutput):
    r"""
    The two attentions of each pair of song and sentence ([`CollapModel.attend`]).

    Args:
        kernel_attentions (`torch.FloatTensor` of shape `(batch_size, num_sentences, num_segments, kernel_size)`):
            Weights of the frames inside each segment; a segment's row sums to 1.
        temporal_attentions (`torch.FloatTensor` of shape `(batch_size, num_sentences, num_segments)`):
            Weights of the segments; a song's row sums to 1.
        segment_scores (`torch.FloatTensor` of shape `(batch_size, num_sentences, num_segments)`):
            Cosines of frames and sentence, weighted by `kernel_attentions` and summed over each segment.
        segment_mask (`torch.BoolTensor` of shape `(batch_size, num_segments)`): True where a segment is the song's.
        similarities (`torch.FloatTensor` of shape `(batch_size, num_sentences, num_frames)`):
            Cosines of frames and sentences.
    """

    kernel_attentions: torch.FloatTensor | None = None
    temporal_attentions: torch.FloatTensor | None = None
    segment_scores: torch.FloatTensor | None = None
    segment_mask: torch.BoolTensor | None = None
    similarities: torch.FloatTensor | None = None


@dataclass
class CollapOutput(ModelOutput):
    r"""
    Output of [`CollapModel`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*, returned when `return_loss` is True):
            Symmetric contrastive loss.
        logits_per_audio (`torch.FloatTensor` of shape `(batch_size, num_texts)`): Scaled score of each song and text.
        logits_per_text (`torch.FloatTensor` of shape `(num_texts, batch_size)`): The same, transposed.
        logit_scale (`torch.FloatTensor` of shape `()`): The learned factor in the logits.
        audio_embeds (`torch.FloatTensor` of shape `(batch_size, projection_dim)`): Text-free vectors of the songs.
        text_embeds (`torch.FloatTensor` of shape `(num_texts, projection_dim)`): One vector a text.
        kernel_attentions, temporal_attentions (`torch.FloatTensor`, *optional*, with `output_attentions=True`):
            As in [`CollapAttentions`].
        audio_model_output ([`CollapAudioOutput`]): Frame embeddings, `frame_mask`, and the outputs of the encoders.
        text_model_output ([`CollapTextOutput`]): Queries and token states.
    """

    loss: torch.FloatTensor | None = None
    logits_per_audio: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None
    logit_scale: torch.FloatTensor | None = None
    audio_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None
    kernel_attentions: torch.FloatTensor | None = None
    temporal_attentions: torch.FloatTensor | None = None
    audio_model_output: CollapAudioOutput | None = None
    text_model_output: CollapTextOutput | None = None

    def to_tuple(self) -> tuple[Any, ...]:
        return _to_tuple(self)


def _to_tuple(output: ModelOutput) -> tuple[Any, ...]:
    return tuple(_to_tuple(value) if isinstance(value, ModelOutput) else value for value in output.values())
