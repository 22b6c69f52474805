# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Scores of all songs with all texts, a block at a time: galleries whose frames no memory holds."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from .embeddings import EmbeddedSongs, EmbeddingStore
from .retrievers import Retriever

BLOCK_FRAMES = 32_768  # frames of the songs of a block with their padding: 64 MB at 512 numbers each
BLOCK_SONGS = 256  # most songs of a block, for models of one frame a song
BLOCK_TEXTS = 512


def score_songs(
    retriever: Retriever,
    songs: EmbeddedSongs,
    texts: Sequence[str | list[str]],
    folder: str | Path,
    state: PartialState,
    block_frames: int = BLOCK_FRAMES,
    block_songs: int = BLOCK_SONGS,
    block_texts: int = BLOCK_TEXTS,
) -> np.ndarray | None:
    r"""
    The table of scores of texts and songs.

    Songs of like length make a block, whose frames are read from disk. A process scores its share of the blocks
    against all texts, some texts at a time, and writes each block to a file; the main process joins them. Which songs
    are in a block depends on the songs alone, so the table is the same by any number of processes: to the last bit if
    each has as many threads (torch adds in another order with others).
    What was stopped, or killed, goes on after the blocks that are on disk.

    Args:
        retriever ([`Retriever`]): The model that has embedded the songs.
        songs ([`EmbeddedSongs`]): The gallery.
        texts (`Sequence[str | list[str]]`): The queries. Each process embeds all of them.
        folder (`str` or `Path`):
            For the blocks, in a folder for each model, gallery and list of texts. They are not needed any more when
            the table is there.
        state (`PartialState`): The processes.
        block_frames, block_songs (`int`): Most frames, padding included, and most songs of a block. A longer song is
            a block of its own.
        block_texts (`int`): Texts that are scored at a time.

    Returns:
        `np.ndarray` of shape `(texts, songs)` in float32, in the order of `texts` and `songs.hashes`; None in other
        processes than the main one.

    Raises:
        ValueError: if a score is not finite.
    """
    hashes = list(songs.hashes.values())
    blocks = list(_make_blocks([songs.store.num_frames(name) for name in hashes], block_frames, block_songs))
    revisions = [retriever.name, retriever.revision, retriever.song_revision]
    key = [*revisions, hashes, list(texts), block_frames, block_songs, block_texts]
    folder = Path(folder) / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"block-{index:06d}.npy" for index in range(len(blocks))]
    # All share out the same blocks, whoever has begun to write.
    (to_do,) = broadcast_object_list([[index for index, file in enumerate(files) if not file.is_file()]])

    embedded = retriever.embed_texts(texts)
    mine = to_do[state.process_index :: state.num_processes]
    progress = tqdm(
        total=sum(len(blocks[index]) for index in mine),
        desc=f"Scoring against {len(texts)} texts"
        + (f" (1 of {state.num_processes} shares)" * (state.num_processes > 1)),
        unit="song",
        disable=not state.is_main_process or not mine,
    )
    with progress:
        for index in mine:
            names = [hashes[place] for place in blocks[index]]
            _write(files[index], _score_block(retriever, songs.store, names, embedded, block_texts))
            progress.update(len(names))
    state.wait_for_everyone()

    if not state.is_main_process:
        return None
    table = np.empty((len(texts), len(hashes)), dtype=np.float32)
    for block, file in zip(blocks, files, strict=True):
        table[:, block] = np.load(file).T
    return table


def _make_blocks(num_frames: list[int], block_frames: int, block_songs: int) -> Iterator[list[int]]:
    """Places of songs that are scored together: of like length, so that there is little padding."""
    block: list[int] = []
    for place in sorted(range(len(num_frames)), key=lambda place: (num_frames[place], place)):
        if block and (len(block) == block_songs or (len(block) + 1) * num_frames[place] > block_frames):
            yield block
            block = []
        block.append(place)
    if block:
        yield block


def _score_block(
    retriever: Retriever, store: EmbeddingStore, names: list[str], texts: object, block_texts: int
) -> np.ndarray:
    """`(songs, texts)` float32 of some songs and all texts."""
    frames = [store.load(name).frames for name in names]
    starts = range(0, len(texts), block_texts)
    parts = [retriever.score(frames, texts.select(start, min(start + block_texts, len(texts)))) for start in starts]
    scores = np.concatenate(parts, axis=1).astype(np.float32, copy=False)
    if not np.isfinite(scores).all():
        raise ValueError(f"{retriever.name} gives scores that are not finite, such as of the song {names[0]}.")
    return scores


def _write(file: Path, scores: np.ndarray) -> None:
    """There as a whole or not at all."""
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    with temporary.open("wb") as output:
        np.save(output, scores)
    os.replace(temporary, file)


__all__ = ["score_songs"]
