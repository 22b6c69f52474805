# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Stands in for a script of transformers' repository that its test files import and its source distribution lacks."""


def url_to_local_path(url: str) -> str:
    """Return `url` as it is: nothing is cached here, and our tests open none of these files."""
    return url
