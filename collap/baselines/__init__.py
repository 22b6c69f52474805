# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Models that are trained or evaluated beside CoLLAP, by the same rules."""
