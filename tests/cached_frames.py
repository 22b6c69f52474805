# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The frames of a song in a cache, as a training reads them."""

from typing import Any

import torch

from collap.data.cache import TensorCache


def load_frames(cache: TensorCache, song: Any) -> torch.Tensor:
    """`(num_frames, width)`."""
    return torch.from_numpy(cache.read(cache.find(song)).frames)
