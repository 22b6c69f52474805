# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Does the attention's weight fall on the section that a sentence describes?

    python -m benchmarks.long_form.attention --benchmark_dir benchmark-small

For some content songs and each wording of their captions it measures, of the temporal attention and of its product
with the kernel-wise one, the share of the weight inside the section that the sentence describes, and how often the
largest weight lies there. Beside it stand two levels of chance: the section's share of the song (even attention), and
the same sentences over ANOTHER song, at the same place of it in relative time: what the model expects of the time
alone. Sentences on the whole song are left out. A model that has one vector for a whole caption attends to no section
of it; it is measured with queries on one section, as the others are too. It writes attention.json and pictures of the
first song.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from collap import CollapModel, CollapTextOutput
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.evaluation.localization import frame_weights, kernel_mass_at_boundaries, mass_inside, peak_inside
from collap.evaluation.plots import plot_attention
from collap.evaluation.retrievers import CollapRetriever, load_retriever
from collap.files import markdown_table, this_command, write_json
from collap.modeling_collap.scoring_collap import mean_over_sentences

from ..pipeline import Pipeline
from ..questions import Song, described_spans, read_songs
from ..rank import embed_songs
from ..tables import with_intervals

# Wordings by what is added to the columns "text", "query" and "sentences".
WORDINGS = {"seen": "", "new": "_new", "paraphrase": "_paraphrase"}
WITH_TIME, WITHOUT_TIME, SECTIONS = "sentences", "sentences, without time", "one-section queries"
COLUMNS = {
    "even": "section's share",
    "temporal": "β inside",  # share of the temporal attention inside the section
    "frames": "αβ inside",  # share of the product with the kernel-wise attention, frame by frame
    "other_song": "β, another song",
    "temporal_peak": "β peak inside",  # how often the middle of the largest weight lies inside
    "frame_peak": "αβ peak inside",
    "kernel": "α at boundaries",  # on the right side, in segments that a boundary of the section cuts
    "kernel_even": "even α there",
}


@dataclass(frozen=True)
class Texts:
    """The texts of a song, in one way of querying."""

    rows: list[str]  # sentences, or whole queries
    spans_s: list[tuple[float, float] | None]  # start and end of what each row describes
    embedded: CollapTextOutput  # one text whose queries are the rows
    use_time: bool  # whether it counts where a sentence stands in its text
    duration_s: float  # of the song


def ways_of(model: CollapModel) -> list[str]:
    """The ways of querying that a model has."""
    if isinstance(model, MeanPoolingCollap):
        raise ValueError(f"models: {model.config._name_or_path} takes the mean of all frames: it has no attention.")
    if model.config.text_granularity == "document":
        return [SECTIONS]
    return [WITH_TIME, WITHOUT_TIME, SECTIONS] if model.config.temporal_position else [WITHOUT_TIME, SECTIONS]


def make_texts(retriever: CollapRetriever, song: Song, wording: str, way: str) -> Texts:
    """The texts of a song in one of the ways of [`ways_of`]."""
    suffix, sections = WORDINGS[wording], song["sections"]
    if way != SECTIONS:
        sentences, spans = song[f"text{suffix}"], described_spans(song, suffix)
        return Texts(sentences, spans, retriever.embed_texts([sentences]).output, way == WITH_TIME, song["duration_s"])
    times = [(section["start_s"], section["end_s"]) for section in sections]
    queries = [section[f"query{suffix}"] for section in sections]
    output = retriever.embed_texts(queries).output
    # Pooled as in `score(..., section_query=True)`.
    pooled = mean_over_sentences(output.query_embeds.float().T, output.sentence_counts).T  # (sections, d)
    counts = torch.tensor([len(queries)], device=pooled.device)
    embedded = CollapTextOutput(query_embeds=torch.nn.functional.normalize(pooled, dim=-1), sentence_counts=counts)
    return Texts([" ".join(sentences) for sentences in queries], times, embedded, False, song["duration_s"])


@torch.inference_mode()
def attend(retriever: CollapRetriever, frames: np.ndarray, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
    """Kernel-wise `(S, L, K)` and temporal `(S, L)` attention of the texts of a song over the frames of a song."""
    audio = retriever.as_batch([frames])
    attention = retriever.model.attend(audio, texts.embedded, use_time=texts.use_time)
    kernel, temporal = attention.kernel_attentions[0], attention.temporal_attentions[0]
    return kernel.double().cpu().numpy(), temporal.double().cpu().numpy()


def measure(retriever: CollapRetriever, songs: Sequence[np.ndarray], texts: Sequence[Texts]) -> dict[str, Any]:
    """Metrics of all rows that describe a section, in shares, with intervals that come of drawing the songs anew."""
    model, stride = retriever.model, retriever.model.config.kernel_stride
    parts: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    for number, (frames, of_song) in enumerate(zip(songs, texts, strict=True)):
        (kernel, temporal), spans = attend(retriever, frames, of_song), of_song.spans_s
        times = model.frame_times(len(frames), of_song.duration_s).numpy()
        segments = model.segment_times(len(frames), of_song.duration_s).numpy()
        weights = frame_weights(kernel, temporal, stride, len(frames))
        inside, even = mass_inside(temporal, segments, spans)
        at_boundaries, kernel_even = kernel_mass_at_boundaries(kernel, stride, times, spans)
        next_number = (number + 1) % len(songs)
        other = songs[next_number]
        other_segments = model.segment_times(len(other), texts[next_number].duration_s).numpy()
        longer = other_segments[-1, 1] / segments[-1, 1]
        there = [None if span is None else (span[0] * longer, span[1] * longer) for span in spans]
        found = {
            "temporal": inside,
            "frames": mass_inside(weights, times, spans)[0],
            "even": even,
            "other_song": mass_inside(attend(retriever, other, of_song)[1], other_segments, there)[0],
            "temporal_peak": peak_inside(temporal, segments, spans),
            "frame_peak": peak_inside(weights, times, spans),
            "kernel": at_boundaries,
            "kernel_even": kernel_even,
        }
        for name, values in found.items():
            parts[name].append(values)
    song_of_row = np.repeat(np.arange(len(songs)), [len(of_song.rows) for of_song in texts])
    values = {name: np.concatenate(of_songs) for name, of_songs in parts.items()}
    metrics: dict[str, Any] = {"num_songs": len(songs)}
    for names in (("kernel", "kernel_even"), [name for name in COLUMNS if not name.startswith("kernel")]):
        there = ~np.isnan(values[names[0]])
        if there.any():  # else no boundary cuts a segment
            metrics |= with_intervals({name: values[name][there] for name in names}, song_of_row[there])
        metrics["num_boundary_sentences" if names[0] == "kernel" else "num_sentences"] = int(there.sum())
    return metrics


def draw(retriever: CollapRetriever, frames: np.ndarray, song: Song, texts: Texts, path: Path) -> None:
    """Both attentions of one song, as the weight of each frame."""
    model = retriever.model
    plot_attention(
        path,
        frame_weights(*attend(retriever, frames, texts), model.config.kernel_stride, len(frames)),
        model.frame_times(len(frames), song["duration_s"]).numpy(),
        texts.rows,
        sections=[(section["start_s"], section["end_s"], section["label"]) for section in song["sections"]],
        true_spans_s=texts.spans_s,
        spans=[],
        title=f"Attention of {Path(str(model.config._name_or_path)).name} over {Path(song['audio']).name}",
    )


def format_table(models: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A Markdown table, in percent, of the shares with their intervals."""
    lines = [["model", "queries", "wording", *COLUMNS.values()]]
    for model, ways in models.items():
        for way, wordings in ways.items():
            for wording, metrics in wordings.items():
                lines.append([model, way, wording, *(_cell(metrics, name) for name in COLUMNS)])
    return markdown_table(lines)


def _cell(metrics: dict[str, Any], name: str) -> str:
    if name not in metrics:
        return ""
    value, (lower, upper) = metrics[name]["value"], metrics[name]["interval"]
    if "even" in name:
        return f"{100 * value:.0f}"
    return f"{100 * value:.0f} ({100 * lower:.0f} to {100 * upper:.0f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="folder of python -m benchmarks.long_form")
    parser.add_argument("--models", nargs="+", default=["ours-0", "document-0"], help="names in its folder models/")
    parser.add_argument("--num_songs", type=int, default=100, help="the first of the content songs (default: 100)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument("--output_dir", type=Path, help="default: attention in the folder of --benchmark_dir")
    given = parser.parse_args(arguments)
    benchmark, out = Pipeline(given.benchmark_dir), given.output_dir or given.benchmark_dir / "attention"
    torch.set_num_threads(1)
    songs = read_songs(benchmark.manifest("content"))[: given.num_songs]
    out.mkdir(parents=True, exist_ok=True)
    models: dict[str, dict[str, dict[str, Any]]] = {}
    for name in given.models:
        options = {"features": benchmark.features, "truncate_texts": True}
        retriever = load_retriever(str(benchmark.model(name)), given.device, **options)
        model, frames, models[name] = retriever.model, embed_songs(retriever, songs), {}
        for way in tqdm(ways_of(model), desc=name, unit="way"):
            texts = {wording: [make_texts(retriever, song, wording, way) for song in songs] for wording in WORDINGS}
            models[name][way] = {
                wording: measure(retriever, frames, of_wording) for wording, of_wording in texts.items()
            }
            if way != WITHOUT_TIME or not model.config.temporal_position:
                path = out / f"{name}-{'sections' if way == SECTIONS else 'sentences'}.png"
                draw(retriever, frames[0], songs[0], texts["new"][0], path)
                tqdm.write(f"{path}")
    write_json(out / "attention.json", {"command": this_command(), "num_songs": len(songs), "models": models})
    print(format_table(models))


if __name__ == "__main__":
    main()
