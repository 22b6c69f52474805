# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The song corpus: songs rendered from sampled instruments, with long captions."""
