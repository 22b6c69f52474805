# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Steps of the pipeline: what is done is cached, what has changed is repeated."""

import os
import sys
from pathlib import Path

import pytest

from benchmarks.pipeline import Step, run_steps

WRITE = "import sys; open(sys.argv[1], 'a').write('x'); sys.exit(int(sys.argv[2]))"
COPY = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text())"


def write(name: str, folder: Path, *arguments: object, status: int = 0, **options) -> Step:
    command = [sys.executable, "-c", WRITE, str(folder / name), str(status), *map(str, arguments)]
    return Step(name, name.capitalize(), command, folder / "done" / f"{name}.json", **options)


def test_a_finished_step_is_cached_and_a_changed_one_runs_again(tmp_path):
    for _ in range(2):
        run_steps([write("step", tmp_path)], tmp_path, at_once=1)
    assert (tmp_path / "step").read_text() == "x"
    run_steps([write("step", tmp_path, "more")], tmp_path, at_once=1)
    assert (tmp_path / "step").read_text() == "xx"


def test_steps_wait_for_others_and_are_repeated_after_them(tmp_path):
    def make(*arguments: str) -> list[Step]:
        first = write("first", tmp_path, *arguments)
        command = [sys.executable, "-c", COPY, str(tmp_path / "first"), str(tmp_path / "copy")]
        return [first, Step("second", "Second", command, tmp_path / "second.json", (first,))]

    run_steps(make(), tmp_path, at_once=2)
    assert (tmp_path / "copy").read_text() == "x"
    for _ in range(2):
        run_steps(make("more"), tmp_path, at_once=2)  # the command of the first alone has changed
        assert (tmp_path / "copy").read_text() == "xx"
    (tmp_path / "second.json").unlink()
    with pytest.raises(RuntimeError, match="Second needs First"):
        run_steps(make("other")[1:], tmp_path, at_once=2)


def test_what_was_done_before_its_input_changed_is_repeated(tmp_path):
    (tmp_path / "input").write_text("something")
    step = write("step", tmp_path, inputs=(tmp_path / "input",))
    for _ in range(2):
        run_steps([step], tmp_path, at_once=1)
    assert (tmp_path / "step").read_text() == "x"
    later = step.marker.stat().st_mtime_ns + 1
    os.utime(tmp_path / "input", ns=(later, later))
    run_steps([step], tmp_path, at_once=1)
    assert (tmp_path / "step").read_text() == "xx"


def test_a_failed_step_says_so_and_is_not_done(tmp_path):
    steps = [write("bad", tmp_path, status=3), write("good", tmp_path)]
    with pytest.raises(RuntimeError, match=r"Bad failed \(exit status 3\)"):
        run_steps(steps, tmp_path, at_once=1)
    assert not steps[0].marker.exists()
    assert not (tmp_path / "good").exists()
