# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Evaluation: retrievers, scores, results, localization, plots."""

from collap.extras import require_extra

require_extra("train", "accelerate", "datasets", "matplotlib")
