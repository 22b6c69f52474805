# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs of the song corpus as a model hears them from kept features, and texts as it reads them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from collap import CollapAudioOutput, CollapModel, CollapProcessor, CollapTextOutput
from collap.data.cache import TensorCache, describe_features
from collap.evaluation.retrievers import CollapRetriever

Song = dict[str, Any]


def read_songs(manifest: Path) -> list[Song]:
    """The lines of a manifest of the corpus, with absolute paths of audio."""
    songs = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
    return [{**song, "audio": str(manifest.parent / song["audio"])} for song in songs]


@torch.inference_mode()
def embed_songs(
    model: CollapModel, processor: CollapProcessor, songs: Sequence[Song], features: str | Path
) -> CollapAudioOutput:
    """All songs as one batch, from the features that examples/extract_features.py has made."""
    store = TensorCache(features, describe_features(model.audio_model, processor.feature_extractor))
    frames = [store.load(song["audio"]).float() for song in songs]
    mask = torch.arange(max(map(len, frames))) < torch.tensor([len(item) for item in frames])[:, None]
    frames = pad_sequence(frames, batch_first=True).to(model.device)
    return model.get_audio_features(encoder_frames=frames, frame_mask=mask.to(model.device))


def embed_texts(model: CollapModel, processor: CollapProcessor, texts: Sequence[list[str]]) -> CollapTextOutput:
    """Texts, each given as its sentences; says how many were cut because they are longer than the model reads."""
    output, num_cut = embed_and_count_cut(model, processor, texts)
    if num_cut:
        tqdm.write(f"{num_cut} of {len(texts)} texts were cut to the tokens that the text model takes.")
    return output


def embed_and_count_cut(
    model: CollapModel, processor: CollapProcessor, texts: Sequence[list[str]]
) -> tuple[CollapTextOutput, int]:
    """Texts, each given as its sentences, and how many different ones were cut to what the model reads."""
    retriever = CollapRetriever(model, processor, truncate_texts=True)
    return retriever.embed_texts(texts).output, retriever.num_truncated_texts


__all__ = ["Song", "embed_and_count_cut", "embed_songs", "embed_texts", "read_songs"]
