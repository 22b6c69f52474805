# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What all tests share: no network, one thread a process, a fixed seed, and the way to the real data."""

import os
import random
import shutil
import tempfile
from pathlib import Path

# Read when huggingface_hub is imported, so they stand before the other imports. Each process gets a home of its own:
# parallel workers that copy remote code into one shared cache overwrite each other.
HF_HOME = tempfile.mkdtemp(prefix="collap-tests-")
os.environ["HF_HOME"] = HF_HOME
os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_configure() -> None:
    torch.set_num_threads(1)


def pytest_unconfigure() -> None:
    shutil.rmtree(HF_HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def seed() -> int:
    """Seed the three generators before each test, so that a test alone equals the same test in the whole suite."""
    value = 0
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)
    return value


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real recordings: `COLLAP_SHARED_DATA`, else `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("COLLAP_SHARED_DATA") or REPOSITORY.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder} (set COLLAP_SHARED_DATA)")
    return folder


@pytest.fixture(scope="session")
def goldens(shared_data: Path) -> Path:
    """The folder of reference outputs of the original BEATs code, a sibling of `shared_data`."""
    folder = shared_data.parent / "goldens"
    if not folder.is_dir():
        pytest.skip(f"no reference outputs at {folder}")
    return folder
