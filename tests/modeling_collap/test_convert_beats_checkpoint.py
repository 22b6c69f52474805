# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The converter of Microsoft's checkpoints: what it writes and what it refuses. Parity: test_modeling_beats.py."""

import io
import json
import math
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from collap import BeatsFeatureExtractor, BeatsModel
from collap.cli import main
from collap.modeling_collap.convert_beats_checkpoint import (
    POSITION_BIAS,
    PREPROCESSOR_CONFIG,
    convert_beats_checkpoint,
)


class TestOutput:
    @pytest.mark.parametrize("model_name", ["beats_tiny", "beats_tiny_finetuned"])
    def test_folder(self, goldens: Path, tmp_path: Path, model_name: str):
        folder = tmp_path / "new" / "folder"
        model = convert_beats_checkpoint(goldens / "beats_tiny" / f"{model_name}.pt", folder)
        assert not model.training
        assert {file.name for file in folder.iterdir()} == {
            "config.json",
            "model.safetensors",
            "preprocessor_config.json",
        }
        assert list(folder.parent.iterdir()) == [folder]  # nothing half-finished is left beside it

        # Every weight of the original arrived unchanged, but for the copies of the bias and the classifier.
        original = load_file(goldens / "beats_tiny" / f"{model_name}.safetensors")
        kept = [
            key
            for key in original
            if not key.startswith("predictor.") and key not in [POSITION_BIAS.format(layer) for layer in (1, 2)]
        ]
        written = load_file(folder / "model.safetensors")
        assert sorted(map(tensor_digest, written.values())) == sorted(tensor_digest(original[key]) for key in kept)

    def test_preprocessor_config(self, tmp_path: Path):
        assert BeatsFeatureExtractor().to_dict() == PREPROCESSOR_CONFIG
        BeatsFeatureExtractor().save_pretrained(tmp_path)
        assert json.loads((tmp_path / "preprocessor_config.json").read_text()) == PREPROCESSOR_CONFIG

    def test_full_folder_is_left_alone(self, goldens: Path, tmp_path: Path):
        (tmp_path / "precious.txt").write_text("mine")
        with pytest.raises(FileExistsError, match="output_dir must be a new or an empty folder"):
            convert_beats_checkpoint(goldens / "beats_tiny" / "beats_tiny.pt", tmp_path)
        assert [file.name for file in tmp_path.iterdir()] == ["precious.txt"]

    def test_failure_leaves_nothing(self, goldens: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        def fail(*args: Any, **kwargs: Any) -> None:
            raise OSError("disk full")

        monkeypatch.setattr(BeatsModel, "save_pretrained", fail)
        with pytest.raises(OSError, match="disk full"):
            convert_beats_checkpoint(goldens / "beats_tiny" / "beats_tiny.pt", tmp_path / "out")
        assert list(tmp_path.iterdir()) == []


PATCHES = "post_extract_proj.weight"
REFUSED = rf"weights must be tensors of finite real numbers, \['{PATCHES}'\] are not"


def as_dtype(weights: dict[str, torch.Tensor], dtype: torch.dtype) -> None:
    weights[PATCHES] = weights[PATCHES].to(dtype)


def tensor_digest(tensor: torch.Tensor) -> tuple:
    return tuple(tensor.shape), tensor.double().sum().item(), tensor.double().square().sum().item()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda cfg, weights: weights.pop("encoder.layers.1.fc1.bias"),
            r"missing \['encoder.layers.1.fc1.bias'\], unknown \[\]",
        ),
        (
            lambda cfg, weights: weights.update({"quantizer.weight": torch.zeros(1)}),
            r"missing \[\], unknown \['quantizer.weight'\]",
        ),
        (
            lambda cfg, weights: weights.update({"post_extract_proj.weight": torch.zeros(96, 63)}),
            r"'post_extract_proj.weight': '\(96, 63\) instead of \(96, 64\)'",
        ),
        (
            lambda cfg, weights: weights[POSITION_BIAS.format(1)].add_(1e-6),
            r"\['encoder.layers.1.self_attn.relative_attention_bias.weight'\] d",
        ),
        (lambda cfg, weights: cfg.update(deep_norm=False), "{'deep_norm': False}; only {'deep_norm': True} is supp"),
        (lambda cfg, weights: cfg.update(quant_n=1024), r"missing \[\], unknown \['quant_n'\]"),
        # Refused before a million layers are built, which takes minutes.
        (lambda cfg, weights: cfg.update(encoder_layers=10**6), "cfg of the .* encoder_layers=1000000, its weights 3"),
        (lambda cfg, weights: cfg.update(encoder_layers="many"), "'num_hidden_layers' expected int, got str"),
        (
            lambda cfg, weights: cfg.update(activation_fn="?"),
            "hidden_act must be an activation of transformers, got '?'",
        ),
        (lambda cfg, weights: weights[PATCHES].fill_(math.nan), REFUSED),
        (
            lambda cfg, weights: weights[PATCHES][0, 0].fill_(math.inf),
            REFUSED,
        ),
        (lambda cfg, weights: as_dtype(weights, torch.int32), REFUSED),
        (lambda cfg, weights: as_dtype(weights, torch.complex64), REFUSED),
        (lambda cfg, weights: weights.update({PATCHES: weights[PATCHES].to_sparse()}), REFUSED),
        (lambda cfg, weights: weights.update({PATCHES: "a word"}), REFUSED),
        (lambda cfg, weights: weights.update({7: torch.zeros(1)}), r"finite real numbers, \[7\] are not"),
    ],
)
def test_a_spoilt_checkpoint_is_refused(goldens: Path, tmp_path: Path, change: Callable, message: str):
    checkpoint = torch.load(goldens / "beats_tiny" / "beats_tiny.pt", weights_only=True)
    checkpoint["model"] = {name: weight.clone() for name, weight in checkpoint["model"].items()}
    change(checkpoint["cfg"], checkpoint["model"])
    torch.save(checkpoint, tmp_path / "spoilt.pt")
    with pytest.raises(ValueError, match=message):
        convert_beats_checkpoint(tmp_path / "spoilt.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def write_html(file: Path, whole: bytes) -> None:
    file.write_text("<html><body>404: not found</body></html>")


def write_flipped(file: Path, whole: bytes) -> None:
    """One bit of a weight, which only the checksum of the ZIP file tells."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        largest = max(archive.infolist(), key=lambda entry: entry.file_size)
        place = whole.index(archive.read(largest)) + largest.file_size // 2
    file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
    torch.load(file, weights_only=True)  # passes


@pytest.mark.parametrize(
    "damage",
    [
        lambda file, whole: file.write_bytes(b""),
        write_html,
        lambda file, whole: file.write_bytes(whole[: len(whole) // 2]),
        lambda file, whole: file.write_bytes(whole[:-1]),
        write_flipped,
        lambda file, whole: torch.save({"cfg": Path, "model": {}}, file),  # code, not weights
    ],
    ids=["empty", "html", "half", "all but a byte", "flipped bit", "code"],
)
def test_a_damaged_file_is_named(goldens: Path, tmp_path: Path, capsys: pytest.CaptureFixture, damage: Callable):
    file = tmp_path / "download.pt"
    damage(file, (goldens / "beats_tiny" / "beats_tiny.pt").read_bytes())
    assert main(["convert-beats", str(file), str(tmp_path / "out")]) == 1
    said = capsys.readouterr().err
    assert (
        said == f"collap convert-beats: {str(file)!r} is damaged, or no file of torch.save that holds weights only.\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_fifo_is_not_opened(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match=r"checkpoint must be a file, got .*pipe"):
        convert_beats_checkpoint(tmp_path / "pipe", tmp_path / "out")


@pytest.mark.parametrize("content", [{"cfg": None, "model": {}}, {"cfg": {}, "model": [1]}, [1], {1: 2}])
def test_what_is_no_checkpoint_at_all(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"is no BEATs checkpoint: expected the dicts 'cfg', 'model'"):
        convert_beats_checkpoint(tmp_path / "other.pt", tmp_path / "out")


def test_another_file(tmp_path: Path):
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="is no BEATs checkpoint"):
        convert_beats_checkpoint(tmp_path / "other.pt", tmp_path / "out")


def test_command(goldens: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = tmp_path / "out"
    assert main(["convert-beats", str(goldens / "beats_tiny" / "beats_tiny.pt"), str(folder)]) == 0
    assert capsys.readouterr().out == f"Wrote 323,594 parameters to {folder}\n"
    assert BeatsModel.from_pretrained(folder).num_parameters() == 323_594
