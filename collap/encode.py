# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Encodes songs once, over processes, resumable: frames of frozen encoders into the cache."""

import heapq
import itertools
import json
import math
import os
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeVar

import soundfile
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from collap.data.audio_files import AudioHashes, audio_name, audio_path
from collap.data.cache import HEADER_FILE, FeatureStore, ShardWriter, describe_features, remove_stale_files
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.processing.batch_feature_collap import CollapBatchFeature, Coverage
from collap.processing.feature_extraction_collap import CollapFeatureExtractor

# Processes wait at the end for the last one. The default of ten minutes is less than hours of work may differ by.
MAX_WAIT = timedelta(days=1)
MAX_SHOWN = 5

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ListedSong:
    """
    One entry of a list of songs.

    Args:
        index (`int`): Its place in the list.
        name (`str`): What messages call it.
        hash (`str`): Of its content ([`AudioHashes`]).
        seconds (`float`): Its length, or what is to be heard of it.
        problem (`str`, *optional*): What is wrong with it.
    """

    index: int
    name: str
    hash: str = ""
    seconds: float = 0.0
    problem: str | None = None


def look_at_songs(
    songs: Sequence[Any], hashes: AudioHashes, limit_s: float | None, num_workers: int, state: PartialState
) -> list[ListedSong]:
    """Hash and length (at most `limit_s`) of every song; the processes share the reading, and each gets all."""

    def look(index: int) -> ListedSong:
        song = songs[index]
        name = audio_name(song)
        try:
            song_hash = hashes.hash(song)
            seconds = soundfile.info(audio_path(song) or BytesIO(song["bytes"])).duration
        except (OSError, soundfile.LibsndfileError) as error:
            return ListedSong(index, name, problem=str(error))
        return ListedSong(index, name, song_hash, seconds if limit_s is None else min(seconds, limit_s))

    mine = range(state.process_index, len(songs), state.num_processes)
    progress = tqdm(
        ahead(look, mine, num_workers),
        desc="Looking at songs",
        unit="song",
        total=len(mine),
        disable=not state.is_main_process,
    )
    return sorted(gather_object(list(progress)), key=lambda song: song.index)


def share_songs(songs: list[ListedSong], num_processes: int) -> list[list[ListedSong]]:
    """Songs for each process, the longest first; their lengths sum to nearly the same."""
    shares: list[list[ListedSong]] = [[] for _ in range(num_processes)]
    loads = [(0.0, process) for process in range(num_processes)]
    for song in sorted(songs, key=lambda song: (-song.seconds, song.index)):
        load, process = heapq.heappop(loads)
        shares[process].append(song)
        heapq.heappush(loads, (load + song.seconds, process))
    return shares


def ahead(function: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Iterator[Result]:
    """Results in the order of the items, computed by threads a little ahead of who takes them."""
    # Not a DataLoader: its processes hand over by shared memory, of which containers often have 64 MB, two songs.
    items = iter(items)
    with ThreadPoolExecutor(num_threads) as threads:
        waiting = deque(threads.submit(function, item) for item in itertools.islice(items, num_threads + 1))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(threads.submit(function, item) for item in itertools.islice(items, 1))
            yield result


def describe_bad_songs(bad: list[ListedSong], num_songs: int) -> str:
    """Which songs have a problem, and what can be done; the first few by name."""
    shown = [f"  {song.name}: {song.problem}" for song in bad[:MAX_SHOWN]]
    if len(bad) > len(shown):
        shown.append(f"  and {len(bad) - len(shown)} more")
    return "\n".join(
        [
            f"{len(bad)} of {num_songs} songs cannot be heard:",
            *shown,
            'Repair or remove them, or leave them out by on_bad_audio="skip". What is encoded is kept.',
        ]
    )


SKIPPED_FILE = "skipped.jsonl"

PRECISIONS = {"no": None, "fp16": torch.float16, "bf16": torch.bfloat16}


def extract_features(
    songs: Sequence[str | Mapping[str, Any]],
    folder: str | Path,
    audio_model: CollapAudioModel,
    feature_extractor: CollapFeatureExtractor,
    truncation: bool = False,
    on_bad_audio: Literal["raise", "skip"] = "raise",
    mixed_precision: Literal["no", "fp16", "bf16"] = "no",
    num_workers: int = 1,
) -> None:
    r"""
    Computes the encoder frames of songs and keeps them in a folder, in float16; [`FeatureStore`] reads them.

    Songs that are in the folder already are not computed again, so an interrupted run goes on where it stopped (up to
    a minute before). Each song is computed once, however often it is in the list. Under `torchrun` or `accelerate
    launch` the processes share the songs by their length. What it costs is printed before it starts.

    Args:
        songs (`Sequence`): Paths, or dicts with `bytes` or `path` as `datasets` has them.
        folder (`str` or `Path`): Where the frames go; made if it is not there. One folder belongs to one pair of
            encoders with one choice of settings, and to any number of data sets.
        audio_model ([`CollapAudioModel`]): Its frozen encoders hear the songs, on its device, as many chunks at a time
            as `config.encoder_batch_size` says.
        feature_extractor ([`CollapFeatureExtractor`]): Makes their inputs.
        truncation (`bool`): Whether songs longer than the extractor's `max_length_s` are cut instead of refused.
        on_bad_audio (`"raise"` or `"skip"`):
            What happens with songs that are missing or cannot be heard. `"skip"` leaves them out, counts them and
            names those of this run in `skipped.jsonl`.
        mixed_precision (`"no"`, `"fp16"` or `"bf16"`): Precision of the encoders' products, as in `accelerate`. A
            folder has one; the training may use another.
        num_workers (`int`): Threads that decode songs and compute their spectrograms while the encoders run.

    Raises:
        ValueError: if an argument is out of its range; an encoder is trainable; the folder holds frames of other
            encoders or settings; or a song cannot be heard and `on_bad_audio` is `"raise"`.
        OSError: if the disk has not enough room. What was written before any error is kept.
    """
    for name, value, choices in (
        ("on_bad_audio", on_bad_audio, ("raise", "skip")),
        ("mixed_precision", mixed_precision, tuple(PRECISIONS)),
    ):
        if value not in choices:
            raise ValueError(f"{name} must be one of {choices}, got {value!r}.")
    # On CPUs Accelerate joins processes only if it is told that CPUs are meant.
    state = PartialState(cpu=audio_model.device.type == "cpu", timeout=MAX_WAIT)
    say = tqdm.write if state.is_main_process else _say_nothing
    folder = Path(folder)
    store = _open(folder, audio_model, feature_extractor, mixed_precision, state)
    config = audio_model.config

    limit = feature_extractor.max_length_s if truncation else None
    looked_at = look_at_songs(songs, store.hashes, limit, num_workers, state)
    bad = [song for song in looked_at if song.problem is not None]
    if bad and on_bad_audio == "raise":
        raise ValueError(describe_bad_songs(bad, len(looked_at)))
    good = {song.hash: song for song in looked_at if song.problem is None}
    new = [song for song in good.values() if not store.contains_hash(song.hash)]
    say(_describe_size(config, looked_at, list(good.values()), new))
    _check_room(folder, config, new)

    mine = share_songs(new, state.num_processes)[state.process_index]
    started = time.monotonic()
    training = audio_model.training
    audio_model.eval()
    try:
        read = partial(_read, songs=songs, feature_extractor=feature_extractor, truncation=truncation)
        coverage, skipped = _encode(mine, read, folder, audio_model, on_bad_audio, mixed_precision, num_workers)
    finally:
        audio_model.train(training)
    coverage = gather_object(coverage)
    skipped = bad + gather_object(skipped)
    if state.is_main_process:
        _write_skipped(folder, skipped)
    say(_describe_coverage(coverage, skipped, time.monotonic() - started, state.num_processes, folder))
    state.wait_for_everyone()


def bytes_per_minute(config: CollapConfig) -> float:
    """Bytes that the features of a minute of song take."""
    frames_per_minute = 60 / config.chunk_length_s * config.frames_per_chunk
    return frames_per_minute * config.encoder_hidden_size * torch.finfo(torch.float16).bits / 8


def _say_nothing(text: str) -> None:
    """What the processes beside the main one say."""


def _open(
    folder: Path,
    audio_model: CollapAudioModel,
    feature_extractor: CollapFeatureExtractor,
    mixed_precision: str,
    state: PartialState,
) -> FeatureStore:
    header = folder / HEADER_FILE
    if state.is_main_process:
        folder.mkdir(parents=True, exist_ok=True)
        if not header.is_file():
            made = describe_features(audio_model, feature_extractor) | {"mixed_precision": mixed_precision}
            temporary = header.with_suffix(".json.tmp")
            temporary.write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")
            os.replace(temporary, header)
        remove_stale_files(folder)
    state.wait_for_everyone()
    store = FeatureStore(folder, audio_model, feature_extractor)
    if store.header["mixed_precision"] != mixed_precision:
        raise ValueError(
            f"mixed_precision must be {store.header['mixed_precision']!r}, as for the features that are in {folder} "
            f"already, got {mixed_precision!r}."
        )
    return store


def _read(
    group: list[ListedSong], songs: Sequence[Any], feature_extractor: CollapFeatureExtractor, truncation: bool
) -> list[tuple[ListedSong, CollapBatchFeature | None]]:
    """Some songs with the inputs of the encoders, or with what is wrong with them."""
    read_songs: list[tuple[ListedSong, CollapBatchFeature | None]] = []
    for song in group:
        try:
            inputs = feature_extractor(songs[song.index], truncation=truncation, return_tensors="pt")
            read_songs.append((song, inputs))
        except ValueError as error:
            read_songs.append((replace(song, problem=str(error)), None))
    return read_songs


def _encode(
    mine: list[ListedSong],
    read: Callable[[list[ListedSong]], list[tuple[ListedSong, CollapBatchFeature | None]]],
    folder: Path,
    audio_model: CollapAudioModel,
    on_bad_audio: str,
    mixed_precision: str,
    num_workers: int,
) -> tuple[list[Coverage], list[ListedSong]]:
    """Computes and writes the frames of one process' songs; returns what was heard, and what could not be."""
    state = PartialState()
    coverage: list[Coverage] = []
    skipped: list[ListedSong] = []
    progress = tqdm(
        total=round(sum(song.seconds for song in mine)),
        desc=f"Encoding {len(mine)} songs" + (f" (1 of {state.num_processes} shares)" * (state.num_processes > 1)),
        unit="s of song",
        disable=not state.is_main_process or not mine,
    )
    device = audio_model.device
    autocast = torch.autocast(device.type, PRECISIONS[mixed_precision], enabled=mixed_precision != "no")
    groups = _group_by_chunks(mine, audio_model.config)
    with progress, ShardWriter(folder) as writer, torch.inference_mode(), autocast:
        for group in ahead(read, groups, num_workers):
            heard = [(song, inputs) for song, inputs in group if inputs is not None]
            failed = [song for song, inputs in group if inputs is None]
            if heard:
                batch = _join([inputs for _, inputs in heard])
                frames, mask = audio_model.encode(**{name: tensor.to(device) for name, tensor in batch.items()})
                for (song, inputs), song_frames, is_frame in zip(heard, frames, mask, strict=True):
                    own = song_frames[is_frame].to("cpu", torch.float16)  # (num_frames, E)
                    if torch.isfinite(own).all():
                        writer.add(song.hash, own)
                        coverage.append(inputs.coverage[0])
                    else:
                        hint = f" with mixed_precision={mixed_precision!r}" if mixed_precision != "no" else ""
                        failed.append(replace(song, problem=f"the encoders' frames are not finite{hint}"))
            if failed and on_bad_audio == "raise":
                raise ValueError(describe_bad_songs(failed, len(mine)))
            skipped += failed
            progress.update(round(sum(song.seconds for song, _ in group)))
    return coverage, skipped


def _group_by_chunks(songs: list[ListedSong], config: CollapConfig) -> Iterator[list[ListedSong]]:
    """Neighbours that together fill one run of the encoders; a long song is a group of its own."""
    group: list[ListedSong] = []
    num_chunks = 0
    for song in songs:
        chunks = max(1, math.ceil(song.seconds / config.chunk_length_s))
        if group and num_chunks + chunks > config.encoder_batch_size:
            yield group
            group, num_chunks = [], 0
        group.append(song)
        num_chunks += chunks
    if group:
        yield group


def _join(inputs: list[CollapBatchFeature]) -> dict[str, torch.Tensor]:
    """Inputs of single songs, `(1, num_chunks, ...)` each, as one batch; chunks of zeros pad it."""
    most = max(item["audio_attention_mask"].shape[1] for item in inputs)

    def pad(tensor: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(tensor, (0, 0) * (tensor.dim() - 2) + (0, most - tensor.shape[1]))

    return {name: torch.cat([pad(item[name]) for item in inputs]) for name in inputs[0]}


def _check_room(folder: Path, config: CollapConfig, new: list[ListedSong]) -> None:
    needed = sum(song.seconds for song in new) / 60 * bytes_per_minute(config)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"features: {_readable(needed)} are needed in {folder}, but {_readable(free)} are free. Choose "
            f"another disk, or a larger frame_pooling: {8 * config.frame_pooling} in place of {config.frame_pooling} "
            "makes frames longer and the features an eighth."
        )


def _describe_size(
    config: CollapConfig, songs: list[ListedSong], good: list[ListedSong], new: list[ListedSong]
) -> str:
    per_minute = bytes_per_minute(config)
    minutes, new_minutes = (sum(song.seconds for song in part) / 60 for part in (good, new))
    return (
        f"{len(songs)} songs, {len(good)} different ones of {minutes / 60:.2f} h. A minute takes "
        f"{_readable(per_minute)} (a frame each {config.frame_length_s:g} s, {config.encoder_hidden_size} wide, "
        f"float16), all of them {_readable(minutes * per_minute)}. {len(good) - len(new)} are there already; "
        f"{_readable(new_minutes * per_minute)} to go."
    )


def _readable(num_bytes: float) -> str:
    """A size for people: `1.53 MB`."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"


def _describe_coverage(
    coverage: list[Coverage], skipped: list[ListedSong], seconds: float, num_processes: int, folder: Path
) -> str:
    given = sum(item.duration_s for item in coverage)
    heard = sum(item.encoded_s for item in coverage)
    text = f"{len(coverage)} songs encoded, {heard / 3600:.2f} of {given / 3600:.2f} h heard"
    if coverage:
        text += f", in {seconds:.0f} s: {seconds / (heard / 60):.3g} s a minute of song on {num_processes} process(es)"
    if skipped:
        text += f". {len(skipped)} songs skipped, named in {folder / SKIPPED_FILE}"
    return text + "."


def _write_skipped(folder: Path, skipped: list[ListedSong]) -> None:
    file = folder / SKIPPED_FILE
    if not skipped:
        file.unlink(missing_ok=True)  # of an earlier run
        return
    lines = [json.dumps({"audio": song.name, "problem": song.problem}) + "\n" for song in skipped]
    temporary = file.with_suffix(".jsonl.tmp")
    temporary.write_text("".join(lines), encoding="utf-8")
    os.replace(temporary, file)


__all__ = [
    "MAX_WAIT",
    "FeatureStore",
    "ListedSong",
    "ahead",
    "bytes_per_minute",
    "describe_bad_songs",
    "extract_features",
    "look_at_songs",
    "share_songs",
]
