# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The search: candidates by their windows, then the model's own score, then the moments."""

import copy
import logging
import os
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn.functional import normalize

from collap.data.audio_files import read_audio
from collap.evaluation.localization import find_spans
from collap.evaluation.retrievers import CollapRetriever, CollapTexts
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.processing.feature_extraction_beats import SAMPLING_RATE
from collap.processing.processing_collap import CollapProcessor
from collap.processing.sentence_splitting_collap import split_clauses

from .audio_query import find_excerpt
from .first_stage import ExactFirstStage, WindowQuery
from .query import IndexedSong, Kind, Match, Query, SearchResult, SentenceSpan

if TYPE_CHECKING:
    from .index import SongIndex

logger = logging.getLogger(__name__)

# Songs that the model scores for a query, or as many as are asked for: docs/search.md has the recall over this number.
# What is excluded may be in many of them.
NUM_CANDIDATES = 100
NUM_CANDIDATES_EXCLUDED = 500


def split_description(processor: CollapProcessor, text: str | list[str], kind: Kind) -> tuple[list[str], Kind]:
    """The rows and the kind of a text: one sentence is split where it tells the next event; else it is a section."""
    (sentences,) = processor.split_texts([text])
    if processor.text_granularity == "document":  # one vector, which is scored in one way
        return sentences, "caption"
    if len(sentences) == 1 and processor.language == "en" and kind != "section":
        sentences = split_clauses(sentences[0])
    return sentences, "section" if len(sentences) == 1 else kind


class Description:
    """A text of a query, encoded."""

    def __init__(self, retriever: CollapRetriever, text: str, kind: Kind) -> None:
        sentences, self.kind = split_description(retriever.processor, text, kind)
        self.is_split = len(sentences) > len(retriever.processor.split_texts([text])[0])
        self.texts: CollapTexts = retriever.embed_texts([sentences])
        queries = self.texts.output.query_embeds.float()  # (S, d)
        if self.kind == "section":
            queries, sentences = normalize(queries.mean(0, keepdim=True), dim=-1), [text]
        self.sentences, self.queries = sentences, queries.cpu().numpy()
        self._retriever = copy.copy(retriever)  # its two options are those of this text
        self._retriever.use_time, self._retriever.section_query = self.kind == "caption", self.kind == "section"

    def candidates(self, first_stage: ExactFirstStage, count: int, allowed: set[str] | None) -> list[str]:
        times, config = self.texts.output.time_query_embeds, self._retriever.model.config
        return first_stage.candidates(WindowQuery.of_text(self.queries, times, config, self.kind), count, allowed)

    def score(self, frames: np.ndarray, times: np.ndarray) -> float:
        return float(self._retriever.score([frames], self.texts)[0, 0])

    def spans(self, frames: np.ndarray, times: np.ndarray) -> list[SentenceSpan]:
        found = find_spans(frames, times, self.queries, in_order=self.kind == "caption")
        return [SentenceSpan(self.sentences[span.sentence], span.start_s, span.end_s, span.score) for span in found]

    @torch.inference_mode()
    def score_here(self, frames: np.ndarray, other: "Description") -> float:
        """The score of another section query in the section that this one describes."""
        model, song = self._retriever.model, self._retriever.as_batch([frames])
        where = model.attend(song, _as_output(self.queries), use_time=False).temporal_attentions  # (1, 1, L)
        scores = model.attend(song, _as_output(other.queries), use_time=False).segment_scores  # (1, 1, L)
        return float((where * scores).sum())


def _as_output(queries: np.ndarray) -> CollapTextOutput:
    return CollapTextOutput(query_embeds=torch.from_numpy(queries), sentence_counts=torch.tensor([len(queries)]))


class Excerpt:
    """Audio of a query, encoded: a file, or a part of it."""

    @torch.inference_mode()
    def __init__(self, retriever: CollapRetriever, path: str, span_s: tuple[float | None, float | None]) -> None:
        self.name, (start_s, end_s) = Path(path).name, span_s
        if start_s is None and end_s is None:
            song = retriever.embed_song(path)
            self.frames, duration_s = song.frames, song.duration_s
        else:
            start_s = start_s or 0.0
            waveform, _ = read_audio(path, SAMPLING_RATE, start_s, None if end_s is None else end_s - start_s)
            inputs = retriever.processor(audio=waveform, sampling_rate=SAMPLING_RATE, return_tensors="pt")
            output: CollapAudioOutput = retriever.model.get_audio_features(**inputs.to(retriever.model.device))
            self.frames = output.last_hidden_state[0].float().cpu().numpy()  # (N, d)
            duration_s = len(waveform) / SAMPLING_RATE
        self.times = retriever.frame_times(len(self.frames), duration_s)
        self.query = WindowQuery.of_audio(self.frames, retriever.model.config)

    def candidates(self, first_stage: ExactFirstStage, count: int, allowed: set[str] | None) -> list[str]:
        return first_stage.candidates(self.query, count, allowed)

    def score(self, frames: np.ndarray, times: np.ndarray) -> float:
        return find_excerpt(self.frames, self.times, frames, times)[0]

    def spans(self, frames: np.ndarray, times: np.ndarray) -> list[SentenceSpan]:
        score, start_s, end_s = find_excerpt(self.frames, self.times, frames, times)
        return [SentenceSpan(self.name, start_s, end_s, score)]


def search(index: "SongIndex", query: Query) -> SearchResult:
    """
    Finds the songs that fit a query best.

    The windows of all songs choose the candidates, the model scores these, and the moments are found in the best.

    Args:
        index ([`SongIndex`]): Refreshed first, if another process has updated it.
        query ([`Query`]): A description that is too long for the model is an error.

    Returns:
        [`SearchResult`]: songs of equal score in the order of their paths.

    Raises:
        ValueError: if the index has no songs, a text or the audio of the query cannot be encoded, or the model encodes
            texts as a whole and the query is for a section or any order.
    """
    index.refresh()
    if not index.songs:
        raise ValueError(f"index: {index.folder} holds no song yet. collap index FOLDER --index {index.folder}")
    retriever = index.retriever
    if query.kind != "caption" and retriever.processor.text_granularity == "document":
        raise ValueError("The model has one vector for a whole description: it knows no order and no section.")
    descriptions = [Description(retriever, text, query.kind) for text in query.texts]
    excerpts = [] if query.like is None else [Excerpt(index.song_retriever, query.like, query.like_span_s)]
    parts = [*descriptions, *excerpts]
    excluded = [Description(retriever, text, "section") for text in query.exclude]
    allowed = _filter(index.songs.values(), query)
    count = max(query.top, NUM_CANDIDATES_EXCLUDED if excluded else NUM_CANDIDATES)
    candidates = _find_candidates(index, parts, allowed, count)

    songs, rows, damaged = [], [], []
    for song in sorted(candidates, key=lambda song: index.songs[song].path):
        try:
            frames, times = index.frames(song), index.frame_times(song)
        except ValueError as error:
            logger.warning("%s", error)
            damaged.append(index.songs[song].path)
            continue
        if query.section:  # not in the sections that are described
            unwanted = [part.score_here(frames, text) for part in descriptions for text in excluded]
        else:
            unwanted = [text.score(frames, times) for text in excluded]
        songs.append(song)
        rows.append([*(part.score(frames, times) for part in parts), max(unwanted, default=0.0)])
    scores = np.array(rows).reshape(len(songs), len(parts) + 1)  # (C, parts and what is excluded)
    weights = np.array(query.weights or [1.0] * len(parts))
    totals = scores[:, :-1] @ weights / weights.sum() - scores[:, -1]  # (C,)
    probabilities = _probabilities(index, descriptions, scores[:, : len(descriptions)], len(allowed))

    matches = []
    for place in np.argsort(-totals, kind="stable")[: query.top]:
        song = index.songs[songs[place]]
        frames, times = index.frames(song.id), index.frame_times(song.id)
        spans = [span for part in parts for span in part.spans(frames, times)]
        cosines = [part.queries @ frames.T for part in descriptions]  # (S, N) each
        similarities = np.concatenate([np.zeros((0, len(frames)), np.float32), *cosines])
        probability = None if probabilities is None else float(probabilities[place])
        matches.append(Match(song, float(totals[place]), probability, spans, times, similarities))
    sentences = [sentence for part in descriptions for sentence in part.sentences]
    is_match = None if probabilities is None else bool(probabilities.sum() >= 0.5)
    split_texts = [text for text, part in zip(query.texts, descriptions, strict=True) if part.is_split]
    return SearchResult(matches, sentences, len(allowed), is_match, damaged, split_texts)


def _probabilities(
    index: "SongIndex", descriptions: Sequence[Description], scores: np.ndarray, num_songs: int
) -> np.ndarray | None:
    """Of each candidate `(C,)`, of scores `(C, descriptions)`: that of the description that it fits worst."""
    fits = [index.calibration.get(part.kind) for part in descriptions]
    if not fits or None in fits or not len(scores):
        return None
    return np.min([fit.probability(own, num_songs) for fit, own in zip(fits, scores.T, strict=True)], axis=0)


def _filter(songs: Sequence[IndexedSong], query: Query) -> set[str]:
    """Ids of the songs that the filters leave."""
    folder = None if query.folder is None else Path(os.path.abspath(query.folder))

    def fits(song: IndexedSong) -> bool:
        tags = ((query.title, song.title), (query.artist, song.artist), (query.album, song.album))
        return (
            all(wanted is None or wanted.casefold() in tag.casefold() for wanted, tag in tags)
            and (folder is None or any(folder in Path(path).parents for path in song.paths))
            and (query.min_length_s is None or song.duration_s >= query.min_length_s)
            and (query.max_length_s is None or song.duration_s <= query.max_length_s)
        )

    return {song.id for song in songs if fits(song)}


def _find_candidates(
    index: "SongIndex", parts: Sequence[Description | Excerpt], allowed: set[str], count: int
) -> set[str]:
    if len(allowed) <= count:
        return allowed
    filtered = allowed if len(allowed) < len(index.songs) else None
    found = (part.candidates(index.first_stage, count, filtered) for part in parts)
    return reduce(set.union, map(set, found)) & allowed
