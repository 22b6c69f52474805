# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs to embeddings, embeddings to scores, scores to a result: each on disk, shared by processes, resumed."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from tqdm.auto import tqdm

from collap.data.evaluation_set import EvaluationSet
from collap.data.sets import registry
from collap.data.sets.assembling import keep_songs
from collap.data.sets.registry import SETS
from collap.evaluation.embeddings import EmbeddedSongs, EmbeddingStore, embed_songs
from collap.evaluation.result import EvaluationResult
from collap.evaluation.retrievers import Retriever

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


MAX_SHOWN = 5


@dataclass
class SetArguments:
    """What is searched, and by which texts."""

    set: str | None = field(default=None, metadata={"help": "One of the sets above.", "choices": [*SETS]})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the set's files, as they are published."})
    audio_dir: str | None = field(
        default=None, metadata={"help": "Folder of its songs, if they are not in data_dir as the docs have them."}
    )
    set_arguments: list[str] = field(
        default_factory=list,
        metadata={"help": "Variant of the set, as NAME=VALUE ..., such as subset=valid; --describe lists them."},
    )
    manifest: str | None = field(default=None, metadata={"help": "Songs and texts of your own, in place of --set."})
    max_songs: int | None = field(
        default=None, metadata={"help": "Only so many songs, the first, for a quick look; the result says so."}
    )
    on_bad_audio: str = field(
        default="raise",
        metadata={
            "help": "'raise': stop if songs are missing or cannot be heard. 'skip': leave them out of the gallery; "
            "the result names them.",
            "choices": ["raise", "skip"],
        },
    )
    compare: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Print the results.json of several models on the same songs side by side, and how far the others "
            "are from the first, query by query; and stop."
        },
    )
    describe: str | None = field(
        default=None, metadata={"help": "Say what a set is and what to get from where, and stop.", "choices": [*SETS]}
    )


@dataclass
class EvaluateArguments:
    """Which model, how and where to."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "The model: a folder, or a name on the Hub."}
    )
    output_dir: str | None = field(default=None, metadata={"help": "For the result; made if it is not there."})
    use_time: bool = field(
        default=True, metadata={"help": "Whether the order counts in which a text tells of a song (CoLLAP)."}
    )
    section_query: bool | None = field(
        default=None,
        metadata={
            "help": "Whether each text describes a moment of its song, not all of it (CoLLAP). Default: as the set "
            "says."
        },
    )
    windows: str | None = field(
        default=None,
        metadata={
            "help": "What a model of clips hears: 'first' window, 'mean' of all, or (PE-Audio) the 'whole' song. "
            "Default: the mean for CLAP, the whole for PE-Audio.",
            "choices": ["first", "mean", "whole"],
        },
    )
    max_length_s: float | None = field(
        default=None,
        metadata={"help": "Hear only so many seconds of each song, from its start (CoLLAP). Default: all."},
    )
    features: str | None = field(
        default=None, metadata={"help": "Folder of extract_features.py for these songs and this model (CoLLAP)."}
    )
    truncate_texts: bool = field(
        default=False,
        metadata={
            "help": "Cut texts that are too long, and count them, instead of stopping. Models of clips always do."
        },
    )
    embeddings_dir: str | None = field(
        default=None, metadata={"help": "Where embedded songs are kept. Default: embeddings in output_dir."}
    )
    save_scores: bool = field(
        default=False,
        metadata={"help": "Keep scores.npy, (texts, songs) float32, and scores.json with their ids in that order."},
    )
    num_workers: int = field(
        default=1,
        metadata={"help": "Threads of a process that hear songs: some decode while one has the accelerator."},
    )
    block_frames: int = field(
        default=32_768, metadata={"help": "Frames of songs that are scored at a time; more take more memory."}
    )
    block_texts: int = field(default=512, metadata={"help": "Texts that are scored at a time."})
    use_cpu: bool = field(default=False, metadata={"help": "Leave a GPU alone."})

    def __post_init__(self) -> None:
        for name in ("num_workers", "block_frames", "block_texts"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")


def describe(name: str) -> str:
    """Where a set is to be had, under which licence, and its arguments."""
    entry = SETS[name]
    lines = [
        f"{name}: {entry.summary}",
        f"Download: {entry.download}",
        f"Licence: {entry.licence}",
        f"In the paper: {entry.paper_row}",
        f"Where its files go, counts, commands: docs/evaluation_sets.md, the section ({name})",
    ]
    if entry.arguments:
        lines += ["--set_arguments, as NAME=VALUE:"]
        lines += [f"    {argument}: {meaning}" for argument, meaning in entry.arguments.items()]
    return "\n".join(lines)


def load_set(arguments: SetArguments) -> EvaluationSet:
    """
    The songs and texts that the arguments name.

    Raises:
        ValueError: if they name none or two, or an argument that the set does not have; or if songs are missing and
            `on_bad_audio` is `"raise"`.
    """
    if (arguments.set is None) == (arguments.manifest is None):
        raise ValueError("Give --set or --manifest, one of the two.")
    name, data = arguments.set, arguments.data_dir
    if arguments.manifest is not None:
        if data is not None:
            raise ValueError("--data_dir is for a --set; a --manifest says itself where it is.")
        if not Path(arguments.manifest).exists():
            raise ValueError(f"--manifest: there is no file or folder {arguments.manifest}.")
        name, data = "manifest", arguments.manifest
    elif data is None:
        raise ValueError(f"Give --data_dir, the folder of {name}; --describe {name} tells more.")
    options = dict(_parse(argument) for argument in arguments.set_arguments)
    evaluation_set = registry.load_set(name, data, arguments.audio_dir, **options)
    if evaluation_set.missing and arguments.on_bad_audio == "raise":
        raise ValueError(_describe_missing(evaluation_set))
    if arguments.max_songs is not None:
        if arguments.max_songs < 1:
            raise ValueError(f"--max_songs must be at least 1, got {arguments.max_songs}.")
        chosen = list(evaluation_set.songs)[: arguments.max_songs]
        note = f"only the first {len(chosen)} of {len(evaluation_set.songs)} songs were taken (--max_songs)."
        evaluation_set = keep_songs(evaluation_set, chosen, note)
    return evaluation_set


def _describe_missing(evaluation_set: EvaluationSet) -> str:
    missing = evaluation_set.missing
    shown = [f"  {song.path}: {song.reason}" for song in missing[:MAX_SHOWN]]
    if len(missing) > len(shown):
        shown.append(f"  and {len(missing) - len(shown)} more")
    return "\n".join(
        [
            f"{evaluation_set.name}: {len(missing)} of {len(missing) + len(evaluation_set.songs)} songs are missing:",
            *shown,
            "Fewer songs are found more easily. To evaluate without them, and have the result say so, give "
            "--on_bad_audio skip.",
        ]
    )


def _parse(argument: str) -> tuple[str, Any]:
    """`name=value`, in which numbers, true and false are what they say and all else is a string."""
    name, equals, value = argument.partition("=")
    if not equals:
        raise ValueError(f"--set_arguments must be given as NAME=VALUE, got {argument!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def evaluate(
    retriever: Retriever,
    evaluation_set: EvaluationSet,
    on_bad_audio: str,
    arguments: EvaluateArguments,
    state: PartialState,
) -> EvaluationResult | None:
    """Songs to embeddings, embeddings to scores, scores to the result, each on disk in the output folder."""
    started = time.monotonic()
    output = Path(arguments.output_dir)
    retriever.check_texts([text.text for text in evaluation_set.texts])  # before hours of listening
    embedded = embed_songs(
        retriever,
        evaluation_set.songs,
        arguments.embeddings_dir or output / "embeddings",
        state,
        on_bad_audio,
        arguments.num_workers,
    )
    if embedded.missing:
        note = f"{len(embedded.missing)} songs cannot be heard and were left out (--on_bad_audio skip)."
        evaluation_set = keep_songs(evaluation_set, list(embedded.hashes), note, tuple(embedded.missing))
    blocks = output / "blocks"
    scores = score_songs(
        retriever,
        embedded,
        [text.text for text in evaluation_set.texts],
        blocks,
        state,
        block_frames=arguments.block_frames,
        block_texts=arguments.block_texts,
    )
    if scores is None:
        return None
    encoded_s, duration_s = zip(*map(embedded.store.seconds, embedded.hashes.values()), strict=True)
    result = EvaluationResult.of(
        scores,
        evaluation_set,
        embedded.hashes,
        encoded_s,
        duration_s,
        retriever.name,
        retriever.revision,
        options={
            "use_time": arguments.use_time,
            "section_query": arguments.section_query,
            "windows": arguments.windows,
            "max_length_s": arguments.max_length_s,
            "kept_features": arguments.features is not None,
            "truncated_texts": retriever.num_truncated_texts,
            "processes": state.num_processes,
            "device": str(state.device.type),
        },
        seconds=time.monotonic() - started,
    )
    if arguments.save_scores:
        _save_scores(output, scores, evaluation_set)
    result.save(output / "results.json")
    shutil.rmtree(blocks)
    print(result.format())
    if retriever.num_truncated_texts:
        print(f"NOTE: {retriever.num_truncated_texts} different texts were too long for the model and were cut.")
    return result


def _save_scores(folder: Path, scores: np.ndarray, evaluation_set: EvaluationSet) -> None:
    ids = {"texts": [text.id for text in evaluation_set.texts], "songs": list(evaluation_set.songs)}
    temporary = folder / "scores.tmp"
    for name, content in (("scores.json", json.dumps(ids, ensure_ascii=False).encode()), ("scores.npy", scores)):
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                np.save(file, content)
        os.replace(temporary, folder / name)


__all__ = ["score_songs"]
