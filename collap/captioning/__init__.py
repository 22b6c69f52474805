# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions for songs that have none, with sections and their times: `collap caption`."""
