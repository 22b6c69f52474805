# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Does the attention's weight fall on the section that a sentence describes?

    python -m benchmarks.long_form.attention --benchmark_dir benchmark-small

For some songs of a split and each wording of their captions it measures, of the temporal attention and of its product
with the kernel-wise one, the share of the weight inside the section that the sentence describes, and how often the
largest weight lies there. Beside it stand two levels of chance: the section's share of the song (even attention), and
the same sentences over ANOTHER song, at the same place of it in relative time: what the model expects of the time
alone. Sentences on the whole song are left out. A model that has one vector for a whole caption attends to no section
of it; it is measured with queries on one section, as the others are too. It writes attention.json and pictures of one
song.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm.auto import tqdm

from collap import CollapAudioOutput, CollapModel, CollapProcessor, CollapTextOutput
from collap.baselines.mean_pooling import MeanPoolingCollap
from collap.evaluation.localization import frame_weights, kernel_mass_at_boundaries, mass_inside, peak_inside
from collap.evaluation.plots import plot_frame_attention
from collap.evaluation.retrievers import CollapTexts
from collap.files import markdown_table, this_command, write_json
from collap.modeling_collap.scoring_collap import mean_over_sentences

from ..pipeline import Pipeline
from ..questions import Song, read_songs
from ..rank import embed_songs, embed_texts, load_model
from ..tables import with_intervals

# Wordings by what is added to the columns "text", "query" and "sentences".
WORDINGS = {"seen": "", "new": "_new", "paraphrase": "_paraphrase"}
WITH_TIME, WITHOUT_TIME, SECTIONS = "sentences", "sentences, without time", "one-section queries"
COLUMNS = {
    "temporal": "β inside",  # share of the temporal attention inside the section
    "frames": "αβ inside",  # share of the product with the kernel-wise attention, frame by frame
    "even": "section's share",
    "other_song": "β, another song",
    "temporal_peak": "β peak inside",  # how often the middle of the largest weight lies inside
    "frame_peak": "αβ peak inside",
    "kernel": "α at boundaries",  # on the right side, in segments that a boundary of the section cuts
    "kernel_even": "even α there",
}


@dataclass
class Texts:
    """
    The texts of some songs, in one way of querying.

    Args:
        rows (`list[list[str]]`): Of each song the texts whose attention is measured: sentences, or whole queries.
        spans_s (`list[list[tuple[float, float] | None]]`): Start and end of what each of those describes, or None.
        embedded (`CollapTexts`): One text a song, whose queries are those rows.
        use_time (`bool`): Whether it counts when a sentence stands in its text.
    """

    rows: list[list[str]]
    spans_s: list[list[tuple[float, float] | None]]
    embedded: CollapTexts
    use_time: bool


@dataclass(frozen=True)
class Attention:
    """Attentions of the rows over one song, `(S, L, K)` and `(S, L)`, and the times of its frames and segments."""

    kernel: np.ndarray
    temporal: np.ndarray
    frame_times: np.ndarray
    segment_times: np.ndarray


def ways_of(model: CollapModel) -> list[str]:
    """The ways of querying that a model has."""
    if isinstance(model, MeanPoolingCollap):
        raise ValueError(f"models: {model.config._name_or_path} takes the mean of all frames: it has no attention.")
    if model.config.text_granularity == "document":
        return [SECTIONS]
    return [WITH_TIME, WITHOUT_TIME, SECTIONS] if model.config.temporal_position else [WITHOUT_TIME, SECTIONS]


def make_texts(model: CollapModel, processor: CollapProcessor, songs: Sequence[Song], wording: str, way: str) -> Texts:
    """The texts of songs in one of the ways of [`ways_of`]."""
    if way == SECTIONS:
        return section_texts(model, processor, songs, wording)
    sentences = [song[f"text{WORDINGS[wording]}"] for song in songs]
    embedded, _ = embed_texts(model, processor, sentences)
    spans = [spans_of(song, wording) for song in songs]
    return Texts(sentences, spans, CollapTexts(embedded), use_time=way == WITH_TIME)


def section_texts(model: CollapModel, processor: CollapProcessor, songs: Sequence[Song], wording: str) -> Texts:
    """A query on each section, pooled as in `score(..., section_query=True)`."""
    queries = [[section[f"query{WORDINGS[wording]}"] for section in song["sections"]] for song in songs]
    spans = [[(section["start_s"], section["end_s"]) for section in song["sections"]] for song in songs]
    output, _ = embed_texts(model, processor, [sentences for of_song in queries for sentences in of_song])
    pooled = mean_over_sentences(output.query_embeds.float().T, output.sentence_counts).T  # (sections, d)
    embedded = CollapTextOutput(
        query_embeds=torch.nn.functional.normalize(pooled, dim=-1),
        sentence_counts=torch.tensor([len(of_song) for of_song in queries], device=pooled.device),
    )
    rows = [[" ".join(sentences) for sentences in of_song] for of_song in queries]
    return Texts(rows, spans, CollapTexts(embedded), use_time=False)


def spans_of(song: Song, wording: str) -> list[tuple[float, float] | None]:
    """Start and end of the section that each sentence of a caption describes; None where it describes the song."""
    spans: list[tuple[float, float] | None] = [None] * len(song[f"text{WORDINGS[wording]}"])
    for section in song["sections"]:
        for sentence in section[f"sentences{WORDINGS[wording]}"]:
            spans[sentence] = (section["start_s"], section["end_s"])
    return spans


@torch.inference_mode()
def attend(model: CollapModel, audio: CollapAudioOutput, song: int, texts: Texts, text: int) -> Attention:
    """The attentions of a text over a song of the batch, without the padding."""
    count = int(audio.frame_mask[song].sum())
    alone = CollapAudioOutput(
        last_hidden_state=audio.last_hidden_state[song : song + 1, :count],
        frame_mask=audio.frame_mask[song : song + 1, :count],
    )
    attention = model.attend(alone, texts.embedded.select(text, text + 1).output, use_time=texts.use_time)
    return Attention(
        kernel=attention.kernel_attentions[0].double().cpu().numpy(),
        temporal=attention.temporal_attentions[0].double().cpu().numpy(),
        frame_times=model.frame_times(count).numpy(),
        segment_times=model.segment_times(count).numpy(),
    )


def measure(model: CollapModel, audio: CollapAudioOutput, texts: Texts) -> dict[str, Any]:
    """Metrics of all rows that describe a section, in shares, with intervals that come of drawing the songs anew."""
    stride = model.config.kernel_stride
    parts: dict[str, list[np.ndarray]] = {name: [] for name in COLUMNS}
    num_songs = len(texts.rows)
    for song, spans in enumerate(texts.spans_s):
        own = attend(model, audio, song, texts, song)
        frames = frame_weights(own.kernel, own.temporal, stride, len(own.frame_times))
        inside, even = mass_inside(own.temporal, own.segment_times, spans)
        kernel, kernel_even = kernel_mass_at_boundaries(own.kernel, stride, own.frame_times, spans)
        other = attend(model, audio, (song + 1) % num_songs, texts, song)
        longer = other.segment_times[-1, 1] / own.segment_times[-1, 1]
        there = [None if span is None else (span[0] * longer, span[1] * longer) for span in spans]
        found = {
            "temporal": inside,
            "frames": mass_inside(frames, own.frame_times, spans)[0],
            "even": even,
            "other_song": mass_inside(other.temporal, other.segment_times, there)[0],
            "temporal_peak": peak_inside(own.temporal, own.segment_times, spans),
            "frame_peak": peak_inside(frames, own.frame_times, spans),
            "kernel": kernel,
            "kernel_even": kernel_even,
        }
        for name, values in found.items():
            parts[name].append(values)
    song_of_row = np.repeat(np.arange(num_songs), [len(spans) for spans in texts.spans_s])
    values = {name: np.concatenate(of_songs) for name, of_songs in parts.items()}
    metrics: dict[str, Any] = {"num_songs": num_songs}
    for names in (("kernel", "kernel_even"), [name for name in COLUMNS if not name.startswith("kernel")]):
        there = ~np.isnan(values[names[0]])
        if there.any():  # else no boundary cuts a segment
            metrics |= with_intervals({name: values[name][there] for name in names}, song_of_row[there])
        metrics["num_boundary_sentences" if names[0] == "kernel" else "num_sentences"] = int(there.sum())
    return metrics


def draw(
    model: CollapModel, audio: CollapAudioOutput, songs: Sequence[Song], song: int, texts: Texts, path: Path
) -> None:
    """Both attentions of one song."""
    own = attend(model, audio, song, texts, song)
    plot_frame_attention(
        path,
        own.kernel,
        own.temporal,
        model.config.kernel_stride,
        own.frame_times,
        texts.rows[song],
        sections=[(section["start_s"], section["end_s"], section["label"]) for section in songs[song]["sections"]],
        true_spans_s=texts.spans_s[song],
        title=f"Attention of {Path(str(model.config._name_or_path)).name} over {Path(songs[song]['audio']).name}",
    )


def format_table(models: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A Markdown table, in percent, of the shares with their intervals."""
    names = [name for name in COLUMNS if name not in ("even", "kernel_even")]
    lines = [["model", "queries", "wording", "section's share", *(COLUMNS[name] for name in names), "even α there"]]
    for model, ways in models.items():
        for way, wordings in ways.items():
            for wording, metrics in wordings.items():
                cells = [_cell(metrics, "even"), *(_cell(metrics, name) for name in names)]
                lines.append([model, way, wording, *cells, _cell(metrics, "kernel_even")])
    return markdown_table(lines)


def _cell(metrics: dict[str, Any], name: str) -> str:
    if name not in metrics:
        return ""
    value, (lower, upper) = metrics[name]["value"], metrics[name]["interval"]
    if "even" in name:
        return f"{100 * value:.0f}"
    return f"{100 * value:.0f} ({100 * lower:.0f} to {100 * upper:.0f})"


def select_songs(manifest: Path, num_songs: int, wordings: Sequence[str]) -> list[Song]:
    """
    The first songs of a split.

    Raises:
        ValueError: if it has fewer, or none of them has a wording.
    """
    songs = read_songs(manifest)
    if not 2 <= num_songs <= len(songs):
        raise ValueError(f"num_songs must lie in 2 ... {len(songs)}, the songs of {manifest}; got {num_songs}.")
    missing = [wording for wording in wordings if f"text{WORDINGS[wording]}" not in songs[0]]
    if missing:
        raise ValueError(f"wordings: the songs of {manifest} have no captions in the wording {', '.join(missing)}.")
    return songs[:num_songs]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark_dir", type=Path, required=True, help="folder of python -m benchmarks.long_form")
    parser.add_argument("--models", nargs="+", default=["ours-0", "document-0"], help="names in its folder models/")
    parser.add_argument("--split", default="content", help="of its corpus (default: %(default)s)")
    parser.add_argument("--num_songs", type=int, default=100, help="the first of the split (default: %(default)s)")
    parser.add_argument("--wordings", nargs="+", choices=list(WORDINGS), default=list(WORDINGS), help="default: all")
    parser.add_argument("--picture_song", type=int, default=0, help="its number among them (default: %(default)s)")
    parser.add_argument("--picture_wording", choices=list(WORDINGS), default="new", help="default: %(default)s")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: %(default)s)")
    parser.add_argument("--output_dir", type=Path, help="default: attention in the folder of --benchmark_dir")
    given = parser.parse_args(arguments)
    benchmark, out = Pipeline(given.benchmark_dir), given.output_dir or given.benchmark_dir / "attention"
    if not 0 <= given.picture_song < given.num_songs:
        parser.error(f"--picture_song must lie in 0 ... {given.num_songs - 1}, got {given.picture_song}.")
    torch.set_num_threads(1)
    wordings = list(dict.fromkeys([*given.wordings, given.picture_wording]))
    songs = select_songs(benchmark.manifest(given.split), given.num_songs, wordings)
    out.mkdir(parents=True, exist_ok=True)

    models: dict[str, dict[str, dict[str, Any]]] = {}
    for name in given.models:
        model, processor = load_model(benchmark.model(name), given.device)
        ways = ways_of(model)
        audio = embed_songs(model, processor, songs, benchmark.features)
        models[name] = {}
        for way in tqdm(ways, desc=name, unit="way"):
            models[name][way] = {
                wording: measure(model, audio, make_texts(model, processor, songs, wording, way))
                for wording in given.wordings
            }
        for way in {ways[0], SECTIONS}:
            texts = make_texts(model, processor, songs, given.picture_wording, way)
            path = out / f"{name}-{'sections' if way == SECTIONS else 'sentences'}.png"
            draw(model, audio, songs, given.picture_song, texts, path)
            tqdm.write(f"{path}")
    result = {"command": this_command(), "split": given.split, "num_songs": given.num_songs, "models": models}
    write_json(out / "attention.json", result)
    print(format_table(models))


if __name__ == "__main__":
    main()
