# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Frames of frozen encoders, computed once and kept on disk: what makes a second epoch cheap."""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from tqdm.auto import tqdm

from collap.modeling_collap.modeling_collap_audio import CollapAudioModel
from collap.processing.feature_extraction_collap import CollapFeatureExtractor

TENSOR_NAME = "encoder_frames"


def keep_encoder_frames(
    audio_paths: Sequence[str],
    folder: str | Path,
    audio_model: CollapAudioModel,
    feature_extractor: CollapFeatureExtractor,
    truncation: bool = False,
) -> dict[str, Path]:
    """
    Computes the encoder frames of songs and keeps them, one safetensors file a song, in float16.

    A file is named by a hash of the encoders' weights, of the settings that its frames depend on, and of the audio, so
    frames of other encoders, settings or songs are never mistaken for these, and an interrupted run goes on where it
    stopped. Under `torchrun` or `accelerate launch` the processes share the songs.

    Args:
        audio_paths (`Sequence[str]`): Files of audio.
        folder (`str` or `Path`): Where the frames go; made if it is not there.
        audio_model ([`CollapAudioModel`]): Its encoders hear the songs, on its device.
        feature_extractor ([`CollapFeatureExtractor`]): Makes their inputs.
        truncation (`bool`): Whether songs longer than the extractor's `max_length_s` are cut instead of refused.

    Returns:
        `dict[str, Path]`: the file of each song, for [`load_encoder_frames`].

    Raises:
        ValueError: if an encoder is trainable, for its frames change; or as the feature extractor.
    """
    for name in ("music_model", "speech_model"):
        encoder = getattr(audio_model, name)
        if encoder is not None and any(parameter.requires_grad for parameter in encoder.parameters()):
            raise ValueError(
                f"audio_model.{name} is trainable, so its frames change and cannot be kept; set "
                f"config.freeze_{name}=True or train without kept frames."
            )
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoders = _hash_encoders(audio_model, feature_extractor)
    files = {path: folder / f"{_hash_file(encoders, path)}.safetensors" for path in dict.fromkeys(audio_paths)}
    missing = [path for path, file in files.items() if not file.is_file()]
    # On CPUs Accelerate joins processes only if it is told that CPUs are meant.
    state = PartialState(cpu=audio_model.device.type == "cpu")
    training = audio_model.training
    audio_model.eval()
    with state.split_between_processes(missing) as mine, torch.inference_mode():
        for path in tqdm(mine, desc="Encoding songs", unit="song", disable=not state.is_main_process or not mine):
            inputs = feature_extractor(path, return_tensors="pt", truncation=truncation).to(audio_model.device)
            frames, _ = audio_model.encode(**inputs)
            _write(files[path], frames[0].to("cpu", torch.float16))
    audio_model.train(training)
    state.wait_for_everyone()
    return files


def load_encoder_frames(file: Path) -> torch.Tensor:
    """Frames of one song that [`keep_encoder_frames`] kept, of shape `(num_frames, encoder_hidden_size)`."""
    return load_file(file)[TENSOR_NAME]


def _write(file: Path, frames: torch.Tensor) -> None:
    temporary = file.with_suffix(f".{os.getpid()}.tmp")
    save_file({TENSOR_NAME: frames.contiguous()}, temporary)
    os.replace(temporary, file)


def _hash_file(encoders: str, path: str) -> str:
    digest = hashlib.sha256(encoders.encode())
    with open(path, "rb") as audio:
        while block := audio.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:32]


def _hash_encoders(audio_model: CollapAudioModel, feature_extractor: CollapFeatureExtractor) -> str:
    config = audio_model.config
    settings = {
        "frame_pooling": config.frame_pooling,
        "chunk_length_s": config.chunk_length_s,
        "feature_extractor": feature_extractor.to_dict(),
        "dtype": str(audio_model.dtype),
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for encoder in (audio_model.music_model, audio_model.speech_model):
        if encoder is None:
            continue
        digest.update(encoder.config.to_json_string().encode())
        for name, tensor in sorted(encoder.state_dict().items()):
            digest.update(name.encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


__all__ = ["keep_encoder_frames", "load_encoder_frames"]
