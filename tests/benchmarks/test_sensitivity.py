# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The sweeps over the numbers of the attention, on a tiny benchmark."""

import json

import numpy as np
import pytest
import torch
from tiny_benchmark import FIELDS

from benchmarks.long_form import sensitivity
from benchmarks.questions import read_songs
from benchmarks.rank import score
from collap import CollapModel
from collap.evaluation.retrievers import CollapRetriever, load_retriever
from collap.modeling_collap.loss_collap import contrastive_loss

pytest.importorskip("matplotlib", reason="the pictures need the extra 'train'")


@pytest.fixture(scope="module")
def gallery(folder):
    retriever = load_retriever(str(folder / "models" / "ours-0"), features=folder / "features", truncate_texts=True)
    return sensitivity.Gallery(retriever, read_songs(folder / "corpus" / "validation.jsonl"))


@pytest.mark.parametrize("name", list(sensitivity.SWEEPS))
def test_its_own_setting_gives_the_models_own_score(gallery, name):
    model = gallery.retriever.model
    before = model.config.to_dict()
    result = gallery.sweep(sensitivity.SWEEPS[name])
    row = result["rows"]["values"].index(result["rows"]["trained"])
    column = result["columns"]["values"].index(result["columns"]["trained"])
    own = result["cells"][row][column]
    assert own == gallery.measure()
    scores = score(gallery.retriever, gallery.frames, gallery.texts["caption"][1])
    logits = model.logit_scale() * torch.from_numpy(scores.T)
    assert own["caption_loss"] == pytest.approx(contrastive_loss(logits).item())
    assert own["caption_recall@1"]["value"] == pytest.approx((scores.argmax(1) == np.arange(len(scores))).mean())
    assert model.config.to_dict() == before
    losses = {round(found["caption_loss"], 6) for cells in result["cells"] for found in cells if found}
    assert len(losses) > 5  # other settings are others
    missing = [found for cells in result["cells"] for found in cells if found is None]
    assert len(missing) == (name == "fusion")  # gammas are never both 0


def test_a_setting_is_that_of_a_model_with_it(folder, gallery):
    """Changing a number in place gives what a model loaded with that number gives."""
    result = gallery.sweep(sensitivity.SWEEPS["kernel"])
    row, column = result["rows"]["values"].index(8), result["columns"]["values"].index(1)
    model = CollapModel.from_pretrained(folder / "models" / "ours-0", kernel_size=8, kernel_stride=1)
    retriever = CollapRetriever(model, gallery.retriever.processor, features=gallery.retriever.features)
    other = sensitivity.Gallery(retriever, read_songs(folder / "corpus" / "validation.jsonl"))
    assert result["cells"][row][column] == other.measure()


def test_the_script_writes_metrics_and_pictures(folder, tmp_path):
    arguments = ["--benchmark_dir", str(folder), "--output_dir", str(tmp_path), "--sweeps", "fusion", "temperatures"]
    sensitivity.main(arguments)
    assert json.loads((tmp_path / "sweeps.json").read_text())["num_songs"] == 6
    assert {file.name for file in tmp_path.iterdir()} == {"sweeps.json", "fusion.png", "temperatures.png"}


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
