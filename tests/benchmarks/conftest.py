# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A tiny benchmark's folder."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    from tiny_benchmark import make_benchmark

    return make_benchmark(tmp_path_factory.mktemp("benchmark") / "benchmark")
