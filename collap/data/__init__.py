# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Data: manifests, files of audio, cached frames, FUTGA, converters of public sets."""

from collap.extras import require_extra

require_extra("train", "accelerate", "datasets")
