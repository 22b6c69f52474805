# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Encodes every song once by the frozen audio encoders and caches the frames, for `train.py --features`.

    accelerate launch examples/extract_features.py --manifests train.jsonl validation.jsonl --features features \
        --music_model FOLDER_OF_A_CONVERTED_BEATS --speech_model openai/whisper-large-v2 --text_model roberta-base \
        --encoder_batch_size 32 --precision bfloat16 --num_workers 8

The model arguments are those of the training. Of the configuration only `--frame_pooling` changes the frames: with 64
in place of 8 a frame is 1.28 s long and the features take an eighth. The size of a minute and of all songs is printed
first. The processes split the work (on CPUs start several by `torchrun --nproc_per_node 4 ...`). When it is stopped,
the same command continues; songs that are cached already are not encoded again, so a new manifest can be added to a
folder at any time. Other encoders or settings need another folder: a training refuses features that are not those of
its own encoders.
"""

import logging
import sys
from dataclasses import dataclass
from typing import Literal

import torch
from accelerate import PartialState
from torch.utils.data import ConcatDataset
from transformers import HfArgumentParser
from transformers.hf_argparser import HfArg

from collap import CollapModel
from collap.cli import HelpFormatter, run_script
from collap.data.manifest import load_manifest
from collap.encode import MAX_WAIT, extract_features, limit_length
from collap.precision import PRECISIONS
from collap.training.build import ConfigArguments, ModelArguments, load_model


@dataclass
class ExtractArguments:
    """Which songs, where to and how."""

    manifests: list[str] = HfArg(help="Songs with texts, as train.py takes them; the texts are not used.")
    features: str = HfArg(help="Folder for the features; made if it is not there.")
    split: str | None = HfArg(default=None, help="Split, if the manifests are data sets.")
    max_length_s: float | None = HfArg(default=None, help="Encode only the first seconds of each song. Default: all.")
    on_bad_audio: Literal["raise", "skip"] = HfArg(
        default="raise",
        help="'raise': stop at songs that cannot be encoded. 'skip': leave them out, and write them to "
        "skipped.jsonl in the folder.",
    )
    precision: Literal[PRECISIONS] | None = HfArg(
        default=None,
        help="Of the encoders: 'bfloat16' for recent GPUs and CPUs, 'float16' for older GPUs, 'int8' for CPUs.",
    )
    num_workers: int = HfArg(default=1, help="Threads of a process that load songs while an accelerator encodes.")
    use_cpu: bool = HfArg(default=False, help="Do not use a GPU.")


def main(arguments: list[str] | None = None) -> None:
    """Extracts the features of some manifests."""
    parser = HfArgumentParser(
        (ExtractArguments, ModelArguments, ConfigArguments),
        usage="accelerate launch examples/extract_features.py --manifests FILES --features FOLDER [arguments]",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    given, model_arguments, config = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    state = PartialState(cpu=given.use_cpu or not torch.accelerator.is_available(), timeout=MAX_WAIT)
    model, processor = load_model(model_arguments, config, CollapModel)
    model.audio_model.to(state.device)
    songs = [load_manifest(name, given.split, check_audio=False)["audio"] for name in given.manifests]
    extract_features(
        ConcatDataset(songs),  # not a list: songs that lie in a data set are loaded one at a time
        given.features,
        model.audio_model,
        processor.feature_extractor,
        truncation=limit_length(processor.feature_extractor, given.max_length_s),
        on_bad_audio=given.on_bad_audio,
        precision=given.precision,
        num_workers=given.num_workers,
    )


if __name__ == "__main__":
    run_script(main)
