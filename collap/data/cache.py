# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The cache of encoded songs on disk, and the fingerprints of the models and settings that encoded them."""

import hashlib
import json
import logging
import re
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel

from collap.files import atomic_write, first_few, write_json
from collap.modeling_collap.configuration_beats import BeatsConfig
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.modeling_collap.modeling_collap_base import is_trainable
from collap.processing.feature_extraction_collap import CollapFeatureExtractor
from collap.progress import progress_bar

from .audio_files import AudioHashes, audio_name

logger = logging.getLogger(__name__)

FINGERPRINT_FILE = "cache.json"
FEATURES_FORMAT = 3  # of the frames that our code makes of the same song; raised when that changes
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
    there as a whole or not at all, so a run that was killed loses a minute of work at most; each song has a checksum.
    Several processes and runs may write into a folder. No file stays open, so workers of a `DataLoader` can use a
    cache. As a context it writes what was added at its end, also when that is an error.

    Args:
        folder (`str` or `Path`): Holds the shards, the fingerprint and the hashes of files.
        fingerprint (`dict`): All that the frames depend on beside the song, for JSON. What it leaves out may have any
            value; the attribute of this name is that of the folder.
        create (`bool`): Whether to make the folder if there is no cache in it, to remove what kills have left, and to
            rename shards that cannot be read to `*.damaged`.
        hashes ([`AudioHashes`], *optional*): Of files; by default those in the folder.

    Raises:
        ValueError: if the folder holds no cache, one of another fingerprint (the message says what differs), or a
            damaged or foreign file.
    """

    def __init__(
        self,
        folder: str | Path,
        fingerprint: Mapping[str, Any],
        create: bool = False,
        hashes: AudioHashes | None = None,
    ) -> None:
        self.folder = Path(folder)
        command = f"accelerate launch examples/extract_features.py --manifests MANIFEST --features {folder} ..."
        self._cure = f"This encodes what is missing or damaged, and nothing else: {command}"
        file = self.folder / FINGERPRINT_FILE
        if create:
            for temporary in self.folder.glob(".*.tmp*"):
                with suppress(OSError):  # another process was faster, or a complete cache may only be read
                    if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
                        temporary.unlink()
            if not file.is_file():
                write_json(file, fingerprint)
        elif not file.is_file():
            raise ValueError(f"features: {self.folder} has no {FINGERPRINT_FILE}. {self._cure}")
        try:
            self.fingerprint = {**json.loads(file.read_bytes())}
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{file} is damaged ({error}). Delete the folder and encode its songs again.") from error
        if differing := differences(self.fingerprint, fingerprint):
            lines = "\n  ".join([f"{self.folder} was made by other models or settings than these:", *differing])
            raise ValueError(f"{lines}\nUse those that it was made with, or another folder of features.")
        self.hashes = hashes or AudioHashes(self.folder)
        self.songs: dict[str, CachedSong] = {}  # by their hashes
        self._creates = create
        self.damaged: set[str] = set()  # names of shards in which `read` has found damaged songs
        self._shards: set[Path] = set()
        self._added: dict[str, SongEmbedding] = {}
        self._num_bytes = 0
        self._last_write = time.monotonic()
        self.refresh()

    def refresh(self) -> None:
        """Finds what was written or replaced since; of new shards only headers are read. Errors as in the class."""
        shards = {shard for shard in self.folder.glob("shard-*.safetensors") if shard.is_file()}
        # A song may have been in two shards, of which one has gone: then all are read.
        known, songs = (self._shards, dict(self.songs)) if self._shards <= shards else (set(), {})
        for shard in sorted(shards - known):
            with suppress(FileNotFoundError):  # another process has replaced or renamed it
                songs |= self._read_header(shard)
        self.songs, self._shards = songs, shards

    def _read_header(self, shard: Path) -> dict[str, CachedSong]:
        try:
            with safe_open(shard, "np") as tensors:
                records = {name: json.loads(record) for name, record in (tensors.metadata() or {}).items()}
                shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118 - no dict
            return {name: CachedSong(shard.name, length, *records[name]) for name, (length, _) in shapes.items()}
        except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
            if not SHARD_NAME.fullmatch(shard.name):
                raise ValueError(f"{shard} is no shard of this cache ({error!r}). Move it elsewhere.") from error
            if not self._creates:
                raise ValueError(f"{shard} is damaged ({error!r}). {self._cure}") from error
            logger.warning("%s is damaged (%r): renamed to *.damaged, its songs are encoded again", shard, error)
            shard.rename(shard.with_suffix(".damaged"))
            return {}

    def __contains__(self, song: str | Mapping[str, Any]) -> bool:
        return self._look_up(song)[1] is None

    def num_frames(self, song: str | Mapping[str, Any]) -> int:
        """The number of frames of a song; errors as in `find`."""
        return self.songs[self.find(song)].num_frames

    def find(self, song: str | Mapping[str, Any]) -> str:
        """The hash of a song, a path or a dict with `bytes` or `path`; a ValueError if it is missing or changed."""
        song_hash, problem = self._look_up(song)
        if problem is not None:
            raise self._missing([problem], 1)
        return song_hash

    def read(self, song_hash: str) -> SongEmbedding:
        """A song by its hash; a `KeyError` if it is not there, a ValueError if it is damaged."""
        if not (self.folder / self.songs[song_hash].shard).exists():  # replaced by another run
            self.refresh()
        cached = self.songs[song_hash]
        try:
            with safe_open(self.folder / cached.shard, "np") as shard:
                frames = shard.get_tensor(song_hash)
            song = SongEmbedding(frames, cached.encoded_s, cached.duration_s, cached.is_truncated)
            # The sum, because numpy's isfinite of float16 took as long as all else. It cannot overflow in float32.
            is_finite = torch.from_numpy(frames).sum(dtype=torch.float32).isfinite()
            if _checksum(song_hash, song) != cached.checksum or not is_finite:
                raise ValueError("another checksum, or values that are not finite")
        except (SafetensorError, ValueError, TypeError) as error:
            self.damaged.add(cached.shard)
            name, shard = self.hashes.path(song_hash) or song_hash, self.folder / cached.shard
            raise ValueError(f"{name}: its frames are damaged in {shard}: {error}. {self._cure}") from error
        return song

    def discard_damaged(self, shards: Iterable[str]) -> None:
        """Replaces shards by such without their damaged songs, and names these in warnings."""
        self.refresh()  # another process may have done so
        self._rewrite(shards, self.songs)

    def keep(self, songs: Collection[str]) -> None:
        """Removes all songs but those with these hashes: the shards that hold others are written again."""
        self.refresh()
        self._rewrite(sorted({song.shard for name, song in self.songs.items() if name not in songs}), songs)

    def _rewrite(self, shards: Iterable[str], songs: Collection[str]) -> None:
        """Replaces shards by such with these songs alone; of them those that are damaged go, too."""
        for shard in shards:
            for song_hash in [name for name, song in self.songs.items() if song.shard == shard and name in songs]:
                try:
                    self._added[song_hash] = self.read(song_hash)
                except (ValueError, KeyError):
                    name = self.hashes.path(song_hash) or song_hash
                    logger.warning("%s: its frames are damaged in %s, it is encoded again", name, self.folder / shard)
            self.write()  # before the old one goes: a kill leaves both
            (self.folder / shard).unlink(missing_ok=True)
        self.refresh()

    def check(self, songs: Iterable[str | Mapping[str, Any]]) -> None:
        """
        Checks that all songs are there. Let the main process go first: the others find its hashes of new files.
        A ValueError says how many songs are missing, the first few, and the command that extracts them.
        """
        self.hashes.read()
        progress = progress_bar(songs, desc="Looking for cached features", unit="song", delay=5)
        found = [self._look_up(song)[1] for song in progress]
        if problems := [problem for problem in found if problem is not None]:
            raise self._missing(problems, len(found))

    def _missing(self, problems: list[str], num_songs: int) -> ValueError:
        lines = [f"features: {self.folder} lacks {len(problems)} of {num_songs} songs:", *first_few(problems)]
        return ValueError("\n".join([*lines, self._cure]))

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
        records = {
            name: json.dumps([song.encoded_s, song.duration_s, song.is_truncated, _checksum(name, song)])
            for name, song in added.items()
        }
        try:
            with atomic_write(self.folder / f"shard-{uuid.uuid4().hex}.safetensors") as temporary:
                # Not save_file: it leaves files that other users cannot read.
                temporary.write_bytes(save(frames, metadata=records))
        except OSError as error:
            message = f"{len(added)} songs could not be written to {self.folder}: {error}. Those written before stay "
            raise OSError(f"{message}cached, and the same command continues after them.") from error


def _checksum(song_hash: str, song: SongEmbedding) -> int:
    """Of the frames and of all that says what they are: the same bytes under another hash have another."""
    told = [song_hash, song.frames.dtype.str, song.frames.shape, song.encoded_s, song.duration_s, song.is_truncated]
    return zlib.crc32(np.ascontiguousarray(song.frames), zlib.crc32(json.dumps(told).encode()))


def differences(made: Any, here: Any, name: str = "") -> list[str]:
    """A line for each value of `here` that is another one in `made`, which may have more."""
    if isinstance(made, Mapping) and isinstance(here, Mapping):
        return [
            line for key in here for line in differences(made.get(key), here[key], f"{name}.{key}" if name else key)
        ]
    if made == here:
        return []
    if name == "precision":
        made, here = made or "that of the checkpoint", here or "that of the checkpoint"
    shown = ["there is one" if isinstance(value, Mapping) else repr(value) for value in (made, here)]
    return [f"{name}: {shown[0]} in the cache, {shown[1]} here"]


# What the frames depend on and the weights do not show; Whisper's decoder is not used. By name: other fields may come
# with a version of transformers, or say only how much is computed at a time.
FRAME_FIELDS = ("projection_dim", "chunk_length_s", "frame_pooling")
# Not the fields of every configuration, which change with the way of loading.
BEATS_FIELDS = tuple(sorted(set(BeatsConfig().to_dict()) - set(PreTrainedConfig().to_dict())))
WHISPER_FIELDS = ("activation_function", "encoder_attention_heads", "scale_embedding")
EXTRACTOR_FIELDS = ("sampling_rate", "feature_size", "num_speech_mel_bins", "chunk_length_s", "max_length_s")
REVISION_LENGTH = 16  # hexadecimal digits
REVISION_FORMAT = 2  # of what our code makes of the same song with the same weights; raised when that changes
ORIGIN = ("_name_or_path", "transformers_version", "dtype", "architectures", "processor_class")


def describe_features(audio_model: CollapAudioModel, feature_extractor: CollapFeatureExtractor) -> dict[str, Any]:
    """The fingerprint of frames for [`TensorCache`]; a ValueError if an encoder is trainable, for they change then."""
    settings = describe_settings(audio_model.config, feature_extractor)
    config = settings["config"]
    return {
        "format_version": FEATURES_FORMAT,
        "music_encoder": _describe_encoder(audio_model, "music_model", config["music_config"]),
        "speech_encoder": _describe_encoder(audio_model, "speech_model", config["speech_config"]),
        "frame_pooling": config["frame_pooling"],
        "chunk_length_s": config["chunk_length_s"],
        "feature_extractor": settings["feature_extractor"],
        "frame_width": audio_model.config.encoder_hidden_size,
        "frame_dtype": "float16",
    }


def describe_settings(config: CollapConfig, feature_extractor: CollapFeatureExtractor) -> dict[str, Any]:
    """All that the frames of a song depend on beside the weights of the audio model, for JSON."""

    def read(owner: Any, names: Sequence[str]) -> dict[str, Any] | None:
        return None if owner is None else {name: getattr(owner, name) for name in names}

    music, speech = read(config.music_config, BEATS_FIELDS), read(config.speech_config, WHISPER_FIELDS)
    return {
        "format_version": REVISION_FORMAT,
        "config": {**read(config, FRAME_FIELDS), "music_config": music, "speech_config": speech},
        "feature_extractor": read(feature_extractor, EXTRACTOR_FIELDS),
    }


def _describe_encoder(audio_model: CollapAudioModel, name: str, config: dict[str, Any]) -> dict[str, Any] | None:
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
        "config": config,
    }


def hash_weights(model: nn.Module) -> str:
    """The SHA-256 of a model's weights, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def hash_model(model: PreTrainedModel, **settings: Any) -> str:
    """
    The `revision` or `song_revision` of a [`Retriever`]: 16 hexadecimal digits of the class, the configuration and
    the weights, wherever they were loaded from. `settings` are what embeddings depend on beside it, for JSON.
    """
    own = {"class": type(model).__name__, "config": model.config.to_dict(), "weights": hash_weights(model)}
    return hash_described({"format_version": REVISION_FORMAT, **own, "settings": settings})


def hash_described(described: Mapping[str, Any]) -> str:
    """16 hexadecimal digits of a description for JSON, wherever what it describes was loaded from."""
    plain = json.dumps(described, default=str)
    own = json.loads(plain, object_hook=lambda part: {name: part[name] for name in part if name not in ORIGIN})
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()[:REVISION_LENGTH]


def describe_computation(model: PreTrainedModel) -> list[str]:
    """The kind of device and the precision that a model computes on and in: numbers differ a little with them."""
    return [model.device.type, str(model.dtype)]
