# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Trainings that differ from one of the benchmark's in some arguments, and the ranks of what they give."""

from pathlib import Path
from typing import Any

from common import BENCHMARK, read_command
from steps import Step, python
from transformers.utils import SAFE_WEIGHTS_NAME

HERE = Path(__file__).resolve().parent
TRAIN_ROW = BENCHMARK / "train_row.py"
ROW = "ours"
# Their places depend on the folder, not on the recipe.
TOWERS = ("music_model", "speech_model", "text_model")


class ExperimentSteps:
    """
    Steps of an experiment in a folder of its own, beside the benchmark's.

    Args:
        benchmark_dir (`Path`): What benchmarks/long_form/run.py has left.
        output_dir (`Path`): Of the experiment.
        device (`str`): `"cpu"` or `"cuda"`, of the ranking; trainings run where the benchmark's did.
        num_epochs (`int`, *optional*): In place of the benchmark's.
    """

    def __init__(self, benchmark_dir: Path, output_dir: Path, device: str = "cpu", num_epochs: int | None = None):
        self.benchmark_dir, self.out, self.device, self.num_epochs = benchmark_dir, output_dir, device, num_epochs

    def step(self, name: str, title: str, command: list[str], inputs: tuple[Path, ...] = ()) -> Step:
        return Step(name, title, command, self.out / "done" / f"{name}.json", inputs=inputs)

    def recipe(self, seed: int, row: str = ROW) -> dict[str, str]:
        """
        The arguments of the benchmark's training of a row, with the paths of its folder.

        Raises:
            ValueError: if it has not trained that row.
        """
        command = read_command(self.benchmark_dir, f"train-{row}-{seed}")
        options = dict(item.removeprefix("--").split("=", 1) for item in command if "=" in item)
        options.pop("output_dir")
        options |= {tower: str(self.benchmark_dir / "encoders" / tower.split("_")[0]) for tower in TOWERS}
        options["text_model"] = str(self.benchmark_dir / "text")
        for kind, split in (("train", "train"), ("eval", "validation")):
            options[f"{kind}_manifest"] = str(self.benchmark_dir / "corpus" / f"{split}.jsonl")
        options["features"] = str(self.benchmark_dir / "features")
        if self.num_epochs is not None:
            options["num_train_epochs"] = str(self.num_epochs)
        return options

    def is_trained(self, seed: int, row: str = ROW) -> bool:
        """Whether the benchmark's own model can be taken."""
        return self.num_epochs is None and (self.benchmark_dir / "models" / f"{row}-{seed}" / "config.json").is_file()

    def folder(self, name: str, seed: int) -> Path:
        return self.out / "models" / f"{name}-{seed}"

    def train(self, name: str, title: str, seed: int, changes: dict[str, Any], row: str = ROW) -> Step:
        """The benchmark's training of a row with some arguments changed, or left out if they are None."""
        options = self.recipe(seed, row) | changes
        options |= {"output_dir": self.folder(name, seed), "seed": seed}
        command = python(TRAIN_ROW, *(f"--{key}={value}" for key, value in options.items() if value is not None))
        recipe = self.benchmark_dir / "done" / f"train-{row}-{seed}.json"
        return self.step(f"train-{name}-{seed}", f"{title}, seed {seed}", command, (recipe,))

    def rank(
        self,
        name: str,
        title: str,
        model: Path,
        questions: list[str],
        corpus: Path | None = None,
        features: Path | None = None,
        gallery_size: int = 1000,
    ) -> Step:
        """Ranks of a model; `name` is the file's, in the folder `ranks`, and that of its training if there is one."""
        command = python(HERE / "rank_questions.py", "--questions", *questions, "--model", model)
        command += ["--corpus", str(corpus or self.benchmark_dir / "corpus")]
        command += ["--features", str(features or self.benchmark_dir / "features")]
        command += ["--gallery_size", str(gallery_size), "--device", self.device, "--output", str(self.ranks(name))]
        return self.step(f"rank-{name}", title, command, (model / SAFE_WEIGHTS_NAME, HERE / "questions.py"))

    def ranks(self, name: str) -> Path:
        return self.out / "ranks" / f"{name}.json"


__all__ = ["ROW", "TOWERS", "TRAIN_ROW", "ExperimentSteps"]
