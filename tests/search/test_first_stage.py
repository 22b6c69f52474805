# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The exact first stage: windows, candidates against an obvious loop, and a file that is whole or not there."""

import os
import tracemalloc

import numpy as np
import pytest
import torch

from collap.search import first_stage
from collap.search.first_stage import ExactFirstStage, make_windows, unit_rows

EAST, NORTH, WEST = np.eye(2, dtype=np.float32)[0], np.eye(2, dtype=np.float32)[1], np.array([-1, 0], np.float32)
NOWHEN = np.zeros((0, 2), np.float32)


def song(song_id: str, *windows: np.ndarray) -> tuple[str, np.ndarray, np.ndarray]:
    vectors = np.array(windows, np.float32).reshape(len(windows), 2)
    return song_id, vectors, np.zeros((len(windows), 2), np.float32)


def random_songs(num_songs: int, width: int, seed: int = 0) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """Songs of 0 to 6 windows."""
    generator = np.random.default_rng(seed)
    songs = []
    for number in range(num_songs):
        vectors = unit_rows(generator.standard_normal((generator.integers(0, 7), width), dtype=np.float32))
        songs.append((f"song-{number:04}", vectors, np.zeros((len(vectors), 2), np.float32)))
    return songs


def obvious_candidates(songs, queries: np.ndarray, kind: str, allowed=None) -> list[str]:
    if kind == "section":
        queries = queries.mean(0)[None] / np.linalg.norm(queries.mean(0))
    scores = {}
    for song_id, vectors, _ in songs:
        if len(vectors) and (allowed is None or song_id in allowed):
            vectors = vectors.astype(np.float16).astype(np.float64)
            scores[song_id] = sum(max(query @ vector for vector in vectors) for query in queries) / len(queries)
    return sorted(scores, key=lambda song_id: (-scores[song_id], song_id))


def test_windows_of_three_frames():
    # 12 frames of 2.5 s are 30 s: three windows of 4 frames.
    times = np.stack((np.arange(12) * 2.5, np.arange(12) * 2.5 + 2.5), axis=1)
    frames = np.array([EAST] * 4 + [EAST, NORTH] * 2 + [NORTH] * 4)
    vectors, spans = make_windows(frames, times)
    np.testing.assert_allclose(vectors, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(spans, [[0, 10], [10, 20], [20, 30]])


def test_every_frame_counts_once():
    # 11 frames of 3 s are 33 s: three windows of 3, 4 and 4 frames, the last of which ends with the song.
    times = np.stack((np.arange(11) * 3.0, np.minimum(np.arange(11) * 3.0 + 3.0, 32.5)), axis=1)
    vectors, spans = make_windows(np.repeat(EAST[None], 11, axis=0), times)
    np.testing.assert_array_equal(vectors, [EAST] * 3)
    np.testing.assert_array_equal(spans, [[0, 9], [9, 21], [21, 32.5]])


@pytest.mark.parametrize(("num_frames", "expected"), [(0, []), (1, [[0, 2.5]]), (5, [[0, 12.5]])])
def test_windows_of_short_songs(num_frames, expected):
    times = np.stack((np.arange(num_frames) * 2.5, np.arange(num_frames) * 2.5 + 2.5), axis=1)
    vectors, spans = make_windows(np.repeat(NORTH[None], num_frames, axis=0), times)
    assert vectors.shape == (len(expected), 2)
    np.testing.assert_array_equal(spans.reshape(-1, 2), np.array(expected).reshape(-1, 2))


def test_frames_that_cancel_each_other_are_no_nan():
    vectors, _ = make_windows(np.array([EAST, WEST]), np.array([[0.0, 2.0], [2.0, 4.0]]))
    np.testing.assert_array_equal(vectors, [[0, 0]])


def test_candidates_by_hand(tmp_path):
    stage = ExactFirstStage(tmp_path)
    assert stage.song_ids == []
    assert stage.candidates(np.array([EAST]), 10) == []
    stage.update([song("both", EAST, NORTH), song("north", NORTH), song("short"), song("east", EAST)], kept=())
    assert stage.song_ids == ["both", "north", "short", "east"]
    # Best windows for east and north: both 1 and 1, north 0 and 1, east 1 and 0: a tie, by their ids.
    assert stage.candidates(np.array([EAST, NORTH]), 10, "caption") == ["both", "east", "north"]
    assert stage.candidates(np.array([EAST, NORTH]), 2, "caption") == ["both", "east"]
    assert stage.candidates(np.array([EAST, NORTH]), 10, "caption", allowed=["north", "short", "x"]) == ["north"]
    assert stage.candidates(np.array([EAST, NORTH]), 10, "caption", allowed=[]) == []
    # As one section the two are north-east, of which every window here has 0.71.
    assert stage.candidates(np.array([EAST, NORTH]), 2, "section") == ["both", "east"]
    assert stage.candidates(np.array([NORTH]), 10, "like") == ["both", "north", "east"]


@pytest.mark.parametrize("kind", ["caption", "section", "like"])
def test_candidates_of_blocks_are_those_of_a_loop(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(first_stage, "BLOCK_ROWS", 16)
    songs = random_songs(100, 24)
    stage = ExactFirstStage(tmp_path)
    stage.update(songs, kept=())
    queries = unit_rows(np.random.default_rng(1).standard_normal((5, 24), dtype=np.float32))
    expected = obvious_candidates(songs, queries, kind)
    assert stage.candidates(queries, 1000, kind) == expected
    assert stage.candidates(queries, 7, kind) == expected[:7]
    allowed = {song_id for song_id, _, _ in songs[::3]}
    assert stage.candidates(queries, 7, kind, allowed) == obvious_candidates(songs, queries, kind, allowed)[:7]


def test_a_song_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(first_stage, "BLOCK_ROWS", 2)
    stage = ExactFirstStage(tmp_path)
    stage.update([song("long", *[EAST] * 9, NORTH), song("west", WEST), song("none"), song("east", EAST)], kept=())
    assert stage.candidates(np.array([NORTH]), 10, "like") == ["long", "east", "west"]


def test_update_keeps_adds_replaces_and_forgets(tmp_path):
    stage = ExactFirstStage(tmp_path)
    stage.update([song("a", EAST), song("b", NORTH), song("c", WEST)], kept=())
    reader = ExactFirstStage(tmp_path)
    stage.update(iter([song("d", NORTH), song("b", EAST)]), kept=["a", "b"])
    assert stage.candidates(np.array([EAST]), 10) == ["a", "b", "d"]
    assert reader.candidates(np.array([EAST]), 10) == ["a", "b", "c"]  # still what it opened
    assert ExactFirstStage(tmp_path).candidates(np.array([EAST]), 10) == ["a", "b", "d"]
    stage.update([], kept=[])
    assert stage.song_ids == ExactFirstStage(tmp_path).song_ids == []


def test_update_names_what_is_wrong(tmp_path):
    stage = ExactFirstStage(tmp_path)
    stage.update([song("a", EAST)], kept=())
    with pytest.raises(ValueError, match=r"kept: 1 songs are not in .*such as b"):
        stage.update([], kept=["a", "b"])
    with pytest.raises(ValueError, match="c is there twice"):
        stage.update([song("c", EAST), song("c", EAST)], kept=["a"])
    with pytest.raises(ValueError, match="c has vectors of 3 numbers, others 2"):
        stage.update([song("b", EAST), ("c", np.zeros((1, 3), np.float32), NOWHEN)], kept=["a"])
    with pytest.raises(ValueError, match=r"queries must have the 2 numbers of windows, got shape \(1, 3\)"):
        stage.candidates(np.zeros((1, 3), np.float32), 10)
    assert ExactFirstStage(tmp_path).song_ids == stage.song_ids == ["a"]
    assert [file.name for file in tmp_path.iterdir()] == ["windows.f16"]


def test_a_kill_between_writing_and_renaming(tmp_path, monkeypatch):
    stage = ExactFirstStage(tmp_path)
    stage.update([song("a", EAST)], kept=())

    class Killed(BaseException):
        pass

    def killed(*paths):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", killed)
        patched.setattr("pathlib.Path.unlink", lambda *_, **__: None)  # nothing tidies up after a kill
        with pytest.raises(Killed):
            stage.update([song("b", NORTH)], kept=["a"])
    assert len(list(tmp_path.iterdir())) == 2
    again = ExactFirstStage(tmp_path)
    assert again.song_ids == ["a"]
    again.update([song("b", NORTH)], kept=["a"])
    assert sorted(again.song_ids) == ["a", "b"]
    assert [file.name for file in tmp_path.iterdir()] == ["windows.f16"]


def test_every_flipped_byte_and_every_cut_is_found(tmp_path):
    ExactFirstStage(tmp_path).update([song("a", EAST, NORTH), song("b", WEST)], kept=())
    file = tmp_path / "windows.f16"
    good = file.read_bytes()
    damaged = [good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :] for place in range(len(good))]
    for content in [*damaged, *(good[:length] for length in range(len(good)))]:
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"windows\.f16 is damaged .*`collap index` makes it again"):
            ExactFirstStage(tmp_path)
    file.write_bytes(good)
    assert ExactFirstStage(tmp_path).song_ids == ["a", "b"]


def test_update_holds_a_few_vectors_at_a_time(tmp_path):
    stage = ExactFirstStage(tmp_path)
    vectors = np.zeros((100, 64), np.float32)
    added = ((f"song-{number}", vectors, NOWHEN) for number in range(800))  # 20 MB, 10 MB in float16
    tracemalloc.start()
    try:
        stage.update(added, kept=())
        stage.update([], kept=stage.song_ids[1:])
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 3e6
    assert len(stage.song_ids) == 799


def test_the_number_of_threads_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(first_stage, "BLOCK_ROWS", 16)
    stage = ExactFirstStage(tmp_path)
    stage.update(random_songs(50, 8), kept=())
    queries = unit_rows(np.random.default_rng(2).standard_normal((3, 8), dtype=np.float32))
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(stage.candidates(queries, 50))
    assert found[0] == found[1]
