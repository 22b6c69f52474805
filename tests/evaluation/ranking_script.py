# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Embeds and scores the songs of a folder with a tiny CoLLAP, in however many processes; may be killed on the way.

    ranking_script.py SONGS OUTPUT KILL_AT_SONG KILL_AT_BLOCK

The process that comes to that song, or block, kills itself (0: never). In OUTPUT it leaves `table.npy` and, a line
each, what was embedded and scored by which process: `work.txt`.
"""

import os
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from accelerate import PartialState
from tiny_retrieval import TEXTS, tiny_collap

from collap.evaluation.embeddings import embed_songs
from collap.evaluation.evaluate import score_songs
from collap.evaluation.retrievers import CollapRetriever, SongEmbedding
from collap.training import feature_store


class Mortal(CollapRetriever):
    """Says what it does, and dies where it is told to."""

    def __init__(self, output: Path, kill_at_song: int, kill_at_block: int):
        super().__init__(*tiny_collap())
        self.output = output
        self.kill_at = {"song": kill_at_song, "block": kill_at_block}
        self.done = {"song": 0, "block": 0}

    def begin(self, what: str, which: str) -> None:
        self.done[what] += 1
        if self.done[what] == self.kill_at[what]:
            os.kill(os.getpid(), signal.SIGKILL)
        with (self.output / "work.txt").open("a") as lines:
            lines.write(f"{PartialState().process_index} {what} {which}\n")

    def embed_song(self, path: str) -> SongEmbedding:
        self.begin("song", Path(path).stem)
        return super().embed_song(path)

    def score(self, songs: list[np.ndarray], texts: object) -> np.ndarray:
        self.begin("block", "-".join(str(len(song)) for song in songs))
        return super().score(songs, texts)


def main() -> None:
    torch.set_num_threads(1)
    feature_store.SHARD_BYTES = 100  # a shard a song
    songs, output = Path(sys.argv[1]), Path(sys.argv[2])
    output.mkdir(exist_ok=True)
    retriever = Mortal(output, int(sys.argv[3]), int(sys.argv[4]))
    state = PartialState(cpu=True)
    paths = {path.stem: str(path) for path in sorted(songs.glob("*.wav"))}
    embedded = embed_songs(retriever, paths, output / "embeddings", state)
    table = score_songs(retriever, embedded, TEXTS, output / "scores", state, block_frames=30)
    if state.is_main_process:
        np.save(output / "table.npy", table)


if __name__ == "__main__":
    main()
