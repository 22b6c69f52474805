# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Stands in for the one dictionary that `ConfigTester` takes from here: a value other than the default for each
argument that every configuration knows."""

config_common_kwargs = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 3,
    "architectures": ["SomeModel"],
    "id2label": {0: "quiet", 1: "loud", 2: "louder"},
    "label2id": {"quiet": 0, "loud": 1, "louder": 2},
    "problem_type": "regression",
}
