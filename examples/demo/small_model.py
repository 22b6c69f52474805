# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The small CoLLAP that the demo and the long-form benchmark train, as arguments of examples/train.py."""

import math

# Frames of 1.28 s, segments of four of them. A short training does better from a logit scale of 1 / 0.03 than from the
# paper's 1 / 0.07, and a text tower that starts from nothing learns far more from the mean over its tokens than from
# the first of them (docs/log.md).
MODEL = {
    "projection_dim": 96,
    "frame_pooling": 64,
    "kernel_size": 4,
    "kernel_stride": 4,
    "text_pooling": "mean",
    "logit_scale_init_value": math.log(1 / 0.03),
}
