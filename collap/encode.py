# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Encodes songs once into a cache, in any number of processes, and continues where it was stopped."""

import itertools
import logging
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import collap.data  # noqa: F401 - before accelerate: it says how to install that

# isort: split
import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from torch.nn.utils.rnn import pad_sequence
from tqdm.auto import tqdm

from collap.data.audio_files import AudioHashes, audio_duration_s, audio_name
from collap.data.cache import SongEmbedding, TensorCache, describe_features, used_s
from collap.files import first_few, write_jsonl
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.precision import lower_precision, usable_precision
from collap.processing.feature_extraction_collap import CollapBatchFeature, CollapFeatureExtractor
from collap.progress import progress_bar

logger = logging.getLogger(__name__)

# Processes wait at the end for the last one. The default of ten minutes is less than hours of work may differ by.
MAX_WAIT = timedelta(days=1)
SKIPPED_FILE = "skipped.jsonl"
SONG_ERRORS = (ValueError, TypeError, OSError, MemoryError)  # of one song: the others are encoded
# Seconds of a song that the threads of `extract_features` make features of before it is its turn: all of most songs.
READ_S = 600.0

Song = str | Mapping[str, Any]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ListedSong:
    """One entry of a list of songs."""

    index: int
    name: str  # in messages
    hash: str = ""  # of its content
    length_s: float = 0.0  # seconds that are to be encoded
    problem: str | None = None  # why it cannot be encoded


def encode_songs(
    songs: Sequence[Song],
    cache: TensorCache,
    read: Callable[[Song], Any],
    encode: Callable[[list[Any]], list[SongEmbedding | Exception]],
    state: PartialState,
    make_batches: Callable[[list[ListedSong]], Iterable[list[ListedSong]]] = lambda songs: ([song] for song in songs),
    on_bad_audio: Literal["raise", "skip"] = "raise",
    num_workers: int = 1,
    max_length_s: float | None = None,
    bytes_per_minute: float | None = None,
) -> list[ListedSong]:
    """
    Encodes the songs that are not in the cache yet, each once, however often it is listed.

    The processes split the work by the length of the songs. What was stopped, or killed, continues where it was (up to
    a minute before), also with another number of processes. Cached songs are checked; those that are damaged are named
    in a warning and encoded again.

    Args:
        read (`Callable`): Makes of a song what `encode` takes; called by threads ahead. A `ValueError`, `TypeError`,
            `OSError` or `MemoryError` says that the song cannot be encoded.
        encode (`Callable`): Encodes what `read` made of a batch of songs. Such errors may stand for songs, too. On a
            CPU as many batches at once as PyTorch has threads, each by one of them.
        state (`PartialState`): The processes; on CPUs made by `PartialState(cpu=True)`.
        make_batches (`Callable`): Groups the songs of a process for `encode`; each alone by default.
        on_bad_audio (`"raise"` or `"skip"`): Whether songs that are missing or cannot be encoded are an error, or are
            left out, counted, and named in `skipped.jsonl` in the folder of the cache.
        num_workers (`int`): Threads that read while an accelerator encodes.
        max_length_s (`float`, *optional*): Most seconds that are encoded of a song.
        bytes_per_minute (`float`, *optional*): Size of the frames, which is then printed and compared with the disk.

    Returns:
        `list[ListedSong]`: all songs in their order, equal in all processes. Those with a `problem` were skipped.

    Raises:
        ValueError: if `on_bad_audio` is neither of the two, or is `"raise"` and a song cannot be encoded.
        OSError: if the disk is full. What was written before any error stays cached.
    """
    if on_bad_audio not in ("raise", "skip"):
        raise ValueError(f"on_bad_audio must be 'raise' or 'skip', got {on_bad_audio!r}.")
    on_cpu = state.device.type == "cpu"
    num_threads = torch.get_num_threads() if on_cpu else num_workers
    listed = _list_songs(songs, cache, max_length_s, num_threads, state)
    if damaged := gather_object(sorted(cache.damaged)):
        with state.main_process_first():  # the others find that it is done
            cache.discard_damaged(sorted(set(damaged)))
    _raise_or_skip([song for song in listed if song.problem is not None], len(listed), on_bad_audio)
    different = {song.hash: song for song in listed if song.problem is None}
    # All processes split the same list, whatever another run writes into the folder meanwhile.
    (new,) = broadcast_object_list([[song for song in different.values() if song.hash not in cache.songs]])
    hours, new_hours = (sum(song.length_s for song in part) / 3600 for part in (different.values(), new))
    report = (
        f"{len(listed)} songs, {len(different)} different ones of {hours:.2f} h, of which "
        f"{len(different) - len(new)} are cached already and {len(new)} of {new_hours:.2f} h are to be encoded."
    )
    if bytes_per_minute is not None:
        needed, free = new_hours * 60 * bytes_per_minute / 1e9, shutil.disk_usage(cache.folder).free / 1e9
        report += f" A minute takes {bytes_per_minute / 1e6:.3g} MB, those to be encoded {needed:.2f} GB."
        if needed > free:
            raise OSError(
                f"{needed:.2f} GB are needed in {cache.folder}, but {free:.2f} GB are free. Choose another disk, or a "
                "larger frame_pooling: 8 times as large, the features take an eighth."
            )
    if state.is_main_process:
        tqdm.write(report)

    def read_batch(batch: list[ListedSong]) -> tuple[list[ListedSong], list[ListedSong], list[Any]]:
        """The songs of a batch that can be read, those that cannot, and what was read."""
        good, bad, inputs = [], [], []
        for song in batch:
            try:
                source = songs[song.index]
                read_song = read(source)
                if cache.hashes.hash(source, again=True) != song.hash:
                    raise ValueError("it has changed since the songs were hashed; run the same command again")
                inputs.append(read_song)
                good.append(song)
            except SONG_ERRORS as error:
                bad.append(replace(song, problem=_reason(error, song.name)))
        return good, bad, inputs

    def encode_batch(good: list[ListedSong], bad: list[ListedSong], inputs: list[Any]) -> tuple[list, list, list]:
        return good, bad, encode(inputs) if inputs else []

    mine = split_work(new, state.num_processes)[state.process_index]
    started = time.monotonic()
    failed: list[ListedSong] = []
    done_s = 0.0
    progress = progress_bar(
        total=round(sum(song.length_s for song in mine)),
        desc=f"Encoding {len(mine)} songs" + (f" (work split 1 of {state.num_processes})" * (state.num_processes > 1)),
        unit="s of song",
        disable=not state.is_main_process or not mine,
    )
    batches = make_batches(mine)
    if on_cpu:  # a song a thread
        encoded_batches = ahead(lambda batch: encode_batch(*read_batch(batch)), batches, num_threads)
    else:
        encoded_batches = itertools.starmap(encode_batch, ahead(read_batch, batches, num_threads))
    with progress, cache, ExitStack() as stack:
        if on_cpu:  # one thread a product: several would wait for each other
            stack.callback(torch.set_num_threads, num_threads)
            torch.set_num_threads(1)
        for good, bad, results in encoded_batches:
            done_s += sum(song.length_s for song in [*good, *bad])
            for song, encoded in zip(good, results, strict=True):
                if isinstance(encoded, Exception):
                    bad.append(replace(song, problem=_reason(encoded, song.name)))
                elif np.isfinite(encoded.frames).all():
                    cache.add(song.hash, encoded)
                else:
                    bad.append(replace(song, problem="its frames are not finite; try a higher precision"))
            _raise_or_skip(bad, len(mine), on_bad_audio)
            failed += bad
            progress.update(round(done_s) - progress.n)  # rounded parts would not add up to the total
    problems = {song.hash: song.problem for song in gather_object(failed)}
    cache.refresh()
    listed = [replace(song, problem=problems.get(song.hash, song.problem)) for song in listed]
    skipped = [song for song in listed if song.problem is not None]
    if state.is_main_process:
        encoded = [cache.songs[song.hash] for song in new if song.hash not in problems]
        encoded_h, duration_h = sum(map(used_s, encoded)) / 3600, sum(song.duration_s for song in encoded) / 3600
        report = f"{len(encoded)} songs encoded, {encoded_h:.2f} of {duration_h:.2f} h, "
        report += f"in {time.monotonic() - started:.0f} s on {state.num_processes} process(es)."
        file = cache.folder / SKIPPED_FILE
        if skipped:
            report += f" {len(skipped)} songs skipped, named in {file}."
            write_jsonl(file, [{"audio": song.name, "problem": song.problem} for song in skipped])
        elif file.exists():  # of an earlier run; a complete cache may be one that can only be read
            file.unlink()
        if new or skipped:
            tqdm.write(report)
    state.wait_for_everyone()
    return listed


def extract_features(
    songs: Sequence[Song],
    folder: str | Path,
    audio_model: CollapAudioModel,
    feature_extractor: CollapFeatureExtractor,
    truncation: bool = False,
    on_bad_audio: Literal["raise", "skip"] = "raise",
    precision: str | None = None,
    num_workers: int = 1,
) -> TensorCache:
    """
    Caches the frames of frozen encoders in float16. What is not said here is as in [`encode_songs`].

    Args:
        folder (`str` or `Path`): Of the [`TensorCache`]; made if it is not there. It belongs to one pair of encoders
            with one choice of settings, and to any number of data sets.
        audio_model ([`CollapAudioModel`]): Its encoders run on its device, on `config.encoder_batch_size` chunks at a
            time.
        truncation (`bool`): Whether songs longer than the extractor's `max_length_s` are cut instead of refused.
        precision (`str`, *optional*): Of the encoders, which are converted for good ([`lower_precision`]). A folder
            has one; the training may use another.

    Raises:
        ValueError: also if an encoder is trainable, or the folder has frames of other encoders or settings.
        OSError: if the disk has not enough room.
    """
    feature_extractor.check_model(audio_model.config)
    # On CPUs Accelerate joins processes only if it is told that CPUs are meant.
    state = PartialState(cpu=audio_model.device.type == "cpu", timeout=MAX_WAIT)
    fingerprint = describe_features(audio_model, feature_extractor)  # of the weights that a training has
    fingerprint["precision"] = usable_precision(audio_model, precision)
    with state.main_process_first():
        cache = TensorCache(folder, fingerprint, create=True)
    lower_precision(audio_model, fingerprint["precision"])  # not of a model whose folder is refused
    config = audio_model.config
    num_read = math.ceil(READ_S / (config.encoder_batch_size * config.chunk_length_s))  # parts

    def num_chunks(song: ListedSong) -> int:
        return max(1, math.ceil(song.length_s / config.chunk_length_s))

    def read(song: Song) -> Iterator[CollapBatchFeature]:
        parts = stream_features(song, feature_extractor, config, truncation)
        return itertools.chain(list(itertools.islice(parts, num_read)), parts)

    training = audio_model.training
    audio_model.eval()
    try:
        encode_songs(
            songs,
            cache,
            read,
            partial(encode_streams, audio_model, dtype=torch.float16),
            state,
            lambda listed: in_batches(listed, config.encoder_batch_size, num_chunks),
            on_bad_audio,
            num_workers,
            max_length_s=feature_extractor.max_length_s if truncation else None,
            bytes_per_minute=bytes_per_minute(config),
        )
    finally:
        audio_model.train(training)
    return cache


def limit_length(feature_extractor: CollapFeatureExtractor, max_length_s: float | None) -> bool:
    """Sets a `max_length_s` that is given, a ValueError as of the class; tells whether longer songs are to be cut."""
    if max_length_s is not None:
        feature_extractor.max_length_s = CollapFeatureExtractor(max_length_s=max_length_s).max_length_s
    longest_s = feature_extractor.max_length_s
    if longest_s is not None:
        logger.info("Of a longer song only the first %g s are encoded (max_length_s).", longest_s)
    return longest_s is not None


def stream_features(
    song: Song, feature_extractor: CollapFeatureExtractor, config: CollapConfig, truncation: bool
) -> Iterator[CollapBatchFeature]:
    """The features of a song in parts that the encoders take at once; a ValueError at the end of a damaged song."""
    for part in feature_extractor.stream(song, config.encoder_batch_size, truncation):
        for coverage in part.audio_coverage:
            if coverage.problem is not None:
                raise ValueError(f"{audio_name(song)}: {coverage.problem}")
        yield part


@torch.inference_mode()
def encode_streams(
    audio_model: CollapAudioModel, songs: Sequence[Iterator[CollapBatchFeature]], dtype: torch.dtype = torch.float32
) -> list[SongEmbedding | Exception]:
    """
    Encodes songs, each given as [`stream_features`] gives it, a part of each at a time.

    Threads make the next two parts while an accelerator encodes. On a CPU nothing is made ahead: each thread has a
    song of its own ([`encode_songs`]).

    Returns the frames `(N, E)` of each song as [`CollapAudioModel.encode`] makes them of the whole song, or the error
    that says that it cannot be encoded.
    """
    frames: list[list[torch.Tensor]] = [[] for _ in songs]
    results: list[Any] = [None] * len(songs)
    with ExitStack() as stack:
        streams = list(songs)
        if audio_model.device.type != "cpu":
            streams = [stack.enter_context(closing(ahead(next, itertools.repeat(song), 1))) for song in songs]
        while unfinished := [index for index, result in enumerate(results) if result is None]:
            parts = {}
            for index in unfinished:
                try:
                    parts[index] = next(streams[index])
                except SONG_ERRORS as error:
                    results[index] = error
            batch = {
                name: pad_sequence([part[name][0] for part in parts.values()], batch_first=True).to(audio_model.device)
                for name in next(iter(parts.values()), {})
            }
            encoded = audio_model.encode(**batch) if parts else ()
            for (index, part), own, is_frame in zip(parts.items(), *encoded, strict=bool(parts)):
                frames[index].append(own[is_frame])
                for end in part.audio_coverage:  # of the last part
                    joined = torch.cat(frames[index]).to("cpu", dtype).numpy()  # (N, E)
                    results[index] = SongEmbedding(joined, end.encoded_s, end.duration_s, end.is_truncated)
    return results


def embed_songs(
    retriever: Any,
    songs: Sequence[Song],
    folder: str | Path,
    state: PartialState,
    on_bad_audio: Literal["raise", "skip"] = "raise",
    num_workers: int = 1,
) -> tuple[TensorCache, list[ListedSong]]:
    """
    Caches the frames of songs as a retriever embeds them, in float32. Each song is encoded alone, so that its frames
    do not depend on how the work was split. What is not said here is as in [`encode_songs`].

    `folder` has a [`TensorCache`] for each `song_revision`. The `embed_song` of the retriever is called by several
    threads at once. Returns the cache, and what [`encode_songs`] returns.
    """
    folder, revision = Path(folder), retriever.song_revision
    with state.main_process_first():
        cache = TensorCache(folder / revision, {"song_revision": revision}, create=True, hashes=AudioHashes(folder))
    given = {"on_bad_audio": on_bad_audio, "num_workers": num_workers}
    return cache, encode_songs(songs, cache, retriever.embed_song, list, state, **given)


def bytes_per_minute(config: CollapConfig) -> float:
    """Bytes that the cached features of a minute of song take."""
    frames_per_minute = 60 / config.chunk_length_s * config.frames_per_chunk
    return frames_per_minute * config.encoder_hidden_size * torch.finfo(torch.float16).bits / 8


def split_work(songs: list[ListedSong], num_processes: int) -> list[list[ListedSong]]:
    """Songs for each process, the longest first; their lengths sum to nearly the same."""
    splits: list[list[ListedSong]] = [[] for _ in range(num_processes)]
    loads = [0.0] * num_processes
    for song in sorted(songs, key=lambda song: (-song.length_s, song.index)):
        process = loads.index(min(loads))
        splits[process].append(song)
        loads[process] += song.length_s
    return splits


def in_batches(items: Iterable[Item], most: int, size_of: Callable[[Item], int] = lambda _: 1) -> Iterator[list[Item]]:
    """Neighbours whose sizes add up to `most` at most; a larger item is a batch of its own."""
    batch: list[Item] = []
    total = 0
    for item in items:
        size = size_of(item)
        if batch and total + size > most:
            yield batch
            batch, total = [], 0
        batch.append(item)
        total += size
    if batch:
        yield batch


def ahead(function: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Iterator[Result]:
    """Results in the order of the items, computed by threads a little ahead of who takes them."""
    # Not a DataLoader: its processes hand over by shared memory, of which containers often have 64 MB, two songs.
    items = iter(items)
    threads = ThreadPoolExecutor(num_threads)
    try:
        waiting = deque(threads.submit(function, item) for item in itertools.islice(items, num_threads + 1))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(threads.submit(function, item) for item in itertools.islice(items, 1))
            yield result
    finally:  # also when no more are taken
        threads.shutdown(cancel_futures=True)


def _list_songs(
    songs: Sequence[Song], cache: TensorCache, max_length_s: float | None, num_threads: int, state: PartialState
) -> list[ListedSong]:
    """Hash and length of every song, those in the cache checked; the processes split the work, and each gets all."""

    def look(index: int) -> ListedSong:
        name = f"songs[{index}]"
        try:
            song = songs[index]
            name = audio_name(song)
            song_hash = cache.hashes.hash(song)
            try:
                duration_s = cache.read(song_hash).duration_s
            except (KeyError, ValueError):  # not there, or damaged: only then, for counting takes as long as reading
                duration_s = audio_duration_s(song)
        except SONG_ERRORS as error:
            return ListedSong(index, name, problem=_reason(error, name))
        return ListedSong(index, name, song_hash, min(duration_s, max_length_s or math.inf))

    mine = range(state.process_index, len(songs), state.num_processes)
    found = ahead(look, mine, num_threads)
    hide = not state.is_main_process
    listed = list(progress_bar(found, desc="Checking songs", unit="song", total=len(mine), disable=hide))
    return sorted(gather_object(listed), key=lambda song: song.index)


def _reason(error: Exception, name: str) -> str:
    return getattr(error, "strerror", None) or str(error).removeprefix(f"{name}: ") or repr(error)


def _raise_or_skip(bad: list[ListedSong], num_songs: int, on_bad_audio: str) -> None:
    if bad and on_bad_audio == "raise":
        lines = first_few([f"{song.name}: {song.problem}" for song in bad])
        hint = "Repair or remove them; some commands have --on_bad_audio skip. A kept cache has what was encoded."
        raise ValueError("\n".join([f"{len(bad)} of {num_songs} songs cannot be encoded:", *lines, hint]))
