# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
How well a model finds the songs of a manifest by their texts, and the texts by their songs.

    accelerate launch examples/evaluate_retrieval.py --manifest songs.jsonl --model_name_or_path my-collap \
        --output_dir results/my-collap

The model is a CoLLAP (or one with mean pooling, or a LoRA adapter), or a `ClapModel`, `PeAudioModel` or
`PeAudioFrameLevelModel` of transformers. A public set is converted to a manifest first: examples/prepare_data.py;
docs/evaluation.md has the commands for the rows of CoLLAP's paper.

`results.json` in the output folder holds the metrics with their intervals, and how they were made: which songs and
texts, how much of each song was encoded, what was missing, the revision of the model, the command. recall@k is left
out where k is not smaller than the gallery. If the set says where in a song its texts are right, a model of frames is
evaluated on moments, too.

Encoded songs are cached in `--cache_dir`, so the same command after an interruption, or another one with that folder,
does not encode them again. One process is enough (`python examples/evaluate_retrieval.py ...`). Several split the
work, and the result is that of one; on CPUs start them by `torchrun --nproc_per_node 2 examples/evaluate_retrieval.py
...`.

    python examples/evaluate_retrieval.py --compare A/results.json B/results.json

compares models on the same songs: their metrics, and the differences of the same queries with intervals.
"""

import logging
import sys

import torch
from accelerate import PartialState
from transformers import HfArgumentParser

from collap.cli import HelpFormatter, run_script
from collap.encode import MAX_WAIT
from collap.evaluation.evaluate import EvaluationArguments, evaluate, load_set
from collap.evaluation.result import DIRECTIONS, EvaluationResult, compare
from collap.evaluation.retrievers import load_retriever


def main(arguments: list[str] | None = None) -> EvaluationResult | None:
    """Evaluates a model; returns the result in the main process, None in others."""
    parser = HfArgumentParser(EvaluationArguments, description=__doc__, formatter_class=HelpFormatter)
    (given,) = parser.parse_args_into_dataclasses(arguments)
    if given.compare:
        results = [EvaluationResult.load(file) for file in given.compare]
        titles = DIRECTIONS | ({"moments": "moments"} if all(result.moments for result in results) else {})
        for direction, title in titles.items():
            print(f"{title}\n\n{compare(results, direction)}\n")
        return None
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    # On CPUs Accelerate joins processes only if it is told that CPUs are meant.
    state = PartialState(cpu=given.use_cpu or not torch.accelerator.is_available(), timeout=MAX_WAIT)
    evaluation_set = load_set(given)
    if given.section_query is None:
        given.section_query = evaluation_set.section_query
    retriever = load_retriever(
        given.model_name_or_path,
        state.device,
        given.use_time,
        given.section_query,
        given.windows,
        given.max_length_s,
        given.truncate_texts,
        given.features,
        given.precision,
    )
    result = evaluate(retriever, evaluation_set, given, state)
    if result is not None:
        print(result.format())
    return result


if __name__ == "__main__":
    run_script(main)
