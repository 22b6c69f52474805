# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A tiny benchmark's folder, and steps that run in this process: no interpreter has to start and import everything."""

import importlib
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks import pipeline


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    from tiny_benchmark import make_benchmark

    return make_benchmark(tmp_path_factory.mktemp("benchmark") / "benchmark")


@pytest.fixture
def ran(monkeypatch) -> list[str]:
    """Steps run in this process; holds the names of those that ran."""
    names: list[str] = []

    def run_steps(steps: Sequence[pipeline.Step], logs: Path, at_once: int) -> None:
        for step in steps:
            if not step.is_done():
                names.append(step.name)
                _run(step.command)
                step.marker.parent.mkdir(parents=True, exist_ok=True)
                step.marker.write_text(json.dumps(step.command))

    monkeypatch.setattr(pipeline, "run_steps", run_steps)
    return names


def _run(command: list[str]) -> None:
    _, _, module, *arguments = command
    if module != "torch.distributed.run":
        importlib.import_module(module).main(arguments)
        return
    (place,) = (place for place, argument in enumerate(arguments) if argument.endswith(".py"))
    spec = importlib.util.spec_from_file_location(Path(arguments[place]).stem, arguments[place])
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.main(arguments[place + 1 :])
