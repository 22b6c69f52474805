# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Files, waveforms and strings in, tensors out. Imports no model."""
