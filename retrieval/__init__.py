# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Figures of retrieval, and where in a song a sentence happens."""
