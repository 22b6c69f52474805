# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A result that says how it came about: figures with intervals, and the protocol behind them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from collap.data.evaluation_set import EvaluationSet
from collap.files import library_versions, markdown_table, this_command, write_json
from collap.metrics import RECALL_AT, bootstrap_intervals, query_metrics

PACKAGES = ("collap", "transformers", "torch", "numpy")
DIRECTIONS = {"text_to_audio": "text -> audio", "audio_to_text": "audio -> text"}


@dataclass
class EvaluationResult:
    """
    What a model reaches on a set, and by which protocol.

    Args:
        figures (`dict[str, dict[str, float]]`): Of each direction, as [`collap.metrics.retrieval_metrics`].
        ranks (`dict[str, dict[str, float]]`): Of each direction the rank of the best right answer by the id of the
            query, of a text or of a song.
        song_of_text (`dict[str, str]`): The first song of each text, with which it is drawn anew.
        intervals (`dict[str, dict[str, tuple[float, float]]]`):
            The 95 % bootstrap intervals of the same figures; songs are drawn anew, with all of their texts (a text of
            several songs comes with the first of them).
        set_name (`str`): Of the [`EvaluationSet`].
        set_description (`dict[str, Any]`): Its source, licence and caption rule.
        manifest_hash (`str`): Which songs and texts these are, by their ids and words.
        audio_hash (`str`): Which recordings: of the songs' ids and of the content of their files. Only results of
            which both hashes are equal can be compared.
        gallery_size, num_texts (`int`): Songs and texts.
        missing (`list[dict[str, str]]`): Songs that the set names and that were not evaluated, and why.
        heard (`dict[str, float]`): Seconds heard of each song (`min`, `median`, `max`), the `share` of all audio that
            was heard, and `songs_cut`, how many songs lack more than a second and 1 % (the last 0.08 s of each chunk
            of 30 s have no frame, which is no cut).
        model (`str`): Name of the model.
        revision (`str`): Hash of its weights and configuration.
        options (`dict[str, Any]`): How it was asked, such as `use_time`.
        command (`str`): What makes this result.
        versions (`dict[str, str]`): Of the libraries.
        date (`str`): ISO 8601, UTC.
        seconds (`float`): That the evaluation took.
    """

    figures: dict[str, dict[str, float]]
    intervals: dict[str, dict[str, tuple[float, float]]]
    ranks: dict[str, dict[str, float]]
    song_of_text: dict[str, str]
    set_name: str
    set_description: dict[str, Any]
    manifest_hash: str
    audio_hash: str
    gallery_size: int
    num_texts: int
    missing: list[dict[str, str]]
    heard: dict[str, float]
    model: str
    revision: str
    options: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    date: str = ""
    seconds: float = 0.0

    @classmethod
    def of(
        cls,
        scores: np.ndarray,
        evaluation_set: EvaluationSet,
        song_hashes: Mapping[str, str],
        encoded_s: Sequence[float],
        duration_s: Sequence[float],
        model: str,
        revision: str,
        options: Mapping[str, Any] | None = None,
        seconds: float = 0.0,
        recall_at: Sequence[int] = RECALL_AT,
    ) -> "EvaluationResult":
        """
        The result of a table of scores.

        Args:
            scores (`np.ndarray` of shape `(texts, songs)`): Higher is better; in the order of the set.
            evaluation_set ([`EvaluationSet`]): Says what belongs together.
            song_hashes (`Mapping[str, str]`): Hash of the content of each song's file, by its id.
            encoded_s, duration_s (`Sequence[float]`): Seconds heard of each song, and its length.
            model, revision, options, seconds: As above.
            recall_at (`Sequence[int]`): A `k` as large as what is searched says nothing and is left out.

        Raises:
            ValueError: if shapes do not fit, a score is NaN, or seconds are no numbers of 0 and more.
        """
        targets = evaluation_set.targets()  # (texts, songs)
        if np.shape(scores) != targets.shape:
            raise ValueError(f"scores must have shape (texts, songs) = {targets.shape}, got {np.shape(scores)}.")
        heard, duration = np.asarray(encoded_s, dtype=float), np.asarray(duration_s, dtype=float)
        if heard.shape != (targets.shape[1],) or duration.shape != heard.shape:
            raise ValueError(
                f"encoded_s and duration_s must have one entry for each of the {targets.shape[1]} songs, got "
                f"{heard.shape} and {duration.shape}."
            )
        for name, seconds_of_songs in (("encoded_s", heard), ("duration_s", duration)):
            if not (np.isfinite(seconds_of_songs) & (seconds_of_songs >= 0)).all() or not seconds_of_songs.any():
                raise ValueError(f"{name} must hold seconds of 0 and more, and not only 0; got {seconds_of_songs}.")
        texts, songs = [text.id for text in evaluation_set.texts], list(evaluation_set.songs)
        song_of_text = targets.argmax(1)
        searching = np.flatnonzero(targets.any(0))  # songs without a text do not search
        tables = {
            "text_to_audio": (texts, scores, targets, song_of_text),
            "audio_to_text": (
                [songs[place] for place in searching],
                scores.T[searching],
                targets.T[searching],
                searching,
            ),
        }
        figures, intervals, ranks = {}, {}, {}
        for direction, (queries, table, right, song_of_query) in tables.items():
            cutoffs = [k for k in recall_at if k < table.shape[1]]
            single = right.sum(1).max() == 1  # then the hit rate is the recall
            per_query = query_metrics(table, right.argmax(1) if single else right, cutoffs)
            figures[direction] = {
                name: float(np.median(values) if name == "median_rank" else values.mean())
                for name, values in per_query.items()
            }
            intervals[direction] = bootstrap_intervals(per_query, song_of_query)
            ranks[direction] = dict(zip(queries, per_query["median_rank"].tolist(), strict=True))
        return cls(
            figures,
            intervals,
            ranks,
            {text: songs[place] for text, place in zip(texts, song_of_text, strict=True)},
            evaluation_set.name,
            evaluation_set.description,
            evaluation_set.manifest_hash,
            _hash_songs(song_hashes),
            gallery_size=targets.shape[1],
            num_texts=targets.shape[0],
            missing=[asdict(song) for song in evaluation_set.missing],
            heard={
                "min": round(float(heard.min()), 2),
                "median": round(float(np.median(heard)), 2),
                "max": round(float(heard.max()), 2),
                "share": round(float(heard.sum() / duration.sum()), 4),
                "songs_cut": int((heard < 0.99 * duration - 1).sum()),
            },
            model=model,
            revision=revision,
            options=dict(options or {}),
            command=this_command(),
            versions=library_versions(PACKAGES),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            seconds=round(seconds, 1),
        )

    def save(self, path: str | Path) -> None:
        """Writes the result as JSON; a file that is there is replaced at once or not at all."""
        write_json(path, asdict(self))

    @classmethod
    def load(cls, path: str | Path) -> "EvaluationResult":
        """Reads what [`save`] wrote."""
        return cls(**json.loads(Path(path).read_text(encoding="utf-8")))

    def format(self) -> str:
        """Table and protocol, to be printed; shares in percent, with their 95 % intervals."""
        names = list(dict.fromkeys(name for figures in self.figures.values() for name in figures))
        cells = [["", *DIRECTIONS.values()]]
        for name in names:
            cells.append([name, *(self.cell(direction, name) for direction in DIRECTIONS)])
        heard = self.heard
        lines = [
            f"{self.model} on {self.set_name}",
            "",
            markdown_table(cells),
            "",
            f"{self.gallery_size} songs (audio {self.audio_hash}), {self.num_texts} texts (manifest "
            f"{self.manifest_hash}).",
            f"Heard of each song: {heard['min']:g} to {heard['max']:g} s, median {heard['median']:g} s; "
            f"{100 * heard['share']:.1f} % of all.",
            f"Weights and configuration {self.revision}; {self.date}; {self.seconds:g} s.",
            self.command,
        ]
        if heard["songs_cut"]:
            lines.append(f"NOTE: {heard['songs_cut']} songs were not heard in full.")
        if self.missing:
            first = self.missing[0]
            lines.append(f"NOTE: {len(self.missing)} songs are missing, such as {first['path']} ({first['reason']}).")
        if self.set_description.get("count_note"):
            lines.append(f"NOTE: {self.set_description['count_note']}")
        return "\n".join(lines)

    def cell(self, direction: str, name: str) -> str:
        """A figure with its interval, as tables have it; empty if it is not there."""
        if name not in self.figures[direction]:
            return ""
        value, (lower, upper) = self.figures[direction][name], self.intervals[direction][name]
        if name == "median_rank":
            return f"{value:g} [{lower:g}, {upper:g}]"
        return f"{100 * value:.1f} [{100 * lower:.1f}, {100 * upper:.1f}]"


def _hash_songs(song_hashes: Mapping[str, str]) -> str:
    return hashlib.sha256(json.dumps(sorted(song_hashes.items())).encode()).hexdigest()[:16]


HITS_AT = (1, 5, 10)


def compare(
    results: Sequence[EvaluationResult],
    direction: str = "text_to_audio",
    columns: Sequence[str] = ("recall@1", "recall@5", "recall@10", "map@10", "median_rank"),
) -> str:
    """
    A table with a row for each model, and one of how far the others are from the first.

    The differences are of the same queries, so that their intervals are narrower than those of two figures side by
    side: one that does not hold 0 says that the models differ, as far as these songs can tell. A hit is a query whose
    best right answer is among the first k.

    Args:
        results (`Sequence[EvaluationResult]`): Of the same songs, recordings and texts.
        direction (`str`): `"text_to_audio"` or `"audio_to_text"`.
        columns (`Sequence[str]`): Figures of the first table, as far as all results have them.

    Raises:
        ValueError: if the results are not of the same songs and texts, there are none, or there is no such direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(DIRECTIONS)}, got {direction!r}.")
    if not results:
        raise ValueError("results must hold at least one result, got none.")
    for kind, name in (("songs or texts", "manifest_hash"), ("recordings", "audio_hash")):
        hashes = [f"{result.model} {getattr(result, name)} ({result.gallery_size} songs)" for result in results]
        if len({getattr(result, name) for result in results}) > 1:
            raise ValueError(f"results are of different {kind} and can't be compared; {name}: {', '.join(hashes)}.")
    present = [name for name in columns if all(name in result.figures[direction] for result in results)]
    rows = [["", *present]]
    names = _distinct_names(results)
    for row, result in zip(names, results, strict=True):
        rows.append([row, *(result.cell(direction, name) for name in present)])
    if len(results) == 1:
        return markdown_table(rows)
    return f"{markdown_table(rows)}\n\n{markdown_table(_differences(results, names, direction))}"


def _differences(results: Sequence[EvaluationResult], names: Sequence[str], direction: str) -> list[list[str]]:
    """A heading, and a row for each result but the first, with what it has more than that."""
    first, ranks = results[0], results[0].ranks[direction]
    cutoffs = [k for k in HITS_AT if f"recall@{k}" in first.figures[direction]]
    rows = [[f"minus {names[0]}", *(f"hits@{k}" for k in cutoffs), "mrr"]]
    songs = [first.song_of_text.get(query, query) for query in ranks]
    before = np.array([*ranks.values()])
    for name, result in zip(names[1:], results[1:], strict=True):
        after = np.array([result.ranks[direction][query] for query in ranks])
        values = {f"hits@{k}": (after <= k) * 1.0 - (before <= k) for k in cutoffs} | {"mrr": 1 / after - 1 / before}
        ends = bootstrap_intervals(values, songs)
        means = [(100 * values[key].mean(), 100 * lower, 100 * upper) for key, (lower, upper) in ends.items()]
        rows.append([name, *("{:+.1f} [{:+.1f}, {:+.1f}]".format(*cell) for cell in means)])
    return rows


def _distinct_names(results: Sequence[EvaluationResult]) -> list[str]:
    """The models' names; where one occurs more often, with the options and the revision that tell its rows apart."""
    names = []
    for result in results:
        namesakes = [other for other in results if other.model == result.model]
        differing = [
            f"{key}={value}"
            for key, value in result.options.items()
            if any(other.options.get(key) != value for other in namesakes)
        ]
        if any(other.revision != result.revision for other in namesakes):
            differing.append(result.revision)
        names.append(f"{result.model} ({', '.join(differing)})" if differing else result.model)
    return names


__all__ = ["DIRECTIONS", "EvaluationResult", "compare"]
