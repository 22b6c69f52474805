# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Training: arguments, data sets, augmentation, the exact loss, the trainer."""

from collap.extras import require_extra

require_extra("train", "accelerate", "datasets", "peft")
