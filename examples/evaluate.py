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

import logging
import sys

import torch
from accelerate import PartialState
from transformers import HfArgumentParser

from collap.baselines.mean_pooling import load_collap
from collap.cli import HelpFormatter
from collap.data.sets.registry import SETS
from collap.encode import MAX_WAIT
from collap.evaluation.evaluate import EvaluateArguments, SetArguments, describe, evaluate, load_set
from collap.evaluation.result import DIRECTIONS, EvaluationResult, compare
from collap.evaluation.retrievers import load_retriever


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
    if how.section_query is None:
        how.section_query = bool(evaluation_set.description.get("section_query", False))
    retriever = load_retriever(
        how.model_name_or_path,
        state.device,
        how.use_time,
        how.section_query,
        how.windows,
        how.max_length_s,
        how.truncate_texts,
        how.features,
        load_collap,
    )
    return evaluate(retriever, evaluation_set, which.on_bad_audio, how, state)


if __name__ == "__main__":
    main()
