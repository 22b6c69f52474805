# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Markdown tables that also read well in a terminal."""

from collections.abc import Sequence


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """
    A table whose first row is the heading: the first column to the left, figures to the right.

    Returns:
        `str`: lines without a newline at the end.
    """
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = ["-" * (width - 1) + (":" if place else "-") for place, width in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


__all__ = ["markdown_table"]
