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

Writes results.json and prints the tables. Without --digits_dir speech is left out. Steps that are done are cached:
delete the output folder to begin anew.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from collap.files import atomic_write, this_command, write_json

from ..pipeline import Experiment, experiment_parser
from ..questions import read_songs
from ..spoken_digits import __main__ as spoken_digits
from ..tables import format_metrics, read_metrics

ROW = "ours"
MODELS = {"music": "music only (BEATs)", "speech": "speech only (Whisper)", "both": "both"}
DIGITS_RECIPE, DIGITS_EPOCHS = "sentence queries with time", 8


def chunk_length_s(whisper: Path) -> float:
    """Seconds of a chunk of a Whisper, which BEATs' chunks have too."""
    return json.loads((whisper / "config.json").read_text(encoding="utf-8"))["max_source_positions"] / 50


def run_half(
    experiment: Experiment,
    half: str,
    corpus: Path,
    manifests: Sequence[Path],
    towers: Mapping[str, Path],
    recipes: Mapping[int, Mapping[str, Any]],
    features_of_both: Path | None = None,
) -> dict[str, Any]:
    """
    Encodes, trains and ranks; metrics by the titles of the models.

    Args:
        half (`str`): `"songs"` or `"digits"`: names the questions too.
        corpus (`Path`): Folder of the manifest of the gallery.
        manifests (`Sequence[Path]`): Whose songs or tracks are encoded.
        towers (`Mapping`): Of the model with both encoders.
        recipes (`Mapping`): Training arguments by seed.
        features_of_both (`Path`, *optional*): Cached features of the benchmark, whose models are taken then.
    """
    length = chunk_length_s(towers["speech_model"])
    pooling = next(iter(recipes.values()))["frame_pooling"]
    extraction, training, ranking = [], [], []
    for kind, title in MODELS.items():
        absent = {f"{other}_model": None for other in ("music", "speech") if kind not in (other, "both")}
        own = {**towers, **absent, "chunk_length_s": length, "frame_pooling": pooling}
        title = f"{half.capitalize()}, {title}"
        features = experiment.folder / f"features-{half}-{kind}"
        if kind == "both" and features_of_both is not None:
            features = features_of_both
        else:
            name = f"extract-{half}-{kind}"
            extraction.append(experiment.extract(manifests, own, (), features, name, title))
        for seed, recipe in recipes.items():
            name, model = f"{half}-{kind}-{seed}", None
            if features == features_of_both and experiment.is_trained(f"{ROW}-{seed}"):
                model = experiment.benchmark.model(f"{ROW}-{seed}")
            else:
                arguments = {**recipe, **own, "features": features}
                training.append(experiment.train(name, f"{title}, seed {seed}", arguments))
            ranking.append(experiment.rank(name, title, [half], model, corpus, features=features))
    experiment.run(extraction, at_once=1)
    experiment.run(training)
    experiment.run(ranking)
    return {
        title: read_metrics([experiment.ranks(f"{half}-{kind}-{seed}") for seed in recipes])
        for kind, title in MODELS.items()
    }


def run_songs(experiment: Experiment, seeds: Sequence[int]) -> dict[str, Any]:
    """The benchmark's songs."""
    recipes = {seed: experiment.recipe(f"{ROW}-{seed}") for seed in seeds}
    manifests = [experiment.manifest(split) for split in ("train", "content")]
    corpus, features = experiment.corpus, experiment.features
    return run_half(experiment, "songs", corpus, manifests, experiment.towers(), recipes, features)


def run_digits(experiment: Experiment, digits_dir: Path, seeds: Sequence[int]) -> dict[str, Any]:
    """The tracks of spoken digits."""
    corpus = experiment.folder / "digits"
    write_digits(digits_dir, corpus)
    towers = {"music_model": experiment.encoder("music")}
    towers |= {"speech_model": digits_dir / "whisper", "text_model": digits_dir / "text"}
    train, validation = (digits_dir / "tracks" / f"{split}.jsonl" for split in ("train", "validation"))
    recipe = spoken_digits.MODEL | spoken_digits.RECIPE | spoken_digits.ROWS[DIGITS_RECIPE][1]
    recipe |= {"train_manifest": train, "eval_manifest": validation, "num_train_epochs": DIGITS_EPOCHS}
    recipes = {seed: recipe | {"seed": seed} for seed in seeds}
    return run_half(experiment, "digits", corpus, [train, validation, corpus / "content.jsonl"], towers, recipes)


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
    parser = experiment_parser(__doc__)
    parser.add_argument("--digits_dir", type=Path, help="folder of python -m benchmarks.spoken_digits")
    given = parser.parse_args(arguments)
    experiment = Experiment(given, "ablation")
    result = {"songs": run_songs(experiment, given.seeds)}
    print(f"\n### Songs\n\n{format_metrics(result['songs'])}\n", flush=True)
    if given.digits_dir is None:
        print("Speech is left out: there is no --digits_dir.")
    else:
        result["digits"] = run_digits(experiment, given.digits_dir, given.seeds)
        print(f"\n### Spoken digits\n\n{format_metrics(result['digits'])}\n", flush=True)
    write_json(experiment.folder / "results.json", {"command": this_command(), "seeds": given.seeds, **result})
    print(f"{experiment.folder / 'results.json'} is written.")


if __name__ == "__main__":
    main()
