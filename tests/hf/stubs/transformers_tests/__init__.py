# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common tests of transformers as a package: its own files where fetch_transformers_tests.py has put them, and
beside them our stand-ins for the few companions that its source distribution lacks."""

import pytest
import transformers
from fetch_transformers_tests import FOLDER, fetched_version, in_ci

if fetched_version() != transformers.__version__:
    message = (
        f"needs the test files of transformers {transformers.__version__}, found {fetched_version() or 'none'}: run "
        "tests/hf/fetch_transformers_tests.py (make test-all does)"
    )
    if in_ci():
        raise RuntimeError(message)
    pytest.skip(message, allow_module_level=True)

__path__.append(str(FOLDER / "tests"))
