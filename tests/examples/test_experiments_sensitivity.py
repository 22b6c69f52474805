# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The sweep over the numbers of the attention, on a tiny benchmark folder."""

import json
import math
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")

from tiny_benchmark import make_benchmark
from trainable_benchmark import FIELDS, make_trainable_benchmark

from collap.modeling_collap.loss_collap import contrastive_loss

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.append(str(EXAMPLES / "experiments"))
import sensitivity  # noqa: E402
from common import load_model, read_songs  # noqa: E402
from heat_maps import plot_heat_maps  # noqa: E402

SWEEPS = {plan.name: plan for plan in sensitivity.SWEEPS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("experiments") / "benchmark")


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


@pytest.mark.slow
def test_trainings_take_the_recipe_of_the_benchmark(tmp_path):
    """Kernels are trained on the benchmark's features, other frames on features of their own; both are kept."""
    folder = make_trainable_benchmark(tmp_path / "benchmark")
    command = ["--benchmark_dir", str(folder), "--sweeps", "--train", "1", "--frame_pooling", "4"]
    sensitivity.main(command)
    rows = json.loads((folder / "sensitivity" / "trainings.json").read_text())["trainings"]
    kernel = FIELDS["kernel_size"] * FIELDS["frame_pooling"] // 4
    assert {name: (row["frame_pooling"], row["kernel_size"]) for name, row in rows.items()} == {
        "kernel of 1 frames": (FIELDS["frame_pooling"], 1),
        "frames of 0.08 s": (4, kernel),
    }
    made = folder / "sensitivity" / "models" / f"ours-pooling-4-kernel-{kernel}-0"
    saved = json.loads((made / "config.json").read_text())
    assert (saved["frame_pooling"], saved["kernel_size"], saved["kernel_stride"]) == (4, kernel, kernel)
    first = (made / "model.safetensors").stat().st_mtime_ns
    sensitivity.main(command)
    assert (made / "model.safetensors").stat().st_mtime_ns == first


def test_without_a_recipe_there_is_no_training(folder, tmp_path):
    steps = sensitivity.ExperimentSteps(folder, tmp_path)
    with pytest.raises(ValueError, match="has not done the step 'train-document-0'"):
        sensitivity.train(steps, "document-0", {}, num_processes=1)


def test_heat_maps_want_one_label_each(tmp_path):
    tables = {"one": np.array([[1.0, math.nan]])}
    plot_heat_maps(tmp_path / "a.png", tables, "rows", "columns", ["1"], ["1", "2"], (0, 0))
    assert (tmp_path / "a.png").stat().st_size > 2000
    with pytest.raises(ValueError, match=r"'one' must have the shape \(1, 1\)"):
        plot_heat_maps(tmp_path / "a.png", tables, "rows", "columns", ["1"], ["1"], (0, 0))
