# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""How well a perfect model could do on the test splits: the share of texts that fit one song of the gallery only.

    python -m benchmarks.corpus.ceiling songs

A text tells tags ("a flute", "no bass"). Where it tells less than it could, or two songs hold the same, it fits
several songs, and the best that can be expected is to guess among them. Recall@1 of this perfect model is the
ceiling of every other. It is worked out from the manifests alone (of a corpus of size small or full, or one that was
built with `--test_columns`). Clock times, and keys and tempos in queries, are left out: they can only make a text fit
fewer songs.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from collap.files import markdown_table

from .plan import SPLITS, TRAINING_SPLITS

SONG_TAGS = ("key", "mode", "tempo")  # every opening sentence tells all three
SUFFIXES = {"seen": "", "new": "_new", "paraphrase": "_paraphrase"}  # of a wording's columns
COLUMNS = ("split", "songs", "wording", "captions", "section queries", "fit one song")


def query_fits(lines: Sequence[dict], suffix: str = "") -> np.ndarray:
    """
    For each one-section query, how many songs hold a section with all that it tells (1 or more).

    `lines` are those of a split's manifest, `suffix` is that of the wording's columns.
    """
    column = f"query_tags{suffix}"
    holders: dict[tuple[str, ...], dict[tuple[str, ...], set[int]]] = {}  # by names and values of the tags
    counts = []
    for section in (section for line in lines for section in line["sections"]):
        if suffix == "_freehand" and column not in section:
            continue  # only one section of a song is described by hand
        told = tuple(section[column])
        if told not in holders:
            holders[told] = defaultdict(set)
            for index, line in enumerate(lines):
                for other in line["sections"]:
                    holders[told][_values(other, told)].add(index)
        counts.append(len(holders[told][_values(section, told)]))
    return np.array(counts)


def caption_fits(lines: Sequence[dict], suffix: str = "") -> np.ndarray:
    """For each caption, how many songs hold all that it tells, section by section (1 or more)."""
    alike: dict[tuple, list[dict]] = defaultdict(list)  # songs with as many sections, of one key, mode and tempo
    for line in lines:
        alike[_song_key(line)].append(line)
    counts = []
    for line in lines:
        told = [(section[f"text_tags{suffix}"], section) for section in line["sections"]]
        count = 0
        for other in alike[_song_key(line)]:
            pairs = zip(told, other["sections"], strict=True)
            count += all(_values(section, names) == _values(held, names) for (names, section), held in pairs)
        counts.append(count)
    return np.array(counts)


def _values(section: dict, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(section["tags"][name] for name in names)


def _song_key(line: dict) -> tuple:
    return len(line["sections"]), *_values(line["sections"][0], SONG_TAGS)


def ceiling(fits: np.ndarray) -> float:
    """The recall@1 in percent that can be expected of a perfect model, who guesses among the songs that fit."""
    return float(100 * np.mean(1 / fits))


def table(folder: Path, splits: Iterable[str]) -> str:
    """The ceilings of a corpus as a Markdown table: recall@1, and the queries that fit one song, in percent."""
    rows: list[Sequence[str]] = [COLUMNS]
    for split in splits:
        lines = [json.loads(line) for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()]
        suffixes = SUFFIXES | ({"freehand": "_freehand"} if split == "freehand" else {})
        for wording, suffix in suffixes.items():
            if wording == "paraphrase" and not all("text_paraphrase" in line for line in lines):
                continue
            queries = query_fits(lines, suffix)
            captions = "" if wording == "freehand" else f"{ceiling(caption_fits(lines, suffix)):.1f}"
            of_queries = [f"{ceiling(queries):.1f}", f"{100 * np.mean(queries == 1):.1f}"]
            rows.append([split, str(len(lines)), wording, captions, *of_queries])
    return markdown_table(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of a built corpus")
    folder = parser.parse_args().corpus
    splits = [split for split in SPLITS if split not in TRAINING_SPLITS and (folder / f"{split}.jsonl").is_file()]
    if not splits:
        parser.error(f"corpus: {folder} holds no manifest of a test split")
    try:
        print(table(folder, splits))
    except KeyError as error:
        parser.error(f"corpus: the sections have no column {error}: build the corpus with --test_columns")


if __name__ == "__main__":
    main()
