# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The first stage in Milvus Lite: the candidates of the exact stage, updates, and a file that is opened again."""

import importlib.util

import numpy as np
import pytest

from collap.search.first_stage import ExactFirstStage, WindowQuery, unit_rows
from collap.search.milvus import MilvusFirstStage

WIDTH = 16


@pytest.fixture
def uri(tmp_path) -> str:
    pytest.importorskip("milvus_lite")
    return str(tmp_path / "milvus.db")


def random_songs(num_songs: int, seed: int, most: int) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Songs of up to `most` windows; every tenth has none."""
    generator = np.random.default_rng(seed)
    songs = []
    for number in range(num_songs):
        count = generator.integers(1, most + 1) if number % 10 else 0
        vectors = unit_rows(generator.standard_normal((count, WIDTH), dtype=np.float32))
        songs.append((f"song-{seed}-{number:03}", vectors, np.stack([np.arange(count), np.arange(count) + 1], axis=1)))
    return songs


def random_query(seed: int, num_queries: int, with_times: bool) -> WindowQuery:
    generator = np.random.default_rng(seed)
    queries = unit_rows(generator.standard_normal((num_queries, WIDTH), dtype=np.float32))
    times = generator.standard_normal((num_queries, 4), dtype=np.float32) if with_times else None
    return WindowQuery(queries, 0.1, 0.5, 0.5 if num_queries > 1 else 0.0, times)


QUERIES = [random_query(1, 4, True), random_query(2, 4, False), random_query(3, 1, False)]


def assert_same(stage: MilvusFirstStage, exact: ExactFirstStage, count: int, allowed=None) -> None:
    assert sorted(stage.song_ids) == sorted(exact.song_ids)
    for query in QUERIES:
        assert stage.candidates(query, count, allowed) == exact.candidates(query, count, allowed)


@pytest.mark.slow
def test_candidates_are_those_of_the_exact_stage(uri, tmp_path):
    stage, exact = MilvusFirstStage(uri, "songs"), ExactFirstStage(tmp_path)
    assert_same(stage, exact, 10)  # nothing is there
    songs = random_songs(200, seed=0, most=30)  # more windows a song than Lite takes rows for one
    for first_stage in (stage, exact):
        first_stage.update(iter(songs), kept=())
    assert_same(stage, exact, 100)
    assert_same(stage, exact, 300)
    allowed = [song_id for song_id, _, _ in songs[::3]]
    assert_same(stage, exact, 40, allowed)
    assert_same(stage, exact, 40, [])
    for query in QUERIES:  # those near one of the queries, in the order of the exact stage
        found, everything = stage.candidates(query, 10), exact.candidates(query, 300)
        assert len(found) == 10
        assert found == sorted(found, key=everything.index)

    kept = [song_id for song_id, _, _ in songs[20:]]
    changed = [(songs[30][0], songs[31][1][:1], songs[31][2][:1])]  # with fewer windows than before
    for first_stage in (stage, exact):
        first_stage.update([*random_songs(15, seed=1, most=3), *changed], kept)
    assert_same(stage, exact, 100)
    assert_same(MilvusFirstStage(uri, "songs"), exact, 100)
    assert MilvusFirstStage(uri, "others").song_ids == []
    for first_stage in (stage, exact):
        first_stage.update([], ())
    assert_same(stage, exact, 10)


def test_what_is_wrong_is_named(uri, tmp_path, monkeypatch):
    stage = MilvusFirstStage(uri, "songs")
    with pytest.raises(ValueError, match=r"kept: 1 songs are not in songs, such as a\."):
        stage.update([], ["a"])
    with pytest.raises(ValueError, match=r"milvus: .* cannot be used"):
        MilvusFirstStage(str(tmp_path / "no" / "folder" / "\0.db"), "songs")


def test_a_missing_pymilvus_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr("collap.extras.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r'pip install "\.\[milvus\]" in a checkout'):
        MilvusFirstStage("milvus.db", "songs")
