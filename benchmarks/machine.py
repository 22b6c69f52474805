# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What every result of a benchmark says of its making: the command, the machine, the versions."""

import os
import platform
import shlex
import sys
from pathlib import Path
from typing import Any

import torch

from collap.files import library_versions, write_json

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "transformers", "accelerate", "peft", "datasets", "collap")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, GPU and versions; no name of a host."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "versions": library_versions(PACKAGES),
    }


def write_result(script: Path, result: dict[str, Any]) -> Path:
    """Writes `results/NAME.json` for a script `NAME.py`, with the command that made it."""
    file = RESULTS / f"{script.stem}.json"
    write_json(file, {"command": shlex.join(["python", f"benchmarks/{script.name}", *sys.argv[1:]]), **result})
    return file


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
