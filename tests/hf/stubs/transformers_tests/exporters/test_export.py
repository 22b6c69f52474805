# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Stands in for the export tests (ONNX, ExecuTorch), which the source distribution lacks."""


class ExportTesterMixin:
    """No test: the base class that `ModelTesterMixin` asks for."""
