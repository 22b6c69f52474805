# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the wheel alone does not install."""

from importlib.util import find_spec


def require_extra(extra: str, *libraries: str) -> None:
    """Raises an ImportError that says how to install libraries of an extra, if one of them is missing."""
    missing = [name for name in libraries if find_spec(name) is None]
    if missing:
        raise ImportError(
            f'{" and ".join(missing)} must be installed for this: pip install ".[{extra}]" in a checkout'
        )
