# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How well a model finds the held-out songs of the corpus by whole captions, by one-section queries, and in order."""

import sys
from pathlib import Path
from typing import Any

import torch

from collap import CollapModel, CollapProcessor
from collap.metrics import chance_level, order_accuracy, retrieval_metrics

sys.path.append(str(Path(__file__).resolve().parents[1]))  # last: examples/evaluate.py is not the library of that name
from kept_songs import embed_songs, embed_texts, read_songs

WORDINGS = {"seen": ("text", "query"), "new": ("text_new", "query_new")}  # columns of captions and of queries


@torch.inference_mode()
def evaluate(
    model: CollapModel, processor: CollapProcessor, corpus: Path, features: Path
) -> dict[str, dict[str, float]]:
    """
    Figures for each wording: `{"seen": {...}, "new": {...}}`, shares in [0, 1].

    `text_to_audio`, `audio_to_text`: whole captions among the songs of the split "content". `section`: queries on one
    section, text to audio, whose sentences look for one moment together. `order`: whole captions among four songs
    of the same sections in another order, of the split "order".
    """
    model.eval()
    content, order = read_songs(corpus / "content.jsonl"), read_songs(corpus / "order.jsonl")
    content_audio = embed_songs(model, processor, content, features)
    order_audio = embed_songs(model, processor, order, features)
    results = {}
    for wording, (caption, query) in WORDINGS.items():
        own = list(range(len(content)))
        scores = model.score(content_audio, embed_texts(model, processor, [song[caption] for song in content]))
        figures = {"text_to_audio": retrieval_metrics(scores.T.numpy(), own)}
        figures["audio_to_text"] = retrieval_metrics(scores.numpy(), own)

        queries = [(index, section[query]) for index, song in enumerate(content) for section in song["sections"]]
        texts = embed_texts(model, processor, [text for _, text in queries])
        scores = model.score(content_audio, texts, section_query=True)
        figures["section"] = retrieval_metrics(scores.T.numpy(), [index for index, _ in queries])

        scores = model.score(order_audio, embed_texts(model, processor, [song[caption] for song in order]))
        accuracy = order_accuracy(scores.T.numpy(), [song["group"] for song in order])
        results[wording] = {**figures, "order": accuracy}
    return results


def chance(corpus: Path) -> dict[str, Any]:
    """The same figures for guessing."""
    level = chance_level(len(read_songs(corpus / "content.jsonl")))
    figures = {"text_to_audio": level, "audio_to_text": level, "section": level, "order": 0.25}
    return dict.fromkeys(WORDINGS, figures)


def print_tables(results: dict[str, dict[str, Any]]) -> None:
    """One block for each wording: whole captions both ways, order, and one-section queries."""
    columns = ["R@1", "R@5", "R@10", "MedR"]
    names = ["recall@1", "recall@5", "recall@10", "median_rank"]
    width = max(map(len, results))
    for wording in WORDINGS:
        print(f"\n{wording.capitalize()} wording")
        headings = ["caption -> song", "song -> caption", "one section -> song"]
        print(" " * width + "".join(f" | {heading:^24}" for heading in headings) + " | order, 1 of 4")
        print(" " * width + (" | " + " ".join(f"{name:>5}" for name in columns) + " ") * 3 + " |")
        for row, figures in results.items():
            cells = []
            for kind in ("text_to_audio", "audio_to_text", "section"):
                values = figures[wording][kind]
                numbers = [values[name] if name == "median_rank" else 100 * values[name] for name in names]
                cells.append(" ".join(f"{number:5.1f}" for number in numbers) + " ")
            print(f"{row:<{width}} | " + " | ".join(cells) + f" | {100 * figures[wording]['order']:13.1f}")


__all__ = ["chance", "embed_songs", "embed_texts", "evaluate", "print_tables", "read_songs"]
