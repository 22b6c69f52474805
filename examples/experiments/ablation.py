# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
The ablation of the paper: BEATs alone, Whisper alone, both; on songs, and on speech.

    python benchmarks/long_form/run.py --output_dir benchmark-small --seeds 0 --rows ours
    python -m benchmarks.spoken_digits --data_dir free-spoken-digit-dataset/recordings --output_dir digits
    python examples/experiments/ablation.py --benchmark_dir benchmark-small --digits_dir digits

Songs: the benchmark's training of "ours" with one encoder left out; "both" is the benchmark's own model. Content songs
by captions and by single sections in the new wording, sections with a voice apart. Speech: tracks of spoken digits by
their transcripts, of a speaker who was never heard; BEATs' stand-in is the benchmark's, which has learnt the tags of
songs, Whisper's stand-in has learnt digits (benchmarks/spoken_digits). The control's transcripts have other digits:
what finds its track all the same went by the rhythm.

No song is heard again for one encoder: its frames are cut out of those of both (split_features.py). Writes
results.json, songs.png and digits.png, and prints the tables. At the size "small": two trainings on songs, three and
a pass of both encoders over 450 tracks on speech, each a few minutes on one core. --skip_songs and --skip_digits leave
a half out; so does leaving --digits_dir out. What is done already is kept: delete the output folder to begin anew.
"""

import argparse
import importlib
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from common import EXAMPLES, read_songs, write_result
from rank_tables import draw_bars, figures, table
from steps import Step, python, run_steps
from training_steps import ROW, TRAIN_ROW, ExperimentSteps

HERE = Path(__file__).resolve().parent
MODELS = {"music": "music only (BEATs)", "speech": "speech only (Whisper)", "both": "both"}
TEST = "test/test.jsonl"  # of the folder of digits
CONTROL = "test/other_digits.jsonl"
DIGITS_RECIPE = "sentence queries with time"


class Ablation:
    """The steps of the ablation."""

    def __init__(self, given: argparse.Namespace):
        self.given = given
        self.out: Path = given.output_dir
        self.steps = ExperimentSteps(given.benchmark_dir, self.out, given.device, given.num_epochs)

    def do(self, steps: list[Step]) -> None:
        run_steps(steps, self.out / "logs", self.given.num_processes)

    def songs(self) -> dict[str, Any]:
        """Trains and ranks on the benchmark's songs."""
        recipe = self.steps.recipe(self.given.seeds[0])
        length = chunk_length_s(Path(recipe["speech_model"]))
        features = {"both": Path(recipe["features"])}
        splitting = []
        for kind in ("music", "speech"):
            features[kind] = self.out / f"features-{kind}"
            model = {name: recipe[name] for name in ("text_model", f"{kind}_model")}
            if "frame_pooling" in recipe:
                model["frame_pooling"] = recipe["frame_pooling"]
            splitting.append(self.split(f"split-{kind}", features["both"], features[kind], model, length))
        self.do(splitting)
        runs = [(kind, seed) for seed in self.given.seeds for kind in MODELS]
        models, training = {}, []
        for kind, seed in runs:
            if kind == "both" and self.steps.is_trained(seed):
                models[kind, seed] = self.given.benchmark_dir / "models" / f"{ROW}-{seed}"
                continue
            changes: dict[str, Any] = {"features": features[kind], "chunk_length_s": length}
            changes |= {f"{other}_model": None for other in ("music", "speech") if kind not in (other, "both")}
            models[kind, seed] = self.steps.folder(f"songs-{kind}", seed)
            training.append(self.steps.train(f"songs-{kind}", f"Songs, {MODELS[kind]}", seed, changes))
        self.do(training)
        self.do(
            [
                self.steps.rank(
                    f"songs-{kind}-{seed}", f"Songs, {MODELS[kind]}", model, ["ablation"], features=features[kind]
                )
                for (kind, seed), model in models.items()
            ]
        )
        return self.figures("songs")

    def digits(self) -> dict[str, Any]:
        """Trains and ranks on the tracks of spoken digits."""
        run_digits = load_digits()
        digits_dir, out = self.given.digits_dir, self.out / "digits"
        write_digits(digits_dir, out)
        towers = {"music_model": self.given.benchmark_dir / "encoders" / "music"}
        towers |= {"speech_model": digits_dir / "whisper", "text_model": digits_dir / "text"}
        length = chunk_length_s(towers["speech_model"])
        pooling = {"frame_pooling": run_digits.MODEL["frame_pooling"]}
        manifests = {split: digits_dir / "tracks" / f"{split}.jsonl" for split in ("train", "validation")}
        features = {kind: out / f"features-{kind}" for kind in MODELS}
        extract = python(EXAMPLES / "extract_features.py", "--use_cpu", "--encoder_batch_size", 64, "--manifests")
        extract += [*map(str, manifests.values()), str(out / "content.jsonl"), "--features", str(features["both"])]
        extract += [f"--{name}={value}" for name, value in (towers | pooling).items()]
        extraction = self.steps.step("digits-extract", "Tracks of digits", extract)
        self.do([extraction])
        self.do(
            [
                self.split(
                    f"digits-split-{kind}",
                    features["both"],
                    features[kind],
                    {name: towers[name] for name in (f"{kind}_model", "text_model")} | pooling,
                    length,
                )
                for kind in ("music", "speech")
            ]
        )
        recipe = run_digits.MODEL | run_digits.RECIPE | run_digits.ROWS[DIGITS_RECIPE][1]
        recipe |= {"train_manifest": manifests["train"], "eval_manifest": manifests["validation"]}
        recipe |= {"num_train_epochs": self.given.digits_epochs, "chunk_length_s": length}
        training, ranking = [], []
        for seed in self.given.seeds:
            for kind, title in MODELS.items():
                own = {name: path for name, path in towers.items() if kind == "both" or kind in name or "text" in name}
                name, model = f"digits-{kind}", self.steps.folder(f"digits-{kind}", seed)
                own |= {"features": features[kind], "seed": seed, "output_dir": model}
                command = python(TRAIN_ROW, *(f"--{key}={value}" for key, value in (recipe | own).items()))
                title_of_step = f"Digits, {title}, seed {seed}"
                training.append(self.steps.step(f"train-{name}-{seed}", title_of_step, command, (extraction.marker,)))
                ranking.append(
                    self.steps.rank(f"{name}-{seed}", f"Digits, {title}", model, ["digits"], out, features[kind])
                )
        self.do(training)
        self.do(ranking)
        return self.figures("digits")

    def split(self, name: str, both: Path, one: Path, model: dict[str, Any], length: float) -> Step:
        command = python(HERE / "split_features.py", "--features", both, "--output_dir", one)
        command += [f"--{key}={value}" for key, value in (model | {"chunk_length_s": length}).items()]
        return self.steps.step(name, f"Frames for {one.name}", command)

    def figures(self, half: str) -> dict[str, Any]:
        return {
            title: figures([self.steps.ranks(f"{half}-{kind}-{seed}") for seed in self.given.seeds])
            for kind, title in MODELS.items()
        }


def chunk_length_s(whisper: Path) -> float:
    """Seconds that a Whisper takes at a time: so long are BEATs' chunks, too."""
    return json.loads((whisper / "config.json").read_text(encoding="utf-8"))["max_source_positions"] / 50


def load_digits() -> ModuleType:
    """The recipe of benchmarks/spoken_digits."""
    sys.path.append(str(EXAMPLES.parent))
    return importlib.import_module("benchmarks.spoken_digits.__main__")


def write_digits(digits_dir: Path, output_dir: Path) -> None:
    """
    Writes `content.jsonl` of the test tracks: each with its transcript and with that of other digits.

    Raises:
        ValueError: if python -m benchmarks.spoken_digits has not left them.
    """
    missing = [name for name in (TEST, CONTROL, "tracks/train.jsonl", "whisper") if not (digits_dir / name).exists()]
    if missing:
        raise ValueError(
            f"digits_dir: {digits_dir} lacks {', '.join(missing)}. Run benchmarks.spoken_digits to its end first."
        )
    tracks = read_songs(digits_dir / TEST)
    controls = read_songs(digits_dir / CONTROL)
    lines = [
        {"audio": os.path.abspath(track["audio"]), "text": track["text"], "text_exchanged": control["text"]}
        for track, control in zip(tracks, controls, strict=True)
    ]
    output_dir.mkdir(parents=True, exist_ok=True)
    temporary = output_dir / "content.jsonl.tmp"
    temporary.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    os.replace(temporary, output_dir / "content.jsonl")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="what benchmarks/long_form/run.py has left")
    parser.add_argument("--digits_dir", type=Path, help="what python -m benchmarks.spoken_digits has left")
    parser.add_argument("--output_dir", type=Path, help="default: ablation in the folder of --benchmark_dir")
    parser.add_argument("--skip_songs", action="store_true", help="leave the songs out, and their trainings")
    parser.add_argument("--skip_digits", action="store_true", help="leave the speech out, and its trainings")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the benchmark's trainings")
    parser.add_argument("--num_epochs", type=int, help="on songs, in place of the benchmark's")
    parser.add_argument("--digits_epochs", type=int, default=8, help="on digits")
    parser.add_argument("--device", default="cpu", help="of the ranking")
    parser.add_argument("--num_processes", type=int, default=min(2, os.cpu_count() or 1))
    given = parser.parse_args(arguments)
    given.output_dir = given.output_dir or given.benchmark_dir / "ablation"
    ablation, result = Ablation(given), {}
    if not given.skip_songs:
        result["songs"] = ablation.songs()
        print(f"\n### Songs\n\n{table(result['songs'])}\n", flush=True)
    if not given.skip_digits and given.digits_dir is None:
        print("Speech is left out: there is no --digits_dir.")
    elif not given.skip_digits:
        result["digits"] = ablation.digits()
        print(f"\n### Spoken digits\n\n{table(result['digits'])}\n", flush=True)
    titles = {
        "songs": "What each encoder finds among songs",
        "digits": "What each encoder finds among tracks of spoken digits",
    }
    for half, found in result.items():
        draw_bars(given.output_dir / f"{half}.png", found, [*next(iter(found.values()))], titles[half])
    write_result(given.output_dir / "results.json", {"seeds": given.seeds, **result})
    print(f"{given.output_dir / 'results.json'} and the pictures are written.")


if __name__ == "__main__":
    main()
