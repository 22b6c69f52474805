# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Answers long queries with a saved model: which songs, and when in the song each sentence happens."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.questions import described_spans
from benchmarks.rank import score
from collap.evaluation.localization import Span, find_spans, mass_inside
from collap.evaluation.plots import clock, plot_attention
from collap.evaluation.retrievers import CollapRetriever

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


def answer(
    retriever: CollapRetriever, songs: list[dict[str, Any]], frames: list[np.ndarray], text: str, target: str
) -> None:
    """Prints the three best songs for a text, and when each sentence happens in the best one; `target` is marked."""
    (sentences,) = retriever.processor.split_texts([text])
    scores = retriever.model.logit_scale().item() * score(retriever, frames, retriever.embed_texts([sentences]))[0]
    best = scores.argsort()[::-1][:3].tolist()
    print(f"\nQuery ({len(text.split())} words): {text}\n")
    for rank, index in enumerate(best, start=1):
        song = songs[index]
        mark = " (the song that the query is about)" if song["audio"].endswith(target) else ""
        # What is in the song, section by section.
        tags = ", ".join(f"{part['tags']['lead']}/{part['tags']['accompaniment']}" for part in song["sections"])
        name = Path(song["audio"]).name
        print(f"  {rank}. {name}, {clock(song['duration_s'])}, score {scores[index]:.1f}{mark}: {tags}")
    print(f"\n  When it happens in {Path(songs[best[0]]['audio']).name}:")
    for span in spans_of(retriever, frames[best[0]], sentences, songs[best[0]]["duration_s"]):
        print(f"    {clock(span.start_s)} to {clock(span.end_s)}  {sentences[span.sentence]}")


def spans_of(retriever: CollapRetriever, frames: np.ndarray, sentences: list[str], duration_s: float) -> list[Span]:
    """Aligns the sentences of a text with a song, all together and in order."""
    times = retriever.model.frame_times(len(frames), duration_s).numpy()
    query_embeds = retriever.embed_texts([sentences]).output.query_embeds.numpy()
    return find_spans(frames, times, query_embeds, in_order=True)


@torch.inference_mode()
def draw_attention(retriever: CollapRetriever, song: dict[str, Any], frames: np.ndarray, path: Path) -> None:
    """Draws the temporal attention of each sentence of a caption over its song; prints how much of it is right."""
    sentences = song["text_new"]
    attention = retriever.model.attend(retriever.as_batch([frames]), retriever.embed_texts([sentences]).output)
    weights = attention.temporal_attentions[0].numpy()  # (S, L)
    times = retriever.model.segment_times(len(frames), song["duration_s"]).numpy()  # (L, 2)
    truth = described_spans(song, "_new")
    plot_attention(
        path,
        weights,
        times,
        sentences,
        sections=[(section["start_s"], section["end_s"], section["label"]) for section in song["sections"]],
        true_spans_s=truth,
        spans=spans_of(retriever, frames, sentences, song["duration_s"]),
        title=f"Temporal attention over {Path(song['audio']).name}, a song that is not in the training songs",
    )
    inside, even = (100 * np.nanmean(shares) for shares in mass_inside(weights, times, truth))
    print(f"\n{path}: {inside:.0f} % of the attention falls on the section that its sentence describes", end="")
    print(f" ({even:.0f} % if it were spread evenly).")
