# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The `collap` command."""

from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows the text at the top of a script as it stands, and the default of each argument."""
