# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The long-form benchmark, and the paper's experiments with its models."""
