# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs and texts of a table become an [`EvaluationSet`], and what can't be evaluated is counted and told."""

import logging
import statistics
from collections import Counter
from collections.abc import Container, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from collap.data.audio_files import audio_duration_s
from collap.data.evaluation_set import EvaluationSet, EvaluationText, MissingSong

logger = logging.getLogger(__name__)

SHORT_S = 30.0  # what is shorter is an excerpt rather than a song
CLIP_S = 12.0  # clips of MusicCaps and AudioSet have 10 s, give or take a frame of a codec
MOST_SHOWN = 20  # rows that a result lists one by one


@dataclass(frozen=True)
class LeftOut:
    """
    A row of the owners' table that gives no text.

    Args:
        place (`str`): Where it is, such as `"row 12"`.
        reason (`str`): Why, in words that are the same for all such rows.
    """

    place: str
    reason: str


def assemble(
    name: str,
    songs: Mapping[str, Path | MissingSong],
    texts: Iterable[EvaluationText],
    description: Mapping[str, Any],
    published: tuple[int, int] | None = None,
    left_out: Sequence[LeftOut] = (),
) -> EvaluationSet:
    """
    The set of those songs whose files can be opened, with their texts.

    Args:
        name (`str`): Of the set and its variant.
        songs (`Mapping[str, Path | MissingSong]`): File of each song by its id, or why there is none.
        texts (`Iterable[EvaluationText]`): Of all these songs.
        description (`Mapping[str, Any]`): The protocol, for JSON; completed by what is counted here:
            `published` and `in_files`, songs and texts by the owners and in the files given; `audio`, lengths of the
            recordings; `rows_left_out`; `texts_of_missing_songs`; `identical_texts`, those that have the very words
            of another song's text, of which nobody can find more than one first; and `count_note`, what differs from
            the counts expected (the published ones, or else those of the files), None if nothing does.
        published (`tuple[int, int]`, *optional*): Songs and texts that the owners say there are.
        left_out (`Sequence[LeftOut]`): Rows that gave no text.

    Returns:
        [`EvaluationSet`]

    Raises:
        ValueError: as [`EvaluationSet`], if nothing is left, or an id occurs twice.
    """
    texts = list(texts)
    files = {song: path for song, path in songs.items() if isinstance(path, Path)}
    lengths = read_lengths(files.values())
    found, missing = {}, []
    for song, path in songs.items():
        if isinstance(path, MissingSong):
            missing.append(path)
        elif isinstance(length := lengths[path], str):
            missing.append(MissingSong(song, str(path), f"unreadable audio: {length}"))
        else:
            found[song] = str(path)
    kept = _texts_of(texts, found)
    expected = published or (len(songs), len(texts))
    completed = {
        **description,
        "published": None if published is None else {"songs": published[0], "texts": published[1]},
        "in_files": {"songs": len(songs), "texts": len(texts)},
        "audio": describe_lengths([lengths[Path(path)] for path in found.values()]),
        "rows_left_out": _describe_left_out(left_out),
        "texts_of_missing_songs": len(texts) - len(kept),
        "identical_texts": _count_identical(kept),
    }
    evaluation_set = EvaluationSet(name, found, kept, completed, missing)
    note = evaluation_set.check_counts(*expected)
    if note is not None and published is not None and published != (len(songs), len(texts)):
        note += f" The files name {len(songs)} songs and {len(texts)} texts, other than published."
    if left_out:
        reasons = ", ".join(f"{count} x {reason}" for reason, count in _count_reasons(left_out).items())
        note = " ".join(filter(None, (note, f"{len(left_out)} rows gave no text ({reasons}).")))
    evaluation_set.description["count_note"] = note
    if note is not None:
        logger.warning("%s: %s", name, note)
    return evaluation_set


def keep_songs(
    evaluation_set: EvaluationSet, songs: Sequence[str], note: str, missing: Sequence[MissingSong] = ()
) -> EvaluationSet:
    """
    A set with these of its songs alone and the texts that belong to them; its description says so.

    Args:
        evaluation_set ([`EvaluationSet`]): Made by [`assemble`].
        songs (`Sequence[str]`): Ids of the songs to keep, in the order of the gallery.
        note (`str`): Why, for `count_note` of the description.
        missing (`Sequence[MissingSong]`): Those that are left out because they could not be evaluated.

    Raises:
        ValueError: as [`EvaluationSet`], if nothing is left.
    """
    kept = _texts_of(evaluation_set.texts, set(songs))
    files = {song: evaluation_set.songs[song] for song in songs}
    lengths = [length for length in read_lengths(map(Path, files.values())).values() if isinstance(length, float)]
    lost = {song.id for song in missing}
    description = evaluation_set.description
    changed = {
        "audio": describe_lengths(lengths),
        "identical_texts": _count_identical(kept),
        "texts_of_missing_songs": description.get("texts_of_missing_songs", 0)
        + sum(not set(text.song_ids) - lost for text in evaluation_set.texts),
        "count_note": " ".join(filter(None, (description.get("count_note"), note))),
    }
    all_missing = [*evaluation_set.missing, *missing]
    return EvaluationSet(evaluation_set.name, files, kept, description | changed, all_missing)


def _texts_of(texts: Iterable[EvaluationText], songs: Container[str]) -> list[EvaluationText]:
    """Those texts that belong to some of the songs, and to them alone."""
    kept = []
    for text in texts:
        there = tuple(song for song in text.song_ids if song in songs)
        if there:
            kept.append(text if there == text.song_ids else replace(text, song_ids=there))
    return kept


def read_lengths(paths: Iterable[Path]) -> dict[Path, float | str]:
    """Seconds of each file by its head, or why it can't be read."""

    def read(path: Path) -> float | str:
        try:
            return audio_duration_s(path) or "no samples"
        except ValueError as error:
            return str(error)

    ordered = sorted(set(paths))
    with ThreadPoolExecutor() as pool:
        return dict(zip(ordered, pool.map(read, ordered), strict=True))


def describe_lengths(seconds: Sequence[float]) -> dict[str, Any]:
    """How long recordings are, in numbers, and in a word whether they are clips or songs."""
    if not seconds:
        return {}
    clips = sum(length <= CLIP_S for length in seconds)
    kind = "clips" if clips == len(seconds) else "longer recordings" if not clips else "clips and longer recordings"
    return {
        "kind": kind,
        "hours": round(sum(seconds) / 3600, 3),
        "shortest_s": round(min(seconds), 2),
        "median_s": round(statistics.median(seconds), 2),
        "longest_s": round(max(seconds), 2),
        f"up_to_{CLIP_S:g}_s": clips,
        f"shorter_than_{SHORT_S:g}_s": sum(length < SHORT_S for length in seconds),
    }


def _count_reasons(left_out: Sequence[LeftOut]) -> dict[str, int]:
    return dict(Counter(row.reason for row in left_out).most_common())


def _describe_left_out(left_out: Sequence[LeftOut]) -> dict[str, Any]:
    shown = [f"{row.place}: {row.reason}" for row in left_out[:MOST_SHOWN]]
    return {"count": len(left_out), "by_reason": _count_reasons(left_out), "first": shown}


def _count_identical(texts: Sequence[EvaluationText]) -> int:
    songs: dict[str, set[str]] = {}
    for text in texts:
        songs.setdefault(_words(text), set()).update(text.song_ids)
    return sum(bool(songs[_words(text)] - set(text.song_ids)) for text in texts)


def _words(text: EvaluationText) -> str:
    whole = text.text if isinstance(text.text, str) else " ".join(text.text)
    return " ".join(whole.lower().split())


__all__ = ["LeftOut", "assemble", "describe_lengths", "keep_songs", "read_lengths"]
