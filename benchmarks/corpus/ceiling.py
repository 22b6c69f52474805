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

from .build import CORPUS_FILE
from .plan import TRAINING_SPLITS

SONG_TAGS = ("key", "mode", "tempo")  # every opening sentence tells all three
SUFFIXES = {"seen": "", "new": "_new", "paraphrase": "_paraphrase"}  # of a wording's columns
COLUMNS = ("split", "songs", "wording", "captions", "without order", "one-section queries", "fit one song")


def query_fits(lines: Sequence[dict], suffix: str = "") -> np.ndarray:
    """For each one-section query, how many songs hold a section with all that it tells.

    Args:
        lines (`Sequence[dict]`): the gallery: all lines of a split's manifest.
        suffix (`str`): of the wording's columns: "", "_new", "_paraphrase" or "_freehand".

    Returns:
        `np.ndarray` of int, one number (1 or more) a query, song by song.

    Raises:
        ValueError: if the manifest does not say which tags its queries tell.
    """
    column = f"query_tags{suffix}"
    holders: dict[tuple[str, ...], dict[tuple[str, ...], set[int]]] = {}
    counts = []
    sections = [section for line in lines for section in line["sections"]]
    # Only one section of a song is described by hand.
    asked = [section for section in sections if column in section] or sections
    for section in asked:
        told = _told(section, column)
        if told not in holders:
            holders[told] = defaultdict(set)
            for index, line in enumerate(lines):
                for other in line["sections"]:
                    holders[told][_values(other, told)].add(index)
        counts.append(len(holders[told][_values(section, told)]))
    return np.array(counts)


def caption_fits(lines: Sequence[dict], suffix: str = "", ordered: bool = True) -> np.ndarray:
    """For each caption, how many songs hold all that it tells.

    Args:
        lines (`Sequence[dict]`): the gallery: all lines of a split's manifest.
        suffix (`str`): of the wording's columns: "", "_new" or "_paraphrase".
        ordered (`bool`): whether the sections have to come in the caption's order.

    Returns:
        `np.ndarray` of int, one number (1 or more) a song.

    Raises:
        ValueError: if the manifest does not say which tags its captions tell.
    """
    column = f"text_tags{suffix}"
    alike: dict[tuple, list[dict]] = defaultdict(list)  # songs with as many sections, of one key, mode and tempo
    for line in lines:
        alike[_song_key(line)].append(line)
    counts = []
    for line in lines:
        told = [(_told(section, column), section) for section in line["sections"]]
        wanted = [(names, _values(section, names)) for names, section in told]
        count = 0
        for other in alike[_song_key(line)]:
            fits = [[_values(section, names) == values for section in other["sections"]] for names, values in wanted]
            count += all(fits[place][place] for place in range(len(fits))) if ordered else _can_be_paired(fits)
        counts.append(count)
    return np.array(counts)


def _told(section: dict, column: str) -> tuple[str, ...]:
    if column not in section:
        raise ValueError(
            f"the sections have no column {column!r}, which names the tags that are told: build the corpus with "
            "`--test_columns` (or another size than demo)"
        )
    return tuple(section[column])


def _values(section: dict, names: Iterable[str]) -> tuple[str, ...]:
    return tuple(section["tags"][name] for name in names)


def _song_key(line: dict) -> tuple:
    return len(line["sections"]), *_values(line["sections"][0], SONG_TAGS)


def _can_be_paired(fits: list[list[bool]]) -> bool:
    """Whether each row can be given a column of its own that it fits (augmenting paths)."""
    taken: dict[int, int] = {}

    def place(row: int, tried: set[int]) -> bool:
        for column, fit in enumerate(fits[row]):
            if fit and column not in tried:
                tried.add(column)
                if column not in taken or place(taken[column], tried):
                    taken[column] = row
                    return True
        return False

    return all(place(row, set()) for row in range(len(fits)))


def ceiling(fits: np.ndarray) -> float:
    """The recall@1 in percent that can be expected of a perfect model, who guesses among the songs that fit."""
    return float(100 * np.mean(1 / fits))


def table(folder: Path, splits: Iterable[str]) -> str:
    """The ceilings of a corpus as a Markdown table: recall@1, and the queries that fit one song, in percent."""
    rows: list[Sequence[object]] = [COLUMNS, ["---"] * len(COLUMNS)]
    for split in splits:
        text = (folder / f"{split}.jsonl").read_text(encoding="utf-8")
        lines = [json.loads(line) for line in text.splitlines()]
        stored = all("text_paraphrase" in line for line in lines)
        for wording, suffix in SUFFIXES.items():
            if wording == "paraphrase" and not stored:
                continue
            queries = query_fits(lines, suffix)
            values = [
                ceiling(caption_fits(lines, suffix)),
                ceiling(caption_fits(lines, suffix, ordered=False)),
                ceiling(queries),
                float(100 * np.mean(queries == 1)),
            ]
            rows.append([split, len(lines), wording, *(f"{value:.1f}" for value in values)])
        if split == "freehand":
            queries = query_fits(lines, "_freehand")
            values = [ceiling(queries), float(100 * np.mean(queries == 1))]
            rows.append([split, len(lines), "freehand", "", "", *(f"{value:.1f}" for value in values)])
    return "\n".join("| " + " | ".join(map(str, row)) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", type=Path, help="folder of a built corpus")
    parser.add_argument("--splits", nargs="+", help="test splits; the default is all that are there")
    arguments = parser.parse_args()
    record = arguments.corpus / CORPUS_FILE
    if not record.is_file():
        parser.error(f"`corpus`: {arguments.corpus} holds no {CORPUS_FILE}")
    built = json.loads(record.read_text(encoding="utf-8"))["arguments"]["splits"]
    splits = arguments.splits or [split for split in built if split not in TRAINING_SPLITS]
    unknown = [split for split in splits if split not in built or split in TRAINING_SPLITS]
    if unknown:
        parser.error(f"--splits takes test splits of {arguments.corpus}, got {', '.join(unknown)}")
    try:
        print(table(arguments.corpus, splits))
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
