# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Trains the baseline that has no attention: one mean vector a song against one vector a text, as CLAP does."""

import sys
from pathlib import Path

import torch

from collap import CollapAudioOutput, CollapModel, CollapTextOutput

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import train


class MeanPoolingCollap(CollapModel):
    """CoLLAP without its attentions: the cosine of the text-free vector of the song and the vector of the text."""

    def score(self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True) -> torch.Tensor:
        pooled = audio.pooler_output
        if pooled is None:  # songs that were put together from kept frames
            pooled = torch.nn.functional.normalize(audio.last_hidden_state.sum(1), dim=-1)
        pooled_text = torch.stack(
            [queries.mean(0) for queries in text.query_embeds.split(text.sentence_counts.tolist())]
        )
        return self.logit_scale.exp() * pooled @ torch.nn.functional.normalize(pooled_text, dim=-1).T


if __name__ == "__main__":
    train.main(model_class=MeanPoolingCollap)
