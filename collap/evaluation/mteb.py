# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CoLLAP and the baselines on the audio tasks of mteb: retrieval by the model's own scores, of whole songs.

It needs `pip install "collap[train,mteb]"`.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from datasets import Audio, Dataset
from mteb.models import ModelMeta
from mteb.similarity_functions import cos_sim, pairwise_cos_sim
from torch.utils.data import DataLoader

from collap.data.cache import TensorCache
from collap.encode import MAX_WAIT, embed_songs
from collap.evaluation.evaluate import score_songs
from collap.evaluation.retrievers import load_retriever

BROKEN = {"laion/larger_clap_music": "this checkpoint is broken on the Hub: all texts have nearly the same vector"}


class MtebModel:
    r"""
    A model for `mteb.evaluate`. It is a `SearchProtocol` and an `EncoderProtocol` of mteb.

    In tasks of retrieval the scores are those of the model, as in `examples/evaluate_retrieval.py`: text-conditioned
    for a CoLLAP. Other tasks take one vector of each song or text, without text conditioning (`encode`). Songs are
    encoded whole: the audio columns are read as files, not by mteb's collator, which may cut them.

    Args:
        name_or_path (`str`): As in [`load_retriever`].
        cache_dir (`str` or `Path`, *optional*): Where encoded songs are kept; by default for this process only.
        device (`str` or `torch.device`, *optional*): Where the model runs; default: an accelerator if there is one.
        options: More arguments of [`load_retriever`], such as `truncate_texts`.

    Raises:
        ValueError: as [`load_retriever`]; for a checkpoint that is known to be broken; if a task has neither texts nor
            audio, or both in one column of inputs.
    """

    def __init__(
        self,
        name_or_path: str,
        cache_dir: str | Path | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ):
        if name_or_path in BROKEN:
            raise ValueError(f"name_or_path must be a model that works, got {name_or_path}: {BROKEN[name_or_path]}.")
        self._state = PartialState(cpu=device is not None and torch.device(device).type == "cpu", timeout=MAX_WAIT)
        self.retriever = load_retriever(name_or_path, self._state.device if device is None else device, **options)
        self._temporary = None
        if cache_dir is None:
            self._temporary = tempfile.TemporaryDirectory()
            cache_dir = self._temporary.name
        self._cache_dir = cache_dir
        self._corpus: Dataset | None = None
        self.mteb_model_meta = describe_model(self.retriever, name_or_path)

    def index(self, corpus: Dataset, **_: Any) -> None:
        """Keeps the corpus, of songs or of texts."""
        self._corpus = corpus

    def search(
        self, queries: Dataset, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """The scores of the `top_k` best documents of each query, by their ids; of those in `top_ranked`, if given."""
        queries_are_songs = _has_audio(queries)
        songs, texts = (queries, self._corpus) if queries_are_songs else (self._corpus, queries)
        embedded = self.retriever.embed_texts(list(texts["text"]))
        cache, hashes = self._encode_songs(songs)

        def load_frames(index: int) -> np.ndarray:
            return cache.read(hashes[index]).frames

        num_frames = [cache.songs[song_hash].num_frames for song_hash in hashes]
        scores = score_songs(self.retriever, load_frames, num_frames, embedded, self._state)  # (texts, songs)
        ids = np.array(self._corpus["id"], object)
        found = {}
        for query, row in zip(queries["id"], scores.T if queries_are_songs else scores, strict=True):
            chosen = np.arange(len(ids)) if top_ranked is None else np.flatnonzero(np.isin(ids, top_ranked[query]))
            best = chosen[np.argsort(-row[chosen], kind="stable")[:top_k]]
            found[query] = dict(zip(ids[best], row[best].tolist(), strict=True))
        return found

    def encode(self, inputs: DataLoader, **_: Any) -> torch.Tensor:
        """One vector `(rows, d)` of length 1 for each song or text of the data set behind `inputs`."""
        dataset = inputs.dataset
        if _has_audio(dataset):
            cache, hashes = self._encode_songs(dataset)
            vectors = np.stack([cache.read(song_hash).frames.sum(axis=0) for song_hash in hashes])
        else:
            vectors = self.retriever.frame_queries(self.retriever.embed_texts(list(dataset["text"])))
        return torch.nn.functional.normalize(torch.from_numpy(vectors), dim=-1)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of all pairs of vectors of [`encode`]."""
        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> torch.Tensor:
        """Cosines of vectors of [`encode`], row by row."""
        return pairwise_cos_sim(embeddings1, embeddings2)

    def _encode_songs(self, dataset: Dataset) -> tuple[TensorCache, list[str]]:
        """A cache with the frames of all songs, and their hashes."""
        songs = dict(enumerate(dataset.cast_column("audio", Audio(decode=False))["audio"]))
        cache, listed = embed_songs(self.retriever, songs, self._cache_dir, self._state)
        return cache, [song.hash for song in listed.values()]


def describe_model(retriever: Any, name_or_path: str) -> ModelMeta:
    """What mteb's tables say of a model. mteb names are `organization/model`; a folder's are `local/FOLDER`."""
    path = Path(name_or_path)
    name = f"local/{path.resolve().name}" if path.exists() else name_or_path
    model = retriever.model
    return ModelMeta(
        loader=MtebModel,
        loader_kwargs={},
        name=name,
        revision=retriever.revision,
        release_date=None,
        languages=["eng-Latn"],
        n_parameters=model.num_parameters(),
        memory_usage_mb=round(model.get_memory_footprint() / 2**20),
        max_tokens=None,
        embed_dim=model.config.projection_dim,
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch", "Transformers"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["audio", "text"],
    )


def _has_audio(dataset: Dataset) -> bool:
    columns = {"audio", "text"} & set(dataset.column_names)
    if len(columns) != 1:
        raise ValueError(f"inputs must have either audio or text, got the columns {dataset.column_names}.")
    return columns == {"audio"}
