# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
What the experiments share: a folder that the long-form benchmark has left, its models, songs, texts and ranks.

Such a folder holds `corpus/{split}.jsonl`, `features/` (the frames of the frozen encoders) and `models/{row}-{seed}/`;
`benchmarks/long_form/run.py --output_dir FOLDER` makes it, and leaves in `done/` the command of each of its steps.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoProcessor

from collap import CollapModel, CollapProcessor
from collap.files import write_json
from collap.metrics import bootstrap_intervals, query_metrics

EXAMPLES = Path(__file__).resolve().parents[1]
BENCHMARK = EXAMPLES.parent / "benchmarks" / "long_form"
sys.path += [str(EXAMPLES), str(EXAMPLES / "baselines"), str(EXAMPLES / "demo"), str(BENCHMARK)]
from kept_songs import Song, embed_and_count_cut, embed_songs, embed_texts, read_songs  # noqa: E402 - after the path

from collap.baselines.mean_pooling import MeanPoolingCollap, load_collap  # noqa: E402

# Wordings of the corpus by what is added to the columns "text", "query" and "sentences".
WORDINGS = {"seen": "", "new": "_new", "paraphrase": "_paraphrase"}


def load_model(folder: str | Path, device: str | torch.device = "cpu") -> tuple[CollapModel, CollapProcessor]:
    """
    A trained CoLLAP (or mean pooling) in evaluation mode, and its processor.

    Raises:
        ValueError: if there is no model in the folder.
    """
    if not (Path(folder) / "config.json").is_file():
        raise ValueError(
            f"{folder} holds no model: it has no config.json. Train it, with benchmarks/long_form/run.py."
        )
    return load_collap(str(folder)).to(device).eval(), AutoProcessor.from_pretrained(str(folder))


def rank_figures(
    scores: np.ndarray,
    targets: Sequence[int],
    groups: Sequence[int] | None = None,
    names: Sequence[str] = ("recall@1", "recall@10", "median_rank", "mrr"),
) -> dict[str, Any]:
    """
    Figures of ranks with their 95 % intervals.

    Args:
        scores (`np.ndarray` of shape `(queries, songs)`): Higher is better.
        targets (`Sequence[int]`): The right song of each query.
        groups (`Sequence[int]`, *optional*): What queries are drawn together with, such as their song.
        names (`Sequence[str]`): Which of the figures of `query_metrics`.

    Returns:
        `dict[str, Any]`: `{"value", "interval"}` by the names of the figures, `num_queries` and `gallery_size`.
    """
    of_queries = {name: values for name, values in query_metrics(scores, targets).items() if name in names}
    return with_intervals(of_queries, groups) | {"num_queries": len(scores), "gallery_size": scores.shape[1]}


def with_intervals(of_queries: dict[str, np.ndarray], groups: Sequence[int] | None = None) -> dict[str, Any]:
    """Mean (of `median_rank` the median) and 95 % interval of each figure, of its values of single queries."""
    intervals = bootstrap_intervals(of_queries, groups)
    return {
        name: {
            "value": float(np.median(values) if name == "median_rank" else np.mean(values)),
            "interval": list(intervals[name]),
        }
        for name, values in of_queries.items()
    }


def read_command(benchmark_dir: Path, step: str) -> list[str]:
    """
    The command with which the benchmark did one of its steps: its recipe, as it was.

    Raises:
        ValueError: if it has not done that step.
    """
    marker = benchmark_dir / "done" / f"{step}.json"
    if not marker.is_file():
        raise ValueError(f"{benchmark_dir} has not done the step {step!r}: there is no {marker}.")
    return json.loads(marker.read_text(encoding="utf-8"))


def write_result(path: Path, result: dict[str, Any]) -> None:
    """Writes a JSON file, with the command that made it, as a whole or not at all."""
    command = shlex.join(["python", f"examples/experiments/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    write_json(path, {"command": command, **result})


__all__ = [
    "BENCHMARK",
    "EXAMPLES",
    "WORDINGS",
    "MeanPoolingCollap",
    "Song",
    "embed_and_count_cut",
    "embed_songs",
    "embed_texts",
    "load_model",
    "rank_figures",
    "read_command",
    "read_songs",
    "with_intervals",
    "write_result",
]
