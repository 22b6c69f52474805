# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What tests of the search share."""

import pytest
from tiny_library import save_tiny_model


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    """Folder of a tiny model that can index songs."""
    return save_tiny_model(tmp_path_factory.mktemp("model"))
