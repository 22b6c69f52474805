# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The common tests of transformers as a package: its own files where fetch_transformers_tests.py has put them, and
beside them our stand-ins for the few companions that its source distribution lacks."""

from pathlib import Path

import pytest
import transformers

_FETCHED = Path(__file__).resolve().parents[2] / ".transformers"

_stamp = _FETCHED / "VERSION"
_version = _stamp.read_text() if _stamp.is_file() else None
if _version != transformers.__version__:
    pytest.skip(
        f"needs the test files of transformers {transformers.__version__}, found {_version or 'none'}: "
        "run tests/hf/fetch_transformers_tests.py (make test-hf does)",
        allow_module_level=True,
    )

__path__.append(str(_FETCHED / "tests"))
