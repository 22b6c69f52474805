# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Scores in blocks are those of everything at once."""

import numpy as np
import pytest
from accelerate import PartialState
from tiny_retrieval import TEXTS, tiny_collap, write_songs

from collap.evaluation import evaluate
from collap.evaluation.evaluate import score_songs
from collap.evaluation.retrievers import CollapRetriever

SECONDS = (1.5, 0.4, 2.0, 6.0, 0.4, 1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def retriever() -> CollapRetriever:
    return CollapRetriever(*tiny_collap())


@pytest.fixture(scope="module")
def frames(retriever, tmp_path_factory) -> list[np.ndarray]:
    songs = write_songs(tmp_path_factory.mktemp("songs"), SECONDS)
    return [retriever.embed_song(path).frames for path in songs.values()]


def score(retriever, frames, texts, block_frames=1000) -> np.ndarray:
    counts = [len(song) for song in frames]
    return score_songs(retriever, frames.__getitem__, counts, texts, PartialState(cpu=True), block_frames)


@pytest.mark.parametrize("blocks", [(1, 256, 512), (20, 256, 2), (1000, 3, 1)])
def test_blocks_give_the_scores_of_all_at_once(retriever, frames, blocks, monkeypatch):
    block_frames, block_songs, block_texts = blocks
    monkeypatch.setattr(evaluate, "BLOCK_SONGS", block_songs)
    monkeypatch.setattr(evaluate, "BLOCK_TEXTS", block_texts)
    texts = retriever.embed_texts(TEXTS)
    expected = retriever.score(frames, texts).T  # (texts, songs)
    table = score(retriever, frames, texts, block_frames)
    assert (table.shape, table.dtype) == ((5, 8), np.float32)
    assert np.ptp(expected) > 0.005  # songs and texts differ
    np.testing.assert_allclose(table, expected, rtol=0, atol=1e-6)


def test_blocks_hold_songs_of_similar_length(monkeypatch):
    monkeypatch.setattr(evaluate, "BLOCK_SONGS", 3)
    lengths = [50, 3, 4, 50, 5, 200, 4]
    blocks = list(evaluate._make_blocks(lengths, block_frames=100))
    assert [[lengths[index] for index in block] for block in blocks] == [[3, 4, 4], [5, 50], [50], [200]]
    assert sorted(index for block in blocks for index in block) == list(range(7))


def test_scores_that_are_not_finite_are_an_error(retriever, frames, monkeypatch):
    monkeypatch.setattr(retriever, "score", lambda songs, texts: np.full((len(songs), len(texts)), np.nan))
    with pytest.raises(ValueError, match="scores of CollapModel must be finite"):
        score(retriever, frames, retriever.embed_texts(TEXTS))
