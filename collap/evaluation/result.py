# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Results: metrics with intervals, and everything that says how they were made; and how results are compared."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from collap.data.cache import CachedSong, used_s
from collap.files import library_versions, markdown_table, this_command, write_json
from collap.metrics import RECALL_AT, average, bootstrap_intervals, query_metrics

from .evaluation_set import EvaluationSet

PACKAGES = ("collap", "transformers", "torch", "numpy")
DIRECTIONS = {"text_to_audio": "text -> audio", "audio_to_text": "audio -> text"}


@dataclass
class EvaluationResult:
    """
    What a model reaches on a set, and how it was measured.

    Args:
        metrics (`dict[str, dict[str, float]]`): Of each direction, as [`collap.metrics.retrieval_metrics`].
        intervals (`dict[str, dict[str, tuple[float, float]]]`):
            95 % bootstrap intervals of the metrics; songs are drawn, each with all of its texts (a text of several
            songs belongs to the first of them).
        ranks (`dict[str, dict[str, float]]`):
            Of each direction the rank of the best right answer by the id of the query, a text or a song.
        song_of_text (`dict[str, str]`): The first song of each text.
        set_name, provenance, notes: Of the [`EvaluationSet`].
        manifest_hash (`str`): Of the ids, texts and pairs that were evaluated.
        audio_hash (`str`):
            Of the songs' ids and the content of their files. Only results with the same two hashes can be compared.
        gallery_size, num_texts (`int`): Numbers of songs and texts.
        missing (`list[dict[str, str]]`): Songs of the set that were not evaluated, and why.
        encoded (`dict[str, float]`):
            Seconds encoded of each song (`min`, `median`, `max`), the `share` of all audio that was not cut off, and
            `songs_cut`, how many songs were. The end of a chunk that fills no frame (0.08 s of 30 s) is not cut off.
        model, revision (`str`): Name of the model, and hash of its weights and configuration.
        options (`dict[str, Any]`): Of the evaluation, such as `use_time`.
        command (`str`): What makes this result.
        versions (`dict[str, str]`): Of the libraries.
        date (`str`): ISO 8601, UTC.
        seconds (`float`): Duration of the evaluation.
        moments (`list[dict]`): What [`collap.evaluation.moments.find_moments`] found, if texts of the set have spans.
            `metrics` and `intervals` have the direction `"moments"` then, `metrics` also its `"chance"`.
    """

    metrics: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    ranks: dict[str, dict[str, float]]
    song_of_text: dict[str, str]
    set_name: str
    provenance: dict[str, Any]
    notes: list[str]
    manifest_hash: str
    audio_hash: str
    gallery_size: int
    num_texts: int
    missing: list[dict[str, str]]
    encoded: dict[str, float]
    model: str
    revision: str
    options: dict[str, Any]
    command: str
    versions: dict[str, str]
    date: str
    seconds: float
    moments: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        evaluation_set: EvaluationSet,
        song_hashes: Mapping[str, str],
        songs: Sequence[CachedSong],
        model: str,
        revision: str,
        options: Mapping[str, Any],
        seconds: float,
        moments: Sequence[Mapping[str, Any]] = (),
    ) -> "EvaluationResult":
        """
        The result of a table of scores. recall@k is left out where k is not smaller than the gallery.

        Args:
            scores (`np.ndarray` of shape `(texts, songs)`): Higher is better; in the order of the set.
            song_hashes (`Mapping[str, str]`): Hash of the content of each song's file, by its id.
            songs (`Sequence[CachedSong]`): How much of each song was encoded.
            evaluation_set, model, revision, options, seconds, moments: As above.

        Raises:
            ValueError: if the shape of the scores does not fit, or a score is NaN.
        """
        targets = evaluation_set.targets()  # (texts, songs)
        if np.shape(scores) != targets.shape:
            raise ValueError(f"scores must have shape (texts, songs) = {targets.shape}, got {np.shape(scores)}.")
        encoded = [song.encoded_s for song in songs]
        num_cut = sum(song.is_truncated for song in songs)
        share = sum(map(used_s, songs)) / sum(song.duration_s for song in songs)
        texts, songs = [text.id for text in evaluation_set.texts], list(evaluation_set.songs)
        song_of_text = targets.argmax(1)
        queries = np.flatnonzero(targets.any(0))  # songs without a text are no queries
        tables = {
            "text_to_audio": (texts, scores, targets, song_of_text),
            "audio_to_text": ([songs[song] for song in queries], scores.T[queries], targets.T[queries], queries),
        }
        metrics, intervals, ranks = {}, {}, {}
        for direction, (ids, table, right, song_of_query) in tables.items():
            cutoffs = [k for k in RECALL_AT if k < table.shape[1]]
            has_one = right.sum(1).max() == 1  # then the hit rate is the recall
            per_query = query_metrics(table, right.argmax(1) if has_one else right, cutoffs)
            metrics[direction] = average(per_query)
            intervals[direction] = bootstrap_intervals(per_query, song_of_query)
            ranks[direction] = dict(zip(ids, per_query["median_rank"].tolist(), strict=True))
        if moments:
            per_query, by_chance = (_columns([row[key] for row in moments]) for key in ("metrics", "chance"))
            metrics |= {"moments": average(per_query), "chance": average(by_chance)}
            intervals["moments"] = bootstrap_intervals(per_query, [row["song"] for row in moments])
        return cls(
            metrics,
            intervals,
            ranks,
            {text: songs[song] for text, song in zip(texts, song_of_text, strict=True)},
            evaluation_set.name,
            evaluation_set.provenance,
            evaluation_set.notes,
            evaluation_set.manifest_hash,
            hashlib.sha256(json.dumps(sorted(song_hashes.items())).encode()).hexdigest()[:16],
            gallery_size=targets.shape[1],
            num_texts=targets.shape[0],
            missing=[asdict(song) for song in evaluation_set.missing],
            encoded={
                **{part: round(float(getattr(np, part)(encoded)), 2) for part in ("min", "median", "max")},
                "share": round(share, 4),
                "songs_cut": num_cut,
            },
            model=model,
            revision=revision,
            options=dict(options),
            command=this_command(),
            versions=library_versions(PACKAGES),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 1),
            moments=list(moments),
        )

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationResult":
        """Reads what [`save`] wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def format(self) -> str:
        """The metrics as a table, in percent and with intervals, and how they were made."""
        names = dict.fromkeys(name for direction in DIRECTIONS for name in self.metrics[direction])
        rows = [[name, *(self.cell(direction, name) for direction in DIRECTIONS)] for name in names]
        encoded, notes = self.encoded, list(self.notes)
        if encoded["songs_cut"]:
            notes.append(f"{encoded['songs_cut']} songs were cut: only their beginning was encoded.")
        if self.missing:
            first = self.missing[0]
            notes.append(f"{len(self.missing)} songs are missing, the first is {first['path']} ({first['reason']}).")
        if num_truncated := self.options.get("truncated_texts"):
            notes.append(f"{num_truncated} different texts were cut to the length that the model takes.")
        lines = [
            f"{self.model} on {self.set_name}\n",
            markdown_table([["", *DIRECTIONS.values()], *rows]) + "\n",
            *([self._format_moments() + "\n"] if self.moments else []),
            f"{self.gallery_size} songs (audio {self.audio_hash}), {self.num_texts} texts (manifest "
            f"{self.manifest_hash}).",
            f"Encoded {encoded['min']:g} to {encoded['max']:g} s of each song, median {encoded['median']:g} s; "
            f"{100 * (1 - encoded['share']):.1f} % of all audio was cut off.",
            f"Weights and configuration {self.revision}; {self.date}; {self.seconds:g} s.",
            self.command,
            *(f"NOTE: {note}" for note in notes),
        ]
        return "\n".join(lines)

    def _format_moments(self) -> str:
        """A table of the metrics of moments, with those of random spans."""
        chance = self.metrics["chance"]
        rows = [[name, self.cell("moments", name), f"{100 * value:.1f}"] for name, value in chance.items()]
        return markdown_table([["", f"{len(self.moments)} moments", "random spans"], *rows])

    def cell(self, direction: str, name: str) -> str:
        """A metric with its interval, for a table; empty if the result does not have it."""
        if name not in self.metrics[direction]:
            return ""
        value, (lower, upper) = self.metrics[direction][name], self.intervals[direction][name]
        if name == "median_rank":
            return f"{value:g} [{lower:g}, {upper:g}]"
        return f"{100 * value:.1f} [{100 * lower:.1f}, {100 * upper:.1f}]"


def _columns(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
    """Arrays `(rows,)` by the keys of the rows."""
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


COLUMNS = ("recall@1", "recall@5", "recall@10", "map@10", "median_rank")
HITS_AT = (1, 5, 10)


def compare(results: Sequence[EvaluationResult], direction: str) -> str:
    """
    A table with a row for each result, and one of the differences between the others and the first.

    Differences are those of the same queries, so their intervals are narrower than those of two metrics: an interval
    without 0 says that the models differ. A hit is a query with a right answer among the first k.

    Args:
        results (`Sequence[EvaluationResult]`): Of the same songs, recordings and texts.
        direction (`str`): `"text_to_audio"`, `"audio_to_text"`, or `"moments"` if all results have them.

    Raises:
        ValueError: if results are of different songs or texts.
    """
    for kind, name in (("songs or texts", "manifest_hash"), ("recordings", "audio_hash")):
        if len({getattr(result, name) for result in results}) > 1:
            hashes = [f"{result.model} {getattr(result, name)} ({result.gallery_size} songs)" for result in results]
            raise ValueError(f"results must not be of different {kind}; {name}: {', '.join(hashes)}.")
    wanted = results[0].metrics[direction] if direction == "moments" else COLUMNS
    columns = [name for name in wanted if all(name in result.metrics[direction] for result in results)]
    models = [result.model for result in results]
    names, rows = [], [["", *columns]]
    for result in results:
        names.append(f"{result.model} ({result.revision})" if models.count(result.model) > 1 else result.model)
        rows.append([names[-1], *(result.cell(direction, column) for column in columns)])
    table = markdown_table(rows)
    return table if len(results) == 1 else f"{table}\n\n{markdown_table(_differences(results, names, direction))}"


def _differences(results: Sequence[EvaluationResult], names: Sequence[str], direction: str) -> list[list[str]]:
    """A heading, and a row for each result but the first."""
    before, songs = _values_of_queries(results[0], direction)
    columns = _columns([*before.values()])
    rows = [[f"minus {names[0]}", *columns]]
    for name, result in zip(names[1:], results[1:], strict=True):
        after, _ = _values_of_queries(result, direction)
        others = _columns([after[query] for query in before])
        values = {key: others[key] - column for key, column in columns.items()}
        ends = bootstrap_intervals(values, songs)
        cells = [(100 * values[key].mean(), 100 * lower, 100 * upper) for key, (lower, upper) in ends.items()]
        rows.append([name, *("{:+.1f} [{:+.1f}, {:+.1f}]".format(*cell) for cell in cells)])
    return rows


def _values_of_queries(result: EvaluationResult, direction: str) -> tuple[dict[Any, dict[str, float]], list[str]]:
    """What is compared, of each query by its id; and the song of each query."""
    if direction == "moments":
        values = {(row["text"], row["song"]): row["metrics"] for row in result.moments}
        return values, [song for _, song in values]
    cutoffs = [k for k in HITS_AT if f"recall@{k}" in result.metrics[direction]]
    values = {
        query: {**{f"hits@{k}": float(rank <= k) for k in cutoffs}, "mrr": 1 / rank}
        for query, rank in result.ranks[direction].items()
    }
    return values, [result.song_of_text.get(query, query) for query in values]
