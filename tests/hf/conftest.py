# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the tests in this folder need before they can be imported."""

import sys
from pathlib import Path

import pytest

# Stand-ins, not tests, though some have to be called test_*.py.
collect_ignore = ["stubs"]

sys.path.insert(0, str(Path(__file__).resolve().parent / "stubs"))

# The marks that transformers' test files use; --strict-markers refuses the unknown ones.
TRANSFORMERS_MARKERS = (
    "accelerate_tests",
    "flash_attn_test",
    "flash_attn_3_test",
    "flash_attn_4_test",
    "torch_compile_test",
    "order",
)


def pytest_configure(config: pytest.Config) -> None:
    for marker in TRANSFORMERS_MARKERS:
        config.addinivalue_line("markers", f"{marker}: used by the test files of transformers")
