# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The sweep over the numbers of the attention, on a tiny benchmark."""

import json
import re

import pytest
import torch
from tiny_benchmark import FIELDS

from benchmarks.long_form import sensitivity
from benchmarks.questions import read_songs
from benchmarks.rank import load_model
from collap.modeling_collap.loss_collap import contrastive_loss

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")

SWEEPS = {plan.name: plan for plan in sensitivity.SWEEPS}


@pytest.fixture
def gallery(folder):
    model, processor = load_model(folder / "models" / "ours-0")
    songs = read_songs(folder / "corpus" / "validation.jsonl")
    return model, sensitivity.make_gallery(model, processor, songs, folder / "features")


@pytest.mark.parametrize("name", list(SWEEPS))
def test_its_own_setting_gives_the_models_own_score(gallery, name):
    model, songs = gallery
    before = model.config.to_dict()
    result = sensitivity.sweep(model, songs, SWEEPS[name])
    row = result["rows"]["values"].index(result["rows"]["trained"])
    column = result["columns"]["values"].index(result["columns"]["trained"])
    own = result["cells"][row][column]
    with torch.inference_mode():
        logits = model.score(songs.audio, songs.captions)
    assert own["caption_loss"] == pytest.approx(contrastive_loss(logits).item())
    best = logits.argmax(0)
    assert own["caption_recall@1"]["value"] == pytest.approx((best == torch.arange(len(best))).float().mean().item())
    assert own == sensitivity.measure(model, songs)
    assert model.config.to_dict() == before
    losses = {round(found["caption_loss"], 6) for cells in result["cells"] for found in cells if found}
    assert len(losses) > 5  # other settings are others


def test_a_setting_is_that_of_a_model_with_it(folder, gallery):
    """Changing a number in place gives what a model loaded with that number gives."""
    model, songs = gallery
    settings = {"kernel_size": 3, "kernel_stride": 1}
    with sensitivity.with_settings(model, settings):
        found = sensitivity.measure(model, songs)
    other = type(model).from_pretrained(folder / "models" / "ours-0", **settings).eval()
    assert found["caption_loss"] == pytest.approx(sensitivity.measure(other, songs)["caption_loss"])


def test_gammas_are_never_both_zero(gallery):
    model, songs = gallery
    result = sensitivity.sweep(model, songs, SWEEPS["fusion"])
    missing = [
        (row, column)
        for row, cells in zip(result["rows"]["values"], result["cells"], strict=True)
        for column, found in zip(result["columns"]["values"], cells, strict=True)
        if found is None
    ]
    assert missing == [(0, 0)]
    with (
        pytest.raises(ValueError, match="both 0"),
        sensitivity.with_settings(model, {"kernel_weight": 0, "temporal_weight": 0}),
    ):
        pass
    assert model.config.kernel_weight == 0.5


def test_the_script_writes_figures_and_pictures(folder, tmp_path, capsys):
    command = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--sweeps", "fusion", "temperatures"]
    sensitivity.main([*command, "--num_songs", "3"])
    result = json.loads((tmp_path / "sweeps.json").read_text())
    assert result["num_songs"] == 3
    assert {file.name for file in tmp_path.iterdir()} == {"sweeps.json", "fusion.png", "temperatures.png"}
    assert len(re.findall(r"\n\| 0.01 +\|", capsys.readouterr().out)) == 1


def test_trainings_take_the_recipe_of_the_benchmark(folder, tmp_path, ran):
    """Kernels are trained on the benchmark's features, other frames on features of their own; both are cached."""
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--sweeps"]
    arguments += ["--train", "1", "--frame_pooling", "4"]
    sensitivity.main(arguments)
    rows = json.loads((tmp_path / "trainings.json").read_text())["trainings"]
    kernel = FIELDS["kernel_size"] * FIELDS["frame_pooling"] // 4
    assert {name: (row["frame_pooling"], row["kernel_size"]) for name, row in rows.items()} == {
        "kernel of 1 frames": (FIELDS["frame_pooling"], 1),
        "frames of 0.08 s": (4, kernel),
    }
    config = json.loads((tmp_path / "models" / f"ours-pooling-4-kernel-{kernel}-0" / "config.json").read_text())
    assert (config["frame_pooling"], config["kernel_size"], config["kernel_stride"]) == (4, kernel, kernel)
    trained = ["train-ours-pooling-8-kernel-1-0", f"train-ours-pooling-4-kernel-{kernel}-0"]
    assert ran == ["extract-4", *trained]
    sensitivity.main(arguments)
    assert len(ran) == 3
