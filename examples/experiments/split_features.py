# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Kept frames of one encoder, cut out of those of both: no song is heard again.

A frame is BEATs' part, then Whisper's, each normalised and pooled by itself (`CollapAudioModel.encode`), so a part is
what the encoder alone would have given. The model arguments are those of the model with one encoder; its
`--chunk_length_s` must be that of the other, since it has no Whisper to say it.
"""

import json
import logging
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from common import EXAMPLES
from safetensors import safe_open
from tqdm.auto import tqdm
from transformers import HfArgumentParser

from collap import CollapModel
from collap.data.audio_files import HASHES_FILE
from collap.data.cache import HEADER_FILE, FeatureStore, ShardWriter, describe_features
from collap.files import write_json

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
    header_file = features / HEADER_FILE
    if not header_file.is_file():
        raise ValueError(f"features: there is no {header_file}.")
    header = json.loads(header_file.read_text(encoding="utf-8"))
    kinds = [kind for kind in ("music", "speech") if here[f"{kind}_encoder"] is not None]
    if len(kinds) != 1 or None in (header["music_encoder"], header["speech_encoder"]):
        raise ValueError("Frames of both encoders are split for a model with one; these are not, or it has not one.")
    (kind,) = kinds
    for name in (f"{kind}_encoder", "format_version", "frame_pooling", "chunk_length_s", "frame_dtype"):
        if header[name] != here[name]:
            raise ValueError(f"features: {features} were made with {name} {header[name]}, the model has {here[name]}.")
    width = here["frame_width"]
    part = slice(0, width) if kind == "music" else slice(header["frame_width"] - width, None)

    output_dir.mkdir(parents=True, exist_ok=True)
    new = here | {"mixed_precision": header["mixed_precision"]}
    new_header = output_dir / HEADER_FILE
    if new_header.is_file() and json.loads(new_header.read_text(encoding="utf-8")) != new:
        raise ValueError(f"output_dir: {output_dir} holds features of another encoder; take another folder.")
    write_json(new_header, new)
    done = set()
    for shard in output_dir.glob("shard-*.safetensors"):
        with safe_open(shard, "pt") as frames:
            done |= set(frames.keys())
    with ShardWriter(output_dir) as writer:
        for shard in tqdm(sorted(features.glob("shard-*.safetensors")), unit="shard", desc="Splitting"):
            with safe_open(shard, "pt") as frames:
                for song in set(frames.keys()) - done:
                    writer.add(song, frames.get_tensor(song)[:, part].clone())
    if (features / HASHES_FILE).is_file():
        shutil.copyfile(features / HASHES_FILE, output_dir / HASHES_FILE)


def main(arguments: list[str] | None = None) -> None:
    parser = HfArgumentParser((SplitArguments, ModelArguments, ConfigArguments), description=__doc__)
    given, model_arguments, config = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    model, processor = load_model(model_arguments, config, CollapModel)
    here = describe_features(model.audio_model, processor.feature_extractor)
    split_features(given.features, given.output_dir, here)
    songs = len(FeatureStore(given.output_dir, model.audio_model, processor.feature_extractor))
    print(f"{songs} songs in {given.output_dir}")


if __name__ == "__main__":
    main()
