# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Sections of rendered songs, whose sections are known: `pytest tests/captioning/test_section_bounds.py -s`."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from collap.captioning.sections import SAMPLING_RATE, find_sections
from collap.data.audio_files import read_audio

NUM_SONGS = 20
TOLERANCE_S = 3.0


def count_hits(found: list[float], known: list[float]) -> int:
    """How many of some times, in order, can be paired with one of others within the tolerance."""
    hits, rest = 0, list(known)
    for time_s in found:
        while rest and rest[0] < time_s - TOLERANCE_S:
            rest.pop(0)
        if rest and rest[0] <= time_s + TOLERANCE_S:
            hits += 1
            rest.pop(0)
    return hits


def test_hits_are_pairs() -> None:
    assert count_hits([10.0, 12.0, 30.0], [11.0, 33.0, 50.0]) == 2  # 11 s is found once


@pytest.mark.slow
def test_boundaries_of_rendered_songs(tmp_path: Path) -> None:
    for package in ("tinysoundfont", "pretty_midi", "espeakng_loader"):
        pytest.importorskip(package, reason="it renders the songs")
    from benchmarks.corpus.build import Recipe, build_corpus
    from benchmarks.corpus.plan import SIZES

    size = replace(SIZES["small"], num_songs={**SIZES["small"].num_songs, "content": NUM_SONGS})
    build_corpus(tmp_path, Recipe(size=size, splits=("content",)), num_processes=1)
    hits = num_found = num_known = 0
    for line in map(json.loads, (tmp_path / "content.jsonl").read_text(encoding="utf-8").splitlines()):
        waveform, _ = read_audio(tmp_path / line["audio"], SAMPLING_RATE)
        found = [start_s for start_s, _ in find_sections(waveform)[1:]]  # where the song starts is no boundary
        known = [section["start_s"] for section in line["sections"][1:]]
        hits += count_hits(found, known)
        num_found += len(found)
        num_known += len(known)
    precision, recall, f1 = hits / num_found, hits / num_known, 2 * hits / (num_found + num_known)
    print(f"{NUM_SONGS} songs: precision {precision:.2f}, recall {recall:.2f}, F1 {f1:.2f}")
    assert precision >= 0.95
    assert recall >= 0.85
