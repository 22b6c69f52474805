# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A minute of fuzzing, always of the same cases: no unclear error, no hang, nothing lost in silence."""

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cases"), [("audio", 150), ("manifest", 200), ("store", 100)])
def test_no_case_is_a_fault(kind: str, cases: int, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.fuzz", "--kinds", kind, "--cases", str(cases), "--failures", str(tmp_path)]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
