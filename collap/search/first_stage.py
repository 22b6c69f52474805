# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The first stage of a search: one vector a window of song, all of them compared with the query, exactly."""

import json
import os
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
import torch

from collap.files import atomic_write

Kind = Literal["caption", "section", "like"]

WINDOW_S = 10.0
FILE = "windows.f16"
FORMAT = 1
BLOCK_ROWS = 2048  # windows that are compared at a time: in float32 they fit the cache of a core
READ_BYTES = 2**20
FOOTER_BYTES = 16  # at the end of the file: length of the table (8 bytes), checksum (4), and this mark (4)
MARK = b"CWIN"


def make_windows(frames: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    The vectors that the first stage has of a song: its frames in consecutive windows of about 10 s.

    The song is divided into equal parts, to a frame, so that no frame counts twice and no window is a short rest.

    Args:
        frames (`np.ndarray` of shape `(N, d)`): Frames of the song.
        times (`np.ndarray` of shape `(N, 2)`): Their start and end in seconds.

    Returns:
        `tuple[np.ndarray, np.ndarray]`: the mean frame of each window at unit length `(W, d)` in float32, and the
        start and end of each `(W, 2)` in seconds. A song without frames has no window.
    """
    if not len(frames):
        return np.zeros((0, frames.shape[1]), np.float32), np.zeros((0, 2), np.float32)
    num_windows = min(len(frames), max(1, round(float(times[-1, 1] - times[0, 0]) / WINDOW_S)))
    bounds = np.arange(num_windows + 1) * len(frames) // num_windows
    first, last = bounds[:-1], bounds[1:] - 1
    sums = np.add.reduceat(frames.astype(np.float32), first, axis=0)  # (W, d): at unit length the mean frame
    return unit_rows(sums), np.stack((times[first, 0], times[last, 1]), axis=1).astype(np.float32)


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors `(..., d)` at unit length; those of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


def first_stage_queries(queries: np.ndarray, kind: Kind) -> np.ndarray:
    """What windows are compared with, `(Q, d)`: of a section, as in the model, the mean of its sentences."""
    return unit_rows(queries.mean(0, keepdims=True)) if kind == "section" else queries


def best_first(song_ids: Sequence[str], scores: np.ndarray, count: int) -> list[str]:
    """Ids of the `count` songs with the highest scores `(C,)`, equal ones by their ids; those at -inf never."""
    possible = np.flatnonzero(scores > -np.inf)
    if 0 < count < len(possible):
        least = np.partition(scores[possible], -count)[-count]
        possible = possible[scores[possible] >= least]
    order = sorted(possible.tolist(), key=lambda place: (-scores[place], song_ids[place]))
    return [song_ids[place] for place in order[:count]]


@dataclass(frozen=True)
class _Stored:
    """What a file holds. A search keeps the one that it began with while an update brings the next."""

    vectors: np.ndarray  # (R, d) float16, memory-mapped; the windows of a song are consecutive
    song_ids: list[str]  # C of them
    starts: np.ndarray  # (C + 1,) the first row of each song, and R


class ExactFirstStage:
    """
    Windows of all songs in one file, compared with a query without an index: exact, and no slower than needed.

    Vectors are in float16 and memory-mapped. The file is replaced as a whole or not at all, and whoever has opened the
    earlier one goes on with it. One process may update at a time.

    Args:
        folder (`str` or `Path`): Where the file is, or will be with the first update.

    Raises:
        ValueError: if the file is damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.file = Path(folder) / FILE
        self._stored = self._open()

    @property
    def song_ids(self) -> list[str]:
        """Of all songs, those that are too short for a window too."""
        return list(self._stored.song_ids)

    def update(self, added: Iterable[tuple[str, np.ndarray, np.ndarray]], kept: Collection[str]) -> None:
        """
        Replaces the file. Vectors are copied a few at a time, however many there are.

        Args:
            added (iterable of `tuple[str, np.ndarray, np.ndarray]`): Id of a song and what [`make_windows`] gives.
                The times are not stored here: moments are found in frames.
            kept (collection of `str`): Ids of songs that stay as they are. All others go.

        Raises:
            ValueError: if a song to be kept is not there, or one is added twice or with vectors of another width.
        """
        old, kept = self._stored, set(kept)
        if missing := sorted(kept - set(old.song_ids)):
            raise ValueError(f"kept: {len(missing)} songs are not in {self.file}, such as {missing[0]}.")
        for temporary in self.file.parent.glob(f".*.tmp{self.file.suffix}"):  # what a kill has left
            temporary.unlink(missing_ok=True)
        counts: dict[str, int] = {}
        width, checksum = 0, 0
        with atomic_write(self.file) as temporary, open(temporary, "wb") as file:
            for song_id, vectors in self._songs(added, old, kept):
                if song_id in counts:
                    raise ValueError(f"added: {song_id} is there twice.")
                if len(vectors) and width and vectors.shape[1] != width:
                    raise ValueError(f"added: {song_id} has vectors of {vectors.shape[1]} numbers, others {width}.")
                counts[song_id] = len(vectors)
                width = vectors.shape[1] if len(vectors) else width
                data = np.ascontiguousarray(vectors, dtype="<f2").tobytes()
                checksum = zlib.crc32(data, checksum)
                file.write(data)
            table = json.dumps({"format": FORMAT, "width": width, "windows": counts}).encode()
            ends = table + len(table).to_bytes(8, "little")
            file.write(ends + zlib.crc32(ends, checksum).to_bytes(4, "little") + MARK)
        self._stored = self._open()

    @staticmethod
    def _songs(
        added: Iterable[tuple[str, np.ndarray, np.ndarray]], old: _Stored, kept: Collection[str]
    ) -> Iterator[tuple[str, np.ndarray]]:
        new = set()
        for song_id, vectors, _ in added:
            new.add(song_id)
            yield song_id, vectors
        for song_id, start, end in zip(old.song_ids, old.starts, old.starts[1:], strict=False):
            if song_id in kept and song_id not in new:
                yield song_id, old.vectors[start:end]

    def candidates(
        self, queries: np.ndarray, count: int, kind: Kind = "caption", allowed: Collection[str] | None = None
    ) -> list[str]:
        """
        The songs that the second stage should score.

        Args:
            queries (`np.ndarray` of shape `(S, d)`): Vectors of unit length: the sentences of a text, or the windows
                of a song.
            count (`int`): How many songs at most.
            kind (`"caption"`, `"section"` or `"like"`): What they are: sentences about a song, sentences about one
                section, or audio.
            allowed (collection of `str`, *optional*): Ids of the songs that may be found. Default: all.

        Returns:
            `list[str]`: ids, the best first, equal ones by their ids. Songs without a window are not among them.

        Raises:
            ValueError: if the queries have another width than the windows.
        """
        stored = self._stored
        if len(stored.vectors) and queries.shape[-1] != stored.vectors.shape[1]:
            width = stored.vectors.shape[1]
            raise ValueError(f"queries must have the {width} numbers of windows, got shape {queries.shape}.")
        scores = _score_songs(stored, first_stage_queries(queries, kind))
        if allowed is not None:
            allowed = set(allowed)
            scores[[song_id not in allowed for song_id in stored.song_ids]] = -np.inf
        return best_first(stored.song_ids, scores, count)

    def _open(self) -> _Stored:
        try:
            with open(self.file, "rb") as file:
                table = self._check(file)
                counts = np.array([*table["windows"].values()], dtype=np.int64)
                starts = np.concatenate(([0], counts.cumsum()))
                shape = int(starts[-1]), table["width"]
                # Of the open file, not of its path: an update may have replaced that meanwhile. "c" does not write to
                # it either, and torch warns of arrays that are read-only.
                vectors = np.memmap(file, "<f2", "c", shape=shape) if starts[-1] else np.zeros(shape, "<f2")
                return _Stored(vectors, list(table["windows"]), starts)
        except FileNotFoundError:
            return _Stored(np.zeros((0, 0), "<f2"), [], np.zeros(1, np.int64))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.file} is damaged ({error}). Delete it: `collap index` makes it again from the frames."
            ) from error

    @staticmethod
    def _check(file: BinaryIO) -> dict:
        """The table of a file, all bytes of which are read once."""
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - FOOTER_BYTES))
        footer = file.read()
        if footer[12:] != MARK:
            raise ValueError("its end is missing")
        file.seek(0)
        checksum, left = 0, size - FOOTER_BYTES + 8
        while part := file.read(min(READ_BYTES, left)):
            checksum, left = zlib.crc32(part, checksum), left - len(part)
        if checksum != int.from_bytes(footer[8:12], "little"):
            raise ValueError("another checksum")
        length = int.from_bytes(footer[:8], "little")
        file.seek(size - FOOTER_BYTES - length)
        table = json.loads(file.read(length))
        if table["format"] != FORMAT:
            raise ValueError(f"format {table['format']} instead of {FORMAT}")
        return table


def _score_songs(stored: _Stored, queries: np.ndarray) -> np.ndarray:
    """The mean over the queries `(Q, d)` of each song's best window, `(C,)`; -inf for a song without windows."""
    scores = np.full(len(stored.song_ids), -np.inf, np.float32)
    has_windows = np.flatnonzero(np.diff(stored.starts))
    if not len(has_windows):
        return scores
    starts, ends = stored.starts[has_windows], stored.starts[has_windows + 1]
    query_tensor = torch.from_numpy(np.ascontiguousarray(queries, dtype=np.float32))

    def score(songs: slice) -> np.ndarray:
        """Of some consecutive songs that have windows."""
        rows = torch.from_numpy(stored.vectors[starts[songs][0] : ends[songs][-1]])
        # In this order: with the few queries as rows a product takes half the time.
        similarities = query_tensor @ rows.float().T  # (Q, rows)
        return np.maximum.reduceat(similarities.numpy(), starts[songs] - starts[songs][0], axis=1).mean(0)

    # The blocks side by side in threads: a product of one block shared by cores waits more than it works.
    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        scores[has_windows] = np.concatenate([*threads.map(score, _blocks(ends))])
    return scores


def _blocks(ends: np.ndarray) -> list[slice]:
    """Consecutive songs, whose rows end at `ends` `(C,)`, in blocks of about `BLOCK_ROWS` rows, or of one song."""
    bounds = np.unique(np.searchsorted(ends, np.arange(BLOCK_ROWS, ends[-1], BLOCK_ROWS)) + 1)
    return [slice(start, end) for start, end in zip([0, *bounds], [*bounds, len(ends)], strict=True) if start < end]
