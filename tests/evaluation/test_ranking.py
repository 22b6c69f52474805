# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Scores in blocks: those of the model over everything at once, in any number of processes, and after a kill."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from accelerate import PartialState
from tiny_clap import RATE, tiny_clap
from tiny_retrieval import TEXTS, tiny_collap, write_songs

from collap.baselines.vector_retrievers import ClapRetriever
from collap.evaluation.embeddings import EmbeddedSongs, embed_songs
from collap.evaluation.evaluate import _make_blocks, score_songs
from collap.evaluation.retrievers import CollapRetriever

TESTS = Path(__file__).resolve().parents[1]
SECONDS = (1.5, 0.4, 2.0, 6.0, 0.4, 1.0, 2.0, 3.0)


@pytest.fixture(scope="module")
def retriever() -> CollapRetriever:
    return CollapRetriever(*tiny_collap())


@pytest.fixture
def embedded(retriever, tmp_path) -> EmbeddedSongs:
    return embed_songs(retriever, write_songs(tmp_path, SECONDS), tmp_path / "kept", PartialState(cpu=True))


def score(retriever, embedded: EmbeddedSongs, folder: Path, texts=TEXTS, **options) -> np.ndarray:
    return score_songs(retriever, embedded, texts, folder, PartialState(cpu=True), **options)


@pytest.mark.parametrize(
    "blocks",
    [{}, {"block_frames": 1}, {"block_frames": 20, "block_texts": 2}, {"block_songs": 3, "block_texts": 1}],
)
def test_blocks_give_the_scores_of_all_at_once(retriever, embedded, tmp_path, blocks):
    frames = [embedded.store.load(name).frames for name in embedded.hashes.values()]
    expected = retriever.score(frames, retriever.embed_texts(TEXTS)).T  # (texts, songs)
    table = score(retriever, embedded, tmp_path / "scores", **blocks)
    assert (table.shape, table.dtype) == ((5, 8), np.float32)
    assert np.ptp(expected) > 0.1  # songs and texts that are told apart
    np.testing.assert_allclose(table, expected, rtol=0, atol=1e-5)


def test_blocks_hold_songs_of_like_length():
    lengths = [50, 3, 4, 50, 5, 200, 4]
    blocks = list(_make_blocks(lengths, block_frames=100, block_songs=3))
    assert [[lengths[place] for place in block] for block in blocks] == [[3, 4, 4], [5, 50], [50], [200]]
    assert sorted(place for block in blocks for place in block) == list(range(7))


def test_blocks_on_disk_are_not_scored_again(retriever, embedded, tmp_path):
    table = score(retriever, embedded, tmp_path / "scores", block_songs=2)
    files = sorted((tmp_path / "scores").glob("*/*"))
    assert [file.suffix for file in files] == [".npy"] * 4
    changed = np.load(files[0]) + 1
    np.save(files[0], changed)
    files[1].unlink()
    again = score(retriever, embedded, tmp_path / "scores", block_songs=2)
    shortest = [1, 4]  # songs of the first block
    np.testing.assert_array_equal(again[:, shortest], changed.T)
    np.testing.assert_array_equal(np.delete(again, shortest, axis=1), np.delete(table, shortest, axis=1))


def test_blocks_of_other_texts_or_models_are_not_taken(retriever, embedded, tmp_path):
    one = score(retriever, embedded, tmp_path / "scores")
    without_time = CollapRetriever(retriever.model, retriever.processor, use_time=False)
    two = score(without_time, embedded, tmp_path / "scores")
    three = score(retriever, embedded, tmp_path / "scores", texts=TEXTS[::-1])
    assert np.abs(one - two).max() > 1e-3
    np.testing.assert_allclose(three, one[::-1], rtol=0, atol=1e-5)


def test_models_of_one_vector(tmp_path):
    texts = [text if isinstance(text, str) else " ".join(text) for text in TEXTS]
    clap = ClapRetriever(*tiny_clap(*texts), windows="mean")
    embedded = embed_songs(clap, write_songs(tmp_path, SECONDS), tmp_path / "kept", PartialState(cpu=True))
    table = score(clap, embedded, tmp_path / "scores", texts, block_songs=3, block_texts=2)
    songs = np.concatenate([embedded.store.load(name).frames for name in embedded.hashes.values()])
    assert songs.shape == (8, 12)
    assert RATE == 8000  # the files, at 16 kHz, were resampled
    np.testing.assert_allclose(table, clap.embed_texts(texts).vectors @ songs.T, rtol=0, atol=1e-6)


def test_scores_that_are_no_numbers_are_an_error(retriever, embedded, tmp_path, monkeypatch):
    monkeypatch.setattr(retriever, "score", lambda songs, texts: np.full((len(songs), len(texts)), np.nan))
    with pytest.raises(ValueError, match="CollapModel gives scores that are not finite"):
        score(retriever, embedded, tmp_path / "scores")


def start(songs: Path, output: Path, num_processes: int = 1, kill_at_song: int = 0, kill_at_block: int = 0) -> int:
    """Runs ranking_script.py; how it ended."""
    command = [sys.executable]
    if num_processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"]
    command += [str(Path(__file__).with_name("ranking_script.py")), str(songs), str(output)]
    result = subprocess.run(
        [*command, str(kill_at_song), str(kill_at_block)],
        env={**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, -9) or num_processes > 1, result.stderr[-4000:]
    return result.returncode


def work(output: Path) -> Counter:
    """How often each song was embedded and each block scored."""
    return Counter(line.split(maxsplit=1)[1] for line in (output / "work.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def songs(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("songs")
    write_songs(folder, SECONDS)
    return folder


@pytest.fixture(scope="module")
def alone(songs, tmp_path_factory) -> np.ndarray:
    """What one process finds that nobody disturbs."""
    output = tmp_path_factory.mktemp("alone")
    assert start(songs, output) == 0
    assert set(work(output).values()) == {1}
    return np.load(output / "table.npy")


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 3])
def test_processes_share_the_work_and_find_the_same(songs, alone, tmp_path, num_processes):
    assert start(songs, tmp_path, num_processes) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "table.npy"), alone)  # to the last bit
    lines = [line.split() for line in (tmp_path / "work.txt").read_text().splitlines()]
    assert set(work(tmp_path).values()) == {1}  # each song and block by one of them
    for what in ("song", "block"):
        assert len({process for process, kind, _ in lines if kind == what}) == num_processes
    # 16.3 s in all: the longest song is about a share of its own
    loads = Counter()
    for process, kind, which in lines:
        if kind == "song":
            loads[process] += SECONDS[int(which)]
    assert max(loads.values()) <= {2: 8.4, 3: 6.0}[num_processes]


@pytest.mark.slow
def test_a_killed_run_goes_on_in_more_processes(songs, alone, tmp_path):
    assert start(songs, tmp_path, kill_at_song=6) == -9
    shards = {file: file.stat().st_mtime_ns for file in tmp_path.glob("embeddings/*/shard-*")}
    assert work(tmp_path).total() == 5
    assert 2 <= len(shards) <= 5  # the writer is behind by a song or two

    assert start(songs, tmp_path, 2, kill_at_block=2) != 0
    assert {file: file.stat().st_mtime_ns for file in shards} == shards  # kept as they were
    begun = [name for name in work(tmp_path).elements() if name.startswith("song")]
    assert len(set(begun)) == 8
    assert len(begun) == 5 + 8 - len(shards)  # what was in a shard was not embedded again

    blocks = {file: file.stat().st_mtime_ns for file in tmp_path.glob("scores/*/*.npy")}
    assert blocks
    assert not (tmp_path / "table.npy").exists()
    assert start(songs, tmp_path) == 0
    assert {file: file.stat().st_mtime_ns for file in blocks} == blocks
    np.testing.assert_array_equal(np.load(tmp_path / "table.npy"), alone)
