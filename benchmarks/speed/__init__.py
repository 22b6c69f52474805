# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What CoLLAP costs: time, memory and operations; README.md beside this file says how to run each script."""
