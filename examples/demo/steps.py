# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Runs the steps of the demo as processes of their own, side by side, with a progress bar each."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm.auto import tqdm

PROGRESS = re.compile(r"(\d+)/(\d+) \[")  # what tqdm writes into the log of a step


@dataclass(frozen=True, eq=False)
class Step:
    """
    One command; `name` is its log's, `marker` the file that says it is done and with which command, `after` the steps
    that have to be done before.
    """

    name: str
    title: str
    command: list[str]
    marker: Path
    after: tuple["Step", ...] = ()

    def is_done(self) -> bool:
        return self.marker.is_file() and json.loads(self.marker.read_text()) == self.command


def python(script: Path, *arguments: object) -> list[str]:
    """The command that runs a script of the examples with this interpreter."""
    return [sys.executable, str(script), *map(str, arguments)]


def named(values: Mapping[str, object]) -> list[str]:
    """Command-line arguments of names and values."""
    return [f"--{name}={value}" for name, value in values.items()]


def run_steps(steps: list[Step], logs: Path, at_once: int) -> None:
    """
    Runs the steps that are not done yet, `at_once` at a time, each with one thread, in their order but for those that
    wait for another.

    Raises:
        RuntimeError: if a step fails; its log's last lines are in the message, and the other steps are stopped. Or if
            a step is to be done after one that is neither done nor among `steps`.
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting: list[Step] = []  # what is not done, or was done with what is now done anew
    for step in steps:
        if not step.is_done() or any(before in waiting for before in step.after):
            waiting.append(step)
    for step in steps:
        if step in waiting:
            step.marker.unlink(missing_ok=True)  # an interrupted run must not leave it as done
        else:
            tqdm.write(f"{step.title}: done before, kept")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    running: dict[Step, tuple[subprocess.Popen, tqdm]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < at_once:
                step = next((step for step in waiting if not _missing(step, [*waiting, *running])), None)
                if step is None:
                    break
                waiting.remove(step)
                step.marker.parent.mkdir(parents=True, exist_ok=True)
                with (logs / f"{step.name}.log").open("w") as log:
                    process = subprocess.Popen(step.command, stdout=log, stderr=subprocess.STDOUT, env=environment)
                running[step] = process, tqdm(desc=step.title, total=1, position=len(running), unit="step")
            if not running:
                raise RuntimeError(f"{waiting[0].title} waits for {_missing(waiting[0], [])}, which nobody does.")
            time.sleep(0.2)
            for step, (process, bar) in list(running.items()):
                _update(bar, logs / f"{step.name}.log")
                if process.poll() is None:
                    continue
                del running[step]
                bar.close()
                if process.returncode:
                    tail = (logs / f"{step.name}.log").read_text(errors="replace")[-3000:]
                    raise RuntimeError(f"{step.title} failed (exit status {process.returncode}):\n{tail}")
                step.marker.write_text(json.dumps(step.command))
    finally:
        for process, bar in running.values():
            process.terminate()
            bar.close()


def _missing(step: Step, unfinished: Sequence[Step]) -> str:
    """Titles of what has to be done before a step."""
    return ", ".join(before.title for before in step.after if before in unfinished or not before.is_done())


def _update(bar: tqdm, log: Path) -> None:
    """Shows on `bar` the last progress that the step wrote into its log."""
    with log.open("rb") as content:
        content.seek(max(0, log.stat().st_size - 2000))
        found = PROGRESS.findall(content.read().decode(errors="replace"))
    if found:
        bar.n, bar.total = map(int, found[-1])
        bar.refresh()
