# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Joins FUTGA's captions, with their section times, with a folder of songs to a manifest that train.py takes.

    hf download JoshuaW1997/FUTGA --repo-type dataset --local-dir futga-captions
    python examples/prepare_futga.py --csv futga-captions/FILE.csv --audio_dir songs --output_dir futga

The captions (arXiv 2407.20445) are on the Hub as `JoshuaW1997/FUTGA`, under Apache-2.0: tables for AudioSet (train and
eval), MusicCaps, the Harmonix Set and Song Describer. The songs are not in it: `audio_dir` and the folders in it hold
those that you have, named by their ids. CoLLAP was trained on whole songs from AudioSet's training split; the captions
describe whole songs, so the clips of 10 s that AudioSet is often kept as do not go with them.

Written are futga/train.jsonl, the manifest; futga/train.missing.jsonl, the rows that are not in it and why; and
futga/train.summary.json, with counts and hashes. Captions whose section times can't be trusted keep their text only.
"""

import logging
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import Any

from collap.data.futga import prepare_futga


def format_summary(summary: dict[str, Any]) -> str:
    """The counts of a summary as a table of two columns; what a count is made of stands below it."""
    lines = []

    def add(name: str, value: float | int, parts: dict[str, int] | None = None) -> None:
        lines.append((name, f"{value:,}"))
        lines.extend((f"  {part}", f"{count:,}") for part, count in (parts or {}).items())

    add("rows of the table", summary["rows"])
    add("joined with a song", summary["joined"])
    add("  with sections", summary["with_sections"])
    for unit, count in summary["sections_by_unit"].items():
        add(f"    in {unit}", count)
    add("  text only", summary["without_sections"])
    for problem, count in summary["without_sections_by_reason"].items():
        add(f"    {problem}", count)
    add("missing", summary["missing_rows"], summary["missing_by_reason"])
    add("songs", summary["songs"], summary["songs_by_rule"])
    add("hours of songs", round(summary["seconds"] / 3600, 2))
    add("hours in sections", round(summary["seconds_in_sections"] / 3600, 2))
    add("words of a caption (median)", summary["words_of_a_caption"])
    width = max(len(name) for name, _ in lines)
    return "\n".join(f"{name:<{width}}  {value:>12}" for name, value in lines)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Prepares, and prints what came of it."""
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("--csv", required=True, help="table of FUTGA (.csv, or .tsv)")
    parser.add_argument("--audio_dir", required=True, help="folder of the songs")
    parser.add_argument("--output_dir", required=True, help="where the manifest goes")
    parser.add_argument("--split", default="train", help="name of the manifest (default: train)")
    parser.add_argument("--id_column", help="column of the songs' ids (default: told by names and contents)")
    parser.add_argument("--caption_column", help="column of the captions (default: likewise)")
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    summary = prepare_futga(
        given.csv, given.audio_dir, given.output_dir, given.split, given.id_column, given.caption_column
    )
    print(format_summary(summary))
    print(f"\n{given.output_dir}/{summary['manifest']}  sha256 {summary['manifest_sha256']}")
    return summary


if __name__ == "__main__":
    main()
