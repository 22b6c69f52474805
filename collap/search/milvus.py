# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
The first stage in a Milvus, for more songs than one machine compares: the calls and results of [`ExactFirstStage`].

A window is a row: the song and how many windows it has, its number, start and end in seconds, the vector. Milvus Lite
(a file as the URI), which the tests use, differs from a server in this:

- Only one process may open the file, so that there are no readers beside a writer.
- `group_by_field` groups 10 times as many rows as songs were asked for, and gives fewer songs if these are of few. A
  server goes on until it has enough, but has had such faults, too. So more are asked for until there are enough.
- It knows no vectors of float16 and no templates of filters. A server has both; here neither is used.
"""

import json
from collections.abc import Collection, Iterable, Sequence
from functools import reduce
from operator import or_

import numpy as np

from collap.encode import in_batches
from collap.extras import require_extra

from .first_stage import WindowQuery, best_first, score_windows

OVERSAMPLING = 2  # songs near each sentence, for one candidate: docs/search.md has the recall
MAX_LIMIT = 16_384  # most results of a search of Milvus
ROWS_AT_ONCE = 1_000  # of an insertion; at a width of 512 2 MB, where a request may have 64 MB
VECTORS_AT_ONCE = 16_000  # of songs, fetched; at a width of 512 33 MB
IDS_AT_ONCE = 10_000  # in a filter


class MilvusFirstStage:
    """
    Windows of all songs in a collection of Milvus.

    Milvus has no transactions: a search during an update may find songs of both states, and an update that was killed
    is completed by the next one. One process may update at a time.

    Args:
        uri (`str`): Of a server, such as `http://localhost:19530`, or a file for Milvus Lite.
        collection (`str`): Its name; made by the first update.

    Raises:
        ImportError: if pymilvus is not installed.
        ValueError: if there is no Milvus at `uri`.
    """

    def __init__(self, uri: str, collection: str) -> None:
        require_extra("milvus", "pymilvus")
        from pymilvus import MilvusClient, MilvusException

        self.collection = collection
        try:
            self._client = MilvusClient(uri)
            if self._client.has_collection(collection):
                self._client.load_collection(collection)  # a server that was started again has none loaded
        except (MilvusException, OSError) as error:
            raise ValueError(f"milvus: {uri} cannot be used: {error}") from error

    @property
    def song_ids(self) -> list[str]:
        """Of all songs, those that are too short for a window too."""
        if not self._client.has_collection(self.collection):
            return []
        # No iterator: Lite prints an error for each. A request may have 64 MB, which is a million songs.
        rows = self._client.query(self.collection, filter="number <= 0", output_fields=["song"])
        return [row["song"] for row in rows]

    def update(self, added: Iterable[tuple[str, np.ndarray, np.ndarray]], kept: Collection[str]) -> None:
        """
        Adds and removes songs. The windows of a song come in one request: it is there as a whole or not at all.

        Args:
            added (iterable of `tuple[str, np.ndarray, np.ndarray]`): Id of a song and what `make_windows` gives.
            kept (collection of `str`): Ids of songs that stay as they are. All others go.

        Raises:
            ValueError: if a song to be kept is not there.
        """
        before, kept = set(self.song_ids), set(kept)
        if missing := sorted(kept - before):
            raise ValueError(f"kept: {len(missing)} songs are not in {self.collection}, such as {missing[0]}.")
        new: set[str] = set()
        rows: list[dict] = []
        for song_id, vectors, spans in added:
            if not before and not new:
                self._create(vectors.shape[1])
            new.add(song_id)
            if song_id in before:
                self._client.delete(self.collection, filter=_is_one_of([song_id]))
            rows += _rows(song_id, vectors, spans)
            if len(rows) >= ROWS_AT_ONCE:
                self._client.insert(self.collection, rows)
                rows = []
        if rows:
            self._client.insert(self.collection, rows)
        for gone in in_batches(sorted(before - kept - new), IDS_AT_ONCE):
            self._client.delete(self.collection, filter=_is_one_of(gone))

    def _create(self, width: int) -> None:
        from pymilvus import DataType

        if self._client.has_collection(self.collection):
            return
        schema = self._client.create_schema(auto_id=True)
        schema.add_field("id", DataType.INT64, is_primary=True)
        schema.add_field("song", DataType.VARCHAR, max_length=64)
        schema.add_field("number", DataType.INT32)  # of the window; -1 for a song without one, which has a row too
        schema.add_field("windows", DataType.INT32)  # of the song
        schema.add_field("start_s", DataType.FLOAT)
        schema.add_field("end_s", DataType.FLOAT)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=width)
        indices = self._client.prepare_index_params()
        indices.add_index("vector", index_type="FLAT", metric_type="IP")  # exact; other types lose recall
        indices.add_index("song", index_type="INVERTED")
        self._client.create_collection(
            self.collection, schema=schema, index_params=indices, consistency_level="Strong"
        )

    def candidates(self, query: WindowQuery, count: int, allowed: Collection[str] | None = None) -> list[str]:
        """
        The songs that the second stage should score, as [`ExactFirstStage.candidates`].

        The songs with windows near any of the queries get the score of the exact stage, from their vectors. What is
        missing to its candidates are songs that are not among the first `2 count` of any query.
        """
        if not self._client.has_collection(self.collection):
            return []
        near: dict[str, int] = {}  # number of windows of each song
        for ids in [None] if allowed is None else in_batches(sorted(allowed), IDS_AT_ONCE):
            near |= self._find_near(query.queries, OVERSAMPLING * count, "" if ids is None else _is_one_of(ids))
        song_ids, scores = [], []
        for ids in in_batches(sorted(near), VECTORS_AT_ONCE, near.__getitem__):
            condition, fields = f"number >= 0 and {_is_one_of(ids)}", ["song", "number", "vector"]
            rows = self._client.query(self.collection, filter=condition, output_fields=fields)
            # Not rows.sort(): pymilvus fills in the vectors when a row is first taken, by its place.
            rows = sorted(rows, key=lambda row: (row["song"], row["number"]))
            found, starts = np.unique([row["song"] for row in rows], return_index=True)
            vectors = np.array([row["vector"] for row in rows], np.float32)
            if len(found):
                song_ids += found.tolist()
                scores += score_windows(vectors, np.append(starts, len(rows)), query).tolist()
        return best_first(song_ids, np.array(scores, np.float32), count)

    def _find_near(self, queries: np.ndarray, count: int, condition: str) -> dict[str, int]:
        """The songs with the `count` nearest windows of different songs, of each query; how many windows they have."""
        limit, before = count, 0
        while True:
            hits = self._client.search(
                self.collection,
                data=list(queries.astype(np.float32)),
                filter=condition,
                limit=min(limit, MAX_LIMIT),
                group_by_field="song",
                output_fields=["song", "windows"],
                search_params={"metric_type": "IP"},
            )
            songs = [{hit["entity"]["song"]: hit["entity"]["windows"] for hit in found} for found in hits]
            fewest = min(map(len, songs))
            # As many as before: there are no more.
            if fewest >= count or limit >= MAX_LIMIT or fewest == before:
                return reduce(or_, songs)
            limit, before = 4 * limit, fewest


def _rows(song_id: str, vectors: np.ndarray, spans: np.ndarray) -> list[dict]:
    """The rows of a song; of vectors in float16, as the exact stage has them."""
    if not len(vectors):
        vectors, spans, first = np.zeros((1, vectors.shape[1])), np.zeros((1, 2)), -1
    else:
        first = 0
    song = {"song": song_id, "windows": len(vectors)}
    return [
        song | {"number": number, "start_s": float(start_s), "end_s": float(end_s), "vector": vector}
        for number, (vector, (start_s, end_s)) in enumerate(
            zip(vectors.astype(np.float16).astype(np.float32), spans, strict=True), start=first
        )
    ]


def _is_one_of(song_ids: Sequence[str]) -> str:
    return f"song in {json.dumps(song_ids)}"
