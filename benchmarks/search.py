# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
What the first stage of a search finds, and what it costs: one JSON file, and tables.

    python -m benchmarks.search recall --corpus CORPUS --model MODEL --cache FOLDER   # a long-form benchmark's
    python -m benchmarks.search speed

`recall` is the share of the 10 songs that the model ranks first among all, which are among the first 10 of the
two-stage result. `speed` takes random vectors, and compares with Milvus Lite in the same run.
"""

import argparse
import math
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from tqdm.auto import tqdm

from collap.encode import embed_songs
from collap.evaluation.retrievers import CollapRetriever, CollapTexts, load_retriever
from collap.files import library_versions, markdown_table, this_command, write_json
from collap.search import first_stage
from collap.search.audio_query import find_excerpt
from collap.search.first_stage import ExactFirstStage, WindowQuery, make_windows, score_windows, unit_rows
from collap.search.milvus import OVERSAMPLING, MilvusFirstStage

from .questions import captions, read_songs, sections
from .rank import score

COUNTS = (10, 20, 50, 100, 200)
TOP = 10
WINDOWS_S = (5.0, 7.5, 10.0)
WIDTH, WINDOWS_PER_SONG, SENTENCES = 512, 29, 14
MOST_SONGS_OF_MILVUS = 1_000  # Milvus Lite takes minutes to insert more


def recall_curve(exact: np.ndarray, first: np.ndarray) -> dict[int, float]:
    """
    Of scores `(queries, songs)` of the model and of the first stage: the mean share of the model's `TOP` songs that
    are among the first `COUNTS` of the first stage. These are then the first `TOP` of the two-stage result as well.
    """
    wanted = np.argsort(-exact, axis=1, kind="stable")[:, :TOP]
    ranks = np.argsort(np.argsort(-first, axis=1, kind="stable"), axis=1, kind="stable")
    found = np.take_along_axis(ranks, wanted, axis=1)
    return {count: float((found < count).mean()) for count in COUNTS}


def measure_recall(retriever: CollapRetriever, corpus: Path, cache_folder: Path, every: int) -> dict[str, Any]:
    """Recall curves by kind of query and seconds of a window."""
    songs = read_songs(corpus / "content.jsonl")
    paths = {str(place): song["audio"] for place, song in enumerate(songs)}
    cache, listed = embed_songs(retriever, paths, cache_folder, PartialState(cpu=True))
    encoded = [cache.read(song.hash) for song in listed.values()]
    frames = [song.frames for song in encoded]
    times = [retriever.model.frame_times(len(song.frames), song.duration_s).numpy() for song in encoded]
    asked = {
        "caption": captions("text_new", every=every)(songs),
        "any_order": captions("text_new", every=every)(songs),
        "section": sections("query_new", every=every)(songs),
    }
    exact, queries = {}, {}
    for kind, texts in asked.items():
        encoded_texts = retriever.embed_texts([text.sentences for text in texts])
        retriever.use_time = kind == "caption"
        exact[kind] = score(retriever, frames, encoded_texts, kind == "section")
        queries[kind] = [_window_query(retriever, encoded_texts, place, kind) for place in range(len(texts))]
    generator = np.random.default_rng(0)
    for name, seconds, number in (("excerpts of 10 s", 10.0, 40), ("excerpts of 30 s", 30.0, 20)):
        excerpts = [_excerpt(frames, times, seconds, generator) for _ in range(number)]
        exact[name] = np.array(
            [
                [find_excerpt(*excerpt, *song)[0] for song in zip(frames, times, strict=True)]
                for excerpt in tqdm(excerpts, desc=name)
            ]
        )
        queries[name] = [WindowQuery.of_audio(part, retriever.model.config) for part, _ in excerpts]
    results: dict[str, Any] = {}
    for seconds in WINDOWS_S:
        first_stage.WINDOW_S = seconds
        windows = [make_windows(*song)[0].astype(np.float16) for song in zip(frames, times, strict=True)]
        starts = np.cumsum([0, *map(len, windows)])
        vectors = np.concatenate(windows)
        for kind, own in queries.items():
            scores = np.array([score_windows(vectors, starts, query) for query in own])
            results[f"{kind}, {seconds:g} s"] = recall_curve(exact[kind], scores)
            near = np.array([_are_near(vectors, starts, query) for query in own])
            results[f"{kind}, {seconds:g} s, in Milvus"] = recall_curve(exact[kind], np.where(near, scores, -np.inf))
    return {
        "num_songs": len(songs),
        "num_queries": {kind: len(own) for kind, own in queries.items()},
        "recall": results,
    }


def _are_near(vectors: np.ndarray, starts: np.ndarray, query: WindowQuery) -> np.ndarray:
    """Whether each song `(C,)` is among those that [`MilvusFirstStage`] fetches for 100 candidates."""
    best = np.maximum.reduceat(query.queries @ vectors.astype(np.float32).T, starts[:-1], axis=1)  # (Q, C)
    return (np.argsort(np.argsort(-best, axis=1), axis=1) < OVERSAMPLING * 100).any(0)


def _window_query(retriever: CollapRetriever, texts: CollapTexts, place: int, kind: Any) -> WindowQuery:
    return WindowQuery.of_text(texts[place : place + 1].output, retriever.model.config, kind)


def _excerpt(
    frames: list[np.ndarray], times: list[np.ndarray], seconds: float, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """A part of a song, with a little noise."""
    song = generator.integers(len(frames))
    count = math.ceil(seconds / float(times[song][0, 1] - times[song][0, 0]))
    start = generator.integers(max(1, len(frames[song]) - count))
    part = frames[song][start : start + count]
    noise = 0.03 * generator.standard_normal(part.shape, dtype=np.float32)
    return unit_rows(part + noise), times[song][start : start + count]


def synthetic_songs(num_songs: int) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Songs of random windows, the same in every run."""
    pool = unit_rows(np.random.default_rng(0).standard_normal((20_000, WIDTH), dtype=np.float32))
    spans = np.stack([np.arange(WINDOWS_PER_SONG), np.arange(1, WINDOWS_PER_SONG + 1)], axis=1) * 7.5
    for song in range(num_songs):
        start = song * 7919 % (len(pool) - WINDOWS_PER_SONG)
        yield f"{song:032x}", pool[start : start + WINDOWS_PER_SONG], spans


def timed(call: Callable[[], Any], repeats: int = 5) -> tuple[float, float]:
    """The shortest wall clock time of a call, and the shortest CPU time, in seconds."""
    wall, cpu = [], []
    for _ in range(repeats):
        started = time.perf_counter(), time.process_time()
        call()
        wall.append(time.perf_counter() - started[0])
        cpu.append(time.process_time() - started[1])
    return min(wall), min(cpu)


def own_memory() -> float:
    """Gigabytes of this process that are no pages of files."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024 / 1e9


def measure_speed(num_songs: int) -> dict[str, float]:
    """Seconds and gigabytes of the exact stage, and of Milvus Lite for a library that is not too large."""
    generator = np.random.default_rng(1)
    query = WindowQuery(
        queries=unit_rows(generator.standard_normal((SENTENCES, WIDTH), dtype=np.float32)),
        temperature=0.1,
        attention_weight=0.5,
        mean_weight=0.5,
        time_queries=generator.standard_normal((SENTENCES, 16), dtype=np.float32),
    )
    measured = {}
    with tempfile.TemporaryDirectory() as folder:
        stage, before = ExactFirstStage(folder), own_memory()
        measured["update_s"] = timed(lambda: stage.update(synthetic_songs(num_songs), ()), 1)[0]
        measured["file_gb"] = stage.file.stat().st_size / 1e9
        measured["open_s"] = timed(lambda: ExactFirstStage(folder), 2)[0]
        measured["search_s"], measured["search_cpu_s"] = timed(lambda: stage.candidates(query, 100))
        measured["memory_gb"] = own_memory() - before
        if num_songs <= MOST_SONGS_OF_MILVUS:
            milvus, before = MilvusFirstStage(str(Path(folder) / "milvus.db"), "songs"), own_memory()
            measured["milvus_lite_update_s"] = timed(lambda: milvus.update(synthetic_songs(num_songs), ()), 1)[0]
            search = partial(milvus.candidates, query, 100)
            measured["milvus_lite_search_s"], measured["milvus_lite_search_cpu_s"] = timed(search, 2)
            measured["milvus_lite_memory_gb"] = own_memory() - before
    return measured


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("recall", "speed"))
    parser.add_argument("--corpus", type=Path, help="folder of the manifests")
    parser.add_argument("--model", help="folder of a CoLLAP")
    parser.add_argument("--cache", type=Path, help="folder for the frames of the songs")
    parser.add_argument("--every", type=int, default=4, help="texts of every so manieth song are asked")
    parser.add_argument("--songs", type=int, nargs="+", default=[1_000, 10_000, 100_000], help="numbers of songs")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    given = parser.parse_args(arguments)
    made_by = {"command": this_command(), "versions": library_versions(["torch", "numpy", "milvus-lite"])}
    if given.part == "recall":
        if None in (given.corpus, given.model, given.cache):
            parser.error("recall needs --corpus, --model and --cache")
        retriever = load_retriever(given.model, truncate_texts=True)
        results = measure_recall(retriever, given.corpus, given.cache, given.every)
        table = [["query, window", *map(str, COUNTS)]]
        table += [[name, *(f"{curve[count]:.3f}" for count in COUNTS)] for name, curve in results["recall"].items()]
    else:
        results = {str(num_songs): measure_speed(num_songs) for num_songs in given.songs}
        names = list(dict.fromkeys(name for measured in results.values() for name in measured))
        table = [["", *(f"{num_songs:,}" for num_songs in given.songs)]]
        table += [[name, *(f"{results[n].get(name, math.nan):.3g}" for n in results)] for name in names]
    write_json(given.output, made_by | {given.part: results})
    print(markdown_table(table))


if __name__ == "__main__":
    main()
