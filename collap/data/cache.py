# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Frames of frozen encoders on disk: many songs a file, and never taken for those of other encoders or songs."""

import hashlib
import json
import os
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn
from tqdm.auto import tqdm
from transformers import PreTrainedConfig, PreTrainedModel

from collap.data.audio_files import AudioHashes, audio_name
from collap.modeling_collap.modeling_collap_audio import CollapAudioModel, is_trainable
from collap.processing.feature_extraction_collap import CollapFeatureExtractor

FORMAT_VERSION = 1  # of the files, and of the frames that our code makes of the same song; raised when either changes
HEADER_FILE = "features.json"
SHARD_BYTES = 256 * 2**20  # a shard is written when it holds so much ...
SHARD_SECONDS = 60.0  # ... or so long after the last one: what a kill can lose
STALE_AFTER_S = 3600.0  # a temporary file that old is what a kill has left: writing takes seconds
MAX_SHOWN = 5

# What the frames of a song depend on. Whisper's configuration has many fields of its decoder, which is not used.
WHISPER_FIELDS = (
    "activation_function",
    "d_model",
    "encoder_attention_heads",
    "encoder_ffn_dim",
    "encoder_layers",
    "max_source_positions",
    "num_mel_bins",
    "scale_embedding",
)
EXTRACTOR_FIELDS = ("sampling_rate", "feature_size", "num_speech_mel_bins", "chunk_length_s", "max_length_s")


def describe_features(audio_model: CollapAudioModel, feature_extractor: CollapFeatureExtractor) -> dict[str, Any]:
    """
    All that the frames of a song depend on beside the song, for JSON.

    Raises:
        ValueError: if an encoder is trainable, for its frames change.
    """
    for name in ("music_model", "speech_model"):
        encoder = getattr(audio_model, name)
        if encoder is not None and is_trainable(encoder):
            raise ValueError(
                f"audio_model.{name} is trainable, so its frames change and cannot be kept; set "
                f"config.freeze_{name}=True (and leave LoRA out of it), or train without kept features."
            )
    config = audio_model.config
    music, speech = audio_model.music_model, audio_model.speech_model
    return {
        "format_version": FORMAT_VERSION,
        "music_encoder": None if music is None else _describe_encoder(music, _own_fields(music.config)),
        "speech_encoder": None if speech is None else _describe_encoder(speech, WHISPER_FIELDS),
        "frame_pooling": config.frame_pooling,
        "chunk_length_s": config.chunk_length_s,
        "feature_extractor": {name: getattr(feature_extractor, name) for name in EXTRACTOR_FIELDS},
        "frame_width": config.encoder_hidden_size,
        "frame_dtype": "float16",
    }


def hash_weights(model: nn.Module) -> str:
    """The SHA-256 of a model's weights, in hexadecimal digits."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def extract_command(folder: Path) -> str:
    """What to type to have features extracted."""
    return f"accelerate launch examples/extract_features.py --manifests MANIFEST --features {folder} ..."


class FeatureStore:
    r"""
    Kept frames of songs, made by [`extract_features`].

    A song is known by its content, not by its name: a file that was moved is found, one that has changed is not. May
    be pickled and used in the workers of a `DataLoader`: no file stays open.

    Args:
        folder (`str` or `Path`): What `extract_features` has written.
        audio_model ([`CollapAudioModel`]): Its frozen encoders must be those that made the frames.
        feature_extractor ([`CollapFeatureExtractor`]): Its settings must be those that the frames were made with.

    Raises:
        ValueError: if the folder holds no features, features of other encoders or settings (the message says which
            differ), or a file that is not whole; or if an encoder is trainable.
    """

    def __init__(
        self, folder: str | Path, audio_model: CollapAudioModel, feature_extractor: CollapFeatureExtractor
    ) -> None:
        self.folder = Path(folder)
        header = self.folder / HEADER_FILE
        if not header.is_file():
            raise ValueError(
                f"features: {self.folder} has no {HEADER_FILE}, so there are no features in it. Extract them: "
                f"{extract_command(self.folder)}"
            )
        self.header = json.loads(header.read_text(encoding="utf-8"))
        here = describe_features(audio_model, feature_extractor)
        differences = _differences({name: self.header.get(name) for name in here}, here)
        if differences:
            raise ValueError(
                f"features: {self.folder} was made by other encoders or settings than those of this model:\n  "
                + "\n  ".join(differences)
                + "\nUse the model and the settings that it was made with, or extract into another folder: "
                + extract_command(Path("OTHER_FOLDER"))
            )
        self.hashes = AudioHashes(self.folder)
        self._songs: dict[str, tuple[str, int]] = {}  # hash of a song -> name of its shard, number of frames
        for shard in sorted(self.folder.glob("shard-*.safetensors")):
            self._songs |= {name: (shard.name, count) for name, count in _read_shard(shard).items()}

    def __len__(self) -> int:
        """Number of different songs."""
        return len(self._songs)

    def __contains__(self, song: str | Mapping[str, Any]) -> bool:
        return self._look_up(song)[1] is None

    def contains_hash(self, song_hash: str) -> bool:
        """Whether it holds the song of that hash ([`AudioHashes`])."""
        return song_hash in self._songs

    def load(self, song: str | Mapping[str, Any]) -> torch.Tensor:
        """
        The frames of a song, before the adapter: `encoder_frames` of the model.

        Args:
            song (`str` or `dict`): A path, or a dict with `bytes` or `path`.

        Returns:
            `torch.Tensor` of shape `(num_frames, encoder_hidden_size)` in float16.

        Raises:
            ValueError: if its features are not there, or the song has changed.
        """
        song_hash = self._find(song)
        with safe_open(self.folder / self._songs[song_hash][0], "pt") as frames:
            return frames.get_tensor(song_hash)

    def num_frames(self, song: str | Mapping[str, Any]) -> int:
        """The number of frames of a song; errors as in `load`."""
        return self._songs[self._find(song)][1]

    def check(self, songs: Iterable[str | Mapping[str, Any]]) -> None:
        """
        Checks that the features of all songs are there, so that no training stops for one that is missing.

        Reads what it has not seen before, so let the main process go first: the others find its hashes in the folder.

        Raises:
            ValueError: names how many songs are at fault, the first few, and the command that extracts them.
        """
        self.hashes.read()
        num_songs, problems = 0, []
        for song in tqdm(songs, desc="Looking for features", unit="song", delay=5):
            num_songs += 1
            _, problem = self._look_up(song)
            if problem is not None:
                problems.append(f"  {audio_name(song)}: {problem}")
        if problems:
            rest = len(problems) - MAX_SHOWN
            shown = problems[:MAX_SHOWN] + ([f"  and {rest} more"] if rest > 0 else [])
            raise ValueError(
                "\n".join([f"features: {self.folder} lacks {len(problems)} of {num_songs} songs:", *shown])
                + f"\nExtract them (the others are kept): {extract_command(self.folder)}"
            )

    def _find(self, song: str | Mapping[str, Any]) -> str:
        song_hash, problem = self._look_up(song)
        if problem is not None:
            raise ValueError(
                f"features: {self.folder} lacks {audio_name(song)}: {problem}. Extract it (the others are kept): "
                f"{extract_command(self.folder)}"
            )
        return song_hash

    def _look_up(self, song: str | Mapping[str, Any]) -> tuple[str, str | None]:
        """The hash of a song, and what is wrong if its features are not there."""
        try:
            song_hash = self.hashes.hash(song)
        except OSError as error:
            return "", f"no such file ({error.strerror})"
        if song_hash in self._songs:
            return song_hash, None
        has_changed = any(earlier in self._songs for earlier in self.hashes.earlier_hashes(song))
        return song_hash, "it has changed since its features were extracted" if has_changed else "no features of it"


class ShardWriter:
    """
    Collects frames and writes them, many songs a shard; a shard is there as a whole or not at all.

    A context: what was collected is written at its end, also when that is an error.

    Args:
        folder (`Path`): Where the shards go.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._frames: dict[str, torch.Tensor] = {}
        self._num_bytes = 0
        self._last_write = time.monotonic()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self.write()

    def add(self, song_hash: str, frames: torch.Tensor) -> None:
        """Takes the frames of one song, `(num_frames, encoder_hidden_size)` float16 on the CPU."""
        self._frames[song_hash] = frames.contiguous()
        self._num_bytes += frames.nbytes
        if self._num_bytes >= SHARD_BYTES or time.monotonic() - self._last_write >= SHARD_SECONDS:
            self.write()

    def write(self) -> None:
        """
        Writes what was collected.

        Raises:
            OSError: if that fails, as on a full disk.
        """
        frames, self._frames, self._num_bytes = self._frames, {}, 0
        self._last_write = time.monotonic()
        if not frames:
            return
        file = self.folder / f"shard-{uuid.uuid4().hex}.safetensors"
        temporary = file.with_suffix(".tmp")
        try:
            # Not save_file: it leaves files that other users cannot read, and under a name of its own when killed.
            temporary.write_bytes(save(frames))
            os.replace(temporary, file)
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OSError(
                f"features: {len(frames)} songs could not be written to {self.folder}: {error}. Those written before "
                "are kept, and the same command goes on after them."
            ) from error


def remove_stale_files(folder: Path) -> None:
    """Removes the temporary files of processes that were killed while they wrote a shard."""
    for temporary in folder.glob("*.tmp"):
        if time.time() - temporary.stat().st_mtime > STALE_AFTER_S:
            temporary.unlink()


def _read_shard(shard: Path) -> dict[str, int]:
    """Number of frames of each song in a shard; reads its header only."""
    try:
        with safe_open(shard, "pt") as frames:
            return {name: frames.get_slice(name).get_shape()[0] for name in frames.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"features: {shard} is not whole ({error}). Delete it and extract again; the songs of other shards are "
            f"kept: {extract_command(shard.parent)}"
        ) from error


def _describe_encoder(encoder: PreTrainedModel, fields: Iterable[str]) -> dict[str, Any]:
    return {
        "weights_sha256": hash_weights(encoder),
        "dtype": str(encoder.dtype).removeprefix("torch."),
        "config": {name: getattr(encoder.config, name) for name in fields},
    }


def _own_fields(config: PreTrainedConfig) -> list[str]:
    """Fields that are this model's own, not those of every model, which change with the way of loading."""
    return sorted(set(config.to_dict()) - set(PreTrainedConfig().to_dict()))


def _differences(made: Any, here: Any, name: str = "") -> list[str]:
    """A line for each value that differs."""
    if isinstance(made, dict) and isinstance(here, dict):
        return [
            line
            for key in {**here, **made}
            for line in _differences(made.get(key), here.get(key), f"{name}.{key}" if name else key)
        ]
    if made == here:
        return []
    shown = ["there is one" if isinstance(value, dict) else repr(value) for value in (made, here)]
    return [f"{name}: {shown[0]} in the features, {shown[1]} here"]


REVISION_LENGTH = 16  # hexadecimal digits


REVISION_FORMAT = 1  # of what our code makes of the same song with the same weights; raised when that changes


ORIGIN = ("_name_or_path", "transformers_version", "dtype", "architectures", "processor_class")


@dataclass(frozen=True)
class SongEmbedding:
    """
    A song as a model has heard it.

    Args:
        frames (`np.ndarray` of shape `(N, d)`): float32; models that make one vector of a song have one frame.
        encoded_s (`float`): Seconds of the song that the frames stand for.
        duration_s (`float`): Length of the song in seconds.
    """

    frames: np.ndarray
    encoded_s: float
    duration_s: float


def hash_model(
    model: PreTrainedModel, part: nn.Module | None = None, without: Sequence[str] = (), **settings: Any
) -> str:
    """
    The `revision` or `song_revision` of a [`Retriever`]: 16 hexadecimal digits of the class, the configuration and
    the weights.

    Where a model was loaded from and by whom it was saved does not count.

    Args:
        model (`PreTrainedModel`): The model.
        part (`nn.Module`, *optional*): Whose weights count; all by default.
        without (`Sequence[str]`): Fields of the configuration that do not count.
        settings: What embeddings depend on beside it, for JSON.
    """
    described = {
        "format_version": REVISION_FORMAT,
        "class": type(model).__name__,
        "config": {name: value for name, value in model.config.to_dict().items() if name not in without},
        "weights": hash_weights(model if part is None else part),
        "settings": settings,
    }
    content = json.dumps(_without_origin(described), sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:REVISION_LENGTH]


def describe_computation(model: PreTrainedModel) -> list[str]:
    """The kind of device and the precision that a model computes on and in: numbers differ a little with them."""
    return [model.device.type, str(model.dtype)]


def load_all_weights(from_pretrained: Callable[..., Any], name_or_path: str) -> PreTrainedModel:
    """
    Loads a model of which nothing is missing.

    Raises:
        ValueError: if the checkpoint lacks weights of the model, which would be random ones then.
    """
    model, info = from_pretrained(name_or_path, output_loading_info=True)
    missing = sorted(set(info["missing_keys"]) & {name for name, _ in model.named_parameters()})
    if missing:
        raise ValueError(
            f"{name_or_path} lacks {len(missing)} weights of a {type(model).__name__}, such as {missing[0]}."
        )
    return model


def _without_origin(settings: Any) -> Any:
    """Settings without what only tells where and how a model was saved."""
    if not isinstance(settings, dict):
        return settings
    return {name: _without_origin(value) for name, value in settings.items() if name not in ORIGIN}


__all__ = ["FeatureStore", "ShardWriter", "describe_features", "hash_weights", "remove_stale_files"]
