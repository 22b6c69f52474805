# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
CoLLAP and the baselines on the audio tasks of mteb: retrieval by the model's own scores, of whole songs.

It needs `pip install ".[train,mteb]"`.
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
from mteb.models.abs_encoder import AbsEncoder
from torch.utils.data import DataLoader

from collap.data.cache import TensorCache
from collap.encode import MAX_WAIT, embed_songs
from collap.evaluation.evaluate import score_songs
from collap.evaluation.retrievers import load_retriever


class MtebModel(AbsEncoder):
    r"""
    A model for `mteb.evaluate`. It is a `SearchProtocol` and an `EncoderProtocol` of mteb.

    Where texts find songs, or songs texts, the scores are those of the model, as in `examples/evaluate_retrieval.py`:
    text-conditioned for a CoLLAP. Other tasks take one vector of each song or text, without text conditioning
    (`encode`). Songs are encoded whole: the audio columns are read as files, not by mteb's collator, which may cut
    songs.

    Args:
        name_or_path (`str`): As in [`load_retriever`].
        cache_dir (`str` or `Path`, *optional*): Where encoded songs are kept; by default for this process only.
        device (`str` or `torch.device`, *optional*): Where the model runs; default: an accelerator if there is one.
        options: More arguments of [`load_retriever`], such as `truncate_texts`.

    Raises:
        ValueError: as [`load_retriever`]; if the inputs of a task are neither texts nor audio, or both at once; if
            there is no `cache_dir` for several processes.
    """

    def __init__(
        self,
        name_or_path: str,
        cache_dir: str | Path | None = None,
        device: str | torch.device | None = None,
        **options: Any,
    ):
        self._state = PartialState(cpu=device is not None and torch.device(device).type == "cpu", timeout=MAX_WAIT)
        self.retriever = load_retriever(name_or_path, self._state.device if device is None else device, **options)
        if cache_dir is None and self._state.num_processes > 1:
            raise ValueError("cache_dir must be given with several processes, which share what they encode.")
        self._temporary = tempfile.TemporaryDirectory() if cache_dir is None else None
        self._cache_dir = cache_dir or self._temporary.name
        self._corpus: Dataset | None = None
        self.mteb_model_meta = describe_model(self.retriever, name_or_path, options)

    def index(self, corpus: Dataset, **_: Any) -> None:
        """Keeps the corpus, of songs or of texts."""
        self._corpus = corpus

    def search(
        self, queries: Dataset, *, top_k: int, top_ranked: Mapping[str, list[str]] | None = None, **_: Any
    ) -> dict[str, dict[str, float]]:
        """The scores of the `top_k` best documents of each query, by their ids; of those in `top_ranked`, if given."""
        scores = self._scores(queries, self._corpus)
        ids = np.array(self._corpus["id"], object)
        found = {}
        for query, row in zip(queries["id"], scores, strict=True):
            chosen = np.arange(len(ids))
            if top_ranked is not None:
                chosen = np.flatnonzero(np.isin(ids, top_ranked.get(query, [])))
            best = chosen[np.argsort(-row[chosen], kind="stable")[:top_k]]
            found[query] = dict(zip(ids[best], row[best].tolist(), strict=True))
        return found

    def encode(self, inputs: DataLoader, **_: Any) -> torch.Tensor:
        """One vector `(rows, d)` of length 1 for each song or text of the data set behind `inputs`."""
        return torch.from_numpy(self._vectors(inputs.dataset))

    def _scores(self, queries: Dataset, corpus: Dataset) -> np.ndarray:
        """`(queries, documents)`: the model's scores of songs and texts, or cosines if both are songs or texts."""
        if _has_audio(queries) == _has_audio(corpus):
            return self._vectors(queries) @ self._vectors(corpus).T
        songs, texts = (queries, corpus) if _has_audio(queries) else (corpus, queries)
        embedded = self.retriever.embed_texts(list(texts["text"]))
        cache, hashes = self._encode_songs(songs)
        num_frames = [cache.songs[song_hash].num_frames for song_hash in hashes]
        scores = score_songs(  # (texts, songs)
            self.retriever, lambda index: cache.read(hashes[index]).frames, num_frames, embedded, self._state
        )
        return scores.T if songs is queries else scores

    def _vectors(self, dataset: Dataset) -> np.ndarray:
        if _has_audio(dataset):
            cache, hashes = self._encode_songs(dataset)
            vectors = np.stack([cache.read(song_hash).frames.sum(axis=0) for song_hash in hashes])
        else:
            vectors = self.retriever.frame_queries(self.retriever.embed_texts(list(dataset["text"])))
        return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)

    def _encode_songs(self, dataset: Dataset) -> tuple[TensorCache, list[str]]:
        """A cache with the frames of all songs, and their hashes."""
        # A column, not a list: songs that lie in the data set are loaded one at a time.
        songs = dataset.cast_column("audio", Audio(decode=False))["audio"]
        cache, listed = embed_songs(self.retriever, songs, self._cache_dir, self._state)
        return cache, [song.hash for song in listed]


def describe_model(retriever: Any, name_or_path: str, options: Mapping[str, Any]) -> ModelMeta:
    """
    What mteb's tables say of a model. mteb names are `organization/model`; a folder's are `local/FOLDER`. Results of
    other `options` are kept apart.
    """
    path = Path(name_or_path)
    name = f"local/{path.resolve().name}" if path.exists() else name_or_path
    model = retriever.model
    return ModelMeta(
        loader=None,
        name=name,
        revision=retriever.revision,
        release_date=None,
        languages=None,
        n_parameters=model.num_parameters(),
        memory_usage_mb=round(model.get_memory_footprint() / 2**20),
        max_tokens=None,
        embed_dim=getattr(model.config, "projection_dim", None),
        license=None,
        open_weights=True,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch", "Transformers"],
        similarity_fn_name="cosine",
        use_instructions=False,
        training_datasets=None,
        modalities=["audio", "text"],
        experiment_kwargs=dict(options) or None,
    )


def _has_audio(dataset: Dataset) -> bool:
    columns = {"audio", "text"} & set(dataset.column_names)
    if len(columns) != 1:
        raise ValueError(f"inputs must have either audio or text, got the columns {dataset.column_names}.")
    return columns == {"audio"}
