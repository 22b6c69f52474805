# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
How much the numbers of the attention matter: kernel size and stride, gamma_K and gamma_T, both temperatures.

    python -m benchmarks.long_form.sensitivity --benchmark_dir benchmark-small

A trained model is scored with other numbers, on the VALIDATION songs (choices are made there): recall@1 and loss of
whole captions and of queries on one section. One picture of heat maps each; the frame marks the numbers of the
training. The model has adapted to those, so the maps say how exactly they must be met when scoring, not which numbers
to train with. Ranks depend on the ratio of gamma_K and gamma_T, the loss on their sizes too; queries on one section
use the temporal alignment alone. The loss is that of all songs at once, not of a batch.

Other numbers in training are asked for with --train (kernel sizes, and strides as large) and --frame_pooling (lengths
of a frame in encoder vectors of 0.02 s, for which the songs are encoded again; segments last as long as before): each
setting is a row of the table, trained with the benchmark's recipe of the model and scored as trained. Steps that are
done are cached.
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from collap import CollapAudioOutput, CollapModel, CollapProcessor, CollapTextOutput
from collap.files import markdown_table, this_command, write_json
from collap.metrics import query_metrics
from collap.modeling_collap.loss_collap import symmetric_loss

from ..pipeline import Experiment
from ..questions import Song, read_songs
from ..rank import embed_songs, embed_texts, load_model
from ..tables import draw_heat_maps, with_intervals

METRICS = {
    "caption_recall@1": "captions, recall@1 (%)",
    "caption_loss": "captions, loss",
    "section_recall@1": "one-section queries, recall@1 (%)",
    "section_loss": "one-section queries, loss",
}
RANKS = ("recall@1", "recall@10", "mrr")


@dataclass(frozen=True)
class Sweep:
    """Two fields of the configuration, rows and columns of a heat map, and the values that they take."""

    name: str
    rows: tuple[str, str]  # field and title
    columns: tuple[str, str]
    values: tuple[float, ...]

    def axes(self, model: CollapModel) -> tuple[list[float], list[float]]:
        """Values of rows and of columns, with those that the model was trained with."""
        return tuple(sorted({*self.values, getattr(model.config, field)}) for field, _ in (self.rows, self.columns))


SWEEPS = (
    Sweep("kernel", ("kernel_size", "kernel size (frames)"), ("kernel_stride", "stride (frames)"), (1, 2, 4, 8, 16)),
    Sweep(
        "fusion",
        ("kernel_weight", "gamma_K, weight of the global alignment"),
        ("temporal_weight", "gamma_T, weight of the temporal alignment"),
        (0, 0.25, 0.5, 0.75, 1),
    ),
    Sweep(
        "temperatures",
        ("kernel_temperature", "kernel temperature"),
        ("temporal_temperature", "temporal temperature"),
        (0.01, 0.03, 0.1, 0.3, 1),
    ),
)


@dataclass(frozen=True)
class Gallery:
    """Embedded songs, their captions and their one-section queries."""

    audio: CollapAudioOutput
    captions: CollapTextOutput
    queries: CollapTextOutput
    query_songs: list[int]


def make_gallery(model: CollapModel, processor: CollapProcessor, songs: Sequence[Song], features: Path) -> Gallery:
    """Songs, captions and queries in the wording of the training."""
    queries = [(place, section["query"]) for place, song in enumerate(songs) for section in song["sections"]]
    return Gallery(
        audio=embed_songs(model, processor, songs, features),
        captions=embed_texts(model, processor, [song["text"] for song in songs])[0],
        queries=embed_texts(model, processor, [sentences for _, sentences in queries])[0],
        query_songs=[place for place, _ in queries],
    )


@contextmanager
def with_settings(model: CollapModel, settings: dict[str, float]) -> Iterator[None]:
    """The model scores with other numbers in this block; they are checked as in a configuration."""
    before = {name: getattr(model.config, name) for name in settings}
    try:
        for name, value in settings.items():
            setattr(model.config, name, value)
        model.config.validate_collap()
        yield
    finally:
        for name, value in before.items():
            setattr(model.config, name, value)


@torch.inference_mode()
def measure(model: CollapModel, gallery: Gallery) -> dict[str, Any]:
    """Metrics of captions and of section queries, as the model's configuration is now."""
    found: dict[str, Any] = {}
    own = list(range(gallery.audio.frame_mask.shape[0]))
    for kind, texts, targets, section_query in (
        ("caption", gallery.captions, own, False),
        ("section", gallery.queries, gallery.query_songs, True),
    ):
        logits = model.score(gallery.audio, texts, section_query=section_query)  # (songs, texts)
        positives = torch.tensor(own)[:, None] == torch.tensor(targets)
        # The loss over all songs at once, a gallery in place of a batch.
        found[f"{kind}_loss"] = symmetric_loss(logits.cpu(), positives).item()
        of_queries = query_metrics(logits.T.cpu().numpy(), targets)
        metrics = with_intervals({name: of_queries[name] for name in RANKS}, targets)
        found |= {f"{kind}_{name}": value for name, value in metrics.items()}
        found |= {f"{kind}_num_queries": len(targets), f"{kind}_gallery_size": len(own)}
    return found


def sweep(model: CollapModel, gallery: Gallery, plan: Sweep) -> dict[str, Any]:
    """
    Metrics for each pair of values; None for a pair that no model can have (both gammas 0).

    Returns:
        `dict[str, Any]`: for JSON: fields, values, the trained values, and `cells`, a list of rows of metrics.
    """
    rows, columns = plan.axes(model)
    (row_field, _), (column_field, _) = plan.rows, plan.columns
    cells: list[list[dict[str, Any] | None]] = []
    with tqdm(total=len(rows) * len(columns), desc=plan.name, unit="setting") as progress:
        for row in rows:
            cells.append([])
            for column in columns:
                possible = plan.name != "fusion" or row + column > 0
                found = None
                if possible:
                    with with_settings(model, {row_field: row, column_field: column}):
                        found = measure(model, gallery)
                cells[-1].append(found)
                progress.update()
    return {
        "rows": {"field": row_field, "values": rows, "trained": getattr(model.config, row_field)},
        "columns": {"field": column_field, "values": columns, "trained": getattr(model.config, column_field)},
        "cells": cells,
    }


def value_of(found: dict[str, Any] | None, name: str) -> float:
    """One of `METRICS` of a cell: recall in percent; NaN where there is none."""
    if found is None:
        return float("nan")
    return 100 * found[name]["value"] if "recall" in name else found[name]


def draw(plan: Sweep, result: dict[str, Any], model_name: str, path: Path) -> None:
    """The heat maps of a sweep in one picture."""
    rows, columns = result["rows"], result["columns"]
    draw_heat_maps(
        path,
        {
            title: np.array([[value_of(found, name) for found in row] for row in result["cells"]])
            for name, title in METRICS.items()
        },
        row_title=plan.rows[1],
        column_title=plan.columns[1],
        row_labels=[f"{value:g}" for value in rows["values"]],
        column_labels=[f"{value:g}" for value in columns["values"]],
        marked=(rows["values"].index(rows["trained"]), columns["values"].index(columns["trained"])),
        lower_is_better=[title for name, title in METRICS.items() if "loss" in name],
        title=f"{model_name}, trained once, scored with other numbers; the frame marks those of the training",
    )


def format_sweep(plan: Sweep, result: dict[str, Any]) -> str:
    """A Markdown table of a sweep: recall@1 of captions / of one-section queries."""
    columns = result["columns"]["values"]
    lines = [[f"{plan.rows[0]} \\ {plan.columns[0]}", *(f"{value:g}" for value in columns)]]
    for value, row in zip(result["rows"]["values"], result["cells"], strict=True):
        pairs = [[value_of(found, f"{kind}_recall@1") for kind in ("caption", "section")] for found in row]
        lines.append(
            [f"{value:g}", *("" if np.isnan(pair).any() else "{:.1f} / {:.1f}".format(*pair) for pair in pairs)]
        )
    return markdown_table(lines)


def settings_to_train(
    recipe: Mapping[str, str], kernel_sizes: Sequence[int], frame_poolings: Sequence[int]
) -> dict[str, dict[str, int]]:
    """Fields of the configuration by the name of the row; segments last as long with other frames."""
    pooling, kernel = int(recipe["frame_pooling"]), int(recipe["kernel_size"])
    found = {f"kernel of {size} frames": {"frame_pooling": pooling, "kernel_size": size} for size in kernel_sizes}
    for other in frame_poolings:
        size = max(1, round(kernel * pooling / other))
        found[f"frames of {0.02 * other:g} s"] = {"frame_pooling": other, "kernel_size": size}
    return {name: {**fields, "kernel_stride": fields["kernel_size"]} for name, fields in found.items()}


def train(experiment: Experiment, model: str, settings: Mapping[str, dict[str, int]]) -> dict[str, tuple[Path, Path]]:
    """
    Encodes the songs and trains the models that are not there yet.

    Returns:
        `dict[str, tuple[Path, Path]]`: The folders of the model and of its features, by the names in `settings`.
    """
    row, _, seed = model.rpartition("-")
    recipe = experiment.recipe(model)
    features = {int(recipe["frame_pooling"]): experiment.features}
    extraction, training, folders = [], [], {}
    for title, fields in settings.items():
        pooling = fields["frame_pooling"]
        if pooling not in features:
            features[pooling] = experiment.folder / f"features-{pooling}"
            manifests = [experiment.manifest(split) for split in ("train", "validation")]
            arguments = experiment.towers() | {"frame_pooling": pooling}
            title_of_step = f"Frames of {0.02 * pooling:g} s"
            extraction.append(
                experiment.extract(manifests, arguments, (), features[pooling], f"extract-{pooling}", title_of_step)
            )
        name = f"{row}-pooling-{pooling}-kernel-{fields['kernel_size']}"
        training.append(experiment.train_like(row, int(seed), name, title, fields | {"features": features[pooling]}))
        folders[title] = (experiment.model(f"{name}-{seed}"), features[pooling])
    experiment.run(extraction, at_once=1)
    experiment.run(training)
    return folders


def format_trainings(rows: dict[str, dict[str, Any]]) -> str:
    """A Markdown table with a row a training."""
    lines = [["trained with", "captions R@1", "loss", "one-section R@1", "loss"]]
    for title, found in rows.items():
        cells = []
        for kind in ("caption", "section"):
            recall = found[f"{kind}_recall@1"]
            lower, upper = (100 * end for end in recall["interval"])
            cells += [f"{100 * recall['value']:.1f} ({lower:.1f} to {upper:.1f})", f"{found[f'{kind}_loss']:.3f}"]
        lines.append([title, *cells])
    return markdown_table(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="folder of python -m benchmarks.long_form")
    parser.add_argument("--model", default="ours-0", help="its name in the folder models/ (default: %(default)s)")
    parser.add_argument(
        "--num_songs", type=int, default=None, help="the first so many validation songs (default: all of them)"
    )
    parser.add_argument(
        "--sweeps",
        nargs="*",
        choices=[plan.name for plan in SWEEPS],
        default=[plan.name for plan in SWEEPS],
        help="which numbers to change without training; none if nothing is named (default: all)",
    )
    parser.add_argument(
        "--train",
        type=int,
        nargs="*",
        metavar="KERNEL_SIZE",
        help="train with these kernel sizes (default: 1 2 4 8 16)",
    )
    parser.add_argument(
        "--frame_pooling",
        type=int,
        nargs="*",
        default=[],
        metavar="VECTORS",
        help="train with frames of so many encoder vectors of 0.02 s, and segments of the same seconds; 32 128, say",
    )
    parser.add_argument("--num_epochs", type=int, help="of these trainings, in place of the benchmark's")
    parser.add_argument("--num_processes", type=int, default=1, help="trainings at a time (default: %(default)s)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--output_dir", type=Path, help="default: sensitivity in the folder of --benchmark_dir")
    given = parser.parse_args(arguments)
    out = given.output_dir or given.benchmark_dir / "sensitivity"
    experiment = Experiment(given.benchmark_dir, out, given.num_processes, given.device, given.num_epochs)
    torch.set_num_threads(1)
    songs = read_songs(experiment.manifest("validation"))
    if given.num_songs is not None and not 2 <= given.num_songs <= len(songs):
        parser.error(f"--num_songs must lie in 2 ... {len(songs)}, the validation songs; got {given.num_songs}.")
    songs = songs[: given.num_songs]
    out.mkdir(parents=True, exist_ok=True)
    protocol = {"command": this_command(), "model": given.model, "split": "validation", "num_songs": len(songs)}

    if given.sweeps:
        model, processor = load_model(experiment.benchmark.model(given.model), given.device)
        gallery = make_gallery(model, processor, songs, experiment.features)
        sweeps: dict[str, Any] = {}
        for plan in SWEEPS:
            if plan.name in given.sweeps:
                found = sweep(model, gallery, plan)
                sweeps[plan.name] = found
                draw(plan, found, given.model, out / f"{plan.name}.png")
                print(f"\nrecall@1 (%) of captions / one-section queries\n\n{format_sweep(plan, found)}", flush=True)
        write_json(out / "sweeps.json", protocol | {"as_trained": measure(model, gallery), "sweeps": sweeps})

    kernel_sizes = [1, 2, 4, 8, 16] if given.train == [] else given.train or []
    if kernel_sizes or given.frame_pooling:
        settings = settings_to_train(experiment.recipe(given.model), kernel_sizes, given.frame_pooling)
        rows: dict[str, Any] = {}
        for name, (folder, features) in train(experiment, given.model, settings).items():
            model, processor = load_model(folder, given.device)
            rows[name] = {**settings[name], **measure(model, make_gallery(model, processor, songs, features))}
        print(f"\n{format_trainings(rows)}")
        write_json(out / "trainings.json", protocol | {"trainings": rows})


if __name__ == "__main__":
    main()
