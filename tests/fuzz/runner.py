# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""One case in a process of its own: what it came to, with a limit of time and of memory."""

import os
import random
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LIMIT_S = 60
LIMIT_MB = 300


class Fault(AssertionError):
    """What a case must never come to."""


@dataclass
class Case:
    """What a case is made of: `name` is all that it depends on."""

    name: str  # such as "audio-123"
    folder: Path

    def __post_init__(self) -> None:
        self.random = random.Random(self.name)
        self.noise = np.random.default_rng(self.random.getrandbits(64))

    def note(self, step: str) -> None:
        """For the report; at once, for the process may be killed."""
        print(f"> {step}", flush=True)

    def choose(self, options: Sequence[Any], step: str | None = None) -> Any:
        chosen = self.random.choice(list(options))
        if step:
            self.note(f"{step}: {getattr(chosen, '__name__', chosen)}")
        return chosen

    def damage(self, content: bytes, first: int = 0) -> bytes:
        """Flips bits, overwrites, removes or doubles a piece, from the byte `first` on."""
        damaged = bytearray(content)
        how = self.choose(("flip", "flip", "overwrite", "remove", "double"), "damage")
        for _ in range(self.choose((1, 1, 3, 30)) if how == "flip" else 1):
            place = self.random.randrange(min(first, len(content) - 1), len(content))
            end = place + self.choose((1, 16, 500))
            if how == "flip":
                damaged[place] ^= 1 << self.random.randrange(8)
            elif how == "overwrite":
                damaged[place:end] = self.noise.bytes(len(damaged[place:end]))
            elif how == "remove":
                del damaged[place:end]
            else:
                damaged[place:place] = damaged[place:end]
            self.note(f"byte {place}")
        return bytes(damaged)


def refusal(call: Callable[[], Any], *names: str) -> tuple[Any, str | None]:
    """What a call returned, or the message of its ValueError, which must have all the names; others are a fault."""
    try:
        return call(), None
    except (ValueError, UnicodeDecodeError) as error:
        message = str(error)
        if missing := [name for name in names if name not in message]:
            raise Fault(f"the message does not name {missing}: {message[:500]}") from error
        if len(message) > 8000:
            raise Fault(f"the message has {len(message)} characters: {message[:200]}") from error
        return None, message


def run(name: str, function: Callable[[Case], str], folder: Path, least_mb: int = 0) -> tuple[str, str, int]:
    """
    Runs a case in a fork of this process, whose modules are imported already; `folder` is made and kept.

    Returns the outcome (`whole`, `problem`, `refused` or `FAULT`), the report, and the peak of memory in MB.
    """
    folder.mkdir(parents=True)
    report = folder / "report.txt"
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        signal.alarm(LIMIT_S)  # without a handler it ends the process, wherever it is
        status = 1
        try:
            with report.open("w") as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
                sys.stdout = sys.stderr = log
                (folder / "files").mkdir()
                os.chdir(folder / "files")
                case = Case(name, folder / "files")
                try:
                    outcome = function(case)
                    status = 0
                except BaseException:
                    traceback.print_exc()
                    outcome = "FAULT"
                print(outcome)
        finally:
            os._exit(status)
    _, status, usage = os.wait4(process, 0)
    peak_mb = usage.ru_maxrss // 1024
    text = report.read_text(errors="replace") if report.exists() else ""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        what = f"it hangs: no end after {LIMIT_S} s" if number == signal.SIGALRM else f"killed by signal {number}"
        return "FAULT", f"{text}\n{what}", peak_mb
    outcome = text.strip().rsplit("\n", 1)[-1] if status == 0 else "FAULT"
    if outcome != "FAULT" and least_mb and peak_mb > least_mb + LIMIT_MB:
        return "FAULT", f"{text}\nit took {peak_mb - least_mb} MB", peak_mb
    return outcome, text, peak_mb


def remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
