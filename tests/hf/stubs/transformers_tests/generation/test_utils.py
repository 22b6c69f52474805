# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Stands in for the generation tests, which the source distribution lacks and no model of ours would run."""


class GenerationTesterMixin:
    """No test: `ModelTesterMixin` only asks whether a test class inherits from it."""
