# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A stand-in for the Hub that the test's own process takes for it."""

from collections.abc import Iterator

import pytest
import transformers.utils.hub
from hub_server import Hub, serve_hub
from huggingface_hub import constants


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    """The stand-in, which this process takes for the Hub: the client reads these constants at each call."""
    with serve_hub() as hub:
        for name, value in hub.environment().items():
            monkeypatch.setenv(name, value)
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, hub.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", hub.endpoint)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(transformers.utils.hub, "_hf_api", None)  # its client, which keeps an address
        yield hub
