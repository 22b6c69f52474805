# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The paper's open questions, on a tiny benchmark."""

import json

import pytest

from benchmarks.long_form import open_questions
from benchmarks.questions import LENGTHS_MIN, SETS, read_songs

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")


def test_captions_in_german(folder):
    song = read_songs(folder / "corpus" / "content.jsonl")[1]
    assert open_questions.in_german(song, "content", 1) == song  # the corpus' own stay
    without = {name: value for name, value in song.items() if name != "text_german"}
    with pytest.raises(ValueError, match="song 1 of the split content"):
        open_questions.in_german(without, "content", 1)

    training = open_questions.in_both(read_songs(folder / "corpus" / "train.jsonl")[1])
    assert len(training["texts"]) == 4
    for section in training["sections"]:
        for text, places in zip(training["texts"], section["sentences"], strict=True):
            assert places
            assert max(places) < len(text)
    first = training["sections"][0]["sentences"][3]
    assert "flöte" in " ".join(training["texts"][3][place] for place in first).lower()


def test_lengths_and_quality(folder, tmp_path, ran):
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--gallery_size", "9"]
    arguments += ["--questions", "lengths", "quality", "--rows", "ours", "mean"]
    open_questions.main(arguments)
    assert ran == [f"rank-{name}-{row}-0" for name in ("lengths", "quality") for row in ("ours", "mean")]
    for name in ("lengths", "quality"):
        found = json.loads((tmp_path / f"{name}.json").read_text())["models"]
        for of_model in found.values():
            names = [row for row in of_model if not row.startswith("paraphrase, ")]
            assert names == [question.name for question in SETS[name]()]
        assert (tmp_path / f"{name}.png").stat().st_size > 20_000
    lengths = json.loads((tmp_path / "lengths.json").read_text())["models"][open_questions.TITLES["ours"]]
    for minutes in LENGTHS_MIN:
        assert lengths[f"captions, {minutes} min, filled up"]["gallery_size"] == 9
        assert lengths[f"sections, {minutes} min, alone"]["num_queries"] == 12
    ran.clear()
    open_questions.main(arguments)
    assert ran == []


@pytest.mark.slow
def test_german_and_english(folder, tmp_path, ran, capsys):
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--questions", "language"]
    open_questions.main(arguments)
    assert ran[:3] == [f"train-language-{name}-0" for name in [*open_questions.LANGUAGE_MODELS][1:]]
    found = json.loads((tmp_path / "language.json").read_text())
    assert [*found["models"]] == [*open_questions.LANGUAGE_MODELS.values()]
    assert found["german_wording_held_out"] is False
    assert "No German wording is held out" in capsys.readouterr().out
    for name, kind in {"roberta-both": "roberta", "xlmr-english": "xlm-roberta"}.items():
        config = json.loads((tmp_path / "models" / f"language-{name}-0" / "config.json").read_text())
        assert config["text_config"]["model_type"] == kind
    assert (tmp_path / "language.png").stat().st_size > 20_000
