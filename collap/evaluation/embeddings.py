# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs embedded once for all evaluations of a model: many songs a file on disk, each read alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object
from safetensors import SafetensorError, safe_open
from tqdm.auto import tqdm

from collap.data.audio_files import AudioHashes
from collap.data.cache import ShardWriter, SongEmbedding, remove_stale_files
from collap.data.evaluation_set import MissingSong
from collap.encode import ListedSong, ahead, describe_bad_songs, look_at_songs, share_songs
from collap.evaluation.retrievers import Retriever

SECONDS = ".seconds"  # ends the name of what is kept beside the frames of a song
PROGRESS = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} min of song [{elapsed}<{remaining}{postfix}]"


class EmbeddingStore:
    r"""
    Embedded songs in a folder, of one model; those of another one lie in another folder and are never found.

    A song is known by the hash of its content, so that a file may be moved and one that has changed is embedded anew.
    What is there as a whole is kept, also if the process that writes is killed.

    Args:
        folder (`str` or `Path`): Holds the hashes of files, and a folder for each revision.
        revision (`str`): `song_revision` of the [`Retriever`].

    Raises:
        ValueError: if a file in it is not whole.
    """

    def __init__(self, folder: str | Path, revision: str) -> None:
        self.folder = Path(folder) / revision
        self.folder.mkdir(parents=True, exist_ok=True)
        self.hashes = AudioHashes(Path(folder))
        self._num_frames: dict[str, int] = {}
        self._shards: dict[str, Path] = {}  # of frames, and of seconds, by their names
        self.refresh()

    def refresh(self) -> None:
        """Takes note of what this process and others have written since."""
        for shard in sorted(set(self.folder.glob("shard-*.safetensors")) - set(self._shards.values())):
            try:
                with safe_open(shard, "np") as tensors:
                    for name in tensors.keys():  # noqa: SIM118 - no dict
                        self._shards[name] = shard
                        self._num_frames[name] = tensors.get_slice(name).get_shape()[0]
            except SafetensorError as error:
                raise ValueError(
                    f"embeddings: {shard} is not whole ({error}). Delete it; its songs are then embedded again."
                ) from error

    def __contains__(self, song_hash: str) -> bool:
        return song_hash in self._shards and song_hash + SECONDS in self._shards

    def num_frames(self, song_hash: str) -> int:
        """The number of frames of a song."""
        return self._num_frames[song_hash]

    def seconds(self, song_hash: str) -> tuple[float, float]:
        """Seconds that were heard of a song, and its length."""
        encoded_s, duration_s = self._read(song_hash + SECONDS).tolist()
        return encoded_s, duration_s

    def load(self, song_hash: str) -> SongEmbedding:
        """A song as it was embedded; of the file only its own part is read. A `KeyError` if it is not there."""
        return SongEmbedding(self._read(song_hash), *self.seconds(song_hash))

    def _read(self, name: str) -> np.ndarray:
        with safe_open(self._shards[name], "np") as tensors:
            return tensors.get_tensor(name)


@dataclass(frozen=True)
class EmbeddedSongs:
    """
    What [`embed_songs`] has made.

    Args:
        store ([`EmbeddingStore`]): Holds the frames.
        hashes (`dict[str, str]`): Name of each song in the store, by its id; in the order of the gallery.
        missing (`list[MissingSong]`): Songs that could not be heard.
    """

    store: EmbeddingStore
    hashes: dict[str, str]
    missing: list[MissingSong]


def embed_songs(
    retriever: Retriever,
    songs: Mapping[str, str],
    folder: str | Path,
    state: PartialState,
    on_bad_audio: Literal["raise", "skip"] = "raise",
    num_workers: int = 1,
) -> EmbeddedSongs:
    r"""
    Embeds the songs that are not in the folder yet.

    The processes share them by their length. What was stopped, or killed, goes on where it was (up to a minute
    before), also with another number of processes. Each song is heard alone, so that its frames do not depend on how
    the songs were shared.

    Args:
        retriever ([`Retriever`]): The model.
        songs (`Mapping[str, str]`): Path of each song by its id.
        folder (`str` or `Path`): Where [`EmbeddingStore`]s are kept.
        state (`PartialState`): The processes; on CPUs made by `PartialState(cpu=True)`, which else finds one.
        on_bad_audio (`"raise"` or `"skip"`): Whether to stop at songs that cannot be heard, or to tell which they are.
        num_workers (`int`): Threads that hear songs: while one waits for the accelerator, others decode.

    Returns:
        [`EmbeddedSongs`], equal in all processes.

    Raises:
        ValueError: if a song cannot be heard and `on_bad_audio` is `"raise"`, or is neither of the two.
        OSError: if the disk is full. What was written before any error is kept.
    """
    if on_bad_audio not in ("raise", "skip"):
        raise ValueError(f"on_bad_audio must be 'raise' or 'skip', got {on_bad_audio!r}.")
    store = EmbeddingStore(folder, retriever.song_revision)
    if state.is_main_process:
        remove_stale_files(store.folder)
    listed = look_at_songs(list(songs.values()), store.hashes, None, num_workers, state)
    bad = {song.index: song for song in listed if song.problem is not None}
    if bad and on_bad_audio == "raise":
        raise ValueError(describe_bad_songs(list(bad.values()), len(listed)))
    new = {song.hash: song for song in listed if song.problem is None and song.hash not in store}
    # All share out the same songs, whatever another run writes into the folder meanwhile.
    (new,) = broadcast_object_list([new])

    mine = share_songs(list(new.values()), state.num_processes)[state.process_index]
    failed = gather_object(_embed(retriever, mine, store, state, on_bad_audio, num_workers))
    state.wait_for_everyone()
    store.refresh()
    problems = {song.hash: song.problem for song in failed}  # also of copies of the same file
    bad |= {song.index: replace(song, problem=problems[song.hash]) for song in listed if song.hash in problems}
    ids = list(songs)
    return EmbeddedSongs(
        store,
        {ids[song.index]: song.hash for song in listed if song.index not in bad},
        [MissingSong(ids[song.index], song.name, song.problem) for _, song in sorted(bad.items())],
    )


def _embed(
    retriever: Retriever,
    mine: list[ListedSong],
    store: EmbeddingStore,
    state: PartialState,
    on_bad_audio: str,
    num_workers: int,
) -> list[ListedSong]:
    """Embeds and writes the songs of one process; returns those that could not be heard."""

    def hear(song: ListedSong) -> tuple[ListedSong, SongEmbedding | None]:
        try:
            embedding = retriever.embed_song(song.name)
        except ValueError as error:
            return replace(song, problem=str(error)), None
        if not np.isfinite(embedding.frames).all():
            return replace(song, problem="its frames are not finite"), None
        return song, embedding

    failed = []
    progress = tqdm(
        total=sum(song.seconds for song in mine) / 60,
        desc="Embedding" + (f" (1 of {state.num_processes} shares)" * (state.num_processes > 1)),
        bar_format=PROGRESS,
        disable=not state.is_main_process or not mine,
    )
    with progress, ShardWriter(store.folder) as writer:
        for done, (song, embedding) in enumerate(ahead(hear, mine, num_workers), start=1):
            if embedding is None:
                if on_bad_audio == "raise":
                    raise ValueError(describe_bad_songs([song], len(mine)))
                failed.append(song)
            else:
                # The frames last: with them the song is there, whenever the writer ends its file.
                seconds = torch.tensor([embedding.encoded_s, embedding.duration_s], dtype=torch.float64)
                writer.add(song.hash + SECONDS, seconds)
                writer.add(song.hash, torch.from_numpy(embedding.frames))
            progress.set_postfix_str(f"{done}/{len(mine)} songs", refresh=False)
            progress.update(min(song.seconds / 60, progress.total - progress.n))  # its sum is a rounded one
    return failed


__all__ = ["EmbeddedSongs", "EmbeddingStore", "embed_songs"]
