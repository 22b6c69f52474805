# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What lower precision changes in an index, against one in float32.

    python -m benchmarks.precision --model MODEL --songs FOLDERS --output_dir DIR

For each precision that is faster on this CPU: the cosines of all frames to those in float32, and how many of the ten
best songs are the same, searched by 20 s in the middle of each song (`--like`).
Indexes that are there are updated. What each precision costs: `python -m benchmarks.speed`. What it changes in the
metrics of texts: `examples/evaluate_retrieval.py --precision`.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import cosine_similarity

from collap.files import library_versions, markdown_table, this_command, write_json
from collap.precision import PRECISIONS, is_faster_on_this_cpu
from collap.progress import progress_bar
from collap.search.index import SongIndex
from collap.search.query import Query

LIKE_S = 20.0
FLOAT32 = "float32"


def compare_frames(index: SongIndex, exact: SongIndex) -> dict[str, float]:
    """Cosines of the frames of all songs to those in float32: mean, 1 % quantile and least."""
    pairs = ((torch.from_numpy(other.frames(song)) for other in (index, exact)) for song in exact.songs)
    cosines = torch.cat([cosine_similarity(*frames, dim=-1) for frames in pairs]).numpy()
    numbers = {"mean": cosines.mean(), "1 %": np.quantile(cosines, 0.01), "least": cosines.min()}
    return {f"cosine, {name}": float(number) for name, number in numbers.items()}


def find_like(index: SongIndex) -> list[set[str]]:
    """The ids of the ten best songs, searched by the middle of each song."""
    starts = {song.path: max(0.0, (song.duration_s - LIKE_S) / 2) for song in index.songs.values()}
    queries = [Query(like=path, like_span_s=(start, start + LIKE_S)) for path, start in starts.items()]
    return [{match.song.id for match in index.search(query).matches} for query in progress_bar(queries, unit="query")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a CoLLAP")
    parser.add_argument("--songs", nargs="+", required=True, help="folders of songs")
    parser.add_argument("--output_dir", type=Path, required=True)
    given = parser.parse_args(arguments)
    rows: dict[str, dict[str, float]] = {}
    for name in (FLOAT32, *filter(is_faster_on_this_cpu, PRECISIONS)):
        precision = None if name == FLOAT32 else name
        index = SongIndex.create(given.output_dir / name, given.model, precision=precision)
        index.update(given.songs)
        found = find_like(index)
        if name == FLOAT32:
            exact, expected = index, found
        same = [len(own & other) / len(other) for own, other in zip(found, expected, strict=True)]
        rows[name] = compare_frames(index, exact) | {"same top 10": float(np.mean(same))}
    result = {"command": this_command(), "num_songs": len(exact.songs), "versions": library_versions(("torch",))}
    write_json(given.output_dir / "result.json", result | {"rows": rows})
    cells = [[name, *(f"{value:.4g}" for value in row.values())] for name, row in rows.items()]
    print(markdown_table([("precision", *rows[FLOAT32]), *cells]))


if __name__ == "__main__":
    main()
