# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The exact first stage: windows, candidates against an obvious loop, and a file that is whole or not there."""

import math
import os
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_models import tiny_config
from torch.nn.functional import normalize

from collap import CollapConfig, CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.search import first_stage
from collap.search.first_stage import ExactFirstStage, WindowQuery, make_windows, score_windows, unit_rows

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


def best_window(*queries: np.ndarray) -> WindowQuery:
    """With so low a temperature, the best window alone counts."""
    return WindowQuery(np.array(queries), temperature=1e-3, attention_weight=1.0, mean_weight=0.0)


def obvious_score(vectors: np.ndarray, query: WindowQuery) -> float:
    total = 0.0
    for number, sentence in enumerate(query.queries.astype(np.float64)):
        cosines, logits = [], []
        for place, vector in enumerate(vectors.astype(np.float16).astype(np.float64)):
            cosines.append(float(sentence @ vector))
            logits.append(cosines[-1] / query.temperature)
            if query.time_queries is not None:
                time, half = (place + 0.5) / len(vectors), query.time_queries.shape[1] // 2
                for wave in range(half):
                    logits[-1] += query.time_queries[number, wave] * math.sin(math.pi * (wave + 1) * time)
                    logits[-1] += query.time_queries[number, half + wave] * math.cos(math.pi * (wave + 1) * time)
        weights = [math.exp(logit - max(logits)) for logit in logits]
        attended = sum(weight * cosine for weight, cosine in zip(weights, cosines, strict=True)) / sum(weights)
        total += query.attention_weight * attended + query.mean_weight * sum(cosines) / len(cosines)
    return total / len(query.queries)


def obvious_candidates(songs, query: WindowQuery, allowed=None) -> list[str]:
    scores = {
        song_id: obvious_score(vectors, query)
        for song_id, vectors, _ in songs
        if len(vectors) and (allowed is None or song_id in allowed)
    }
    return sorted(scores, key=lambda song_id: (-scores[song_id], song_id))


def random_query(seed: int, num_queries: int, width: int, with_times: bool) -> WindowQuery:
    generator = np.random.default_rng(seed)
    queries = unit_rows(generator.standard_normal((num_queries, width), dtype=np.float32))
    times = generator.standard_normal((num_queries, 4), dtype=np.float32) if with_times else None
    return WindowQuery(queries, 0.1, 0.5, 0.5, times)


def test_windows_of_three_frames():
    # 12 frames of 2 s are 24 s: three windows of 4 frames.
    times = np.stack((np.arange(12) * 2.0, np.arange(12) * 2.0 + 2.0), axis=1)
    frames = np.array([EAST] * 4 + [EAST, NORTH] * 2 + [NORTH] * 4)
    vectors, spans = make_windows(frames, times)
    np.testing.assert_allclose(vectors, [[1, 0], [0.5**0.5, 0.5**0.5], [0, 1]], rtol=1e-6)
    np.testing.assert_array_equal(spans, [[0, 8], [8, 16], [16, 24]])


def test_every_frame_counts_once():
    # 11 frames of 2 s are 22 s: three windows of 3, 4 and 4 frames, the last of which ends with the song.
    times = np.stack((np.arange(11) * 2.0, np.minimum(np.arange(11) * 2.0 + 2.0, 21.5)), axis=1)
    vectors, spans = make_windows(np.repeat(EAST[None], 11, axis=0), times)
    np.testing.assert_array_equal(vectors, [EAST] * 3)
    np.testing.assert_array_equal(spans, [[0, 6], [6, 14], [14, 21.5]])


@pytest.mark.parametrize(("num_frames", "expected"), [(0, []), (1, [[0, 2.0]]), (5, [[0, 10.0]])])
def test_windows_of_short_songs(num_frames, expected):
    times = np.stack((np.arange(num_frames) * 2.0, np.arange(num_frames) * 2.0 + 2.0), axis=1)
    vectors, spans = make_windows(np.repeat(NORTH[None], num_frames, axis=0), times)
    assert vectors.shape == (len(expected), 2)
    np.testing.assert_array_equal(spans.reshape(-1, 2), np.array(expected).reshape(-1, 2))


def test_frames_that_cancel_each_other_are_no_nan():
    vectors, _ = make_windows(np.array([EAST, WEST]), np.array([[0.0, 2.0], [2.0, 4.0]]))
    np.testing.assert_array_equal(vectors, [[0, 0]])


def test_candidates_by_hand(tmp_path):
    stage = ExactFirstStage(tmp_path)
    assert stage.song_ids == []
    assert stage.candidates(best_window(EAST), 10) == []
    stage.update([song("both", EAST, NORTH), song("north", NORTH), song("short"), song("east", EAST)], kept=())
    assert stage.song_ids == ["both", "north", "short", "east"]
    # Best windows for east and north: both 1 and 1, north 0 and 1, east 1 and 0: a tie, by their ids.
    query = best_window(EAST, NORTH)
    assert stage.candidates(query, 10) == ["both", "east", "north"]
    assert stage.candidates(query, 2) == ["both", "east"]
    assert stage.candidates(query, 10, allowed=["north", "short", "x"]) == ["north"]
    assert stage.candidates(query, 10, allowed=[]) == []
    # Over all windows the mean for north is 0.5, 1 and 0.
    assert stage.candidates(WindowQuery(NORTH[None], 1e-3, 0.0, 1.0), 10) == ["north", "both", "east"]


def test_scores_by_hand():
    vectors, starts = np.array([EAST, NORTH, NORTH], np.float16), np.array([0, 2, 2, 3])
    # East has cosines 1 and 0 with the first song: weights e : 1 at a temperature of 1, e^2 : 1 at one of 1/2.
    query = WindowQuery(EAST[None], temperature=0.5, attention_weight=0.75, mean_weight=0.25)
    expected = [0.75 * math.exp(2) / (math.exp(2) + 1) + 0.25 * 0.5, -np.inf, 0.0]
    np.testing.assert_allclose(score_windows(vectors, starts, query), expected, rtol=1e-6)
    # Sine and cosine of the times 1/4 and 3/4 are 0.71 and +-0.71: a time query on the cosine alone adds 0.71 z to the
    # first window's logit and takes it from the second one's.
    query = WindowQuery(EAST[None], 1.0, 1.0, 0.0, time_queries=np.array([[0.0, -(2**0.5)]], np.float32))
    expected = [math.exp(0) / (math.exp(0) + math.exp(1)), -np.inf, 0.0]
    np.testing.assert_allclose(score_windows(vectors, starts, query), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ["caption", "any_order", "section"])
def test_windows_of_one_frame_have_the_score_of_the_model(kind):
    """With segments of a frame, and windows of a frame, the first stage is the model's own score."""
    torch.manual_seed(0)
    model = CollapModel(
        tiny_config(kernel_size=1, kernel_stride=1, text_granularity="sentence", temporal_position=True)
    )
    frames = normalize(torch.randn(1, 3, model.config.projection_dim), dim=-1).half().float()  # in one chunk
    audio = CollapAudioOutput(last_hidden_state=frames, frame_mask=torch.ones(1, 3, dtype=torch.bool))
    text = CollapTextOutput(
        query_embeds=normalize(torch.randn(4, model.config.projection_dim), dim=-1),
        time_query_embeds=torch.randn(4, model.config.num_time_features),
        sentence_counts=torch.tensor([4]),
    )
    options = {"use_time": kind == "caption", "section_query": kind == "section"}
    expected = model.similarity(audio, text, **options).item()
    queries = text.query_embeds
    if kind == "section":
        queries = normalize(queries.mean(0, keepdim=True), dim=-1)
    query = WindowQuery.of_text(queries.numpy(), text.time_query_embeds, model.config, kind)
    (score,) = score_windows(frames[0].half().numpy(), np.array([0, 3]), query)
    assert score == pytest.approx(expected, abs=1e-5)


def test_audio_as_a_query():
    frames = np.repeat(np.array([EAST, NORTH], np.float32), 20, axis=0)  # 40 frames
    query = WindowQuery.of_audio(frames, CollapConfig())
    np.testing.assert_array_equal(query.queries, [EAST] * 8 + [NORTH] * 8)
    np.testing.assert_array_equal(WindowQuery.of_audio(frames[:3], CollapConfig()).queries, frames[:3])


@pytest.mark.parametrize(("with_times", "temperature"), [(False, 0.1), (True, 0.1), (False, 1e-3)])
def test_candidates_of_blocks_are_those_of_a_loop(tmp_path, monkeypatch, with_times, temperature):
    monkeypatch.setattr(first_stage, "BLOCK_ROWS", 16)
    songs = random_songs(100, 24)
    stage = ExactFirstStage(tmp_path)
    stage.update(songs, kept=())
    query = replace(random_query(1, 5, 24, with_times), temperature=temperature)
    expected = obvious_candidates(songs, query)
    assert stage.candidates(query, 1000) == expected
    assert stage.candidates(query, 7) == expected[:7]
    allowed = {song_id for song_id, _, _ in songs[::3]}
    assert stage.candidates(query, 7, allowed) == obvious_candidates(songs, query, allowed)[:7]
    scores = score_windows(np.concatenate([vectors for _, vectors, _ in songs]), stage._stored.starts, query)
    np.testing.assert_allclose(
        scores[scores > -np.inf], [obvious_score(vectors, query) for _, vectors, _ in songs if len(vectors)], atol=1e-3
    )


def test_a_song_longer_than_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr(first_stage, "BLOCK_ROWS", 2)
    stage = ExactFirstStage(tmp_path)
    stage.update([song("long", *[EAST] * 9, NORTH), song("west", WEST), song("none"), song("east", EAST)], kept=())
    assert stage.candidates(best_window(NORTH), 10) == ["long", "east", "west"]


def test_update_keeps_adds_replaces_and_forgets(tmp_path):
    stage = ExactFirstStage(tmp_path)
    stage.update([song("a", EAST), song("b", NORTH), song("c", WEST)], kept=())
    reader = ExactFirstStage(tmp_path)
    stage.update(iter([song("d", NORTH), song("b", EAST)]), kept=["a", "b"])
    assert stage.candidates(best_window(EAST), 10) == ["a", "b", "d"]
    assert reader.candidates(best_window(EAST), 10) == ["a", "b", "c"]  # still what it opened
    assert ExactFirstStage(tmp_path).candidates(best_window(EAST), 10) == ["a", "b", "d"]
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
    with pytest.raises(ValueError, match="query must have vectors of 2 numbers, got 3"):
        stage.candidates(best_window(np.zeros(3, np.float32)), 10)
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
    query = random_query(2, 3, 8, with_times=True)
    found = []
    for threads in (1, 4):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        found.append(stage.candidates(query, 50))
    assert found[0] == found[1]
