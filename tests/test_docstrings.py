# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Runs the examples in the docstrings, so that they never rot."""

import doctest
import importlib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
FOLDERS = {"modeling_collap": "collap.modeling_collap", "processing": "collap.processing", "collap": "collap"}
MODULES = sorted(
    ".".join([package, *path.relative_to(REPOSITORY / folder).with_suffix("").parts])
    for folder, package in FOLDERS.items()
    for path in (REPOSITORY / folder).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert result.attempted > 0
    assert result.failed == 0
