# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Spoken digits: long tracks of real recordings, searched by their transcripts."""
