# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The contrastive loss of CoLLAP."""

import torch
from torch import nn


def contrastive_loss(logits_per_audio: torch.Tensor) -> torch.Tensor:
    r"""
    Symmetric InfoNCE: the mean of the cross-entropy over rows (audio to text) and over columns (text to audio).

    Args:
        logits_per_audio (`torch.Tensor` of shape `(batch_size, batch_size)`):
            Scaled similarities; song *i* belongs to text *i*.

    Returns:
        `torch.Tensor`: the loss, a scalar in float32.

    Raises:
        ValueError: if the matrix is not square.

    Source: the paper's section on training; van den Oord et al. (arXiv 1807.03748), Radford et al. (arXiv 2103.00020).
    """
    num_songs, num_texts = logits_per_audio.shape
    if num_songs != num_texts:
        raise ValueError(
            "return_loss=True needs one text for each song, in the same order; "
            f"got {num_songs} songs and {num_texts} texts."
        )
    logits = logits_per_audio.float()
    targets = torch.arange(num_songs, device=logits.device)
    audio_to_text = nn.functional.cross_entropy(logits, targets)
    text_to_audio = nn.functional.cross_entropy(logits.T, targets)
    return (audio_to_text + text_to_audio) / 2
