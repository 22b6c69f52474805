# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The ranks of the right answers for sets of questions (questions.py), of one trained model: one JSON file.

Rank 1 is the best, and a tie is lost. The demo, the benchmark and the experiments run it, one process a model.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm
from transformers import AutoProcessor

from collap import CollapAudioOutput, CollapModel, CollapProcessor, CollapTextOutput
from collap.baselines.clap import ClapRetriever
from collap.baselines.mean_pooling import load_collap
from collap.data.cache import TensorCache, describe_features
from collap.evaluation.retrievers import CollapRetriever
from collap.files import write_json
from collap.metrics import query_metrics

from .questions import SETS, Question, Song, read_songs, splits_of


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> tuple[CollapModel, CollapProcessor]:
    """
    A trained CoLLAP (or mean pooling) in evaluation mode, and its processor.

    Raises:
        ValueError: if there is no model in the folder.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(f"{folder} holds no model: it has no config.json. Train it first.")
    return load_collap(str(folder)).to(device).eval(), AutoProcessor.from_pretrained(str(folder))


@torch.inference_mode()
def embed_songs(
    model: CollapModel, processor: CollapProcessor, songs: Sequence[Song], features: str | Path
) -> CollapAudioOutput:
    """All songs as one batch, from the cached features of examples/extract_features.py."""
    cache = TensorCache(features, describe_features(model.audio_model, processor.feature_extractor))
    frames = [cache.load(song["audio"]).float() for song in songs]
    mask = torch.arange(max(map(len, frames))) < torch.tensor([len(item) for item in frames])[:, None]
    frames = pad_sequence(frames, batch_first=True).to(model.device)
    return model.get_audio_features(encoder_frames=frames, frame_mask=mask.to(model.device))


def embed_texts(
    model: CollapModel, processor: CollapProcessor, texts: Sequence[list[str]]
) -> tuple[CollapTextOutput, int]:
    """Texts, each given as its sentences, and how many different ones were cut to what the model takes."""
    retriever = CollapRetriever(model, processor, truncate_texts=True)
    return retriever.embed_texts(texts).output, retriever.num_truncated_texts


class CollapScorer:
    """A CoLLAP (or mean pooling) with cached features."""

    def __init__(self, model: CollapModel, processor: CollapProcessor, features: Path):
        self.model, self.processor, self.features = model, processor, features

    def embed_songs(self, songs: Sequence[Song]) -> CollapAudioOutput:
        return embed_songs(self.model, self.processor, songs, self.features)

    def first_songs(self, audio: CollapAudioOutput, number: int) -> CollapAudioOutput:
        return CollapAudioOutput(
            last_hidden_state=audio.last_hidden_state[:number], frame_mask=audio.frame_mask[:number]
        )

    def embed_texts(self, texts: Sequence[list[str]]) -> tuple[CollapTextOutput, int]:
        return embed_texts(self.model, self.processor, texts)

    @torch.inference_mode()
    def score(self, audio: CollapAudioOutput, texts: CollapTextOutput, question: Question) -> np.ndarray:
        # The cosines alone: the learned factor changes no rank.
        return self.model.similarity(audio, texts, question.use_time, question.section_query).T.cpu().numpy()


class ClapScorer:
    """A ClapModel: it encodes the files, and has neither time nor section queries."""

    def __init__(self, retriever: ClapRetriever):
        self.retriever = retriever

    def embed_songs(self, songs: Sequence[Song]) -> np.ndarray:
        songs = tqdm(songs, unit="song", desc="Encoding")
        return np.concatenate([self.retriever.embed_song(song["audio"]).frames for song in songs])

    def first_songs(self, audio: np.ndarray, number: int) -> np.ndarray:
        return audio[:number]

    def embed_texts(self, texts: Sequence[list[str]]) -> tuple[Any, int]:
        cut_before = self.retriever.num_truncated_texts
        return self.retriever.embed_texts(texts), self.retriever.num_truncated_texts - cut_before

    def score(self, audio: np.ndarray, texts: Any, question: Question) -> np.ndarray:
        return self.retriever.score(list(audio[:, None]), texts).T


def rank_questions(
    scorer: CollapScorer | ClapScorer, corpus: Path, questions: Sequence[Question], gallery_size: int
) -> dict[str, dict[str, Any]]:
    """
    Of each question, and of each kind of its queries ("question, kind"), `ranks`, `targets` (the song of each query,
    by its place), `units` (the same, or the group of songs that it belongs to: rivals of each other, which an interval
    has to draw together), `gallery_size` and `num_cut`, how many texts of the question were too long for the model.

    Args:
        scorer: Embeds songs and texts, and scores them: `(texts, songs)`.
        gallery_size (`int`): Songs of the galleries that are filled up; with fewer songs at hand, all of them.
    """
    songs = {split: read_songs(corpus / f"{split}.jsonl") for split in splits_of(questions, corpus)}
    audio = {split: scorer.embed_songs(of_split) for split, of_split in songs.items()}
    ranks_of = {}
    for question in tqdm(questions, unit="question", desc="Ranking"):
        queries = question.queries(songs[question.split])
        targets = np.array([query.place for query in queries])
        groups = [song.get("group") for song in songs[question.split]]
        units = np.array([place if groups[place] is None else groups[place] for place in targets])
        texts, num_cut = scorer.embed_texts([query.sentences for query in queries])
        scores = scorer.score(audio[question.split], texts, question)  # (texts, songs of the split)
        if question.by_song:
            scores = scores.T
        size = scores.shape[1]
        if question.within_group:
            same = np.array(groups)[None] == units[:, None]
            scores, size = np.where(same, scores, -np.inf), int(same.sum(1).max())
        if question.is_filled_up and gallery_size > size:
            others = scorer.first_songs(audio["content"], gallery_size - size)
            scores = np.concatenate([scores, scorer.score(others, texts, question)], axis=1)
            size = scores.shape[1]
        ranks = query_metrics(scores, targets)["median_rank"].astype(int)
        kinds = np.array([query.kind for query in queries])
        chosen = {question.name: np.full(len(queries), True)}
        chosen |= {f"{question.name}, {kind}": kinds == kind for kind in sorted(set(kinds) - {""})}
        for name, is_chosen in chosen.items():
            ranks_of[name] = {
                "ranks": ranks[is_chosen].tolist(),
                "targets": targets[is_chosen].tolist(),
                "units": units[is_chosen].tolist(),
                "gallery_size": size,
                "num_cut": num_cut,
            }
    return ranks_of


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", nargs="+", choices=sorted(SETS), required=True)
    parser.add_argument("--model", type=Path, required=True, help="folder of a trained CoLLAP or mean pooling")
    parser.add_argument("--clap_windows", choices=("first", "mean"), help="the folder is that of a ClapModel")
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the manifests")
    parser.add_argument("--features", type=Path, help="cached features; not for a ClapModel")
    parser.add_argument("--gallery_size", type=int, default=1000)
    parser.add_argument("--leave_out", default="", help="a split whose questions are left out")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--output", type=Path, required=True, help="JSON file")
    given = parser.parse_args(arguments)
    if given.features is None and given.clap_windows is None:
        parser.error("--features is missing: a CoLLAP takes cached features.")
    torch.set_num_threads(1)
    if given.clap_windows is None:
        scorer = CollapScorer(*load_model(given.model, given.device), given.features)
    else:
        clap = ClapRetriever.from_pretrained(str(given.model), device=given.device, windows=given.clap_windows)
        scorer = ClapScorer(clap)
    questions = [question for name in given.questions for question in SETS[name]()]
    questions = [question for question in questions if question.split != given.leave_out]
    write_json(given.output, rank_questions(scorer, given.corpus, questions, given.gallery_size))


if __name__ == "__main__":
    main()
