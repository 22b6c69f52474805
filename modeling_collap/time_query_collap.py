# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Time queries: when in a song a sentence applies, from its position in the text (ours, not the paper's)."""

import torch
from torch import nn

from .configuration_collap import CollapConfig
from .scoring_collap import time_features


class CollapTimeQuery(nn.Module):
    r"""
    One time query for each sentence of a text, computed from all its sentences in order (ours).

    One transformer layer over the sentence vectors with a projection of their positions added, then a linear map to
    the time features; plus a linear map of the position alone. A text of one sentence has no order: its time query is
    zero.
    """

    def __init__(self, config: CollapConfig):
        super().__init__()
        width = config.projection_dim
        self.num_time_features = config.num_time_features
        self.num_heads = config.time_query_heads
        self.position_projection = nn.Linear(config.num_time_features, width)
        self.attention_norm = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_norm = nn.LayerNorm(width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)
        self.norm = nn.LayerNorm(width)
        self.time = nn.Linear(width, config.num_time_features)
        self.position_to_time = nn.Linear(config.num_time_features, config.num_time_features, bias=False)

    def forward(self, query_embeds: torch.Tensor, sentence_counts: torch.Tensor) -> torch.Tensor:
        """`query_embeds` `(S, d)` and `sentence_counts` `(T,)` to time queries `(S, P)`."""
        most = int(sentence_counts.max())
        index = torch.arange(most, device=query_embeds.device)
        is_sentence = index < sentence_counts[:, None]  # (T, most)
        position = index / (sentence_counts[:, None] - 1).clamp(min=1)  # (T, most), 0 = first sentence, 1 = last
        position = time_features(position, self.num_time_features).to(query_embeds.dtype)  # (T, most, P)

        sentences = query_embeds.new_zeros(*is_sentence.shape, query_embeds.shape[-1])
        sentences[is_sentence] = query_embeds  # (T, most, d)
        hidden = sentences + self.position_projection(position)
        qkv = self.attention_in(self.attention_norm(hidden))
        qkv = qkv.unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)  # (3, T, heads, most, head width)
        attended = nn.functional.scaled_dot_product_attention(*qkv, attn_mask=is_sentence[:, None, None])
        hidden = hidden + self.attention_out(attended.transpose(1, 2).flatten(2))  # (T, most, d)
        hidden = hidden + self.mlp_out(nn.functional.gelu(self.mlp_in(self.mlp_norm(hidden))))
        times = self.time(self.norm(hidden)) + self.position_to_time(position)  # (T, most, P)
        times = times * (sentence_counts > 1)[:, None, None]
        return times[is_sentence]  # (S, P)
