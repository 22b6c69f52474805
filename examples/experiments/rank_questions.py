# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The places of the right songs for sets of questions (questions.py), of one trained model: one JSON file.

Rank 1 is the first place, and a tie is lost. The benchmark and the experiments run it, one process a model.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from common import Song, embed_and_count_cut, embed_songs, load_model, read_songs
from questions import SETS, Question, splits_of
from tqdm.auto import tqdm

from collap import CollapAudioOutput, CollapModel, CollapProcessor, CollapTextOutput
from collap.baselines.clap import ClapRetriever
from collap.files import write_json
from collap.metrics import query_metrics


class Scorer(Protocol):
    """A model and the songs that it has heard."""

    def hear(self, songs: Sequence[Song]) -> Any:
        """What `score` needs of some songs."""

    def first(self, audio: Any, number: int) -> Any:
        """The same of the first of them."""

    def read(self, texts: Sequence[list[str]]) -> tuple[Any, int]:
        """What `score` needs of some texts, each given as its sentences; and how many were cut to what it reads."""

    def score(self, audio: Any, texts: Any, question: Question) -> np.ndarray:
        """`(texts, songs)`, scored as the question says."""


class CollapScorer:
    """A CoLLAP (or mean pooling) whose encoders' frames are kept."""

    def __init__(self, model: CollapModel, processor: CollapProcessor, features: Path):
        self.model, self.processor, self.features = model, processor, features

    def hear(self, songs: Sequence[Song]) -> CollapAudioOutput:
        return embed_songs(self.model, self.processor, songs, self.features)

    def first(self, audio: CollapAudioOutput, number: int) -> CollapAudioOutput:
        return CollapAudioOutput(
            last_hidden_state=audio.last_hidden_state[:number], frame_mask=audio.frame_mask[:number]
        )

    def read(self, texts: Sequence[list[str]]) -> tuple[CollapTextOutput, int]:
        return embed_and_count_cut(self.model, self.processor, texts)

    @torch.inference_mode()
    def score(self, audio: CollapAudioOutput, texts: CollapTextOutput, question: Question) -> np.ndarray:
        # The cosines alone: the learned factor changes no rank.
        return self.model.similarity(audio, texts, question.use_time, question.section_query).T.cpu().numpy()


class ClapScorer:
    """A ClapModel; it hears the files, and knows neither the order of sentences nor texts on one moment."""

    def __init__(self, retriever: ClapRetriever):
        self.retriever = retriever

    def hear(self, songs: Sequence[Song]) -> np.ndarray:
        return np.concatenate(
            [self.retriever.embed_song(song["audio"]).frames for song in tqdm(songs, unit="song", desc="Hearing")]
        )

    def first(self, audio: np.ndarray, number: int) -> np.ndarray:
        return audio[:number]

    def read(self, texts: Sequence[list[str]]) -> tuple[Any, int]:
        cut_before = self.retriever.num_truncated_texts
        return self.retriever.embed_texts(texts), self.retriever.num_truncated_texts - cut_before

    def score(self, audio: np.ndarray, texts: Any, question: Question) -> np.ndarray:
        return self.retriever.score(list(audio[:, None]), texts).T


def rank_questions(
    scorer: Scorer, corpus: Path, questions: Sequence[Question], gallery_size: int
) -> dict[str, dict[str, Any]]:
    """
    Of each question, and of each kind of its queries ("question, kind"), `ranks`, `targets` (the song of each query,
    by its place), `units` (the same, or the group of songs that it belongs to: rivals of each other, which an interval
    has to draw together), `gallery_size` and `num_cut`, how many texts of the question were too long for the model.

    Args:
        gallery_size (`int`): Songs of the galleries that are filled up; with fewer songs at hand, all of them.
    """
    splits = splits_of(questions, corpus)
    songs = {split: read_songs(corpus / f"{split}.jsonl") for split in splits}
    audio = {split: scorer.hear(songs[split]) for split in splits}
    found = {}
    for question in tqdm(questions, unit="question", desc="Ranking"):
        queries = question.queries(songs[question.split])
        targets = np.array([query.place for query in queries])
        groups = [song.get("group") for song in songs[question.split]]
        units = np.array([place if groups[place] is None else groups[place] for place in targets])
        texts, num_cut = scorer.read([query.sentences for query in queries])
        scores = scorer.score(audio[question.split], texts, question)  # (queries, songs of the split)
        size = scores.shape[1]
        if question.within_group:
            same = np.array(groups)[None] == units[:, None]
            scores, size = np.where(same, scores, -np.inf), int(same.sum(1).max())
        missing = gallery_size - size
        if question.is_filled_up and missing > 0:
            others = scorer.first(audio["content"], missing)
            scores = np.concatenate([scores, scorer.score(others, texts, question)], axis=1)
            size = scores.shape[1]
        ranks = query_metrics(scores, targets)["median_rank"].astype(int)
        kinds = np.array([query.kind for query in queries])
        chosen = {question.name: np.full(len(queries), True)}
        chosen |= {f"{question.name}, {kind}": kinds == kind for kind in sorted(set(kinds) - {""})}
        for name, is_chosen in chosen.items():
            found[name] = {
                "ranks": ranks[is_chosen].tolist(),
                "targets": targets[is_chosen].tolist(),
                "units": units[is_chosen].tolist(),
                "gallery_size": size,
                "num_cut": num_cut,
            }
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=sorted(SETS), required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained CoLLAP or mean pooling")
    parser.add_argument("--clap_windows", choices=("first", "mean"), help="take the folder for a ClapModel's")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the manifests")
    parser.add_argument("--features", type=Path, help="kept frames of the encoders; not for a ClapModel")
    parser.add_argument("--gallery_size", type=int, default=1000)
    parser.add_argument("--leave_out", nargs="*", default=[], help="splits of which nothing is asked")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    given = parser.parse_args(arguments)
    if given.features is None and given.clap_windows is None:
        parser.error("--features is missing: a CoLLAP's songs are heard from kept frames.")
    torch.set_num_threads(1)
    if given.clap_windows is None:
        model, processor = load_model(given.model, given.device)
        scorer: Scorer = CollapScorer(model, processor, given.features)
    else:
        scorer = ClapScorer(
            ClapRetriever.from_pretrained(str(given.model), device=given.device, windows=given.clap_windows)
        )
    questions = [question for name in given.questions for question in SETS[name]()]
    questions = [question for question in questions if question.split not in given.leave_out]
    found = rank_questions(scorer, given.corpus, questions, given.gallery_size)
    write_json(given.output, found)


if __name__ == "__main__":
    main()
