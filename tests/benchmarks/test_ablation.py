# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""BEATs alone, Whisper alone, both, on a tiny benchmark."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_models import CHUNK_LENGTH_S

from benchmarks.long_form import ablation

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")


@pytest.fixture
def digits_dir(folder, tmp_path) -> Path:
    """What benchmarks.spoken_digits makes, as far as the ablation takes it: here, noise and the tiny towers."""
    digits = tmp_path / "digits"
    for name, split in (("tracks/train", "train"), ("tracks/validation", "validation"), ("test/test", "content")):
        file = digits / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for line in map(json.loads, (folder / "corpus" / f"{split}.jsonl").read_text().splitlines()):
            shutil.copyfile(folder / "corpus" / line["audio"], file.parent / line["audio"])
            lines.append({"audio": line["audio"], "text": line["texts"][0] if split == "train" else line["text"]})
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        control = "".join(json.dumps({**line, "text": ["other digits"]}) + "\n" for line in lines)
        file.with_name("other_digits.jsonl").write_text(control)
    shutil.copytree(folder / "encoders" / "speech", digits / "whisper")
    shutil.copytree(folder / "text", digits / "text")
    return digits


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
    assert (tmp_path / "songs.png").stat().st_size > 20_000
    for kind, other in (("music", "speech"), ("speech", "music")):
        config = json.loads((tmp_path / "models" / f"songs-{kind}-0" / "config.json").read_text())
        assert config[f"{kind}_config"] is not None
        assert config.get(f"{other}_config") is None
        assert config["chunk_length_s"] == CHUNK_LENGTH_S


@pytest.mark.slow
def test_on_speech(folder, digits_dir, tmp_path, ran, monkeypatch, capsys):
    for name, value in {"projection_dim": 16, "kernel_size": 2, "kernel_stride": 2}.items():
        monkeypatch.setitem(ablation.spoken_digits.MODEL, name, value)
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path / "out"), "--skip_songs"]
    ablation.main([*arguments, "--digits_dir", str(digits_dir), "--digits_epochs", "1"])
    assert ran[:3] == ["extract-digits-music", "extract-digits-speech", "extract-digits-both"]
    found = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [*found] == ["command", "seeds", "digits"]
    for of_model in found["digits"].values():
        assert [*of_model] == ["transcripts", "transcripts with other digits"]
        assert of_model["transcripts"]["gallery_size"] == 6
    assert (tmp_path / "out" / "digits.png").stat().st_size > 15_000
    with pytest.raises(ValueError, match=r"digits_dir: .*nowhere lacks test/test.jsonl"):
        ablation.main([*arguments, "--digits_dir", str(tmp_path / "nowhere")])
    ablation.main(arguments)
    assert "Speech is left out" in capsys.readouterr().out
