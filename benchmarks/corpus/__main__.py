# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Builds the song corpus: rendered songs with long captions, one manifest (JSON lines) a split.

    python -m benchmarks.corpus --output_dir songs --size demo --num_processes 2

A build that was stopped goes on where it was, a finished corpus is left as it is. README.md beside this file says what
the songs and the manifests hold.
"""

import argparse
import os
from dataclasses import replace
from pathlib import Path

from .build import DEFAULT_SPLITS, Recipe, build_corpus
from .plan import SIZES, SPLITS, read_structures


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.corpus", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output_dir", type=Path, required=True, help="folder of the corpus")
    parser.add_argument("--size", choices=sorted(SIZES), default="demo", help="number and length of the songs")
    parser.add_argument("--splits", nargs="+", choices=(*SPLITS, "all"), default=DEFAULT_SPLITS, help="what to build")
    parser.add_argument("--num_songs", nargs="+", default=[], metavar="SPLIT=N", help="other numbers of songs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock_share", type=float, default=0.0, help="of training captions that tell times (0.25)")
    parser.add_argument(
        "--test_columns", action="store_true", help="also for size demo: the columns with a star in README.md"
    )
    parser.add_argument("--structures", help="layouts of real songs: JSON lines, or a folder of the Harmonix Set")
    parser.add_argument("--num_processes", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args()
    num_songs = dict(SIZES[arguments.size].num_songs)
    for item in arguments.num_songs:
        split, _, count = item.partition("=")
        if split not in SPLITS or not count.isdigit():
            parser.error(f"--num_songs takes SPLIT=N with SPLIT among {', '.join(SPLITS)}, got {item!r}")
        num_songs[split] = int(count)
    recipe = Recipe(
        size=replace(SIZES[arguments.size], num_songs=num_songs),
        seed=arguments.seed,
        splits=tuple(split for split in SPLITS if split in arguments.splits or "all" in arguments.splits),
        clock_share=arguments.clock_share,
        test_columns=arguments.test_columns or arguments.size != "demo",
        structures=tuple(read_structures(arguments.structures)) if arguments.structures else (),
    )
    try:
        build_corpus(arguments.output_dir, recipe, arguments.num_processes)
    except ValueError as error:
        parser.error(str(error))
    print(f"The song corpus is in {arguments.output_dir}")


if __name__ == "__main__":
    main()
