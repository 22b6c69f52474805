# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""BEATs alone, Whisper alone, both: frames of one encoder out of those of both, and all of it on a tiny benchmark."""

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")

from tiny_models import CHUNK_LENGTH_S
from trainable_benchmark import EXAMPLES, in_this_process, make_trainable_benchmark  # noqa: F401 - a fixture

from collap import CollapModel
from collap.data.cache import TensorCache, describe_features
from collap.encode import extract_features

sys.path.append(str(EXAMPLES / "experiments"))
import ablation
import split_features
from training_steps import ExperimentSteps

from collap.training.build import ConfigArguments, ModelArguments, load_model

KINDS = ("music", "speech")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_trainable_benchmark(tmp_path_factory.mktemp("ablation") / "benchmark")


@pytest.fixture(scope="module")
def digits_dir(folder) -> Path:
    """What benchmarks/spoken_digits leaves, as far as the ablation takes it: here, noise and the tiny towers."""
    digits = folder.parent / "digits"
    for name, split in (("tracks/train", "train"), ("tracks/validation", "validation"), ("test/test", "content")):
        file = digits / f"{name}.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        lines = []
        for line in map(json.loads, (folder / "corpus" / f"{split}.jsonl").read_text().splitlines()):
            shutil.copyfile(folder / "corpus" / line["audio"], file.parent / line["audio"])
            text = line["texts"][0] if split == "train" else line["text"]
            lines.append({"audio": line["audio"], "text": text})
        file.write_text("".join(json.dumps(line) + "\n" for line in lines))
        control = "".join(json.dumps({**line, "text": ["other digits"]}) + "\n" for line in lines)
        file.with_name("other_digits.jsonl").write_text(control)
    shutil.copytree(folder / "encoders" / "speech", digits / "whisper")
    shutil.copytree(folder / "text", digits / "text")
    return digits


def arguments_of(folder: Path, kind: str) -> list[str]:
    model = [f"--{kind}_model={folder / 'encoders' / kind}", f"--text_model={folder / 'text'}"]
    return [*model, f"--chunk_length_s={CHUNK_LENGTH_S}"]


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_one_encoder_are_those_that_it_gives_alone(folder, tmp_path, kind):
    split_features.main(
        [f"--features={folder / 'features'}", f"--output_dir={tmp_path / 'split'}", *arguments_of(folder, kind)]
    )
    towers = {f"{kind}_model": str(folder / "encoders" / kind), "text_model": str(folder / "text")}
    model, processor = load_model(
        ModelArguments(**towers), ConfigArguments(chunk_length_s=CHUNK_LENGTH_S), CollapModel
    )
    songs = sorted(str(file) for file in (folder / "corpus").glob("content-*.wav"))
    extract_features(songs, tmp_path / "alone", model.audio_model, processor.feature_extractor)
    split, alone = (
        TensorCache(tmp_path / name, describe_features(model.audio_model, processor.feature_extractor))
        for name in ("split", "alone")
    )
    split.check(songs)
    for song in songs:
        assert split.load(song).shape == alone.load(song).shape
        torch.testing.assert_close(split.load(song), alone.load(song), rtol=2e-3, atol=2e-3)  # float16


def test_split_frames_are_not_taken_for_others(folder, tmp_path):
    music = ["--output_dir", str(tmp_path), *arguments_of(folder, "music")]
    split_features.main([f"--features={folder / 'features'}", *music])
    split_features.main([f"--features={folder / 'features'}", *music])  # nothing is left to do
    assert len(list(tmp_path.glob("shard-*.safetensors"))) == 1
    with pytest.raises(ValueError, match="made by other models or settings"):
        split_features.main(
            [f"--features={folder / 'features'}", f"--output_dir={tmp_path}", *arguments_of(folder, "speech")]
        )
    with pytest.raises(ValueError, match="Frames of both encoders are split"):
        split_features.main([f"--features={tmp_path}", *music])
    with pytest.raises(ValueError, match=r"made with chunk_length_s 0.64, the model has 1.28"):
        split_features.main([f"--features={folder / 'features'}", *music, "--chunk_length_s=1.28"])
    with pytest.raises(ValueError, match=r"has no cache\.json"):
        split_features.main([f"--features={tmp_path / 'nowhere'}", *music])


def test_the_recipe_is_the_benchmarks_with_its_folder(folder, tmp_path):
    steps = ExperimentSteps(folder, tmp_path, num_epochs=7)
    recipe = steps.recipe(0)
    assert recipe["train_manifest"] == str(folder / "corpus" / "train.jsonl")  # the command says "elsewhere"
    assert (recipe["section_loss_weight"], recipe["num_train_epochs"]) == ("1.0", "7")
    command = steps.train("songs-music", "Music", 0, {"speech_model": None, "chunk_length_s": 0.64}).command
    assert not any("speech_model" in item for item in command)
    assert f"--output_dir={tmp_path / 'models' / 'songs-music-0'}" in command
    assert not steps.is_trained(0)  # with other epochs
    assert ExperimentSteps(folder, tmp_path).is_trained(0)
    with pytest.raises(ValueError, match="has not done the step 'train-ours-3'"):
        steps.recipe(3)


def test_a_model_trained_anew_is_ranked_anew(folder, tmp_path, in_this_process):  # noqa: F811
    shared = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--skip_digits"]
    ablation.main(shared)
    ranked = ["rank-songs-music-0", "rank-songs-speech-0", "rank-songs-both-0"]
    trained = ["train-songs-music-0", "train-songs-speech-0"]
    assert in_this_process == ["split-music", "split-speech", *trained, *ranked]
    in_this_process.clear()
    ablation.main(shared)
    assert in_this_process == []
    ablation.main([*shared, "--num_epochs", "2"])  # "both" is no longer the benchmark's own model
    assert in_this_process == [*trained, "train-songs-both-0", *ranked]

    found = json.loads((tmp_path / "results.json").read_text())["songs"]
    assert [*found] == [*ablation.MODELS.values()]
    for of_model in found.values():
        counts = {name: of_question["num_queries"] for name, of_question in of_model.items()}
        assert counts == {
            "captions": 6,
            "sections": 12,
            "sections, with a voice": 3,
            "sections, without a voice": 9,
        }
    assert (tmp_path / "songs.png").stat().st_size > 20_000
    configs = {
        kind: json.loads((tmp_path / "models" / f"songs-{kind}-0" / "config.json").read_text()) for kind in KINDS
    }
    for kind, other in (KINDS, KINDS[::-1]):
        assert configs[kind][f"{kind}_config"] is not None
        assert configs[kind].get(f"{other}_config") is None
        assert configs[kind]["chunk_length_s"] == CHUNK_LENGTH_S


def test_on_speech(folder, digits_dir, tmp_path, in_this_process, monkeypatch, capsys):  # noqa: F811
    recipe = ablation.load_digits()
    recipe.MODEL |= {"projection_dim": 16, "kernel_size": 2, "kernel_stride": 2}
    monkeypatch.setattr(ablation, "load_digits", lambda: recipe)
    shared = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--skip_songs"]
    ablation.main([*shared, "--digits_dir", str(digits_dir), "--digits_epochs", "1"])
    assert in_this_process[0] == "digits-extract"
    found = json.loads((tmp_path / "results.json").read_text())
    assert [*found] == ["command", "seeds", "digits"]
    for of_model in found["digits"].values():
        assert [*of_model] == ["transcripts", "transcripts with other digits"]
        assert of_model["transcripts"]["gallery_size"] == 6
    assert (tmp_path / "digits.png").stat().st_size > 15_000
    with pytest.raises(ValueError, match=r"digits_dir: .*nowhere lacks test/test.jsonl"):
        ablation.main([*shared, "--digits_dir", str(tmp_path / "nowhere")])
    ablation.main(shared)
    assert "Speech is left out" in capsys.readouterr().out
