# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
How much the numbers of the attention matter: kernel size and stride, gamma_K and gamma_T, both temperatures.

    python -m benchmarks.long_form.sensitivity --benchmark_dir benchmark-small

A trained model is scored with other numbers, on the VALIDATION songs (choices are made there): recall@1 and loss of
whole captions and of queries on one section. One picture of heat maps each; the frame marks the numbers of the
training. The model has adapted to those, so the maps say how exactly they must be met when scoring, not which numbers
to train with. Ranks depend on the ratio of gamma_K and gamma_T, the loss on their sizes too; queries on one section
use the temporal alignment alone. The loss is that of all songs at once, not of a batch.

Other numbers in training: --train (kernel sizes, and strides as large) and --frame_pooling (lengths
of a frame in encoder vectors of 0.02 s, for which the songs are encoded again; segments last as long as before): each
setting is a row of the table, trained with the benchmark's recipe of the model and scored as trained. Steps that are
done are cached.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from collap.evaluation.plots import FOUND, INK, save_figure
from collap.evaluation.retrievers import CollapRetriever, CollapTexts, load_retriever
from collap.files import markdown_table, this_command, write_json
from collap.metrics import query_metrics
from collap.modeling_collap.loss_collap import symmetric_loss

from ..pipeline import Experiment, experiment_parser
from ..questions import Query, Song, captions, read_songs, sections
from ..rank import embed_songs, score
from ..tables import with_intervals

METRICS = {
    "caption_recall@1": "captions, recall@1 (%)",
    "caption_loss": "captions, loss",
    "section_recall@1": "one-section queries, recall@1 (%)",
    "section_loss": "one-section queries, loss",
}
MIN_SPAN = 0.1  # of the colours of a heat map, as a part of its largest value
RANKS = ("recall@1", "recall@10", "mrr")


class Sweep(NamedTuple):
    """Two fields of the configuration with their titles, rows and columns of a heat map, and the values of both."""

    rows: tuple[str, str]
    columns: tuple[str, str]
    values: tuple[float, ...]


SWEEPS = {
    "kernel": Sweep(("kernel_size", "kernel size (frames)"), ("kernel_stride", "stride (frames)"), (1, 2, 4, 8, 16)),
    "fusion": Sweep(
        ("kernel_weight", "gamma_K, weight of the global alignment"),
        ("temporal_weight", "gamma_T, weight of the temporal alignment"),
        (0, 0.25, 0.5, 0.75, 1),
    ),
    "temperatures": Sweep(
        ("kernel_temperature", "kernel temperature"),
        ("temporal_temperature", "temporal temperature"),
        (0.01, 0.03, 0.1, 0.3, 1),
    ),
}


class Gallery:
    """The songs of a split as a model encodes them, and their captions and section queries of the seen wording."""

    def __init__(self, retriever: CollapRetriever, songs: Sequence[Song]):
        self.retriever, self.frames = retriever, embed_songs(retriever, songs)
        self.texts: dict[str, tuple[list[Query], CollapTexts]] = {}
        for kind, queries in {"caption": captions("text")(songs), "section": sections("query")(songs)}.items():
            self.texts[kind] = queries, retriever.embed_texts([query.sentences for query in queries])

    def measure(self) -> dict[str, Any]:
        """Metrics of captions and of section queries, as the model's configuration is now."""
        found: dict[str, Any] = {}
        with torch.inference_mode():
            scale = self.retriever.model.logit_scale().item()
        for kind, (queries, texts) in self.texts.items():
            scores = score(self.retriever, self.frames, texts, section_query=kind == "section")  # (texts, songs)
            targets = np.array([query.place for query in queries])
            positives = torch.arange(len(self.frames))[:, None] == torch.from_numpy(targets)
            # The loss over all songs at once, a gallery in place of a batch.
            found[f"{kind}_loss"] = symmetric_loss(scale * torch.from_numpy(scores.T), positives).item()
            of_queries = query_metrics(scores, targets)
            metrics = with_intervals({name: of_queries[name] for name in RANKS}, targets)
            found |= {f"{kind}_{name}": value for name, value in metrics.items()}
        return found

    def sweep(self, plan: Sweep) -> dict[str, Any]:
        """Fields, values, the trained values, and rows of `cells`: metrics, or None if both gammas are 0."""
        config, result = self.retriever.model.config, {}
        for axis, (field, _) in (("rows", plan.rows), ("columns", plan.columns)):
            trained = getattr(config, field)
            result[axis] = {"field": field, "values": sorted({*plan.values, trained}), "trained": trained}
        rows, columns = result.values()
        cells: list[list[dict[str, Any] | None]] = []
        for row in tqdm(rows["values"], unit="row"):
            cells.append([])
            for column in columns["values"]:
                setattr(config, rows["field"], row)
                setattr(config, columns["field"], column)
                possible = config.kernel_weight + config.temporal_weight > 0
                cells[-1].append(self.measure() if possible else None)
        for axis in (rows, columns):
            setattr(config, axis["field"], axis["trained"])
        return result | {"cells": cells}


def draw(plan: Sweep, result: dict[str, Any], model_name: str, path: Path) -> None:
    """The heat maps of a sweep in one picture, with their values in the cells; dark is good in each."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle

    rows, columns = result["rows"], result["columns"]
    size = (2 * (0.72 * len(columns["values"]) + 0.9), 2 * (0.46 * len(rows["values"]) + 1) + 0.4)
    figure = Figure(figsize=size, dpi=150, facecolor="white", layout="constrained")
    trained = columns["values"].index(columns["trained"]), rows["values"].index(rows["trained"])
    for axes, (name, title) in zip(figure.subplots(2, 2).flat, METRICS.items(), strict=True):
        is_loss = "loss" in name
        values = np.full((len(rows["values"]), len(columns["values"])), np.nan)
        for place in np.ndindex(values.shape):
            found = result["cells"][place[0]][place[1]]
            if found is not None:
                values[place] = found[name] if is_loss else 100 * found[name]["value"]
        goodness = -values if is_loss else values
        most = np.nanmax(goodness)
        # Values that hardly differ look alike.
        least = min(np.nanmin(goodness), most - MIN_SPAN * max(np.nanmax(np.abs(values)), 1e-9))
        axes.imshow(goodness, cmap="Blues", vmin=least, vmax=most, aspect="auto")
        for row, column in np.argwhere(~np.isnan(values)):
            dark = goodness[row, column] > least + 0.55 * (most - least)
            text = f"{values[row, column]:.{2 if is_loss else 1}f}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="white" if dark else INK)
        corner = trained[0] - 0.5, trained[1] - 0.5
        axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=FOUND, lw=2.2, clip_on=False, zorder=3))
        axes.set_xticks(range(len(columns["values"])), [f"{value:g}" for value in columns["values"]], fontsize=8)
        axes.set_yticks(range(len(rows["values"])), [f"{value:g}" for value in rows["values"]], fontsize=8)
        axes.tick_params(length=0)
        axes.set_xlabel(plan.columns[1], fontsize=8.5, color=INK)
        axes.set_ylabel(plan.rows[1], fontsize=8.5, color=INK)
        axes.set_title(title, fontsize=10, color=INK)
        axes.spines[:].set_visible(False)
    title = f"{model_name}, trained once, scored with other numbers; the frame marks those of the training"
    figure.suptitle(title, fontsize=10, weight="bold", parse_math=False)
    save_figure(figure, path)


def train(
    experiment: Experiment, row: str, seed: int, kernel_sizes: Sequence[int], frame_poolings: Sequence[int]
) -> dict[str, tuple[dict[str, int], Path, Path]]:
    """Encodes and trains what is missing; fields of the configuration, model and features by the names of the rows."""
    recipe = experiment.recipe(f"{row}-{seed}")
    source = experiment.benchmark.folder / "done" / f"train-{row}-{seed}.json"
    trained, kernel = int(recipe["frame_pooling"]), int(recipe["kernel_size"])
    settings = {f"kernel of {size} frames": (trained, size) for size in kernel_sizes}
    # Segments last as long with other frames.
    settings |= {f"frames of {0.02 * of:g} s": (of, max(1, round(kernel * trained / of))) for of in frame_poolings}
    extraction, training, rows = [], [], {}
    for title, (pooling, size) in settings.items():
        features = experiment.features if pooling == trained else experiment.folder / f"features-{pooling}"
        if pooling != trained:
            manifests = [experiment.manifest(split) for split in ("train", "validation")]
            model = experiment.towers() | {"frame_pooling": pooling}
            extraction.append(experiment.extract(manifests, model, (), features, f"extract-{pooling}", title))
        name = f"{row}-pooling-{pooling}-kernel-{size}"
        fields = {"frame_pooling": pooling, "kernel_size": size, "kernel_stride": size}
        arguments = recipe | fields | {"features": features}
        training.append(experiment.train(f"{name}-{seed}", f"{title}, seed {seed}", arguments, inputs=[source]))
        rows[title] = (fields, experiment.model(f"{name}-{seed}"), features)
    experiment.run(extraction, at_once=1)
    experiment.run(training)
    return rows


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
    parser = experiment_parser(__doc__)
    parser.add_argument("--row", default="ours", help="of the benchmark; its first seed (default: %(default)s)")
    sweeps = {"nargs": "*", "choices": list(SWEEPS), "default": list(SWEEPS)}
    parser.add_argument("--sweeps", **sweeps, help="numbers to change without training (default: all)")
    parser.add_argument("--train", type=int, nargs="*", default=[], help="train with these kernel sizes")
    parser.add_argument(
        "--frame_pooling", type=int, nargs="*", default=[], help="train with frames of so many encoder vectors"
    )
    given = parser.parse_args(arguments)
    experiment = Experiment(given, "sensitivity")
    out, row, seed = experiment.folder, given.row, given.seeds[0]
    model = f"{row}-{seed}"
    torch.set_num_threads(1)
    songs = read_songs(experiment.manifest("validation"))
    out.mkdir(parents=True, exist_ok=True)
    protocol = {"command": this_command(), "model": model, "split": "validation", "num_songs": len(songs)}

    def make_gallery(model: Path, features: Path) -> Gallery:
        options = {"features": features, "truncate_texts": True}
        return Gallery(load_retriever(str(model), given.device, **options), songs)

    if given.sweeps:
        gallery, found = make_gallery(experiment.benchmark.model(model), experiment.features), {}
        for name in given.sweeps:
            found[name] = gallery.sweep(SWEEPS[name])
            draw(SWEEPS[name], found[name], model, out / f"{name}.png")
        write_json(out / "sweeps.json", protocol | {"as_trained": gallery.measure(), "sweeps": found})
    if given.train or given.frame_pooling:
        rows = train(experiment, row, seed, given.train, given.frame_pooling)
        found = {name: fields | make_gallery(*folders).measure() for name, (fields, *folders) in rows.items()}
        print(f"\n{format_trainings(found)}")
        write_json(out / "trainings.json", protocol | {"trainings": found})
    print(f"\nThe metrics and pictures are in {out}.")


if __name__ == "__main__":
    main()
