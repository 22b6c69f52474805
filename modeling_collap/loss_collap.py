# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The contrastive loss of CoLLAP."""

import torch
from torch import nn


def contrastive_loss(
    logits_per_audio: torch.Tensor, song_ids: torch.Tensor | None = None, text_ids: torch.Tensor | None = None
) -> torch.Tensor:
    r"""
    Symmetric InfoNCE: the mean of the cross-entropy over rows (audio to text) and over columns (text to audio).

    Pair *i* is song *i* and text *i*. A song may occur in several pairs (it has several captions), and so may a text:
    song *i* and text *j* then belong together too, if pairs *i* and *j* share the song or the text. What belongs
    together is never a negative. With `P(i)` the texts that belong to song *i*, its loss is

        mean over j in P(i) of  -log( exp(z_ij) / (exp(z_ij) + sum over k not in P(i) of exp(z_ik)) )

    which is the cross-entropy where each song and each text occurs once, and 0 where there are no negatives.

    Args:
        logits_per_audio (`torch.Tensor` of shape `(batch_size, batch_size)`):
            Scaled similarities of all songs (rows) and all texts (columns).
        song_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*): Whole numbers, equal for equal songs.
        text_ids (`torch.Tensor` of shape `(batch_size,)`, *optional*): Whole numbers, equal for equal texts.

    Returns:
        `torch.Tensor`: the loss, a scalar in float32.

    Raises:
        ValueError: if the matrix is not square, or ids are not one a pair.

    Source: the paper's section on training; van den Oord et al. (arXiv 1807.03748), Radford et al. (arXiv 2103.00020);
    the mean over several positives: Khosla et al. (arXiv 2004.11362), who leave the others in the denominator.
    """
    num_songs, num_texts = logits_per_audio.shape
    if num_songs != num_texts:
        raise ValueError(
            "return_loss=True needs one text for each song, in the same order; "
            f"got {num_songs} songs and {num_texts} texts. For the processor "
            "['One.', 'Two.'] is two texts, and [['One.', 'Two.']] one text of two sentences."
        )
    positives = torch.eye(num_songs, dtype=torch.bool, device=logits_per_audio.device)
    for name, ids in (("song_ids", song_ids), ("text_ids", text_ids)):
        if ids is None:
            continue
        if ids.shape != (num_songs,):
            raise ValueError(f"{name} must hold one id for each of the {num_songs} pairs, got {tuple(ids.shape)}.")
        positives = positives | (ids[:, None] == ids).to(positives.device)
    return symmetric_loss(logits_per_audio, positives)


def symmetric_loss(logits_per_audio: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    r"""
    The loss of [`contrastive_loss`] for any numbers of songs and texts, with the pairs that belong together given.

    Args:
        logits_per_audio (`torch.Tensor` of shape `(num_songs, num_texts)`): Scaled similarities.
        positives (`torch.Tensor` of shape `(num_songs, num_texts)`): True where song and text belong together. A song
            or text that belongs to nothing is a negative of all others and has no loss of its own.

    Returns:
        `torch.Tensor`: the loss, a scalar in float32; 0 if nothing belongs together.
    """
    logits = logits_per_audio.float()
    return (_one_direction(logits, positives) + _one_direction(logits.T, positives.T)) / 2


def _one_direction(logits: torch.Tensor, positives: torch.Tensor) -> torch.Tensor:
    # The lowest number, not -inf: the gradient of -inf is NaN in a row without negatives.
    negatives = logits.masked_fill(positives, torch.finfo(logits.dtype).min).logsumexp(-1, keepdim=True)  # (B, 1)
    losses = nn.functional.softplus(negatives - logits) * positives  # (B, T)
    counts = positives.sum(-1)
    return (losses.sum(-1) / counts.clamp(min=1)).sum() / (counts > 0).sum().clamp(min=1)
