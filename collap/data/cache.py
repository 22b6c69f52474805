# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The cache of encoded songs on disk, and the fingerprints of the models and settings that encoded them."""

import hashlib
import json
import logging
import re
import stat
import time
import uuid
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from collap.files import atomic_write, first_few, write_json
from collap.modeling_collap.configuration_beats import BeatsConfig
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.modeling_collap.modeling_collap_base import is_trainable
from collap.processing.feature_extraction_collap import CollapFeatureExtractor

from .audio_files import AudioHashes, audio_name

logger = logging.getLogger(__name__)

FINGERPRINT_FILE = "cache.json"
FEATURES_FORMAT = 2  # of the frames that our code makes of the same song; raised when that changes
SHARD_BYTES = 256 * 2**20  # a shard is written when it holds so much ...
SHARD_SECONDS = 60.0  # ... or so long after the last one: what a kill can lose
SHARD_NAME = re.compile(r"shard-[0-9a-f]{32}\.safetensors")  # others are not ours, and are left as they are
STALE_AFTER_S = 3600.0  # an older temporary file was left by a kill: writing takes seconds


@dataclass(frozen=True)
class SongEmbedding:
    """A song as a model has encoded it."""

    frames: np.ndarray  # (N, d); models that make one vector of a song have one frame
    encoded_s: float  # seconds of the song that the frames stand for
    duration_s: float  # length of the song
    is_truncated: bool = False  # whether the end of the song was cut off


@dataclass(frozen=True)
class CachedSong:
    """What the cache knows of a song without reading its frames; see [`SongEmbedding`]."""

    shard: str
    num_frames: int
    encoded_s: float
    duration_s: float
    is_truncated: bool = False
    checksum: int = 0  # of all that a shard has of the song


def used_s(song: SongEmbedding | CachedSong) -> float:
    """Seconds of a song that were not cut off: what rounding leaves without a frame is no cut."""
    return song.encoded_s if song.is_truncated else song.duration_s


class TensorCache:
    """
    Encoded songs in a folder, many songs a file, for one fingerprint.

    A song is known by the hash of its content: a file that was moved is found, one that has changed is not. A shard is
    there as a whole or not at all, so a run that was killed loses a minute of work at most, and each song has a
    checksum, so what a disk has damaged is noticed. Several processes and runs may write into a folder. No file stays
    open, so workers of a `DataLoader` can use a cache. As a context it writes what was added at its end, also after an
    error.

    Args:
        folder (`str` or `Path`): Holds the shards, the fingerprint and the hashes of files.
        fingerprint (`dict`): All that the frames depend on beside the song, for JSON. What it leaves out may have any
            value; the attribute of this name is that of the folder.
        create (`bool`): Whether to make the folder if there is no cache in it, to remove what kills have left, and to
            set shards aside that cannot be read (to the suffix `.damaged`, with a warning).
        hashes ([`AudioHashes`], *optional*): Of files; by default those in the folder.

    Raises:
        ValueError: if the folder holds no cache, one of another fingerprint (the message says what differs), a
            damaged fingerprint or shard, or a shard that is not ours.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: Mapping[str, Any],
        create: bool = False,
        hashes: AudioHashes | None = None,
    ) -> None:
        self.folder = Path(folder)
        file = self.folder / FINGERPRINT_FILE
        if create:
            for temporary in self.folder.glob(".*.tmp*"):
                with suppress(OSError):  # another process was faster, or a complete cache may only be read
                    if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
                        temporary.unlink()
            if not file.is_file():
                write_json(file, fingerprint)
        elif not file.is_file():
            raise ValueError(
                f"features: {self.folder} has no {FINGERPRINT_FILE}. Extract them: {_extract_command(self.folder)}"
            )
        self.fingerprint = _read_fingerprint(file)
        if differences := _differences({name: self.fingerprint.get(name) for name in fingerprint}, fingerprint):
            lines = "\n  ".join([f"{self.folder} was made by other models or settings than these:", *differences])
            raise ValueError(f"{lines}\nUse those that it was made with, or another folder of features.")
        self.hashes = hashes or AudioHashes(self.folder)
        self.songs: dict[str, CachedSong] = {}  # by their hashes
        self._creates = create
        self._shards: set[Path] = set()
        self._added: dict[str, SongEmbedding] = {}
        self._num_bytes = 0
        self._last_write = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """
        Finds what this process and others have written or replaced since; of new shards only the headers are read.

        Raises:
            ValueError: if a shard cannot be read, is damaged (unless the cache was made with `create`) or not ours.
        """
        shards = set(self.folder.glob("shard-*.safetensors"))
        # A song may have been in two shards, of which one has gone: then all are read.
        known, songs = (self._shards, dict(self.songs)) if self._shards <= shards else (set(), {})
        for shard in sorted(shards - known):
            try:
                songs |= _read_header(shard)
            except FileNotFoundError:  # replaced by another run since
                continue
            except ValueError as error:
                if not SHARD_NAME.fullmatch(shard.name):
                    raise ValueError(f"{shard} is no shard of this cache ({error}). Move it elsewhere.") from error
                if not self._creates:
                    cure = f"Encode its songs again (the others stay cached): {_extract_command(self.folder)}"
                    raise ValueError(f"{shard} is damaged ({error}). {cure}") from error
                logger.warning("%s is damaged (%s): set aside as *.damaged, its songs are encoded again", shard, error)
                with suppress(FileNotFoundError):
                    shard.rename(shard.with_suffix(".damaged"))
        self.songs, self._shards = songs, shards

    def __len__(self) -> int:
        """Number of different songs."""
        return len(self.songs)

    def __contains__(self, song: str | Mapping[str, Any]) -> bool:
        return self._look_up(song)[1] is None

    def load(self, song: str | Mapping[str, Any]) -> torch.Tensor:
        """
        The frames `(num_frames, width)` of a song, a path or a dict with `bytes` or `path`. Those of frozen encoders
        are `encoder_frames` of the model, in float16.

        Raises:
            ValueError: if it is not there, or has changed.
        """
        return torch.from_numpy(self.read(self.find(song)).frames)

    def num_frames(self, song: str | Mapping[str, Any]) -> int:
        """The number of frames of a song; errors as in `load`."""
        return self.songs[self.find(song)].num_frames

    def find(self, song: str | Mapping[str, Any]) -> str:
        """The hash of a song in the cache; errors as in `load`."""
        song_hash, problem = self._look_up(song)
        if problem is not None:
            raise self._missing([problem], 1)
        return song_hash

    def read(self, song_hash: str) -> SongEmbedding:
        """
        A song by its hash; of the shard only its own part is read.

        Raises:
            KeyError: if it is not there.
            ValueError: if it is damaged.
        """
        if not (self.folder / self.songs[song_hash].shard).exists():  # replaced by another run
            self.refresh()
        cached = self.songs[song_hash]
        shard = self.folder / cached.shard
        try:
            with safe_open(shard, "np") as tensors:
                frames = tensors.get_tensor(song_hash)
            song = SongEmbedding(frames, cached.encoded_s, cached.duration_s, cached.is_truncated)
            if _checksum(song_hash, song) != cached.checksum:
                raise ValueError("its checksum differs")
            if not np.isfinite(frames).all():
                raise ValueError("its frames are not finite")
        except (SafetensorError, ValueError, TypeError) as error:
            path = next(iter(self.hashes.paths(song_hash)), "a song from memory")
            raise ValueError(
                f"{path}: the frames of its content {song_hash} are damaged in {shard}: {error}. Encode it again (the "
                f"others stay cached): {_extract_command(self.folder)}"
            ) from error
        return song

    def discard_damaged(self, shards: Iterable[str]) -> None:
        """Replaces shards by such without their damaged songs, and names these in warnings. For one process."""
        for shard in sorted(set(shards)):
            for song_hash in [name for name, song in self.songs.items() if song.shard == shard]:
                try:
                    self._added[song_hash] = self.read(song_hash)
                except (ValueError, KeyError) as error:
                    logger.warning("Taken out of the cache: %s", error)
            self.write()  # before the old one goes: a kill leaves both
            (self.folder / shard).unlink(missing_ok=True)
        self.refresh()

    def check(self, songs: Iterable[str | Mapping[str, Any]]) -> None:
        """
        Checks that all songs are there. Let the main process go first: the others find its hashes of new files.

        Raises:
            ValueError: says how many songs are missing, the first few, and the command that extracts them.
        """
        self.hashes.read()
        found = [self._look_up(song)[1] for song in tqdm(songs, "Looking for cached features", unit="song", delay=5)]
        if problems := [problem for problem in found if problem is not None]:
            raise self._missing(problems, len(found))

    def _missing(self, problems: list[str], num_songs: int) -> ValueError:
        lines = [f"features: {self.folder} lacks {len(problems)} of {num_songs} songs:", *first_few(problems)]
        command = _extract_command(self.folder)
        return ValueError("\n".join([*lines, f"Extract them (the others stay cached): {command}"]))

    def _look_up(self, song: str | Mapping[str, Any]) -> tuple[str, str | None]:
        """The hash of a song, and what is wrong if it is not there."""
        try:
            song_hash = self.hashes.hash(song)
        except (OSError, ValueError) as error:
            return "", f"{audio_name(song)}: {getattr(error, 'strerror', None) or error}"
        if song_hash in self.songs:
            return song_hash, None
        has_changed = any(earlier in self.songs for earlier in self.hashes.earlier_hashes(song))
        problem = "it has changed since its features were extracted" if has_changed else "no features of it"
        return song_hash, f"{audio_name(song)}: {problem}"

    def __enter__(self) -> "TensorCache":
        self._last_write = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def add(self, song_hash: str, song: SongEmbedding) -> None:
        """Takes a song; it is written with others, at the end of the context at last, and then found by `refresh`."""
        self._added[song_hash] = song
        self._num_bytes += song.frames.nbytes
        if self._num_bytes >= SHARD_BYTES or time.monotonic() - self._last_write >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """Writes what was added as a shard; an OSError if that fails, as on a full disk."""
        added, self._added, self._num_bytes = self._added, {}, 0
        self._last_write = time.monotonic()
        if not added:
            return
        frames = {name: np.ascontiguousarray(song.frames) for name, song in added.items()}
        records = {name: json.dumps([*_record(song), _checksum(name, song)]) for name, song in added.items()}
        try:
            with atomic_write(self.folder / f"shard-{uuid.uuid4().hex}.safetensors") as temporary:
                # Not save_file: it leaves files that other users cannot read.
                temporary.write_bytes(save(frames, metadata=records))
        except OSError as error:
            message = f"{len(added)} songs could not be written to {self.folder}: {error}. Those written before stay "
            raise OSError(f"{message}cached, and the same command continues after them.") from error


def _read_fingerprint(file: Path) -> dict[str, Any]:
    try:
        fingerprint = json.loads(file.read_bytes())
        if isinstance(fingerprint, dict):
            return fingerprint
        error = "no JSON object"
    except (ValueError, RecursionError) as caught:
        error = caught
    raise ValueError(
        f"{file} is damaged ({error}), so nobody knows which models and settings have made the songs of this folder. "
        "Delete the folder and encode them again."
    )


def _read_header(shard: Path) -> dict[str, CachedSong]:
    """The songs of a shard; a ValueError says why it has none that can be used."""
    if not stat.S_ISREG(shard.stat().st_mode):
        raise ValueError("it is no regular file")
    try:
        with safe_open(shard, "np") as tensors:
            records, names = tensors.metadata() or {}, set(tensors.keys())
            if names != set(records):
                raise ValueError("its tensors and the records in its metadata are not of the same songs")
            songs = {}
            for name, record in records.items():
                shape, values = tensors.get_slice(name).get_shape(), json.loads(record)
                if len(shape) != 2 or len(values) != 4:
                    raise ValueError(f"{name!r} is no (num_frames, width) with a record of four values")
                seconds = map(float, values[:2])
                songs[name] = CachedSong(shard.name, shape[0], *seconds, bool(values[2]), int(values[3]))
    except (SafetensorError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return songs


def _record(song: SongEmbedding) -> list[float | bool]:
    return [float(song.encoded_s), float(song.duration_s), bool(song.is_truncated)]


def _checksum(song_hash: str, song: SongEmbedding) -> int:
    """Of the frames and of all that says what they are: those of another song, or of another shape, have another."""
    described = [song_hash, song.frames.dtype.str, song.frames.shape, *_record(song)]
    return zlib.crc32(np.ascontiguousarray(song.frames), zlib.crc32(json.dumps(described).encode()))


def _extract_command(folder: Path) -> str:
    return f"accelerate launch examples/extract_features.py --manifests MANIFEST --features {folder} ..."


def _differences(made: Any, here: Any, name: str = "") -> list[str]:
    """A line for each value that differs."""
    if isinstance(made, Mapping) and isinstance(here, Mapping):
        return [
            line
            for key in {**here, **made}
            for line in _differences(made.get(key), here.get(key), f"{name}.{key}" if name else key)
        ]
    if made == here:
        return []
    shown = ["there is one" if isinstance(value, Mapping) else repr(value) for value in (made, here)]
    return [f"{name}: {shown[0]} in the cache, {shown[1]} here"]


# What the frames depend on and the weights do not show; Whisper's decoder is not used.
WHISPER_FIELDS = ("activation_function", "encoder_attention_heads", "scale_embedding")
EXTRACTOR_FIELDS = ("sampling_rate", "feature_size", "num_speech_mel_bins", "chunk_length_s", "max_length_s")
REVISION_LENGTH = 16  # hexadecimal digits
REVISION_FORMAT = 2  # of what our code makes of the same song with the same weights; raised when that changes
ORIGIN = ("_name_or_path", "transformers_version", "dtype", "architectures", "processor_class")


def describe_features(
    audio_model: CollapAudioModel, feature_extractor: CollapFeatureExtractor, **more: Any
) -> dict[str, Any]:
    """
    The fingerprint of the frames of frozen encoders for [`TensorCache`]; `more` are settings that count beside.

    Raises:
        ValueError: if an encoder is trainable, for its frames change.
    """
    config = audio_model.config
    # Not the fields of every configuration, which change with the way of loading.
    beats_fields = sorted(set(BeatsConfig().to_dict()) - set(PreTrainedConfig().to_dict()))
    return {
        "format_version": FEATURES_FORMAT,
        "music_encoder": _describe_encoder(audio_model, "music_model", beats_fields),
        "speech_encoder": _describe_encoder(audio_model, "speech_model", WHISPER_FIELDS),
        "frame_pooling": config.frame_pooling,
        "chunk_length_s": config.chunk_length_s,
        "feature_extractor": {name: getattr(feature_extractor, name) for name in EXTRACTOR_FIELDS},
        "frame_width": config.encoder_hidden_size,
        "frame_dtype": "float16",
        **more,
    }


def _describe_encoder(audio_model: CollapAudioModel, name: str, fields: Sequence[str]) -> dict[str, Any] | None:
    encoder = getattr(audio_model, name)
    if encoder is None:
        return None
    if is_trainable(encoder):
        raise ValueError(
            f"audio_model.{name} is trainable, so its frames change and cannot be cached; set "
            f"config.freeze_{name}=True (and leave LoRA out of it), or train without cached features."
        )
    return {
        "weights_sha256": hash_weights(encoder),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "config": {name: getattr(encoder.config, name) for name in fields},
    }


def hash_weights(model: nn.Module) -> str:
    """The SHA-256 of a model's weights, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_model(
    model: PreTrainedModel, part: nn.Module | None = None, without: Sequence[str] = (), **settings: Any
) -> str:
    """
    The `revision` or `song_revision` of a [`Retriever`]: 16 hexadecimal digits of the class, the configuration and
    the weights, wherever they were loaded from.

    Only the weights of `part` count (default: all), and no fields of the configuration in `without`; `settings` are
    what embeddings depend on beside it, for JSON.
    """
    described = {
        "format_version": REVISION_FORMAT,
        "class": type(model).__name__,
        "config": {name: value for name, value in model.config.to_dict().items() if name not in without},
        "weights": hash_weights(model if part is None else part),
        "settings": settings,
    }
    content = json.loads(
        json.dumps(described, default=str),
        object_hook=lambda fields: {name: value for name, value in fields.items() if name not in ORIGIN},
    )
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:REVISION_LENGTH]


def describe_computation(model: PreTrainedModel) -> list[str]:
    """The kind of device and the precision that a model computes on and in: numbers differ a little with them."""
    return [model.device.type, str(model.dtype)]
