# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Progress bars."""

import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from tqdm.auto import tqdm
from tqdm.notebook import tqdm_notebook

Item = TypeVar("Item")


def progress_bar(items: Iterable[Item] | None = None, **options: Any) -> tqdm:
    """A bar that in a log, which is neither a terminal nor a notebook, writes a line a minute."""
    if not sys.stderr.isatty() and not issubclass(tqdm, tqdm_notebook):
        in_log = {"mininterval": 60.0, "maxinterval": 60.0, "bar_format": "{l_bar}{bar}{r_bar}\n", "position": 0}
        options |= in_log
    return tqdm(items, **options)
