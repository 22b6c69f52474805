# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Of one trained model: ranks of real songs for captions, sections and the order, and where it finds sentences.

The queries are those of one split. The gallery is the split, or all songs. For the order, a caption has to tell its
song from three rearrangements of the song's sections.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collap.evaluation.retrievers import CollapRetriever, Retriever, load_retriever
from collap.files import write_json

from ..questions import Query, Song, captions, read_songs, sections
from ..rank import embed_songs, rank_queries
from ..spans import measure

WRITERS = {"seen": "", "other": "_other"}  # suffixes of the columns
NUM_REARRANGEMENTS = 3


def number_sentences(song: Song) -> Song:
    """The song with the indices of each section's sentences in `text` and `text_other`, whose counts are the same."""
    end = len(song["text"])
    for section in reversed(song["sections"]):
        start = end - len(section["texts"][0])
        section["sentences"] = section["sentences_other"] = list(range(start, end))
        end = start
    return song


def rearrange(frames: np.ndarray, times: np.ndarray, song: Song, generator: random.Random) -> np.ndarray:
    """Frames `(N, d)` of a song with times `(N, 2)` whose sections are in another order."""
    starts_s = [section["start_s"] for section in song["sections"]]
    section_of_frame = np.searchsorted(starts_s[1:], times.mean(1), side="right")
    places = list(range(len(starts_s)))
    order = places
    while order == places:
        order = generator.sample(places, len(places))
    return np.concatenate([frames[section_of_frame == place] for place in order])


def rank_order(retriever: Retriever, songs: Sequence[Song], frames: Sequence[np.ndarray], column: str) -> dict:
    """What [`rank_queries`] gives for captions in galleries of a song and its rearrangements."""
    gallery, queries, groups = [], [], []
    for number, (song, of_song) in enumerate(zip(songs, frames, strict=True)):
        if len(song["sections"]) < 2:
            continue
        queries.append(Query(len(gallery), song[column]))
        times = retriever.frame_times(len(of_song), song["duration_s"])
        generator = random.Random(number)
        others = [rearrange(of_song, times, song, generator) for _ in range(NUM_REARRANGEMENTS)]
        gallery += [of_song, *others]
        groups += [number] * (1 + NUM_REARRANGEMENTS)
    return rank_queries(retriever, gallery, queries, groups, within_group=True)


def where_file(ranks: Path) -> Path:
    """The file beside one of ranks that has the metrics of spans."""
    return ranks.with_name(f"{ranks.stem}-where.json")


def rank_all(
    retriever: CollapRetriever, data: Path, split: str, first_s: float | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What [`rank_queries`] gives by the names of questions; and of a model of sentences the metrics of spans."""
    songs = [number_sentences(song) for song in read_songs(data / f"{split}.jsonl")]
    own = {song["song_id"] for song in songs}
    others = [song for song in read_songs(data / "all.jsonl") if song["song_id"] not in own]
    frames = embed_songs(retriever, [*songs, *others])
    if first_s is not None:
        counts = [round(first_s / retriever.model.config.frame_length_s)] * len(frames)
        frames = [of_song[:count] for of_song, count in zip(frames, counts, strict=True)]
    ranks, where = {}, {}
    for writer, suffix in WRITERS.items():
        for size, gallery in {"held-out": frames[: len(songs)], "all": frames}.items():
            for kind, queries in {
                "captions": captions(f"text{suffix}"),
                "sections": sections(f"query{suffix}"),
            }.items():
                found = rank_queries(retriever, gallery, queries(songs), section_query=kind == "sections")
                ranks[f"{kind}, {size}, {writer}"] = found
        if first_s is None:
            ranks[f"order, {writer}"] = rank_order(retriever, songs, frames[: len(songs)], f"text{suffix}")
        if first_s is None and retriever.model.config.text_granularity == "sentence":
            where[writer] = measure(retriever, songs, suffix)
    return ranks, where


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained CoLLAP or mean pooling")
    parser.add_argument("--features", required=True, help="cached features of all songs")
    parser.add_argument("--data", type=Path, required=True, help="folder of the manifests")
    parser.add_argument("--split", default="test", help="whose queries are ranked")
    parser.add_argument("--first_s", type=float, help="take so many seconds of each song alone")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    retriever = load_retriever(given.model, features=given.features, truncate_texts=True)
    ranks, where = rank_all(retriever, given.data, given.split, given.first_s)
    write_json(where_file(given.output), where)
    write_json(given.output, ranks)


if __name__ == "__main__":
    main()
