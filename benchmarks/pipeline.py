# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""From rendered songs to ranks: the steps that the demo, the benchmarks and the experiments share, each a process."""

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm.auto import tqdm
from transformers.utils import SAFE_WEIGHTS_NAME

from collap.files import write_json
from collap.progress import progress_bar

ROOT = Path(__file__).resolve().parents[1]
SHARED_DATA = Path(os.environ.get("COLLAP_SHARED_DATA") or ROOT.parent / "shared" / "data")
TOWERS = ("music", "speech", "text")
RANKING_CODE = ("questions.py", "rank.py")
PROGRESS = re.compile(r"(\d+)/(\d+) \[")  # what tqdm writes into the log of a step

# The small CoLLAP: frames of 1.28 s, segments of four of them. A short training does better from a logit scale of
# 1 / 0.03 than from the paper's 1 / 0.07 (docs/log.md).
MODEL = {
    "projection_dim": 96,
    "frame_pooling": 64,
    "kernel_size": 4,
    "kernel_stride": 4,
    "logit_scale_init_value": math.log(1 / 0.03),
}
# Training arguments that all rows share.
RECIPE = {
    "warmup_steps": 0.1,
    "weight_decay": 0.01,
    "sentence_shuffle_probability": 0.25,
    "report_to": "none",
    "save_strategy": "no",
    "logging_steps": 20,
}


@dataclass(frozen=True, eq=False)
class Step:
    """One command, repeated if it has changed or if what it depends on is newer than what it made."""

    name: str  # of its log
    title: str  # of its progress bar
    command: list[str]
    marker: Path  # the file that says that it is done, with which command, and by its date when
    after: tuple["Step", ...] = ()  # steps that have to be done before
    inputs: tuple[Path, ...] = ()  # files that it reads

    def is_done(self) -> bool:
        """Whether it was done, after all that it depends on."""
        if not self.marker.is_file() or json.loads(self.marker.read_text()) != self.command:
            return False
        done = self.marker.stat().st_mtime_ns
        needed = [*self.inputs, *(before.marker for before in self.after)]
        return all(path.is_file() and path.stat().st_mtime_ns <= done for path in needed)


def run_module(name: str, *arguments: object) -> list[str]:
    """The command that runs a module with this interpreter."""
    return [sys.executable, "-m", name, *map(str, arguments)]


def named(values: Mapping[str, object]) -> list[str]:
    """Command-line arguments of names and values; None is left out."""
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def run_steps(steps: Sequence[Step], logs: Path, at_once: int) -> None:
    """
    Runs the steps that are not done yet, `at_once` at a time, each with one thread, in order; a step that depends on
    another waits for it.

    Raises:
        RuntimeError: if a step fails; its log's last lines are in the message, and the other steps are stopped. Or if
            a step needs one that is neither done nor among `steps`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting: list[Step] = []
    for step in steps:
        if not step.is_done() or any(before in waiting for before in step.after):
            waiting.append(step)
            step.marker.unlink(missing_ok=True)  # an interrupted run must not leave it as done
        else:
            tqdm.write(f"{step.title}: done before")
    for step in waiting:
        if missing := [before.title for before in step.after if before not in waiting and not before.is_done()]:
            raise RuntimeError(f"{step.title} needs {', '.join(missing)}, neither done nor among the steps.")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    environment["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"  # those of loading and saving are not the progress of a step
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    running: dict[Step, tuple[subprocess.Popen, tqdm]] = {}
    try:
        while waiting or running:
            ready = [step for step in waiting if not any(before in (*waiting, *running) for before in step.after)]
            for step in ready[: at_once - len(running)]:
                waiting.remove(step)
                step.marker.parent.mkdir(parents=True, exist_ok=True)
                with (logs / f"{step.name}.log").open("w") as log:
                    process = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
                # No smoothing: the log is read in bursts, from which the rate of the moment would be far too high.
                options = {"total": 1, "position": len(running), "unit": "step", "smoothing": 0}
                running[step] = process, progress_bar(desc=step.title, **options)
            time.sleep(0.2)
            for step, (process, bar) in list(running.items()):
                _update(bar, logs / f"{step.name}.log")
                if process.poll() is None:
                    continue
                del running[step]
                if process.returncode == 0:
                    bar.update(bar.total - bar.n)
                bar.close()
                if process.returncode:
                    tail = (logs / f"{step.name}.log").read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"{step.title} failed (exit status {process.returncode}):\n{tail}")
                write_json(step.marker, step.command)
    finally:
        for process, bar in running.values():
            process.terminate()
            bar.close()


def _update(bar: tqdm, log: Path) -> None:
    """Shows on `bar` the last progress that the step wrote into its log."""
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - 2000))
        found = PROGRESS.findall(content.read().decode(errors="replace"))
    if found:
        done, bar.total = map(int, found[-1])
        bar.update(done - bar.n)


class Pipeline:
    """
    Makes and runs the steps of one folder.

    The folder holds `corpus/{split}.jsonl`, `encoders/{music,speech}/`, `text/`, `features/` (frames of the frozen
    encoders), `models/{name}/` and `ranks/{name}.json`; `done/` holds the command of each step, `logs/` its output.

    Args:
        folder (`Path`): Made if it is not there.
        num_processes (`int`): Steps at a time.
        device (`str`): `"cpu"` or `"cuda"`.
    """

    def __init__(self, folder: Path, num_processes: int = 1, device: str = "cpu"):
        self.folder, self.num_processes, self.device = folder, num_processes, device
        self.corpus, self.features = folder / "corpus", folder / "features"
        self.encoders, self.text = folder / "encoders", folder / "text"
        self.started = time.monotonic()
        self.num_cached = 0  # steps that an earlier call has done

    def say(self, text: str) -> None:
        print(f"\n[{time.monotonic() - self.started:3.0f} s] {text}", flush=True)

    def run(self, steps: Sequence[Step], at_once: int | None = None) -> None:
        """Runs steps, `num_processes` at a time if nothing else is given."""
        self.num_cached += sum(step.is_done() for step in steps)
        run_steps(steps, self.folder / "logs", at_once or self.num_processes)

    def step(
        self, name: str, title: str, command: list[str], after: Sequence[Step] = (), inputs: Sequence[Path] = ()
    ) -> Step:
        """A step whose marker lies in `done/`."""
        return Step(name, title, command, self.folder / "done" / f"{name}.json", tuple(after), tuple(inputs))

    def model(self, name: str) -> Path:
        """Folder of a trained model."""
        return self.folder / "models" / name

    def ranks(self, name: str) -> Path:
        """File of ranks."""
        return self.folder / "ranks" / f"{name}.json"

    def manifest(self, split: str) -> Path:
        """Manifest of a split of the corpus."""
        return self.corpus / f"{split}.jsonl"

    def render(self, *arguments: object) -> Step:
        """Renders the songs; `arguments` are those of benchmarks.corpus."""
        command = run_module("benchmarks.corpus", "--output_dir", self.corpus, "--num_processes", self.num_processes)
        return self.step("corpus", "Corpus", [*command, *map(str, arguments)])

    def make_towers(self, rendered: Step, kinds: Sequence[str] = TOWERS, **options: object) -> list[Step]:
        """Pretrains small encoders on tags of crops, and builds a text tower; `options` are those of the encoders."""
        manifest, steps = self.manifest("train"), []
        for kind in [kind for kind in kinds if kind != "text"]:
            given = {"manifest": manifest, "output_dir": self.encoders / kind, "device": self.device} | options
            command = run_module("benchmarks.towers", kind, *named(given))
            steps.append(self.step(f"pretrain-{kind}", f"Small {kind} encoder", command, [rendered]))
        if "text" in kinds:
            command = run_module("benchmarks.towers", "text", "--manifest", manifest, "--output_dir", self.text)
            steps.append(self.step("text", "New text tower", command, [rendered]))
        return steps

    def towers(self, text_model: str | Path | None = None) -> dict[str, str | Path]:
        """The arguments of a training that name the towers of this folder, or another text tower."""
        audio = {"music_model": self.encoders / "music", "speech_model": self.encoders / "speech"}
        if text_model is not None:
            return audio | {"text_model": text_model}  # it says its pooling
        # One that starts from random weights learns far more from the mean over its tokens than from the first of
        # them (docs/log.md).
        return audio | {"text_model": self.text, "text_pooling": "mean"}

    def extract(
        self,
        manifests: Sequence[Path],
        model: Mapping[str, object],
        after: Sequence[Step] = (),
        features: Path | None = None,
        name: str = "extract",
        title: str = "Songs",
    ) -> Step:
        """Encodes songs once with the frozen encoders; `model` are arguments of examples/extract_features.py."""
        on_cpu = self.device == "cpu"
        num_processes = self.num_processes if on_cpu else torch.cuda.device_count()
        launch = ("torch.distributed.run", "--standalone", "--nproc_per_node", num_processes)
        command = run_module(*launch, ROOT / "examples" / "extract_features.py", "--manifests", *manifests)
        command += [*(["--use_cpu"] if on_cpu else []), *named({"features": features or self.features} | dict(model))]
        return self.step(name, title, command, after, manifests)

    def train(
        self,
        name: str,
        title: str,
        arguments: Mapping[str, object],
        after: Sequence[Step] = (),
        mean_pooling: bool = False,
    ) -> Step:
        """Trains the model `name`; `arguments` are those of examples/train.py, among them `train_manifest`."""
        command = run_module("benchmarks.train_row", *named({"output_dir": self.model(name)} | dict(arguments)))
        command += ["--mean_pooling"] if mean_pooling else []
        return self.step(f"train-{name}", title, command, after, [Path(arguments["train_manifest"])])

    def rank(
        self,
        name: str,
        title: str,
        questions: Sequence[str],
        model: Path | None = None,
        after: Sequence[Step] = (),
        inputs: Sequence[Path] = (),
        **options: object,
    ) -> Step:
        """Ranks of the model `name`, or of the folder `model`; `options` are more arguments of benchmarks.rank."""
        model = model or self.model(name)
        command = run_module("benchmarks.rank", "--questions", *questions)
        given = {"model": model, "corpus": self.corpus, "output": self.ranks(name), "device": self.device}
        inputs = [model / SAFE_WEIGHTS_NAME, *(ROOT / "benchmarks" / file for file in RANKING_CODE), *inputs]
        return self.step(f"rank-{name}", title, [*command, *named(given | options)], after, inputs)
