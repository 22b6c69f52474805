# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The comparison of ONNX graphs with the model, and which of their layers have weights of 8 bits."""

import json
import shutil

import pytest
from tiny_retrieval import TEXTS, tiny_collap, write_songs
from torch import nn

from collap import CollapModel
from collap.export.export import export_model

pytestmark = pytest.mark.slow  # the export


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A folder with a model, and its graphs in the folder `onnx` beside it."""
    pytest.importorskip("onnxruntime")
    folder = tmp_path_factory.mktemp("export")
    for part in tiny_collap():
        part.save_pretrained(folder / "model")
    export_model(str(folder / "model"), folder / "onnx", int8=True)
    return folder / "model"


def test_graphs_are_compared_with_the_model(model, tmp_path, monkeypatch):
    from benchmarks import onnx_export

    monkeypatch.setattr(
        onnx_export, "export_model", lambda _, folder, int8: shutil.copytree(model.parent / "onnx", folder)
    )
    songs = list(write_songs(tmp_path, (1.5, 1.0, 2.0)).values())
    lines = [{"audio": song, "text": " ".join(text)} for song, text in zip(songs, TEXTS[::2], strict=True)]
    (tmp_path / "songs.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    given = ["--model", str(model), "--output", str(tmp_path / "result.json")]

    onnx_export.main([*given, "--manifest", str(tmp_path / "songs.jsonl")])
    rows = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert rows["ONNX float32"]["recall@1"] == rows["PyTorch"]["recall@1"]
    assert rows["ONNX float32"]["score, difference"] < 1e-4 < rows["ONNX int8"]["score, difference"]
    assert 0.9 < rows["ONNX int8"]["least cosine"] < 0.99999 < rows["ONNX float32"]["least cosine"]
    assert rows["PyTorch"]["speed"] == 1

    onnx_export.main([*given, "--songs", *songs])
    alone = json.loads((tmp_path / "result.json").read_text())["rows"]
    assert set(alone["ONNX int8"]) == {"audio, MB", "text, MB", "cosine", "least cosine", "speed"}
    assert alone["ONNX int8"]["cosine"] == rows["ONNX int8"]["cosine"]


@pytest.mark.parametrize("graph", ["audio", "text"])
def test_linear_layers_alone_have_weights_of_8_bits(model, graph):
    onnx = pytest.importorskip("onnx")
    written = onnx.load(model.parent / "onnx" / f"{graph}.int8.onnx").graph.node
    part = getattr(CollapModel.from_pretrained(model), f"{graph}_model")
    layers = [name for name, layer in part.named_modules() if type(layer) is nn.Linear and name != "adapter"]
    assert sum(node.op_type == "MatMulInteger" for node in written) == len(layers) > 0
