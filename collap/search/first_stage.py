# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The first stage of a search: one vector a window of song, all of them compared with the query, exactly."""

import itertools
import json
import os
import zlib
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch

from collap.files import atomic_write
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.scoring_collap import time_features

from .query import Kind

# The longest windows that find 99 of 100 of the songs that the model ranks first (docs/search.md).
WINDOW_S = 7.5
MAX_AUDIO_QUERIES = 16  # parts of audio that are compared with windows: the frames of an excerpt of 20 s one by one
FILE = "windows.f16"
FORMAT = 1
BLOCK_ROWS = 2048  # windows that are compared at a time: in float32 they fit the cache of a core
READ_BYTES = 2**20
FOOTER_BYTES = 16  # at the end of the file: length of the table (8 bytes), checksum (4), and this mark (4)
MARK = b"CWIN"


def make_windows(frames: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    The vectors that the first stage has of a song: its frames in consecutive windows of about 7.5 s.

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
    first = np.arange(num_windows) * len(frames) // num_windows
    last = np.append(first[1:], len(frames)) - 1
    spans = np.stack((times[first, 0], times[last, 1]), axis=1).astype(np.float32)
    return _mean_rows(frames, num_windows), spans


def _mean_rows(frames: np.ndarray, num_parts: int) -> np.ndarray:
    """The mean of the frames `(N, d)` of each of `num_parts` equal parts, at unit length `(num_parts, d)`."""
    first = np.arange(num_parts) * len(frames) // num_parts
    return unit_rows(np.add.reduceat(frames.astype(np.float32), first, axis=0))  # at unit length sums are means


def unit_rows(vectors: np.ndarray) -> np.ndarray:
    """Vectors `(..., d)` at unit length; those of zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / np.maximum(lengths, np.finfo(np.float32).tiny)


@dataclass(frozen=True)
class WindowQuery:
    """
    How windows are compared with a query: by the model's score of a song, with windows in the place of its segments.

    Made by [`~WindowQuery.of_text`] or [`~WindowQuery.of_audio`].
    """

    queries: np.ndarray  # (Q, d) of unit length
    temperature: float  # of the attention over windows
    attention_weight: float  # of the attention's mean
    mean_weight: float  # of the mean over all windows
    time_queries: np.ndarray | None = None  # (Q, P)

    @classmethod
    def of_text(
        cls, queries: np.ndarray, times: torch.Tensor | None, config: CollapConfig, kind: Kind
    ) -> "WindowQuery":
        """Of the vectors `(Q, d)` of a text, one for a section, and its time queries `(Q, P)`."""
        if kind == "section":
            return cls(queries, config.temporal_temperature, 1.0, 0.0)
        times = None if times is None or kind == "any_order" else times.float().cpu().numpy()
        return cls(queries, config.temporal_temperature, config.temporal_weight, config.kernel_weight, times)

    @classmethod
    def of_audio(cls, frames: np.ndarray, config: CollapConfig) -> "WindowQuery":
        """Of the frames `(N, d)` of an excerpt or a song."""
        queries = _mean_rows(frames, min(len(frames), MAX_AUDIO_QUERIES))
        return cls(queries, config.temporal_temperature, 1.0, 0.0)


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
        new = ((song_id, vectors) for song_id, vectors, _ in added)
        unchanged = (
            (song_id, old.vectors[start:end])
            for song_id, (start, end) in zip(old.song_ids, itertools.pairwise(old.starts), strict=True)
            if song_id in kept and song_id not in counts  # which has all new songs by then
        )
        with atomic_write(self.file) as temporary, open(temporary, "wb") as file:
            for song_id, vectors in itertools.chain(new, unchanged):
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

    def candidates(self, query: WindowQuery, count: int, allowed: Collection[str] | None = None) -> list[str]:
        """
        The songs that the second stage should score.

        Args:
            query ([`WindowQuery`]): What is searched for.
            count (`int`): How many songs at most.
            allowed (collection of `str`, *optional*): Ids of the songs that may be found. Default: all.

        Returns:
            `list[str]`: ids, the best first, equal ones by their ids. Songs without a window are not among them.

        Raises:
            ValueError: if the queries have another width than the windows.
        """
        stored = self._stored
        scores = score_windows(stored.vectors, stored.starts, query)
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


def score_windows(vectors: np.ndarray, starts: np.ndarray, query: WindowQuery) -> np.ndarray:
    """
    Scores `(C,)` of songs by their windows, -inf for a song without one.

    Args:
        vectors (`np.ndarray` of shape `(R, d)`): Windows, those of a song one after another.
        starts (`np.ndarray` of shape `(C + 1,)`): First row of each song, and R.
        query ([`WindowQuery`]): What they are compared with.

    Raises:
        ValueError: if the queries have another width than the windows.
    """
    scores = np.full(len(starts) - 1, -np.inf, np.float32)
    has_windows = np.flatnonzero(np.diff(starts))
    if not len(has_windows):
        return scores
    if query.queries.shape[1] != vectors.shape[1]:
        raise ValueError(f"query must have vectors of {vectors.shape[1]} numbers, got {query.queries.shape[1]}.")
    starts, ends = starts[has_windows], starts[has_windows + 1]
    queries = torch.from_numpy(np.ascontiguousarray(query.queries, dtype=np.float32))
    # Songs of as many windows have the same times: their logits are computed once.
    lengths, length_of_song = np.unique(ends - starts, return_inverse=True)
    time_logits = None if query.time_queries is None else [_time_logits(query.time_queries, n) for n in lengths]

    def score(songs: slice, memory: torch.Tensor) -> np.ndarray:
        """Of some consecutive songs that have windows."""
        first, counts = starts[songs] - starts[songs][0], ends[songs] - starts[songs]
        rows = torch.from_numpy(vectors[starts[songs][0] : ends[songs][-1]])
        # In this order: with the few queries as rows a product takes half the time.
        similarities = (queries @ memory[: len(rows)].copy_(rows).T).numpy()  # (Q, rows)
        logits = similarities / query.temperature
        if time_logits is not None:
            logits += np.concatenate([time_logits[place] for place in length_of_song[songs]], axis=1)
        highest = np.maximum.reduceat(logits, first, axis=1)  # (Q, songs)
        attention = np.exp(logits - np.repeat(highest, counts, axis=1))
        attended = np.add.reduceat(attention * similarities, first, axis=1)  # (Q, songs)
        attended *= query.attention_weight / np.add.reduceat(attention, first, axis=1)
        if query.mean_weight:
            attended += query.mean_weight * np.add.reduceat(similarities, first, axis=1) / counts
        return attended.mean(0)

    blocks = _blocks(ends)
    most_rows = max(ends[songs.stop - 1] - starts[songs.start] for songs in blocks)
    num_threads = min(torch.get_num_threads(), len(blocks))

    def score_share(thread: int) -> None:
        # The memory of a block is used again: to get new one takes nearly as long as the product.
        memory = torch.empty(most_rows, vectors.shape[1])
        for songs in blocks[thread::num_threads]:
            scores[has_windows[songs]] = score(songs, memory)

    # The blocks side by side in threads: a product of one block shared by cores waits more than it works.
    with ThreadPoolExecutor(num_threads) as threads:
        list(threads.map(score_share, range(num_threads)))  # raises what they raise
    return scores


def _time_logits(time_queries: np.ndarray, num_windows: int) -> np.ndarray:
    """What its time adds to the logit of each window of a song, `(Q, num_windows)`."""
    centres = (torch.arange(num_windows) + 0.5) / num_windows
    return time_queries @ time_features(centres, time_queries.shape[1]).numpy().T


def _blocks(ends: np.ndarray) -> list[slice]:
    """Consecutive songs, whose rows end at `ends` `(C,)`, in blocks of about `BLOCK_ROWS` rows, or of one song."""
    bounds = np.unique(np.searchsorted(ends, np.arange(BLOCK_ROWS, ends[-1], BLOCK_ROWS)) + 1)
    return [slice(start, end) for start, end in zip([0, *bounds], [*bounds, len(ends)], strict=True) if start < end]
