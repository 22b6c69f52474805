# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Excerpts of recordings as queries."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_library import save_tiny_model
from tiny_retrieval import write_songs

from benchmarks.real_music import excerpts


def test_an_excerpt_is_louder_noisier_and_of_its_place(tmp_path: Path) -> None:
    time = np.arange(12 * excerpts.SAMPLING_RATE) / excerpts.SAMPLING_RATE
    song = np.stack([0.1 * np.sin(2 * np.pi * 220 * time), np.zeros_like(time)])
    excerpt, start_s = excerpts.cut(song, np.random.default_rng(0))
    assert excerpt.shape == (2, 441_000)
    assert 0 <= start_s <= 2
    start = round(start_s * excerpts.SAMPLING_RATE)
    louder = 10 ** (3 / 20)
    noise = excerpt / louder - song[:, start : start + 441_000]
    level = np.sqrt((song**2).mean())
    assert np.sqrt((noise**2).mean()) == pytest.approx(level * 10 ** (-30 / 20), rel=0.01)

    excerpts.write_mp3(tmp_path / "excerpt.mp3", excerpt)
    assert (tmp_path / "excerpt.mp3").stat().st_size == pytest.approx(80_000, rel=0.05)  # 10 s of 64 kbit/s
    again = excerpts.read_stereo(str(tmp_path / "excerpt.mp3"))
    assert np.corrcoef(again[0, :441_000], excerpt[0])[0, 1] > 0.99
    with pytest.raises(ValueError, match="silent"):
        excerpts.cut(np.zeros_like(song), np.random.default_rng(0))


def test_the_script_searches_each_excerpt(tmp_path: Path) -> None:
    save_tiny_model(tmp_path / "model")
    (tmp_path / "music").mkdir()
    write_songs(tmp_path / "music", (11.0, 12.0, 1.0))
    paths = {"music": "music", "model": "model", "index": "index", "output": "results.json"}
    excerpts.main([f"--{name}={tmp_path / path}" for name, path in paths.items()])
    result = json.loads((tmp_path / "results.json").read_text())
    assert (result["num_songs"], result["num_excerpts"]) == (3, 2)  # one is too short
    assert 0 <= result["start_within_1_s"] <= result["right_song_first"] <= 1
    assert len(result["missed"]) == round(2 * (1 - result["start_within_1_s"]))
