# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tensors in, tensors out: BEATs and CoLLAP. Opens no audio file and takes no strings."""
