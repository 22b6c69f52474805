# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
How near is the span that is found for a sentence to the section that it describes?

    python -m benchmarks.spans --model demo/models/sentences --manifest demo/corpus/content.jsonl

It finds the spans of all sentences of a caption in its own song (`collap.evaluation.localization.find_spans`): aligned
together in the order of the text, each sentence alone, and each alone with its time query; and as a baseline without
a model, as many equal parts of the song as there are sentences. The metrics are the mean
intersection over union with the true section, and the share of sentences for which it is at least 0.5 and 0.7.
Sentences on the whole song are left out. Intervals (95 %) come of drawing the songs anew.
"""

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from collap.evaluation.localization import Span, find_spans
from collap.evaluation.retrievers import CollapRetriever, load_retriever
from collap.files import markdown_table, write_json
from collap.metrics import moment_metrics
from collap.progress import progress_bar

from .questions import Song, described_spans, read_songs
from .tables import with_intervals

METRICS = ("iou", "r1@0.5", "r1@0.7")
WAYS = ("aligned together", "each alone", "each alone, with time queries")
EQUAL = "equal parts"  # one for each sentence: a baseline without a model


def find_in_each_way(retriever: CollapRetriever, song: Song, sentences: list[str]) -> dict[str, list[Span]]:
    """The spans of the sentences of a text in a song, by the way of finding them."""
    frames = retriever.embed_song(song["audio"]).frames
    model, text = retriever.model, retriever.embed_texts([sentences]).output
    of_song = frames, model.frame_times(len(frames), song["duration_s"]).numpy(), text.query_embeds.numpy()
    found = {way: find_spans(*of_song, in_order=way == WAYS[0]) for way in WAYS[:2]}
    if text.time_query_embeds is not None:
        times = text.time_query_embeds.numpy(), model.config.temporal_temperature
        found[WAYS[2]] = find_spans(*of_song, False, *times)
    bounds = np.linspace(0, song["duration_s"], len(sentences) + 1).tolist()
    equal = [Span(place, start_s, end_s, 0.0) for place, (start_s, end_s) in enumerate(pairwise(bounds))]
    return found | {EQUAL: equal}


def measure(retriever: CollapRetriever, songs: Sequence[Song], suffix: str) -> dict[str, dict[str, Any]]:
    """Metrics over the sentences of all songs, with intervals, by the way of finding spans."""
    of_sentences: dict[str, list[dict[str, float]]] = {}
    units = []
    for number, song in enumerate(progress_bar(songs, unit="song")):
        true_spans = described_spans(song, suffix)
        units += [number for true_span in true_spans if true_span is not None]
        for way, spans in find_in_each_way(retriever, song, song[f"text{suffix}"]).items():
            of_sentences.setdefault(way, []).extend(
                moment_metrics(np.array([[span.start_s, span.end_s]]), np.array([true_span]))
                for span, true_span in zip(spans, true_spans, strict=True)
                if true_span is not None
            )
    return {
        way: with_intervals({name: np.array([row[name] for row in rows]) for name in METRICS}, units)
        for way, rows in of_sentences.items()
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a trained CoLLAP")
    parser.add_argument("--manifest", type=Path, required=True, help="a split of the rendered songs")
    parser.add_argument("--wording", default="_new", help="what the column text{WORDING} is named by (default: _new)")
    parser.add_argument("--num_songs", type=int, help="the first ones (default: all)")
    parser.add_argument("--features", help="cached features of the songs")
    parser.add_argument("--output", type=Path, help="JSON file of the metrics")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    retriever = load_retriever(given.model, features=given.features, truncate_texts=True)
    metrics = measure(retriever, read_songs(given.manifest)[: given.num_songs], given.wording)
    if given.output:
        write_json(given.output, metrics)
    rows = [["spans", *next(iter(metrics.values()))]]
    for way, of_way in metrics.items():
        cells = (f"{v['value']:.3f} ({v['interval'][0]:.2f} to {v['interval'][1]:.2f})" for v in of_way.values())
        rows.append([way, *cells])
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
