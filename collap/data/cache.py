# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The cache of encoded songs on disk, and the fingerprints of the models and settings that encoded them."""

import hashlib
import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
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

FINGERPRINT_FILE = "cache.json"
FEATURES_FORMAT = 1  # of the frames that our code makes of the same song; raised when that changes
SHARD_BYTES = 256 * 2**20  # a shard is written when it holds so much ...
SHARD_SECONDS = 60.0  # ... or so long after the last one: what a kill can lose
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


def used_s(song: SongEmbedding | CachedSong) -> float:
    """Seconds of a song that were not cut off: what rounding leaves without a frame is no cut."""
    return song.encoded_s if song.is_truncated else song.duration_s


class TensorCache:
    """
    Encoded songs in a folder, many songs a file, for one fingerprint.

    A song is known by the hash of its content: a file that was moved is found, one that has changed is not. A shard is
    there as a whole or not at all, so a run that was killed loses a minute of work at most. Several processes and runs
    may write into a folder. No file stays open, so workers of a `DataLoader` can use a cache. As a context it writes
    what was added at its end, also when that is an error.

    Args:
        folder (`str` or `Path`): Holds the shards, the fingerprint and the hashes of files.
        fingerprint (`dict`): All that the frames depend on beside the song, for JSON. What it leaves out may have any
            value; the attribute of this name is that of the folder.
        create (`bool`): Whether to make the folder if there is no cache in it, and to remove what kills have left.
        hashes ([`AudioHashes`], *optional*): Of files; by default those in the folder.

    Raises:
        ValueError: if the folder holds no cache, one of another fingerprint (the message says what differs), or a
            shard that is incomplete.
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
                if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
                    temporary.unlink(missing_ok=True)
            if not file.is_file():
                write_json(file, fingerprint)
        elif not file.is_file():
            raise ValueError(
                f"features: {self.folder} has no {FINGERPRINT_FILE}. Extract them: {_extract_command(self.folder)}"
            )
        self.fingerprint = json.loads(file.read_text(encoding="utf-8"))
        if differences := _differences({name: self.fingerprint.get(name) for name in fingerprint}, fingerprint):
            lines = "\n  ".join([f"{self.folder} was made by other models or settings than these:", *differences])
            raise ValueError(f"{lines}\nUse those that it was made with, or another folder of features.")
        self.hashes = hashes or AudioHashes(self.folder)
        self.songs: dict[str, CachedSong] = {}  # by their hashes
        self._shards: set[Path] = set()
        self._added: dict[str, SongEmbedding] = {}
        self._num_bytes = 0
        self._last_write = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Finds what this process and others have written since; of new shards only the headers are read."""
        shards = set(self.folder.glob("shard-*.safetensors")) - self._shards
        for shard in sorted(shards):
            self.songs |= _read_header(shard)
        self._shards |= shards

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
        """A song by its hash; of the shard only its own part is read. A `KeyError` if it is not there."""
        song = self.songs[song_hash]
        with safe_open(self.folder / song.shard, "np") as shard:
            frames = shard.get_tensor(song_hash)
        return SongEmbedding(frames, song.encoded_s, song.duration_s, song.is_truncated)

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
        except OSError as error:
            return "", f"{audio_name(song)}: no such file ({error.strerror})"
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
        seconds = {
            name: json.dumps([song.encoded_s, song.duration_s, song.is_truncated]) for name, song in added.items()
        }
        try:
            with atomic_write(self.folder / f"shard-{uuid.uuid4().hex}.safetensors") as temporary:
                # Not save_file: it leaves files that other users cannot read.
                temporary.write_bytes(save(frames, metadata=seconds))
        except OSError as error:
            message = f"{len(added)} songs could not be written to {self.folder}: {error}. Those written before stay "
            raise OSError(f"{message}cached, and the same command continues after them.") from error


def _read_header(shard: Path) -> dict[str, CachedSong]:
    try:
        with safe_open(shard, "np") as frames:
            seconds = frames.metadata() or {}
            return {
                name: CachedSong(shard.name, frames.get_slice(name).get_shape()[0], *json.loads(seconds[name]))
                for name in frames.keys()  # noqa: SIM118 - no dict
            }
    except (SafetensorError, KeyError) as error:
        raise ValueError(
            f"{shard} is incomplete ({error}). Delete it and encode again; the songs of other shards stay cached."
        ) from error


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
REVISION_FORMAT = 1  # of what our code makes of the same song with the same weights; raised when that changes
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
