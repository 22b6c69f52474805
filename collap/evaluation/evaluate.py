# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs and texts to scores, scores to a result; processes split the work, encoded songs are cached."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from accelerate import PartialState
from accelerate.utils import gather_object
from transformers.hf_argparser import HfArg

from collap.encode import embed_songs
from collap.files import atomic_write, first_few, write_json
from collap.precision import PRECISIONS
from collap.progress import progress_bar

from .evaluation_set import EvaluationSet, MissingSong, load_evaluation_set
from .moments import find_moments
from .result import EvaluationResult
from .retrievers import Retriever

BLOCK_FRAMES = 32_768  # frames of a block of songs, padding included: 64 MB at a width of 512
BLOCK_SONGS = 256  # for models of one frame a song
BLOCK_TEXTS = 512
OPTIONS = ("use_time", "section_query", "windows", "max_length_s", "precision")  # that a result names


def score_songs(
    retriever: Retriever,
    load_frames: Callable[[int], np.ndarray],
    num_frames: Sequence[int],
    texts: Any,
    state: PartialState,
    block_frames: int = BLOCK_FRAMES,
) -> np.ndarray:
    r"""
    Scores of all texts and songs, in blocks of songs of similar length: the one place that compares them.

    The blocks depend on the songs alone, so any number of processes gives the same scores (to the last bit, if each
    has as many threads).

    Args:
        retriever ([`Retriever`]): The model that encoded songs and texts.
        load_frames (`Callable[[int], np.ndarray]`): Gives the frames `(N, d)` of a song by its index.
        num_frames (`Sequence[int]`): Of each song.
        texts: What `retriever.embed_texts` gave.
        state (`PartialState`): The processes that split the work.
        block_frames (`int`): Most frames (padding included) of a block. A longer song is a block of its own.

    Returns:
        `np.ndarray` of shape `(texts, songs)` in float32, in all processes.

    Raises:
        ValueError: if a score is not finite.
    """
    own = list(_make_blocks(num_frames, block_frames))[state.process_index :: state.num_processes]
    text_blocks = [texts[start : start + BLOCK_TEXTS] for start in range(0, len(texts), BLOCK_TEXTS)]
    scored = []
    hidden = not state.is_main_process
    for block in progress_bar(own, desc=f"Scoring {len(texts)} texts", unit="block", delay=5, disable=hidden):
        frames = [load_frames(index) for index in block]
        scores = np.concatenate([retriever.score(frames, part) for part in text_blocks], axis=1)
        if not np.isfinite(scores).all():
            raise ValueError(f"scores of {retriever.name} must be finite, got others for song {block[0]}.")
        scored.append((block, scores.T))
    table = np.empty((len(texts), len(num_frames)), dtype=np.float32)
    for block, scores in gather_object(scored):
        table[:, block] = scores
    return table


def _make_blocks(num_frames: Sequence[int], block_frames: int) -> Iterator[list[int]]:
    """Indices of songs that are scored together: of similar length, so that there is little padding."""
    block: list[int] = []
    for index in sorted(range(len(num_frames)), key=lambda index: (num_frames[index], index)):
        if block and (len(block) == BLOCK_SONGS or (len(block) + 1) * num_frames[index] > block_frames):
            yield block
            block = []
        block.append(index)
    if block:
        yield block


@dataclass
class EvaluationArguments:
    """What is evaluated on what, and how."""

    manifest: str | None = HfArg(default=None, help="A manifest, or a folder of songs and texts; no name on the Hub.")
    text_column: str | None = HfArg(default=None, help="Column of texts; sections.NAME is the key NAME of sections.")
    model_name_or_path: str | None = HfArg(default=None, help="A folder, or a name on the Hub.")
    output_dir: str | None = HfArg(default=None, help="For the result.")
    on_bad_audio: Literal["raise", "skip"] = HfArg(
        default="raise",
        help="If songs are missing or cannot be encoded: stop, or leave them out and name them in the result.",
    )
    max_songs: int | None = HfArg(default=None, help="Only the first songs, for a quick look; the result says so.")
    use_time: bool = HfArg(default=True, help="Whether the order of the sentences of a text counts (CoLLAP).")
    section_query: bool | None = HfArg(
        default=None,
        help="Whether each text describes a section of its song (CoLLAP). Default: as provenance.json says.",
    )
    windows: Literal["first", "mean", "whole"] | None = HfArg(
        default=None,
        help="What a baseline encodes. Default: the mean of all windows for CLAP, the whole song for PE-Audio.",
    )
    max_length_s: float | None = HfArg(
        default=None, help="Encode only the first seconds of songs (CoLLAP). Default: all."
    )
    features: str | None = HfArg(default=None, help="Folder of extract_features.py for these songs (CoLLAP).")
    precision: Literal[PRECISIONS] | None = HfArg(
        default=None, help="Of the audio encoders: bfloat16, float16 or, on a CPU, int8 (CoLLAP)."
    )
    truncate_texts: bool = HfArg(
        default=False, help="Cut and count too long texts; else an error. Baselines always do."
    )
    cache_dir: str | None = HfArg(
        default=None, help="Where encoded songs are cached, for all evaluations. Default: cache in output_dir."
    )
    save_scores: bool = HfArg(
        default=False, help="Write scores.npy, (texts, songs) float32, and scores.json with their ids in that order."
    )
    num_workers: int = HfArg(default=1, help="Threads of a process that decode songs while one uses an accelerator.")
    block_frames: int = HfArg(default=BLOCK_FRAMES, help="Frames that are scored at a time; fewer take less memory.")
    use_cpu: bool = HfArg(default=False, help="Do not use a GPU.")
    compare: list[str] = HfArg(
        default_factory=list, help="Only compare the results.json of several models on the same songs with the first."
    )

    def __post_init__(self) -> None:
        if self.compare:
            return
        for name in ("manifest", "model_name_or_path", "output_dir"):
            if getattr(self, name) is None:
                raise ValueError(f"--{name} is required.")
        for name in ("max_songs", "num_workers", "block_frames"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"--{name} must be at least 1, got {value}.")


def load_set(arguments: EvaluationArguments) -> EvaluationSet:
    """As [`load_evaluation_set`]; a ValueError also if songs are missing and `on_bad_audio` is `"raise"`."""
    evaluation_set = load_evaluation_set(arguments.manifest, arguments.text_column)
    missing, songs = evaluation_set.missing, list(evaluation_set.songs)
    if missing and arguments.on_bad_audio == "raise":
        lines = "\n".join(first_few([f"{song.path}: {song.reason}" for song in missing]))
        raise ValueError(
            f"{evaluation_set.name}: {len(missing)} of {len(missing) + len(songs)} songs are missing:\n{lines}\n"
            "Metrics on fewer songs are higher. --on_bad_audio skip evaluates without them, and the result says so."
        )
    if arguments.max_songs is not None and arguments.max_songs < len(songs):
        note = f"Only the first {arguments.max_songs} of {len(songs)} songs were evaluated (--max_songs)."
        evaluation_set = evaluation_set.keep_songs(songs[: arguments.max_songs], note)
    return evaluation_set


def evaluate(
    retriever: Retriever, evaluation_set: EvaluationSet, arguments: EvaluationArguments, state: PartialState
) -> EvaluationResult | None:
    """
    Encodes the songs that are not cached yet, scores all texts, and writes `results.json`. Returns the result in the
    main process, None in others.
    """
    started = time.monotonic()
    output = Path(arguments.output_dir)
    texts = [text.text for text in evaluation_set.texts]
    retriever.check_texts(texts)  # before hours of encoding
    cache, listed = embed_songs(
        retriever,
        list(evaluation_set.songs.values()),
        arguments.cache_dir or output / "cache",
        state,
        arguments.on_bad_audio,
        arguments.num_workers,
    )
    found = dict(zip(evaluation_set.songs, listed, strict=True))
    song_hashes = {song_id: song.hash for song_id, song in found.items() if song.problem is None}
    missing = [MissingSong(song_id, song.name, song.problem) for song_id, song in found.items() if song.problem]
    if missing:
        note = f"{len(missing)} songs cannot be encoded and were left out (--on_bad_audio skip)."
        evaluation_set = evaluation_set.keep_songs(song_hashes, note, missing)
        texts = [text.text for text in evaluation_set.texts]
    hashes = list(song_hashes.values())
    cached = [cache.songs[song_hash] for song_hash in hashes]
    embedded = retriever.embed_texts(texts)

    def load_frames(index: int) -> np.ndarray:
        return cache.read(hashes[index]).frames

    num_frames, durations_s = [song.num_frames for song in cached], [song.duration_s for song in cached]
    scores = score_songs(retriever, load_frames, num_frames, embedded, state, arguments.block_frames)
    moments = find_moments(retriever, evaluation_set, load_frames, durations_s, embedded, state)
    if not state.is_main_process:
        return None
    notes = list(evaluation_set.notes)
    if not moments and any(text.spans for text in evaluation_set.texts):
        notes.append("The set has spans of its texts, but this model has no frames to find them with: no moments.")
    if repeated := len(hashes) - len(set(hashes)):
        notes.append(
            f"{repeated} songs are the same recording as another: no model tells them apart, a tie is a miss."
        )
    options = {name: getattr(arguments, name) for name in OPTIONS} | {
        "cached_features": arguments.features is not None,
        "truncated_texts": retriever.num_truncated_texts,
        "processes": state.num_processes,
        "device": state.device.type,
    }
    result = EvaluationResult.of(
        scores,
        replace(evaluation_set, notes=notes),
        song_hashes,
        cached,
        retriever.name,
        retriever.revision,
        options,
        time.monotonic() - started,
        moments,
    )
    if arguments.save_scores:
        ids = {"texts": [text.id for text in evaluation_set.texts], "songs": list(evaluation_set.songs)}
        write_json(output / "scores.json", ids)
        with atomic_write(output / "scores.npy") as temporary:
            np.save(temporary, scores)
    result.save(output / "results.json")
    return result
