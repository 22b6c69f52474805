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
    One command, done anew if it has become another one or if what it depends on is newer than what it made.

    Args:
        name, title (`str`): Of its log, and for its progress bar.
        command (`list[str]`): Its arguments.
        marker (`Path`): The file that says that it is done, with which command, and by its date when.
        after (`tuple[Step, ...]`): Steps that have to be done before.
        inputs (`tuple[Path, ...]`): Files of others that it reads.
    """

    name: str
    title: str
    command: list[str]
    marker: Path
    after: tuple["Step", ...] = ()
    inputs: tuple[Path, ...] = ()

    def is_done(self) -> bool:
        """Whether it was done, after all that it depends on."""
        if not self.marker.is_file() or json.loads(self.marker.read_text()) != self.command:
            return False
        done = self.marker.stat().st_mtime_ns
        needed = [*self.inputs, *(before.marker for before in self.after)]
        return all(path.is_file() and path.stat().st_mtime_ns <= done for path in needed)


def python(script: Path | str, *arguments: object) -> list[str]:
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
