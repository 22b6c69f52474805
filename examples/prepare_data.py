# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Turns the published files of a public set into a manifest for train.py and evaluate_retrieval.py.

    python examples/prepare_data.py --set song_describer --data_dir song_describer --output_dir data/song_describer
    python examples/prepare_data.py --set futga --data_dir futga --audio_dir songs --output_dir data/futga \
        --options table=audioset_train

`--list` names the sets, `--describe NAME` says what to download, under which licence, and which options there are.
Nothing is downloaded. The output folder gets manifest.jsonl, and provenance.json with the source, the licence, the
published counts, the hashes of the published files, and all that is missing; a warning says what is missing, too.
"""

import json
import logging
import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter

from collap.cli import run_script
from collap.data.sets import SETS


def main(arguments: list[str] | None = None) -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--set", choices=SETS, help="the set to convert")
    action.add_argument("--describe", choices=SETS, help="print source, download, licence and options of a set")
    action.add_argument("--list", action="store_true", help="print the names of all sets")
    parser.add_argument("--data_dir", help="folder of the published files, or the one file that matters")
    parser.add_argument("--audio_dir", help="folder of the songs (default: in data_dir)")
    parser.add_argument("--output_dir", help="folder of manifest.jsonl and provenance.json")
    parser.add_argument("--options", nargs="+", default=[], metavar="NAME=VALUE", help="options of the set")
    given = parser.parse_args(arguments)
    if given.list:
        print("\n".join(f"{name:<20}{converter.summary}" for name, converter in SETS.items()))
        return
    if given.describe:
        print(SETS[given.describe].describe())
        return
    if given.data_dir is None or given.output_dir is None:
        parser.error("--set needs --data_dir and --output_dir")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stderr)
    if unnamed := [option for option in given.options if "=" not in option]:
        raise ValueError(f"--options must be given as NAME=VALUE, got {unnamed[0]!r}.")
    options = dict(option.split("=", 1) for option in given.options)
    manifest = SETS[given.set].convert(given.data_dir, given.output_dir, given.audio_dir, **options)
    counts = json.loads(manifest.with_name("provenance.json").read_text(encoding="utf-8"))["in_manifest"]
    print(f"{manifest}: {counts['songs']} songs, {counts['texts']} texts")


if __name__ == "__main__":
    run_script(main)
