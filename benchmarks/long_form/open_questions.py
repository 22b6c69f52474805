# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Three questions that the paper leaves open, with the models of the long-form benchmark.

    python -m benchmarks.long_form --output_dir benchmark-small --seeds 0 --rows mean document ours
    python -m benchmarks.long_form.open_questions --benchmark_dir benchmark-small

lengths   Are songs beyond 5 minutes lost? The same songs and texts with audio of 2, 5, 10 and 20 minutes, by models
          that were trained on at most 2, among each other and in a gallery filled up with content songs.
quality   What do worse captions cost? Short, incomplete, shuffled, paraphrased and half wrong ones, and one section.
          The wrong half describes another song of the gallery, which then fits nearly as well: see R@5, too.
language  Captions in German: a text tower with a tokenizer of English (as RoBERTa) against one of English and German
          (as XLM-R), each trained on English and on both. No text tower is pretrained: what is compared is the
          tokenizer and the training texts. There is one German wording, which the training has; no German wording is
          held out, so compare German with the seen English wording, never with the new one.

Each writes JSON, a table (printed) and a picture. lengths and quality train nothing: 5 CPU minutes for three models of
the small benchmark. language trains three models with the benchmark's recipe of "ours". Steps that are done are
cached: delete the output folder to begin anew.
"""

import argparse
import copy
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer, XLMRobertaConfig
from transformers.utils import SAFE_WEIGHTS_NAME

from collap.files import atomic_write, this_command, write_json

from ..corpus.build import GERMAN, add_stored_texts
from ..pipeline import Experiment, experiment_parser
from ..questions import Song, read_songs
from ..tables import draw_bars, format_metrics, read_metrics
from ..towers import build_text_tower
from .rows import CLAP, ROWS

ROW = "ours"
TITLES = {name: row.title for name, row in ROWS.items() if row.kind != CLAP}
LANGUAGE_MODELS = {
    "roberta-english": "English tokenizer, trained on English",
    "roberta-both": "English tokenizer, trained on both",
    "xlmr-english": "tokenizer of both, trained on English",
    "xlmr-both": "tokenizer of both, trained on both",
}
PICTURES = {
    "lengths": "The same songs at four lengths",
    "quality": "What becomes of worse captions",
    "language": "English and German captions",
}
BILINGUAL_VOCABULARY = 4000  # tokens: the 2,000 of the English tower for each language


def rank_rows(experiment: Experiment, given: argparse.Namespace, question: str) -> dict[str, Any]:
    """Ranks the benchmark's models; metrics by their titles."""
    ranking, files = [], {}
    for row in given.rows:
        for seed in given.seeds:
            model, name = experiment.benchmark.model(f"{row}-{seed}"), f"{question}-{row}-{seed}"
            if not (model / SAFE_WEIGHTS_NAME).is_file():
                raise ValueError(f"rows, seeds: {model} holds no model. Train it by python -m benchmarks.long_form.")
            options = {"features": experiment.features, "gallery_size": given.gallery_size}
            title = f"{TITLES[row]}, seed {seed}: {question}"
            ranking.append(experiment.rank(name, title, [question], model, **options))
            files.setdefault(TITLES[row], []).append(experiment.ranks(name))
    experiment.run(ranking)
    return {title: read_metrics(of_row) for title, of_row in files.items()}


def run_language(experiment: Experiment, given: argparse.Namespace) -> dict[str, Any]:
    """Trains and ranks the four models, of which the first is the benchmark's own if it is there."""
    folder, english = experiment.folder / "language", experiment.text
    write_manifests(experiment.corpus, folder)
    both = folder / "text"
    if not (both / SAFE_WEIGHTS_NAME).is_file():  # written last
        build_text_tower(folder / "train_both.jsonl", both, BILINGUAL_VOCABULARY, XLMRobertaConfig)
    training, ranking = [], []
    for seed in given.seeds:
        for name, title in LANGUAGE_MODELS.items():
            model = experiment.model(f"language-{name}-{seed}")
            if name == "roberta-english" and experiment.is_trained(f"{ROW}-{seed}"):
                model = experiment.benchmark.model(f"{ROW}-{seed}")
            else:
                changes: dict[str, Any] = {"text_model": english if name.startswith("roberta") else both}
                if name.endswith("both"):
                    changes["train_manifest"] = folder / "train_both.jsonl"
                training.append(experiment.train_like(ROW, seed, f"language-{name}", title, changes))
            options = {"corpus": folder, "features": experiment.features}
            ranking.append(experiment.rank(f"language-{name}-{seed}", title, ["language"], model, **options))
    experiment.run(training)
    experiment.run(ranking)
    found = {
        title: read_metrics([experiment.ranks(f"language-{name}-{seed}") for seed in given.seeds])
        for name, title in LANGUAGE_MODELS.items()
    }
    tokenizers = {"English tokenizer": english, "tokenizer of both": both}
    tokens = {name: count_tokens(folder / "content.jsonl", path) for name, path in tokenizers.items()}
    for name, counts in tokens.items():
        print(f"{name}: {counts['English']:.0f} tokens an English caption, {counts['German']:.0f} a German one")
    print("No German wording is held out: compare German with the seen English wording.")
    return {"models": found, "tokens": tokens, "german_wording_held_out": False}


def in_german(song: Song, split: str, number: int) -> Song:
    """A song with its German columns; a ValueError if none are stored for this song of the split."""
    if "texts_german" in song or "text_german" in song:
        return song
    german = copy.deepcopy(song)
    if not add_stored_texts(german, GERMAN, split, number):
        raise ValueError(
            f"benchmark_dir: no German texts are stored for song {number} of the split {split}. They are of the "
            "corpus of seed 0 and size small (benchmarks/corpus/texts)."
        )
    return german


def in_both(song: Song) -> Song:
    """A training song whose wordings are the English ones, then the German ones: each epoch draws one of them."""
    sections = [
        section | {"sentences": section["sentences"] + section["sentences_german"]} for section in song["sections"]
    ]
    return song | {"texts": song["texts"] + song["texts_german"], "sections": sections}


def write_manifests(corpus: Path, output_dir: Path) -> None:
    """Writes `train_both.jsonl` and `content.jsonl` (English and German columns) for a benchmark's corpus."""
    train, content = (
        [in_german(song, split, number) for number, song in enumerate(read_songs(corpus / f"{split}.jsonl"))]
        for split in ("train", "content")
    )
    for name, songs in {"train_both": [in_both(song) for song in train], "content": content}.items():
        lines = [json.dumps(song | {"audio": os.path.abspath(song["audio"])}, ensure_ascii=False) for song in songs]
        with atomic_write(output_dir / f"{name}.jsonl") as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def count_tokens(manifest: Path, tokenizer: Path, num_songs: int = 100) -> dict[str, float]:
    """Mean number of tokens of the first songs' captions in both languages."""
    tokenize = AutoTokenizer.from_pretrained(tokenizer)
    songs = read_songs(manifest)[:num_songs]
    counts = {}
    for language, column in {"English": "text", "German": "text_german"}.items():
        captions = [tokenize(song[column], add_special_tokens=False)["input_ids"] for song in songs]
        counts[language] = sum(len(ids) for caption in captions for ids in caption) / len(songs)
    return counts


def main(arguments: Sequence[str] | None = None) -> None:
    parser = experiment_parser(__doc__)
    parser.add_argument("--questions", nargs="+", choices=list(PICTURES), default=list(PICTURES))
    parser.add_argument("--rows", nargs="+", choices=list(TITLES), default=["ours", "document", "mean"])
    parser.add_argument("--gallery_size", type=int, default=1000, help="of lengths and quality")
    given = parser.parse_args(arguments)
    experiment = Experiment(given, "open-questions")
    out = experiment.folder
    for name in given.questions:
        is_language = name == "language"
        result = run_language(experiment, given) if is_language else {"models": rank_rows(experiment, given, name)}
        print(f"\n### {name.capitalize()}\n\n{format_metrics(result['models'])}", flush=True)
        draw_bars(out / f"{name}.png", result["models"], PICTURES[name])
        write_json(out / f"{name}.json", {"command": this_command(), "seeds": given.seeds, **result})
        print(f"\n{out / name}.json and .png are written.", flush=True)


if __name__ == "__main__":
    main()
