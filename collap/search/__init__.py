# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Search: a library of songs on disk, found by descriptions and by audio, with the moments of each sentence."""

from collap.extras import require_extra

require_extra("train", "accelerate", "datasets", "matplotlib", "filelock")
