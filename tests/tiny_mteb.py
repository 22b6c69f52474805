# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A small task of mteb that needs no network."""

from collections.abc import Sequence

from datasets import Audio, Dataset
from mteb.abstasks.retrieval import AbsTaskRetrieval
from mteb.abstasks.task_metadata import TaskMetadata


def make_task(
    paths: Sequence[str], captions: Sequence[str], song_of_text: Sequence[int], with_audio_queries: bool
) -> AbsTaskRetrieval:
    """A task of mteb with songs in files and captions, of which each belongs to one song."""
    name, category = ("LocalA2TRetrieval", "a2t") if with_audio_queries else ("LocalT2ARetrieval", "t2a")
    unknown = dict.fromkeys(
        ("reference", "date", "license", "annotations_creators", "sample_creation", "bibtex_citation")
    )
    songs = Dataset.from_dict({"id": [f"s{song}" for song in range(len(paths))], "audio": paths})
    songs = songs.cast_column("audio", Audio())
    texts = Dataset.from_dict({"id": [f"t{text}" for text in range(len(captions))], "text": captions})
    relevant = {}
    for text, song in enumerate(song_of_text):
        query, document = (f"s{song}", f"t{text}") if with_audio_queries else (f"t{text}", f"s{song}")
        relevant.setdefault(query, {})[document] = 1

    class Task(AbsTaskRetrieval):
        metadata = TaskMetadata(
            name=name,
            description="Noise and words.",
            dataset={"path": "local/task", "revision": "1"},
            type="Any2AnyRetrieval",
            category=category,
            modalities=["audio", "text"],
            eval_splits=["test"],
            eval_langs=["eng-Latn"],
            main_score="recall_at_1",
            domains=["Music"],
            task_subtypes=[],
            dialect=[],
            **unknown,
        )

        def load_data(self, **_):
            queries, corpus = (songs, texts) if with_audio_queries else (texts, songs)
            split = {"corpus": corpus, "queries": queries, "relevant_docs": relevant, "top_ranked": None}
            self.dataset, self.data_loaded = {"default": {"test": split}}, True

    return Task()
