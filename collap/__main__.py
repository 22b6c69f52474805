# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`python -m collap`: the `collap` command."""

import sys

from collap.cli import main

sys.exit(main())
