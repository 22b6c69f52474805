# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A script on several processes."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent


def run_processes(num_processes: int, script: Path, *arguments: str) -> str:
    """Runs the script, which finds the helpers of the tests, by torch's launcher; returns what it printed."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={num_processes}"]
    path = os.pathsep.join([str(TESTS), str(TESTS / "training")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        [*command, str(script), *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr[-4000:]
    return result.stdout
