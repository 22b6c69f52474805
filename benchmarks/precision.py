# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
What an index in lower precision costs and changes, against one in float32.

    python -m benchmarks.precision --model MODEL --songs FOLDERS --output_dir DIR [--manifest MANIFEST]

For each precision that is faster on this CPU: CPU seconds and peak memory of `collap index`, the cosines of all frames
to those in float32, and how many of the ten best songs are the same, searched by 20 s in the middle of each song
(`--like`) and, with a manifest, by its texts. Indexes that are there are kept, and their costs too.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterable
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


def make_index(folder: Path, precision: str, model: str, songs: list[str]) -> dict[str, float]:
    """CPU seconds and peak memory of the command that makes an index."""
    costs = folder.with_suffix(".json")
    if not costs.is_file():
        command = [sys.executable, "-m", "collap", "index", *songs, "--model", model, "--index", str(folder)]
        process = subprocess.Popen([*command, *([] if precision == FLOAT32 else ["--precision", precision])])
        _, status, used = os.wait4(process.pid, 0)
        if status != 0:
            raise RuntimeError(f"collap index has failed in {precision}.")
        write_json(costs, {"cpu_s": used.ru_utime + used.ru_stime, "peak_memory_gb": used.ru_maxrss * 1024 / 1e9})
    return json.loads(costs.read_text())


def compare_frames(index: SongIndex, exact: SongIndex) -> dict[str, float]:
    """Cosines of the frames of all songs to those in float32: mean, 1 % quantile and least."""
    pairs = ((torch.from_numpy(other.frames(song)) for other in (index, exact)) for song in exact.songs)
    cosines = torch.cat([cosine_similarity(*frames, dim=-1) for frames in pairs]).numpy()
    numbers = {"mean": cosines.mean(), "1 %": np.quantile(cosines, 0.01), "least": cosines.min()}
    return {f"cosine, {name}": float(number) for name, number in numbers.items()}


def find(index: SongIndex, queries: Iterable[Query]) -> list[set[str]]:
    """The ids of the ten best songs of each query."""
    return [{match.song.id for match in index.search(query).matches} for query in progress_bar(queries, unit="query")]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a CoLLAP")
    parser.add_argument("--songs", nargs="+", required=True, help="folders of songs")
    parser.add_argument("--manifest", type=Path, help="JSON lines with a column `text`")
    parser.add_argument("--output_dir", type=Path, required=True)
    given = parser.parse_args(arguments)
    names = [FLOAT32, *filter(is_faster_on_this_cpu, PRECISIONS)]
    costs = {name: make_index(given.output_dir / name, name, given.model, given.songs) for name in names}
    indexes = {name: SongIndex.open(given.output_dir / name) for name in names}
    exact = indexes[FLOAT32]
    starts = {song.path: max(0.0, (song.duration_s - LIKE_S) / 2) for song in exact.songs.values()}
    queries = {"like": [Query(like=path, like_span_s=(start, start + LIKE_S)) for path, start in starts.items()]}
    if given.manifest is not None:
        lines = given.manifest.read_text(encoding="utf-8").splitlines()
        queries["text"] = [Query([json.loads(line)["text"]]) for line in lines]
    found = {
        name: {kind: find(index, of_kind) for kind, of_kind in queries.items()} for name, index in indexes.items()
    }
    rows: dict[str, dict[str, float]] = {}
    for name in names:
        rows[name] = costs[name] | compare_frames(indexes[name], exact)
        for kind, best in found[name].items():
            same = [len(own & other) / len(other) for own, other in zip(best, found[FLOAT32][kind], strict=True)]
            rows[name][f"same top 10, {kind}"] = float(np.mean(same))
    result = {"command": this_command(), "num_songs": len(exact.songs), "versions": library_versions(("torch",))}
    write_json(given.output_dir / "result.json", result | {"rows": rows})
    cells = [[name, *(f"{value:.4g}" for value in row.values())] for name, row in rows.items()]
    print(markdown_table([("precision", *rows[FLOAT32]), *cells]))


if __name__ == "__main__":
    main()
