# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The ablation of the paper: BEATs alone, Whisper alone, both; on songs, and on speech.

    python -m benchmarks.long_form --output_dir benchmark-small --seeds 0 --rows ours
    python -m benchmarks.spoken_digits --data_dir free-spoken-digit-dataset/recordings --output_dir digits
    python -m benchmarks.long_form.ablation --benchmark_dir benchmark-small --digits_dir digits

Songs: the benchmark's training of "ours" with one encoder left out; "both" is the benchmark's own model. Content songs
by captions and by single sections in the new wording, sections with a voice apart. Speech: tracks of spoken digits by
their transcripts, of a speaker who is not in the training; BEATs' stand-in is the benchmark's, pretrained on the tags
of songs, Whisper's stand-in is pretrained on digits (benchmarks/spoken_digits). The control's transcripts have other
digits: a model that finds the right track by those goes by the rhythm. In the benchmark both stand-ins are pretrained
on the same tags of songs, so the gap between them says nothing of BEATs and Whisper.

Writes results.json, songs.png and digits.png, and prints the tables. --skip_songs leaves the songs out; so does
leaving out --digits_dir the speech. Steps that are done are cached: delete the output folder to begin anew.
"""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collap.files import atomic_write, this_command, write_json

from ..pipeline import Experiment
from ..questions import read_songs
from ..spoken_digits import __main__ as spoken_digits
from ..tables import draw_bars, format_metrics, read_metrics

ROW = "ours"
MODELS = {"music": "music only (BEATs)", "speech": "speech only (Whisper)", "both": "both"}
DIGITS_RECIPE = "sentence queries with time"


def towers_for(kind: str, towers: Mapping[str, object]) -> dict[str, object]:
    """The towers of a model with one encoder, or with both; None where there is none."""
    return {name: path if kind == "both" or "text" in name or kind in name else None for name, path in towers.items()}


def chunk_length_s(whisper: Path) -> float:
    """Seconds of a chunk of a Whisper, which BEATs' chunks have too."""
    return json.loads((whisper / "config.json").read_text(encoding="utf-8"))["max_source_positions"] / 50


def run_songs(experiment: Experiment, seeds: Sequence[int]) -> dict[str, Any]:
    """Trains and ranks on the benchmark's songs."""
    recipe = experiment.recipe(f"{ROW}-{seeds[0]}")
    length = chunk_length_s(experiment.encoder("speech"))
    features = {"both": experiment.features}
    manifests = [experiment.manifest(split) for split in ("train", "content")]
    extraction, training, ranking = [], [], []
    for kind in ("music", "speech"):
        features[kind] = experiment.folder / f"features-{kind}"
        model = towers_for(kind, experiment.towers())
        model |= {"chunk_length_s": length, "frame_pooling": recipe.get("frame_pooling")}
        name, title = f"extract-{kind}", f"Songs, {MODELS[kind]}"
        extraction.append(experiment.extract(manifests, model, (), features[kind], name, title))
    for seed in seeds:
        for kind, title in MODELS.items():
            name, model = f"songs-{kind}", experiment.model(f"songs-{kind}-{seed}")
            if kind == "both" and experiment.is_trained(f"{ROW}-{seed}"):
                model = experiment.benchmark.model(f"{ROW}-{seed}")
            else:
                changes = towers_for(kind, experiment.towers())
                changes |= {"features": features[kind], "chunk_length_s": length}
                training.append(experiment.train_like(ROW, seed, name, f"Songs, {title}", changes))
            options = {"features": features[kind]}
            ranking.append(experiment.rank(f"{name}-{seed}", f"Songs, {title}", ["ablation"], model, **options))
    experiment.run(extraction, at_once=1)
    experiment.run(training)
    experiment.run(ranking)
    return {
        title: read_metrics([experiment.ranks(f"songs-{kind}-{seed}") for seed in seeds])
        for kind, title in MODELS.items()
    }


def run_digits(experiment: Experiment, digits_dir: Path, seeds: Sequence[int], num_epochs: int) -> dict[str, Any]:
    """Trains and ranks on the tracks of spoken digits."""
    out = experiment.folder / "digits"
    write_digits(digits_dir, out)
    towers = {"music_model": experiment.encoder("music")}
    towers |= {"speech_model": digits_dir / "whisper", "text_model": digits_dir / "text"}
    length = chunk_length_s(towers["speech_model"])
    train, validation = (digits_dir / "tracks" / f"{split}.jsonl" for split in ("train", "validation"))
    recipe = spoken_digits.MODEL | spoken_digits.RECIPE | spoken_digits.ROWS[DIGITS_RECIPE][1]
    recipe |= {"train_manifest": train, "eval_manifest": validation, "num_train_epochs": num_epochs}
    recipe |= {"chunk_length_s": length}
    extraction, training, ranking = [], [], []
    for kind, title in MODELS.items():
        features, own = out / f"features-{kind}", towers_for(kind, towers)
        model = own | {"chunk_length_s": length, "frame_pooling": recipe["frame_pooling"], "encoder_batch_size": 64}
        manifests = [train, validation, out / "content.jsonl"]
        name = f"digits-extract-{kind}"
        extracted = experiment.extract(manifests, model, (), features, name, f"Tracks of digits, {title}")
        extraction.append(extracted)
        for seed in seeds:
            name = f"digits-{kind}-{seed}"
            arguments = recipe | own | {"features": features, "seed": seed}
            title_of_step = f"Digits, {title}, seed {seed}"
            training.append(experiment.train(name, title_of_step, arguments, inputs=[extracted.marker]))
            ranking.append(experiment.rank(name, f"Digits, {title}", ["digits"], corpus=out, features=features))
    experiment.run(extraction, at_once=1)
    experiment.run(training)
    experiment.run(ranking)
    return {
        title: read_metrics([experiment.ranks(f"digits-{kind}-{seed}") for seed in seeds])
        for kind, title in MODELS.items()
    }


def write_digits(digits_dir: Path, output_dir: Path) -> None:
    """
    Writes `content.jsonl` of the test tracks: each with its transcript and with that of other digits.

    Raises:
        ValueError: if `python -m benchmarks.spoken_digits` has not made them.
    """
    test, control = digits_dir / "test" / "test.jsonl", digits_dir / "test" / "other_digits.jsonl"
    needed = (test, control, digits_dir / "tracks" / "train.jsonl", digits_dir / "whisper")
    missing = [str(path.relative_to(digits_dir)) for path in needed if not path.exists()]
    if missing:
        raise ValueError(
            f"digits_dir: {digits_dir} lacks {', '.join(missing)}. Run python -m benchmarks.spoken_digits first."
        )
    lines = [
        {"audio": os.path.abspath(track["audio"]), "text": track["text"], "text_exchanged": other["text"]}
        for track, other in zip(read_songs(test), read_songs(control), strict=True)
    ]
    with atomic_write(output_dir / "content.jsonl") as temporary:
        temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="folder of python -m benchmarks.long_form")
    parser.add_argument("--digits_dir", type=Path, help="folder of python -m benchmarks.spoken_digits")
    parser.add_argument("--output_dir", type=Path, help="default: ablation in the folder of --benchmark_dir")
    parser.add_argument("--skip_songs", action="store_true", help="leave the songs out, and their trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the benchmark's trainings")
    parser.add_argument("--num_epochs", type=int, help="on songs, in place of the benchmark's")
    parser.add_argument("--digits_epochs", type=int, default=8, help="on digits")
    parser.add_argument("--device", default="cpu", help="of encoding and ranking")
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args(arguments)
    out = given.output_dir or given.benchmark_dir / "ablation"
    experiment = Experiment(given.benchmark_dir, out, given.num_processes, given.device, given.num_epochs)
    result = {}
    if not given.skip_songs:
        result["songs"] = run_songs(experiment, given.seeds)
        print(f"\n### Songs\n\n{format_metrics(result['songs'])}\n", flush=True)
    if given.digits_dir is None:
        print("Speech is left out: there is no --digits_dir.")
    else:
        result["digits"] = run_digits(experiment, given.digits_dir, given.seeds, given.digits_epochs)
        print(f"\n### Spoken digits\n\n{format_metrics(result['digits'])}\n", flush=True)
    titles = {"songs": "songs", "digits": "tracks of spoken digits"}
    for half, found in result.items():
        draw_bars(out / f"{half}.png", found, f"What each encoder finds among {titles[half]}")
    write_json(out / "results.json", {"command": this_command(), "seeds": given.seeds, **result})
    print(f"{out / 'results.json'} and the pictures are written.")


if __name__ == "__main__":
    main()
