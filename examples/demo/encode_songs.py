# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Computes and keeps the encoder frames of all songs of some manifests; under `torchrun` the processes share them.

Takes the model arguments of `examples/train.py`, so that the frames are those its training looks for.
"""

import sys
from dataclasses import dataclass, field
from pathlib import Path

from transformers import HfArgumentParser

from collap import CollapModel
from collap.training.encoder_frames import keep_encoder_frames
from collap.training.manifest import load_manifest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from train import ConfigArguments, ModelArguments, load_model


@dataclass
class EncodeArguments:
    """What to encode, and where to."""

    manifests: list[str] = field(metadata={"help": "Manifests whose songs are encoded."})
    encoder_frames_dir: str = field(metadata={"help": "Folder for the frames."})


def main() -> None:
    parser = HfArgumentParser((ModelArguments, ConfigArguments, EncodeArguments))
    model_arguments, config, arguments = parser.parse_args_into_dataclasses()
    model, processor = load_model(model_arguments, config, CollapModel)
    songs = [path for manifest in arguments.manifests for path in load_manifest(manifest)["audio"]]
    keep_encoder_frames(songs, arguments.encoder_frames_dir, model.audio_model, processor.feature_extractor)


if __name__ == "__main__":
    main()
