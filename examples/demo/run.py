# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The demo: trains CoLLAP on full-length songs with long captions, and finds songs by long descriptions.

`make demo` runs it. It renders a corpus of songs, pretrains small stand-ins of BEATs and Whisper (or takes the ones
that you name), trains four models with the same budget, compares them on songs they have not heard, and answers two
long queries with the best. What is done already is kept; delete the output folder to begin anew.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import torch
from answer import QUERIES, answer, draw_attention, one_song
from evaluation import chance, embed_songs, print_tables, read_songs
from small_model import MODEL
from steps import Step, named, python, run_steps
from transformers import AutoModel, AutoProcessor

import collap  # noqa: F401 - teaches the Auto classes what a CoLLAP is

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent

RECIPE = {
    "per_device_train_batch_size": 16,
    "per_device_eval_batch_size": 40,
    "learning_rate": 1.2e-3,
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "sentence_shuffle_probability": 0.25,
    "use_cpu": "true",
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 20,
}
CROP_S = 10
SENTENCES = ["--text_granularity=sentence", "--temporal_position=true"]
# The rates are those of the long-form benchmark, chosen on its validation songs (docs/log.md).
MOMENTS = ["--section_loss_weight=1", "--learning_rate=2e-3"]
ROWS = {
    "10 s crop": ("crop", ["--mean_pooling", f"--max_length_s={CROP_S}"]),
    "mean pooling": ("mean", ["--mean_pooling"]),
    "document attention (paper)": ("document", []),
    "sentence queries, time, moments": ("sentences", [*SENTENCES, *MOMENTS]),
}
BEST = "sentences"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("demo"))
    parser.add_argument("--music_model", default=None, help="a BEATs in place of the small stand-in")
    parser.add_argument("--speech_model", default=None, help="a Whisper in place of the small stand-in")
    parser.add_argument("--num_pretraining_steps", type=int, default=1500)
    parser.add_argument("--num_epochs", type=int, default=16)
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num_songs", nargs="*", default=[], help="as in build.py, for a smaller demo: train=40 ...")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    out, corpus, logs = arguments.output_dir, arguments.output_dir / "corpus", arguments.output_dir / "logs"

    def say(text: str) -> None:
        print(f"\n[{time.monotonic() - started:3.0f} s] {text}", flush=True)

    say("Rendering songs with long captions (benchmarks/corpus)")
    build = python("-m", "benchmarks.corpus", "--output_dir", corpus, "--seed", arguments.seed)
    build += ["--size", "demo", "--num_processes", str(arguments.num_processes)]
    build += ["--num_songs", *arguments.num_songs] if arguments.num_songs else []
    rendered = Step("corpus", "Corpus", build, out / "done" / "corpus.json")
    run_steps([rendered], logs, at_once=1)

    say("Making the towers: small audio encoders pretrained on tags of short crops stand in for BEATs and Whisper")
    towers, models = make_towers(arguments, rendered)
    run_steps(towers, logs, at_once=arguments.num_processes)
    model = [*named(models), *named(MODEL)]

    say("Letting the encoders hear all songs, once (they are frozen), and the first seconds of each for the crops")
    manifests = [corpus / f"{split}.jsonl" for split in ("train", "validation", "content", "order")]
    extract = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", arguments.num_processes]
    extract += [EXAMPLES / "extract_features.py", "--use_cpu", "--manifests", *manifests, *model, "--features"]
    whole = [sys.executable, *map(str, extract), str(out / "features")]
    crops = [sys.executable, *map(str, extract), str(out / "features-crop"), f"--max_length_s={CROP_S}"]
    steps = [
        Step("extract", "Songs", whole, out / "done" / "extract.json", tuple(towers)),
        Step("extract-crop", "Crops", crops, out / "done" / "extract-crop.json", tuple(towers)),
    ]
    run_steps(steps, logs, at_once=2)
    heard = tuple(steps)

    say("Training four models, the same budget each: " + ", ".join(ROWS))
    recipe = RECIPE | {
        "train_manifest": corpus / "train.jsonl",
        "eval_manifest": corpus / "validation.jsonl",
        "num_train_epochs": arguments.num_epochs,
        "seed": arguments.seed,
    }
    train = [*named(recipe), *model]
    steps = []
    for title, (name, special) in ROWS.items():
        own = {"corpus": corpus, "figures": out / f"figures-{name}.json", "output_dir": out / "models" / name}
        own["features"] = out / ("features-crop" if name == "crop" else "features")
        command = python(HERE / "train_row.py", *named(own), *train, *special)
        steps.append(Step(f"train-{name}", title, command, out / "done" / f"train-{name}.json", heard))
    # The longest first, so that the processes end together.
    run_steps(steps[::-1], logs, at_once=arguments.num_processes)

    say("What each finds among songs that none of them has heard")
    results = {"chance": chance(corpus)}
    for title, (name, _) in ROWS.items():
        results[title] = json.loads((out / f"figures-{name}.json").read_text())
    (out / "results.json").write_text(json.dumps(results, indent=2))
    print_tables(results)
    if arguments.music_model is None or arguments.speech_model is None:
        print("\nThe encoders are small ones, pretrained here on tags of short crops of the same corpus: stand-ins of")
        print("BEATs and Whisper, under strong supervision. Compare the rows; the figures say nothing of real music.")

    say("Loading the saved model by AutoModel and answering two long queries")
    best = AutoModel.from_pretrained(out / "models" / BEST)
    processor = AutoProcessor.from_pretrained(out / "models" / BEST)
    songs = read_songs(corpus / "content.jsonl")
    audio = embed_songs(best, processor, songs, out / "features")
    for meant, query in QUERIES.items():
        answer(best, processor, songs, audio, query, meant)
    draw_attention(best, processor, songs[0], one_song(audio, 0), out / "attention.png")
    say(f"Done. The model is in {out / 'models' / BEST}, the figures in {out / 'results.json'}.")


def make_towers(arguments: argparse.Namespace, rendered: Step) -> tuple[list[Step], dict[str, str]]:
    """The steps that make the text tower and the encoders that were not named; and the arguments that name all."""
    out, manifest = arguments.output_dir, arguments.output_dir / "corpus" / "train.jsonl"
    models = {"music_model": arguments.music_model, "speech_model": arguments.speech_model}
    steps = []
    for kind in ("music", "speech"):
        if models[f"{kind}_model"] is None:
            models[f"{kind}_model"] = str(out / "encoders" / kind)
            command = python(HERE / "pretrain_encoder.py", "--kind", kind, "--manifest", manifest)
            command += ["--output_dir", models[f"{kind}_model"], "--seed", str(arguments.seed)]
            command += ["--num_steps", str(arguments.num_pretraining_steps)]
            marker = out / "done" / f"pretrain-{kind}.json"
            steps.append(Step(f"pretrain-{kind}", f"Small {kind} encoder", command, marker, (rendered,)))
    models["text_model"] = str(out / "text")
    command = python(HERE / "build_text_tower.py", "--manifest", manifest, "--output_dir", models["text_model"])
    steps.append(Step("text", "New text tower", command, out / "done" / "text.json", (rendered,)))
    return steps, models


if __name__ == "__main__":
    main()
