# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""BEATs alone, Whisper alone, both, on a tiny benchmark."""

import json

import pytest
from tiny_models import CHUNK_LENGTH_S

from benchmarks.long_form import ablation


@pytest.mark.slow
def test_on_songs(folder, tmp_path, ran):
    """What is done is cached; a model trained anew is ranked anew."""
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path)]
    ablation.main(arguments)
    ranked = ["rank-songs-music-0", "rank-songs-speech-0", "rank-songs-both-0"]
    trained = ["train-songs-music-0", "train-songs-speech-0"]
    assert ran == ["extract-songs-music", "extract-songs-speech", *trained, *ranked]
    ran.clear()
    ablation.main(arguments)
    assert ran == []
    ablation.main([*arguments, "--num_epochs", "2"])  # "both" is no longer the benchmark's own model
    assert ran == [*trained, "train-songs-both-0", *ranked]

    found = json.loads((tmp_path / "results.json").read_text())["songs"]
    assert [*found] == [*ablation.MODELS.values()]
    for of_model in found.values():
        counts = {name: of_question["num_queries"] for name, of_question in of_model.items()}
        parts = {"sections": 12, "sections, with a voice": 3, "sections, without a voice": 9}
        assert counts == {"captions": 6, **parts}
    for kind, other in (("music", "speech"), ("speech", "music")):
        config = json.loads((tmp_path / "models" / f"songs-{kind}-0" / "config.json").read_text())
        assert config[f"{kind}_config"] is not None
        assert config.get(f"{other}_config") is None
        assert config["chunk_length_s"] == CHUNK_LENGTH_S
