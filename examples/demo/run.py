# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The demo: trains CoLLAP on full-length songs with long captions, and finds songs by long descriptions.

`make demo` runs it. It renders a corpus of songs, pretrains small stand-ins of BEATs and Whisper (or takes the ones
that you name), trains four models with the same budget, and compares them on songs they were not trained on. With the
best it indexes these songs, and answers two long queries by `collap search`, and one of yours on a terminal. Steps
that are done are cached; delete the output folder to begin anew.
"""

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.pipeline import MODEL, RECIPE, Pipeline, run_module  # the demo shares its steps with the benchmarks
from benchmarks.questions import read_songs
from benchmarks.tables import read_shares
from collap.evaluation.retrievers import load_retriever
from collap.files import write_json
from collap.metrics import chance_level

from .answer import QUERIES, answer, draw_attention

CROP_S = 10
# A pretrained text model stays frozen here, so that it encodes each sentence once and not in each epoch. With its last
# two layers trained it takes hours, and is better for new words (docs/benchmark.md).
PRETRAINED_TEXT = {"trainable_text_layers": 0}
SENTENCES = {"text_granularity": "sentence", "temporal_position": "true"}
# The rates are those of the long-form benchmark, chosen on its validation songs (docs/log.md).
SECTIONS = {"section_loss_weight": 1, "learning_rate": 2e-3}
# Name, special training arguments, whether it is mean pooling without attention.
ROWS = {
    "10 s crop": ("crop", {"max_length_s": CROP_S}, True),
    "mean pooling": ("mean", {}, True),
    "document attention (paper)": ("document", {}, False),
    "sentence queries, time, sections": ("sentences", SENTENCES | SECTIONS, False),
}
BEST = "sentences"
WORDINGS = ("seen", "new")
DIRECTIONS = {"text_to_audio": "caption -> song", "audio_to_text": "song -> caption", "section": "one section -> song"}
QUESTIONS = {"text_to_audio": "content", "audio_to_text": "songs", "section": "one section"}
COLUMNS = {"R@1": "recall@1", "R@5": "recall@5", "R@10": "recall@10", "MedR": "median_rank"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("demo"))
    parser.add_argument("--music_model", default=None, help="a BEATs in place of the small stand-in")
    parser.add_argument("--speech_model", default=None, help="a Whisper in place of the small stand-in")
    parser.add_argument("--text_model", default=None, help="a pretrained text model in place of a new one")
    parser.add_argument("--num_pretraining_steps", type=int, default=1500)
    parser.add_argument("--num_epochs", type=int, default=16)
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_songs", nargs="*", default=[], help="of each split, for a smaller demo: train=40 ...")
    given = parser.parse_args()
    torch.set_num_threads(1)
    demo = Pipeline(given.output_dir, given.num_processes)

    demo.say("Rendering songs with long captions (benchmarks/corpus)")
    num_songs = ["--num_songs", *given.num_songs] if given.num_songs else []
    rendered = demo.render("--size", "demo", "--seed", given.seed, *num_songs)
    demo.run([rendered])

    demo.say("Making the towers: audio encoders pretrained on tags of short crops stand in for BEATs and Whisper")
    models = {"music": given.music_model, "speech": given.speech_model, "text": given.text_model}
    kinds = [kind for kind, path in models.items() if path is None]
    towers = demo.make_towers(rendered, kinds, seed=given.seed, num_steps=given.num_pretraining_steps)
    demo.run(towers)
    model = demo.towers(given.text_model) | MODEL
    model |= {f"{kind}_model": path for kind, path in models.items() if path is not None}

    demo.say("Encoding all songs once (the encoders are frozen), and the first seconds of each for the crops")
    manifests = [demo.manifest(split) for split in ("train", "validation", "content", "order")]
    crop_features = given.output_dir / "features-crop"
    cropped = model | {"max_length_s": CROP_S}
    extracted = [
        demo.extract(manifests, model, towers),
        demo.extract(manifests, cropped, towers, crop_features, "extract-crop", "Crops"),
    ]
    demo.run(extracted, at_once=2)

    demo.say("Training four models, the same budget each: " + ", ".join(ROWS))
    recipe = (
        RECIPE
        | {
            "per_device_train_batch_size": 16,
            "per_device_eval_batch_size": 40,
            "learning_rate": 1.2e-3,
            "use_cpu": "true",
            "train_manifest": demo.manifest("train"),
            "eval_manifest": demo.manifest("validation"),
            "num_train_epochs": given.num_epochs,
            "seed": given.seed,
        }
        | (PRETRAINED_TEXT if given.text_model is not None else {})
    )
    steps = []
    for title, (name, special, is_mean) in ROWS.items():
        features = crop_features if name == "crop" else demo.features
        arguments = recipe | {"features": features} | model | special
        training = demo.train(name, title, arguments, extracted, mean_pooling=is_mean)
        steps += [demo.rank(name, f"Ranking: {title}", ["demo"], after=[training], features=features), training]
    demo.run(steps[::-1])  # the longest first, so that the processes end together

    demo.say("What each finds among songs that none of them was trained on")
    songs = read_songs(demo.manifest("content"))
    results = {
        "chance": dict.fromkeys(WORDINGS, dict.fromkeys(DIRECTIONS, chance_level(len(songs))) | {"order": 0.25})
    }
    for title, (name, _, _) in ROWS.items():
        found = read_shares(demo.ranks(name))
        results[title] = {
            wording: {direction: found[f"{name}, {wording}"] for direction, name in QUESTIONS.items()}
            | {"order": found[f"order, {wording}"]["recall@1"]}
            for wording in WORDINGS
        }
    write_json(given.output_dir / "results.json", results)
    print_tables(results)
    if kinds:
        print("\nThe encoders are small ones, pretrained here on tags of short crops of the same corpus: stand-ins of")
        print("BEATs and Whisper, under strong supervision. Compare the rows; the metrics say nothing of real music.")

    demo.say("Indexing the held-out songs, and fitting match probabilities on the validation songs")
    model, index = demo.model(BEST), given.output_dir / "index"
    command = run_module("collap", "index", demo.corpus / "audio" / "content", "--model", model, "--index", index)
    steps = [demo.step("index", "Index", command)]
    command = run_module("collap", "calibrate", demo.manifest("validation"), "--model", model)
    steps.append(demo.step("calibrate", "Match probabilities", [*command, "--features", str(demo.features)]))
    demo.run(steps)

    demo.say("Answering two long queries")
    for target, query in QUERIES.items():
        answer(index, query, target)
    retriever = load_retriever(str(model), features=demo.features)
    frames = retriever.embed_song(songs[0]["audio"]).frames
    draw_attention(retriever, songs[0], frames, given.output_dir / "attention.png")
    demo.say(f"Done. The model is in {model}, its index in {index}: collap app --index {index} opens a search page.")
    with contextlib.suppress(EOFError):  # Ctrl-D
        if sys.stdin.isatty() and (text := input("\nYour own description of a song (or nothing, to end): ").strip()):
            answer(index, text)


def print_tables(results: dict[str, dict[str, Any]]) -> None:
    """One block for each wording: whole captions both ways, one-section queries, and order."""
    width = max(map(len, results))
    for wording in WORDINGS:
        print(f"\n{wording.capitalize()} wording")
        print(" " * width + "".join(f" | {heading:^24}" for heading in DIRECTIONS.values()) + " | order, 1 of 4")
        print(" " * width + (" | " + " ".join(f"{name:>5}" for name in COLUMNS) + " ") * 3 + " |")
        for row, metrics in results.items():
            cells = []
            for direction in DIRECTIONS:
                values = metrics[wording][direction]
                numbers = [values[name] if name == "median_rank" else 100 * values[name] for name in COLUMNS.values()]
                cells.append(" ".join(f"{number:5.1f}" for number in numbers) + " ")
            print(f"{row:<{width}} | " + " | ".join(cells) + f" | {100 * metrics[wording]['order']:13.1f}")


if __name__ == "__main__":
    main()
