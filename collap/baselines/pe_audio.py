# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' PE-Audio as a retriever of songs."""

import numpy as np
import torch
from transformers import BatchFeature, PeAudioModel, ProcessorMixin

from .clap import VectorRetriever


class PeAudioRetriever(VectorRetriever):
    r"""
    transformers' `PeAudioModel`. Scores are dot products, which its logits are a multiple of; its vectors have no unit
    length.

    Args:
        model (`PeAudioModel`): The model.
        processor (`PeAudioProcessor`): Its processor, which takes clips of any length.
        windows (`str`):
            `"whole"`: the song as one clip, whose memory grows with its length; or `"first"` or `"mean"`, see
            [`collap.baselines.clap`].
        window_s (`float`): Length of a window in seconds, for `"first"` and `"mean"`.
        batch_size (`int`): Texts that the model takes at a time. Clips go one by one: padding would change them.
    """

    MODEL_CLASS = PeAudioModel
    WINDOWS = ("whole", "first", "mean")

    def __init__(
        self,
        model: PeAudioModel,
        processor: ProcessorMixin,
        windows: str = "whole",
        window_s: float = 10.0,
        batch_size: int = 16,
    ):
        length_s = None if windows == "whole" else window_s
        positions = model.config.text_config.max_position_embeddings
        super().__init__(model, processor, windows, length_s, positions, batch_size)

    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        extractor, vectors = self.processor.feature_extractor, []
        for window in windows:
            clip = extractor(window, sampling_rate=extractor.sampling_rate, return_tensors="pt")
            vectors.append(self.model.get_audio_embeds(**clip.to(self.model.device, self.model.dtype)))
        return torch.cat(vectors)

    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        # Not get_text_audio_embeds: it uses hidden states without asking for them, and fails.
        states = self.model.text_model(**tokens, output_hidden_states=True).hidden_states[-1]
        return self.model.text_audio_head(states[:, 0])


__all__ = ["PeAudioRetriever"]
