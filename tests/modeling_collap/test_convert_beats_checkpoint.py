# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The converter of Microsoft's checkpoints: what it writes and what it refuses. Parity: test_modeling_beats.py."""

import json
import logging
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


@pytest.fixture
def checkpoint(goldens: Path) -> dict[str, Any]:
    """A tiny pretrained checkpoint of the original code, to be spoilt."""
    return torch.load(goldens / "beats_tiny" / "beats_tiny.pt", weights_only=True)


def convert(checkpoint: Any, folder: Path) -> BeatsModel:
    torch.save(checkpoint, folder / "spoilt.pt")
    return convert_beats_checkpoint(folder / "spoilt.pt", folder / "out")


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

    def test_fine_tuned_says_what_it_drops(self, goldens: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture):
        with caplog.at_level(logging.WARNING):
            convert_beats_checkpoint(goldens / "beats_tiny" / "beats_tiny_finetuned.pt", tmp_path / "out")
        assert "Dropped the classifier of a fine-tuned checkpoint: predictor.bias, predictor.weight." in caplog.text

    def test_empty_folder_is_filled(self, goldens: Path, tmp_path: Path):
        convert_beats_checkpoint(goldens / "beats_tiny" / "beats_tiny.pt", tmp_path)
        assert (tmp_path / "model.safetensors").exists()

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


def tensor_digest(tensor: torch.Tensor) -> tuple:
    return tuple(tensor.shape), tensor.double().sum().item(), tensor.double().square().sum().item()


class TestRefusal:
    def test_missing_weight(self, checkpoint: dict, tmp_path: Path):
        del checkpoint["model"]["encoder.layers.1.fc1.bias"]
        with pytest.raises(ValueError, match=r"missing \['encoder.layers.1.fc1.bias'\], unknown \[\]"):
            convert(checkpoint, tmp_path)
        assert not (tmp_path / "out").exists()

    def test_missing_copy_of_the_bias(self, checkpoint: dict, tmp_path: Path):
        del checkpoint["model"][POSITION_BIAS.format(2)]
        with pytest.raises(ValueError, match=r"missing \['encoder.layers.2.self_attn.relative_attention_bias"):
            convert(checkpoint, tmp_path)

    def test_unknown_weight(self, checkpoint: dict, tmp_path: Path):
        checkpoint["model"]["quantizer.weight"] = torch.zeros(1)
        with pytest.raises(ValueError, match=r"missing \[\], unknown \['quantizer.weight'\]"):
            convert(checkpoint, tmp_path)

    def test_own_name_is_unknown_to_the_original(self, checkpoint: dict, tmp_path: Path):
        weights = checkpoint["model"]
        weights["embeddings.patch_embedding.weight"] = weights["patch_embedding.weight"]
        with pytest.raises(ValueError, match=r"unknown \['embeddings.patch_embedding.weight'\]"):
            convert(checkpoint, tmp_path)

    def test_wrong_shape(self, checkpoint: dict, tmp_path: Path):
        checkpoint["model"]["post_extract_proj.weight"] = torch.zeros(96, 63)
        with pytest.raises(ValueError, match=r"'post_extract_proj.weight': '\(96, 63\) instead of \(96, 64\)'"):
            convert(checkpoint, tmp_path)

    def test_differing_copies_of_the_bias(self, checkpoint: dict, tmp_path: Path):
        name = POSITION_BIAS.format(1)
        checkpoint["model"][name] = checkpoint["model"][name] + 1e-6
        with pytest.raises(ValueError, match=r"\['encoder.layers.1.self_attn.relative_attention_bias.weight'\] d"):
            convert(checkpoint, tmp_path)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("deep_norm", False),
            ("layer_norm_first", True),
            ("gru_rel_pos", False),
            ("relative_position_embedding", False),
            ("conv_bias", True),
        ],
    )
    def test_unsupported_cfg(self, checkpoint: dict, tmp_path: Path, name: str, value: bool):
        checkpoint["cfg"][name] = value
        with pytest.raises(ValueError, match=f"{{'{name}': {value}}}; only {{'{name}': {not value}}} is supported"):
            convert(checkpoint, tmp_path)

    def test_missing_and_unknown_cfg(self, checkpoint: dict, tmp_path: Path):
        checkpoint["cfg"]["quant_n"] = 1024
        del checkpoint["cfg"]["max_distance"]
        with pytest.raises(ValueError, match=r"missing \['max_distance'\], unknown \['quant_n'\]"):
            convert(checkpoint, tmp_path)

    @pytest.mark.parametrize("content", [{"state_dict": {}}, [1, 2], {"cfg": {}, "model": {}, "optimizer": {}}])
    def test_another_file(self, content: Any, tmp_path: Path):
        with pytest.raises(ValueError, match="is no BEATs checkpoint"):
            convert(content, tmp_path)

    def test_no_file(self, tmp_path: Path):
        with pytest.raises(FileNotFoundError):
            convert_beats_checkpoint(tmp_path / "nothing.pt", tmp_path / "out")


def test_command(goldens: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    folder = tmp_path / "out"
    assert main(["convert-beats", str(goldens / "beats_tiny" / "beats_tiny.pt"), str(folder)]) == 0
    assert capsys.readouterr().out == f"Wrote 323,594 parameters to {folder}\n"
    assert BeatsModel.from_pretrained(folder).num_parameters() == 323_594
