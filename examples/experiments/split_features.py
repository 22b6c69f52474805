# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Kept frames of one encoder, cut out of those of both: no song is heard again.

A frame is BEATs' part, then Whisper's, each normalised and pooled by itself (`CollapAudioModel.encode`), so a part is
what the encoder alone would have given. The model arguments are those of the model with one encoder; its
`--chunk_length_s` must be that of the other, since it has no Whisper to say it.
"""

import logging
import shutil
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

from common import EXAMPLES
from tqdm.auto import tqdm
from transformers import HfArgumentParser

from collap import CollapModel
from collap.data.cache import TensorCache, describe_features

sys.path.append(str(EXAMPLES))  # last: examples/evaluate.py is not the library of that name
from collap.training.build import ConfigArguments, ModelArguments, load_model


@dataclass
class SplitArguments:
    """Where from and where to."""

    features: Path = field(metadata={"help": "Folder of kept frames of both encoders."})
    output_dir: Path = field(metadata={"help": "Folder for the frames of one; made if it is not there."})


def split_features(features: Path, output_dir: Path, here: dict) -> None:
    """
    Writes the frames that a model with one encoder needs.

    Args:
        features (`Path`): Frames of both encoders.
        output_dir (`Path`): Songs that are there already are passed over.
        here (`dict`): What `describe_features` says of the model with one encoder.

    Raises:
        ValueError: if `features` are not of both encoders, or of others than the model's, or with other settings.
    """
    both = TensorCache(features, {})
    made = both.fingerprint
    kinds = [kind for kind in ("music", "speech") if here[f"{kind}_encoder"] is not None]
    if len(kinds) != 1 or None in (made["music_encoder"], made["speech_encoder"]):
        raise ValueError("Frames of both encoders are split for a model with one; these are not, or it has not one.")
    (kind,) = kinds
    for name in (f"{kind}_encoder", "format_version", "frame_pooling", "chunk_length_s", "frame_dtype"):
        if made[name] != here[name]:
            raise ValueError(f"features: {features} were made with {name} {made[name]}, the model has {here[name]}.")
    width = here["frame_width"]
    part = slice(0, width) if kind == "music" else slice(made["frame_width"] - width, None)

    one = TensorCache(output_dir, here | {"mixed_precision": made["mixed_precision"]}, create=True)
    with one:
        for song_hash in tqdm(both.songs.keys() - one.songs.keys(), unit="song", desc="Splitting"):
            song = both.read(song_hash)
            one.add(song_hash, replace(song, frames=song.frames[:, part].copy()))
    if both.hashes.file.is_file():
        shutil.copyfile(both.hashes.file, one.hashes.file)


def main(arguments: list[str] | None = None) -> None:
    parser = HfArgumentParser((SplitArguments, ModelArguments, ConfigArguments), description=__doc__)
    given, model_arguments, config = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    model, processor = load_model(model_arguments, config, CollapModel)
    here = describe_features(model.audio_model, processor.feature_extractor)
    split_features(given.features, given.output_dir, here)
    songs = len(TensorCache(given.output_dir, here))
    print(f"{songs} songs in {given.output_dir}")


if __name__ == "__main__":
    main()
