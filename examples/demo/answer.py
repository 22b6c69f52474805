# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Answers long queries by `collap search`, and draws the attention of a caption over its song."""

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.questions import described_spans
from collap.cli import main
from collap.evaluation.localization import find_spans
from collap.evaluation.plots import plot_attention
from collap.evaluation.retrievers import CollapRetriever
from collap.metrics import moment_metrics

# Written by hand, in words of their own, each about one song that the model was not trained on (seed 0 of the corpus).
QUERIES = {
    "content/00008.wav": (
        "A restless track in a minor key, and in a hurry. It starts with a marimba tapping out the tune over calm, "
        "long chords of an acoustic guitar, while a slapped bass and a rock beat push it along at a comfortable "
        "volume. Then a trumpet takes over, shining above the broken chords of a choir. The drums begin to swing, an "
        "upright bass walks underneath, a woman speaks, and everything gets loud. For the chorus the marimba comes "
        "back, this time on top of a rippling electric piano. A steady four-on-the-floor beat drives it without any "
        "bass, and the woman is still talking. In the bridge a distorted guitar dominates over the same rippling "
        "electric piano. A marching snare drum and a synth bass keep it going, very loud and with no words at all."
    ),
    "content/00011.wav": (
        "Unhurried and sunny, in a major key. A harmonica sings over a softly pulsing electric piano while a man "
        "speaks, with a rock beat and a synth bass below. A violin then soars above long harpsichord chords without "
        "drums, loud, and a woman is speaking now. The marimba that follows is hushed, over the harpsichord again, "
        "with a march on the snare drum. Next comes a violin with an acoustic guitar that lets its chords ring, a "
        "gentle bossa nova and no bass. After that nobody plays a melody: there are only the steady, quiet chords of "
        "a harp on a four-on-the-floor beat. A flute brings the music back to full volume over long piano chords, "
        "with a slap bass and a rock beat. At the end a marimba plays loudly over short offbeat strings."
    ),
}


def answer(index: Path, text: str, target: str | None = None) -> None:
    """Runs `collap search` for a text, which may be about the song `target`."""
    command = ["search", text, "--index", str(index), "--top", "3"]
    about = f" about {target}" if target else ""
    print(f"\nA query of {len(text.split())} words{about}:\n\ncollap {shlex.join(command)}\n", flush=True)
    main(command)


@torch.inference_mode()
def draw_attention(retriever: CollapRetriever, song: dict[str, Any], frames: np.ndarray, path: Path) -> None:
    """Draws the temporal attention of each sentence of a caption over its song, and the span that is found for it."""
    sentences = song["text_new"]
    texts = retriever.embed_texts([sentences]).output
    attention = retriever.model.attend(retriever.as_batch([frames]), texts)
    weights = attention.temporal_attentions[0].numpy()  # (S, L)
    times = retriever.model.segment_times(len(frames), song["duration_s"]).numpy()  # (L, 2)
    frame_times = retriever.model.frame_times(len(frames), song["duration_s"]).numpy()  # (N, 2)
    truth = described_spans(song, "_new")
    found = find_spans(frames, frame_times, texts.query_embeds.numpy(), in_order=True)
    plot_attention(
        path,
        weights,
        times,
        sentences,
        sections=[(section["start_s"], section["end_s"], section["label"]) for section in song["sections"]],
        true_spans_s=truth,
        spans=found,
        title=f"Temporal attention over {Path(song['audio']).name}, a song that is not in the training songs",
    )
    pairs = [(span, true) for span, true in zip(found, truth, strict=True) if true is not None]
    ious = [moment_metrics([(span.start_s, span.end_s)], [true])["iou"] for span, true in pairs]
    print(f"\n{path}: the spans found for the sentences overlap with the sections that they describe by", end="")
    print(f" {100 * np.mean(ious):.0f} % (mean intersection over union).")
