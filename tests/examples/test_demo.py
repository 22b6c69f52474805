# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The pieces of the demo, and all of it once on a handful of songs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DEMO = Path(__file__).resolve().parents[2] / "examples" / "demo"
sys.path.insert(0, str(DEMO))
from answer import attention_mass  # noqa: E402
from steps import Step, python, run_steps  # noqa: E402


def test_attention_mass_by_hand():
    times = np.array([[0.0, 5.0], [5.0, 10.0], [10.0, 20.0]])
    weights = np.array([[0.5, 0.3, 0.2], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    # First sentence: its section ends in the middle of the second segment, 0.5 + 0.3 / 2. Second: half of the last.
    inside, even = attention_mass(weights, times, [(0.0, 7.5), (10.0, 15.0), None])
    assert inside == pytest.approx((0.65 + 0.5) / 2)
    assert even == pytest.approx((7.5 / 20 + 5 / 20) / 2)


class TestSteps:
    @pytest.fixture
    def script(self, tmp_path) -> Path:
        script = tmp_path / "script.py"
        script.write_text("import sys; open(sys.argv[1], 'a').write('x'); sys.exit(int(sys.argv[2]))")
        return script

    def test_a_finished_step_is_kept_and_a_changed_one_runs_again(self, tmp_path, script):
        marker, output = tmp_path / "done" / "step.json", tmp_path / "output"
        for _ in range(2):
            run_steps([Step("step", "A step", python(script, output, 0), marker)], tmp_path / "logs", at_once=1)
        assert output.read_text() == "x"
        run_steps([Step("step", "A step", python(script, output, 0, "more"), marker)], tmp_path / "logs", at_once=1)
        assert output.read_text() == "xx"

    def test_steps_wait_for_others_and_are_done_anew_after_them(self, tmp_path, script):
        def make(*arguments: str) -> list[Step]:
            output = tmp_path / "output"
            first = Step("first", "First", python(script, output, 0, *arguments), tmp_path / "first.json")
            copy = "import pathlib, sys; pathlib.Path(sys.argv[2]).write_text(pathlib.Path(sys.argv[1]).read_text())"
            command = [sys.executable, "-c", copy, str(output), str(tmp_path / "copy")]
            return [first, Step("second", "Second", command, tmp_path / "second.json", (first,))]

        run_steps(make(), tmp_path / "logs", at_once=2)
        assert (tmp_path / "copy").read_text() == "x"
        run_steps(make("more"), tmp_path / "logs", at_once=2)  # the command of the first alone has changed
        assert (tmp_path / "copy").read_text() == "xx"
        run_steps(make("more"), tmp_path / "logs", at_once=2)
        assert (tmp_path / "output").read_text() == "xx"
        (tmp_path / "second.json").unlink()
        with pytest.raises(RuntimeError, match="Second waits for First, which nobody does"):
            run_steps(make("other")[1:], tmp_path / "logs", at_once=2)

    def test_what_was_done_before_its_input_changed_is_done_anew(self, tmp_path, script):
        inputs = (tmp_path / "input",)
        step = Step("step", "A step", python(script, tmp_path / "output", 0), tmp_path / "step.json", inputs=inputs)
        inputs[0].write_text("something")
        for _ in range(2):
            run_steps([step], tmp_path / "logs", at_once=1)
        assert (tmp_path / "output").read_text() == "x"
        later = step.marker.stat().st_mtime_ns + 1
        os.utime(inputs[0], ns=(later, later))
        run_steps([step], tmp_path / "logs", at_once=1)
        assert (tmp_path / "output").read_text() == "xx"

    def test_a_failed_step_says_so_and_is_not_done(self, tmp_path, script):
        steps = [
            Step(
                str(status),
                f"Step {status}",
                python(script, tmp_path / str(status), status),
                tmp_path / f"{status}.json",
            )
            for status in (3, 0)
        ]
        with pytest.raises(RuntimeError, match=r"Step 3 failed \(exit status 3\)"):
            run_steps(steps, tmp_path / "logs", at_once=1)
        assert not (tmp_path / "3.json").exists()
        assert not (tmp_path / "0").exists()


@pytest.mark.slow
def test_the_whole_demo_on_a_handful_of_songs(tmp_path):
    pytest.importorskip("tinysoundfont", reason="the song corpus needs tinysoundfont")
    command = python(DEMO / "run.py", "--output_dir", tmp_path / "demo", "--num_pretraining_steps", 2)
    command += ["--num_epochs", "1", "--num_songs", "train=8", "validation=4", "content=12", "order=4"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-4000:]
    trained = ("10 s crop", "mean pooling", "document attention (paper)", "sentence queries, time, moments")
    for row in ("chance", *trained):
        assert len(re.findall(rf"^{re.escape(row)} .*\d", result.stdout, flags=re.MULTILINE)) == 2, result.stdout
    assert result.stdout.count("When it happens in") == 2
    assert (tmp_path / "demo" / "attention.png").stat().st_size > 20_000
    figures = json.loads((tmp_path / "demo" / "results.json").read_text())
    assert figures["sentence queries, time, moments"]["seen"]["text_to_audio"]["gallery_size"] == 12
