# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The ranks of the right answers for sets of questions (questions.py), of one trained model: one JSON file.

Rank 1 is the best, and a tie is lost. The demo, the benchmark and the experiments run it, one process a model.
"""

import argparse
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from tqdm.auto import tqdm

from collap.evaluation.evaluate import score_songs
from collap.evaluation.retrievers import CollapRetriever, Retriever, load_retriever
from collap.files import write_json
from collap.metrics import query_metrics

from .questions import SETS, Query, Question, Song, read_songs, splits_of


def embed_songs(retriever: Retriever, songs: Sequence[Song], first_s: float | None = None) -> list[np.ndarray]:
    """The frames of each song, or of its first seconds."""
    progress = tqdm(songs, unit="song", desc="Encoding", delay=5)
    frames = [retriever.embed_song(song["audio"]).frames for song in progress]
    if first_s is not None:
        frames = [of_song[: round(first_s / retriever.model.config.frame_length_s)] for of_song in frames]
    return frames


def score(retriever: Retriever, songs: Sequence[np.ndarray], texts: Any, section_query: bool = False) -> np.ndarray:
    """Scores `(texts, songs)`. Models other than CoLLAP have no section queries."""
    if isinstance(retriever, CollapRetriever):
        retriever.section_query = section_query
    return score_songs(retriever, songs.__getitem__, [len(frames) for frames in songs], texts, PartialState())


def rank_questions(
    retriever: Retriever, corpus: Path, questions: Sequence[Question], gallery_size: int, first_s: float | None = None
) -> dict[str, dict[str, Any]]:
    """
    Of each question `ranks`, `targets` (the song of each query, by its place), `units` (the same, or the group of
    songs that it belongs to: rivals of each other, which an interval has to draw together), `gallery_size` and
    `num_cut`, how many texts were cut that no question before had. Galleries are filled up to `gallery_size` songs, if
    there are as many.
    """
    songs = {split: read_songs(corpus / f"{split}.jsonl") for split in splits_of(questions, corpus)}
    frames = {split: embed_songs(retriever, of_split, first_s) for split, of_split in songs.items()}
    ranks_of = {}
    for question in tqdm(questions, unit="question", desc="Ranking"):
        of_split, gallery = songs[question.split], list(frames[question.split])
        queries, groups = question.queries(of_split), [song.get("group") for song in of_split]
        if question.num_rearranged:
            gallery, queries, groups = rearrange_songs(retriever, of_split, gallery, queries, question.num_rearranged)
        targets = np.array([query.place for query in queries])
        units = np.array([place if groups[place] is None else groups[place] for place in targets])
        if question.filled_from is not None:
            own = {song["audio"] for song in of_split}
            source = zip(songs[question.filled_from], frames[question.filled_from], strict=True)
            fill = [of_song for song, of_song in source if song["audio"] not in own]
            gallery += fill[: max(0, gallery_size - len(gallery))]
        cut_before = retriever.num_truncated_texts
        texts = retriever.embed_texts([query.sentences for query in queries])
        scores = score(retriever, gallery, texts, question.section_query)  # (texts, songs)
        scores, size = scores.T if question.by_song else scores, len(gallery)
        if question.within_group:
            same = np.array(groups + [None] * (len(gallery) - len(groups)))[None] == units[:, None]
            scores, size = np.where(same, scores, -np.inf), int(same.sum(1).max())
        ranks_of[question.name] = {
            "ranks": query_metrics(scores, targets)["median_rank"].astype(int).tolist(),
            "targets": targets.tolist(),
            "units": units.tolist(),
            "gallery_size": size,
            "num_cut": retriever.num_truncated_texts - cut_before,
        }
    return ranks_of


def rearrange_songs(
    retriever: Retriever, songs: Sequence[Song], frames: Sequence[np.ndarray], queries: Sequence[Query], number: int
) -> tuple[list[np.ndarray], list[Query], list[int]]:
    """
    Frames of the songs of three sections or more, each with `number` others of its sections in different orders (two
    sections have one other order); their queries; their groups.
    """
    gallery, moved, groups = [], [], []
    for query in queries:
        song, of_song = songs[query.place], frames[query.place]
        starts_s = [section["start_s"] for section in song["sections"]]
        if len(starts_s) < 3:
            continue
        moved.append(Query(len(gallery), query.sentences))
        times = retriever.frame_times(len(of_song), song["duration_s"])
        section_of_frame = np.searchsorted(starts_s[1:], times.mean(1), side="right")
        places, generator = range(len(starts_s)), random.Random(query.place)
        orders = dict.fromkeys([tuple(places)])
        while len(orders) <= number:
            orders[tuple(generator.sample(places, len(places)))] = None
        for order in orders:
            gallery.append(np.concatenate([of_song[section_of_frame == place] for place in order]))
        groups += [query.place] * (number + 1)
    return gallery, moved, groups


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=sorted(SETS), required=True)
    parser.add_argument("--model", required=True, help="folder of a trained CoLLAP or mean pooling")
    parser.add_argument("--features", help="cached features")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the manifests")
    parser.add_argument("--gallery_size", type=int, default=1000)
    parser.add_argument("--first_s", type=float, help="take so many seconds of each song alone; not for a ClapModel")
    parser.add_argument("--leave_out", help="a split whose questions are left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    retriever = load_retriever(given.model, given.device, features=given.features, truncate_texts=True)
    questions = [question for name in given.questions for question in SETS[name]()]
    questions = [question for question in questions if question.split != given.leave_out]
    if given.first_s is not None:  # few sections begin there
        questions = [question for question in questions if not question.num_rearranged]
    write_json(given.output, rank_questions(retriever, given.corpus, questions, given.gallery_size, given.first_s))


if __name__ == "__main__":
    main()
