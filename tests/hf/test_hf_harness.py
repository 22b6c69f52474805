# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Whether the common tests of transformers are here. Never skipped as a whole: pytest takes a run without tests for a
failure, and without a network the other files of this folder have none."""

import pytest
import transformers
from fetch_transformers_tests import FOLDER, fetched_version, in_ci


def test_common_tests_are_those_of_the_installed_transformers() -> None:
    if fetched_version() is None and not in_ci():
        pytest.skip("the test files of transformers were not fetched: make test-all does, where there is a network")
    assert fetched_version() == transformers.__version__, "run tests/hf/fetch_transformers_tests.py again"
    for name in ("modeling", "configuration", "processing", "sequence_feature_extraction"):
        assert (FOLDER / "tests" / f"test_{name}_common.py").is_file()
