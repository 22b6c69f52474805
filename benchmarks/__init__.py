# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The laboratory: benchmarks, run by `python -m benchmarks.NAME`."""
