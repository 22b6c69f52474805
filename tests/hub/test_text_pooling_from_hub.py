# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The pooling of a text model on the Hub, and of its copy in the cache."""

import json

from hub_server import TOKEN

from collap.modeling_collap.sentence_transformers_collap import find_text_pooling

MODULES = [
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
]


def test_it_is_read_from_the_hub_and_then_from_the_cache(hub, tmp_path):
    files = {"modules.json": MODULES, "1_Pooling/config.json": {"pooling_mode_mean_tokens": True}}
    hub.files["somebody/minilm"] = {path: json.dumps(content).encode() for path, content in files.items()}
    hub.files["somebody/roberta"] = {"config.json": b"{}"}
    hub.commits = dict.fromkeys(hub.files, 1)
    options = {"cache_dir": str(tmp_path), "token": TOKEN}
    for offline in (False, True):
        num_requests = len(hub.requests)
        assert find_text_pooling("somebody/minilm", None, {**options, "local_files_only": offline}) == "mean"
        assert find_text_pooling("somebody/roberta", None, {**options, "local_files_only": offline}) is None
        assert (len(hub.requests) == num_requests) is offline
