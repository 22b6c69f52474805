# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Export of a CoLLAP to ONNX, and to the programs of `torch.export`."""
