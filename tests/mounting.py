# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""File systems for tests, where the machine lets a test mount them."""

import subprocess
from pathlib import Path

import pytest


def mount(folder: Path, *arguments: str) -> None:
    """Makes a folder and mounts a file system there; skips the test where that is not possible."""
    folder.mkdir()
    try:
        mounted = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if mounted.returncode != 0:
        pytest.skip(f"nothing may be mounted here: {mounted.stderr.strip()}")
