# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
How well a model finds the songs of a set by their texts, and the texts by their songs.

    accelerate launch examples/evaluate.py --set song_describer --data_dir FOLDER --audio_dir FOLDER \
        --model_name_or_path my-collap --output_dir results/song_describer

The model is a CoLLAP (of examples/baselines/mean_pooling.py too), a transformers `ClapModel` or `PeAudioModel`. A set
of your own is a manifest, as train.py takes it: `--manifest FILE` in place of `--set`. Nothing is downloaded:
`--describe NAME` says what to get from where, under which licence, and which `--set_arguments` the set has;
docs/evaluation_sets.md says where the files go, and has a command for each row of CoLLAP's paper.

`results.json` in the output folder holds the figures with their intervals and the protocol: which songs and texts, how
much of each song was heard, what was missing, the model's revision, the command. recall@k is left out where k is not
smaller than the gallery.

Songs are embedded once: another set, another way of scoring or the same command after an interruption finds them in
`--embeddings_dir`. One process is enough (`python examples/evaluate.py ...`). Several share the work (on CPUs start
them by `torchrun --nproc_per_node 2 ...`), and the result is that of one.

`--compare A/results.json B/results.json` prints results on the same songs side by side, and
the differences of the same queries with their intervals.
"""

import json
import logging
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import PartialState
from baselines.mean_pooling import load_collap
from train import HelpFormatter
from transformers import HfArgumentParser

from collap.retrieval.comparison import compare
from collap.retrieval.embeddings import embed_songs
from collap.retrieval.evaluation_set import EvaluationSet
from collap.retrieval.loading import load_retriever
from collap.retrieval.ranking import score_songs
from collap.retrieval.results import DIRECTIONS, EvaluationResult
from collap.retrieval.retrievers import Retriever
from collap.retrieval.sets import registry
from collap.retrieval.sets.assembling import keep_songs
from collap.retrieval.sets.registry import SETS
from collap.training.song_shares import MAX_WAIT

MAX_SHOWN = 5


@dataclass
class SetArguments:
    """What is searched, and by which texts."""

    set: str | None = field(default=None, metadata={"help": "One of the sets above.", "choices": [*SETS]})
    data_dir: str | None = field(default=None, metadata={"help": "Folder of the set's files, as they are published."})
    audio_dir: str | None = field(
        default=None, metadata={"help": "Folder of its songs, if they are not in data_dir as the docs have them."}
    )
    set_arguments: list[str] = field(
        default_factory=list,
        metadata={"help": "Variant of the set, as NAME=VALUE ..., such as subset=valid; --describe lists them."},
    )
    manifest: str | None = field(default=None, metadata={"help": "Songs and texts of your own, in place of --set."})
    max_songs: int | None = field(
        default=None, metadata={"help": "Only so many songs, the first, for a quick look; the result says so."}
    )
    on_bad_audio: str = field(
        default="raise",
        metadata={
            "help": "'raise': stop if songs are missing or cannot be heard. 'skip': leave them out of the gallery; "
            "the result names them.",
            "choices": ["raise", "skip"],
        },
    )
    compare: list[str] = field(
        default_factory=list,
        metadata={
            "help": "Print the results.json of several models on the same songs side by side, and how far the others "
            "are from the first, query by query; and stop."
        },
    )
    describe: str | None = field(
        default=None, metadata={"help": "Say what a set is and what to get from where, and stop.", "choices": [*SETS]}
    )


@dataclass
class EvaluateArguments:
    """Which model, how and where to."""

    model_name_or_path: str | None = field(
        default=None, metadata={"help": "The model: a folder, or a name on the Hub."}
    )
    output_dir: str | None = field(default=None, metadata={"help": "For the result; made if it is not there."})
    use_time: bool = field(
        default=True, metadata={"help": "Whether the order counts in which a text tells of a song (CoLLAP)."}
    )
    one_moment: bool | None = field(
        default=None,
        metadata={
            "help": "Whether each text describes a moment of its song, not all of it (CoLLAP). Default: as the set "
            "says."
        },
    )
    windows: str | None = field(
        default=None,
        metadata={
            "help": "What a model of clips hears: 'first' window, 'mean' of all, or (PE-Audio) the 'whole' song. "
            "Default: the mean for CLAP, the whole for PE-Audio.",
            "choices": ["first", "mean", "whole"],
        },
    )
    max_length_s: float | None = field(
        default=None,
        metadata={"help": "Hear only so many seconds of each song, from its start (CoLLAP). Default: all."},
    )
    features: str | None = field(
        default=None, metadata={"help": "Folder of extract_features.py for these songs and this model (CoLLAP)."}
    )
    truncate_texts: bool = field(
        default=False,
        metadata={
            "help": "Cut texts that are too long, and count them, instead of stopping. Models of clips always do."
        },
    )
    embeddings_dir: str | None = field(
        default=None, metadata={"help": "Where embedded songs are kept. Default: embeddings in output_dir."}
    )
    save_scores: bool = field(
        default=False,
        metadata={"help": "Keep scores.npy, (texts, songs) float32, and scores.json with their ids in that order."},
    )
    num_workers: int = field(
        default=1,
        metadata={"help": "Threads of a process that hear songs: some decode while one has the accelerator."},
    )
    block_frames: int = field(
        default=32_768, metadata={"help": "Frames of songs that are scored at a time; more take more memory."}
    )
    block_texts: int = field(default=512, metadata={"help": "Texts that are scored at a time."})
    use_cpu: bool = field(default=False, metadata={"help": "Leave a GPU alone."})

    def __post_init__(self) -> None:
        for name in ("num_workers", "block_frames", "block_texts"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name} must be at least 1, got {getattr(self, name)}.")


def main(arguments: list[str] | None = None) -> EvaluationResult | None:
    """Evaluates a model on a set; returns the result in the main process, None in others."""
    names = max(map(len, SETS))
    listing = "\n".join(f"    {name:<{names}}  {entry.summary}" for name, entry in SETS.items())
    parser = HfArgumentParser(
        (SetArguments, EvaluateArguments),
        usage="accelerate launch examples/evaluate.py --set NAME --data_dir FOLDER --model_name_or_path MODEL "
        "--output_dir FOLDER [arguments]",
        description=f"{__doc__}\nSets:\n\n{listing}\n",
        formatter_class=HelpFormatter,
    )
    which, how = parser.parse_args_into_dataclasses(arguments)
    if which.describe is not None:
        print(describe(which.describe))
        return None
    if which.compare:
        results = [EvaluationResult.load(file) for file in which.compare]
        for direction, title in DIRECTIONS.items():
            print(f"{title}\n\n{compare(results, direction)}\n")
        return None
    for name in ("model_name_or_path", "output_dir"):
        if getattr(how, name) is None:
            raise ValueError(f"Give --{name}.")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # On CPUs Accelerate joins processes only if it is told that CPUs are meant.
    state = PartialState(cpu=how.use_cpu or not torch.accelerator.is_available(), timeout=MAX_WAIT)
    with state.main_process_first():  # some sets write files of audio, which the others then find
        evaluation_set = load_set(which)
    if how.one_moment is None:
        how.one_moment = bool(evaluation_set.description.get("one_moment", False))
    retriever = load_retriever(
        how.model_name_or_path,
        state.device,
        how.use_time,
        how.one_moment,
        how.windows,
        how.max_length_s,
        how.truncate_texts,
        how.features,
        load_collap,
    )
    return evaluate(retriever, evaluation_set, which.on_bad_audio, how, state)


def describe(name: str) -> str:
    """Where a set is to be had, under which licence, and its arguments."""
    entry = SETS[name]
    lines = [
        f"{name}: {entry.summary}",
        f"Download: {entry.download}",
        f"Licence: {entry.licence}",
        f"In the paper: {entry.paper_row}",
        f"Where its files go, counts, commands: docs/evaluation_sets.md, the section ({name})",
    ]
    if entry.arguments:
        lines += ["--set_arguments, as NAME=VALUE:"]
        lines += [f"    {argument}: {meaning}" for argument, meaning in entry.arguments.items()]
    return "\n".join(lines)


def load_set(arguments: SetArguments) -> EvaluationSet:
    """
    The songs and texts that the arguments name.

    Raises:
        ValueError: if they name none or two, or an argument that the set does not have; or if songs are missing and
            `on_bad_audio` is `"raise"`.
    """
    if (arguments.set is None) == (arguments.manifest is None):
        raise ValueError("Give --set or --manifest, one of the two.")
    name, data = arguments.set, arguments.data_dir
    if arguments.manifest is not None:
        if data is not None:
            raise ValueError("--data_dir is for a --set; a --manifest says itself where it is.")
        if not Path(arguments.manifest).exists():
            raise ValueError(f"--manifest: there is no file or folder {arguments.manifest}.")
        name, data = "manifest", arguments.manifest
    elif data is None:
        raise ValueError(f"Give --data_dir, the folder of {name}; --describe {name} tells more.")
    options = dict(_parse(argument) for argument in arguments.set_arguments)
    evaluation_set = registry.load_set(name, data, arguments.audio_dir, **options)
    if evaluation_set.missing and arguments.on_bad_audio == "raise":
        raise ValueError(_describe_missing(evaluation_set))
    if arguments.max_songs is not None:
        if arguments.max_songs < 1:
            raise ValueError(f"--max_songs must be at least 1, got {arguments.max_songs}.")
        chosen = list(evaluation_set.songs)[: arguments.max_songs]
        note = f"only the first {len(chosen)} of {len(evaluation_set.songs)} songs were taken (--max_songs)."
        evaluation_set = keep_songs(evaluation_set, chosen, note)
    return evaluation_set


def _describe_missing(evaluation_set: EvaluationSet) -> str:
    missing = evaluation_set.missing
    shown = [f"  {song.path}: {song.reason}" for song in missing[:MAX_SHOWN]]
    if len(missing) > len(shown):
        shown.append(f"  and {len(missing) - len(shown)} more")
    return "\n".join(
        [
            f"{evaluation_set.name}: {len(missing)} of {len(missing) + len(evaluation_set.songs)} songs are missing:",
            *shown,
            "Fewer songs are found more easily. To evaluate without them, and have the result say so, give "
            "--on_bad_audio skip.",
        ]
    )


def _parse(argument: str) -> tuple[str, Any]:
    """`name=value`, in which numbers, true and false are what they say and all else is a string."""
    name, equals, value = argument.partition("=")
    if not equals:
        raise ValueError(f"--set_arguments must be given as NAME=VALUE, got {argument!r}.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def evaluate(
    retriever: Retriever,
    evaluation_set: EvaluationSet,
    on_bad_audio: str,
    arguments: EvaluateArguments,
    state: PartialState,
) -> EvaluationResult | None:
    """Songs to embeddings, embeddings to scores, scores to the result, each on disk in the output folder."""
    started = time.monotonic()
    output = Path(arguments.output_dir)
    retriever.check_texts([text.text for text in evaluation_set.texts])  # before hours of listening
    embedded = embed_songs(
        retriever,
        evaluation_set.songs,
        arguments.embeddings_dir or output / "embeddings",
        state,
        on_bad_audio,
        arguments.num_workers,
    )
    if embedded.missing:
        note = f"{len(embedded.missing)} songs cannot be heard and were left out (--on_bad_audio skip)."
        evaluation_set = keep_songs(evaluation_set, list(embedded.hashes), note, tuple(embedded.missing))
    blocks = output / "blocks"
    scores = score_songs(
        retriever,
        embedded,
        [text.text for text in evaluation_set.texts],
        blocks,
        state,
        block_frames=arguments.block_frames,
        block_texts=arguments.block_texts,
    )
    if scores is None:
        return None
    heard_s, duration_s = zip(*map(embedded.store.seconds, embedded.hashes.values()), strict=True)
    result = EvaluationResult.of(
        scores,
        evaluation_set,
        embedded.hashes,
        heard_s,
        duration_s,
        retriever.name,
        retriever.revision,
        options={
            "use_time": arguments.use_time,
            "one_moment": arguments.one_moment,
            "windows": arguments.windows,
            "max_length_s": arguments.max_length_s,
            "kept_features": arguments.features is not None,
            "truncated_texts": retriever.num_truncated_texts,
            "processes": state.num_processes,
            "device": str(state.device.type),
        },
        seconds=time.monotonic() - started,
    )
    if arguments.save_scores:
        _save_scores(output, scores, evaluation_set)
    result.save(output / "results.json")
    shutil.rmtree(blocks)
    print(result.format())
    if retriever.num_truncated_texts:
        print(f"NOTE: {retriever.num_truncated_texts} different texts were too long for the model and were cut.")
    return result


def _save_scores(folder: Path, scores: np.ndarray, evaluation_set: EvaluationSet) -> None:
    ids = {"texts": [text.id for text in evaluation_set.texts], "songs": list(evaluation_set.songs)}
    temporary = folder / "scores.tmp"
    for name, content in (("scores.json", json.dumps(ids, ensure_ascii=False).encode()), ("scores.npy", scores)):
        with temporary.open("wb") as file:
            if isinstance(content, bytes):
                file.write(content)
            else:
                np.save(file, content)
        os.replace(temporary, folder / name)


if __name__ == "__main__":
    main()
