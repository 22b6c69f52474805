# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CoLLAP without its attentions: the baseline that says what the attentions are good for.

It has the encoders, the text tower and the training of CoLLAP; `train.main` of examples/train.py takes the class. What
is saved is a CoLLAP to all else, but for its `architectures`; [`load_collap`] goes by those.
"""

from typing import Any

import torch
from torch.nn.functional import normalize
from transformers import PreTrainedConfig

from collap import CollapAudioOutput, CollapModel, CollapTextOutput
from collap.modeling_collap.scoring_collap import mean_over_sentences


class MeanPoolingCollap(CollapModel):
    """The cosine of one mean vector a song and one vector a text, as CLAP does it; with all of the song, not 10 s."""

    def similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True, section_query: bool = False
    ) -> torch.Tensor:
        """As CoLLAP's, in which a mean has neither time nor moments: `use_time` and `section_query` change nothing."""
        pooled = normalize(audio.last_hidden_state.float().sum(1), dim=-1)  # (B, d); frames of padding are zero
        pooled_text = mean_over_sentences(text.query_embeds.float().T, text.sentence_counts).T  # (T, d)
        return pooled @ normalize(pooled_text, dim=-1).T


def load_collap(name_or_path: str, **options: Any) -> CollapModel:
    """A CoLLAP or a [`MeanPoolingCollap`], whichever was saved; `options` are those of `from_pretrained`."""
    architectures = PreTrainedConfig.get_config_dict(name_or_path)[0].get("architectures") or []
    is_mean_pooling = MeanPoolingCollap.__name__ in architectures
    return (MeanPoolingCollap if is_mean_pooling else CollapModel).from_pretrained(name_or_path, **options)
