# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' PE-Audio as a retriever of songs and of moments in them."""

import numpy as np
import torch
from transformers import BatchFeature, PeAudioFrameLevelModel, PeAudioModel, ProcessorMixin

from .clap import VectorRetriever

WINDOW_S = 10.0


class PeAudioRetriever(VectorRetriever):
    r"""
    transformers' `PeAudioModel`. Scores are dot products, which its logits are a multiple of; its vectors have no unit
    length.

    Args:
        windows (`str`):
            `"whole"`: the song as one clip, whose memory grows with its length; or `"first"` or `"mean"` of windows of
            10 s, see [`collap.baselines.clap`].
    """

    MODEL_CLASS = PeAudioModel
    WINDOWS = ("whole", "first", "mean")

    def __init__(self, model: PeAudioModel, processor: ProcessorMixin, windows: str = "whole"):
        window_s = None if windows == "whole" else WINDOW_S
        super().__init__(model, processor, windows, window_s, model.config.text_config.max_position_embeddings)

    def _embed_windows(self, windows: list[np.ndarray]) -> torch.Tensor:
        # One by one: padding would change them.
        extractor, vectors = self.processor.feature_extractor, []
        for window in windows:
            clip = extractor(window, sampling_rate=extractor.sampling_rate, return_tensors="pt")
            vectors.append(self.model.get_audio_embeds(**clip.to(self.model.device, self.model.dtype)))
        return torch.cat(vectors)

    def _embed_tokens(self, tokens: BatchFeature) -> torch.Tensor:
        # Not get_text_audio_embeds: it uses hidden states without asking for them, and fails.
        states = self.model.text_model(**tokens, output_hidden_states=True).hidden_states[-1]
        return self.model.text_audio_head(states[:, 0])


class PeAudioFrameRetriever(PeAudioRetriever):
    r"""
    transformers' `PeAudioFrameLevelModel`, with a vector for each 40 ms of a song. The score of a song is its best
    frame's; dot products count, as in [`PeAudioRetriever`].
    """

    MODEL_CLASS = PeAudioFrameLevelModel
    WINDOWS = ("whole",)

    def _frames(self, vectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return vectors[0]  # of the whole song, (1, N, d)

    def frame_times(self, num_frames: int, duration_s: float) -> np.ndarray:
        """Start and end of each frame in seconds, `(N, 2)`."""
        frame_s = self.model.config.audio_config.dac_config.hop_length / self.processor.feature_extractor.sampling_rate
        edges = np.minimum(frame_s * np.arange(num_frames + 1), duration_s)
        return np.stack((edges[:-1], edges[1:]), axis=1)
