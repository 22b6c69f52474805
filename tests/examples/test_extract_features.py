# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/extract_features.py` on a tiny model: what it makes is what a training of that model reads."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from datasets import Audio, Dataset
from tiny_models import CHUNK_LENGTH_S, tiny_config
from transformers import AutoModel, AutoProcessor, ByT5Tokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.manifest import load_manifest
from collap.encode import FeatureStore

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved model, a manifest of three songs, and a data set that holds two songs inside."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("extract")
    CollapModel(tiny_config()).save_pretrained(folder / "model")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    CollapProcessor(extractor, ByT5Tokenizer()).save_pretrained(folder / "model")
    for index in range(5):
        waveform = 0.1 * np.random.default_rng(index).standard_normal(12_000 + 4_000 * index)
        soundfile.write(folder / f"{index}.wav", waveform, 16_000)
    lines = [json.dumps({"audio": f"{index}.wav", "text": "A song."}) + "\n" for index in range(3)]
    (folder / "songs.jsonl").write_text("".join(lines))
    held = [{"bytes": (folder / f"{index}.wav").read_bytes(), "path": None} for index in (3, 4)]
    data = Dataset.from_dict({"audio": held, "text": ["One.", "Two."]}).cast_column("audio", Audio(decode=False))
    data.save_to_disk(str(folder / "data"))
    return folder


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    import extract_features

    return extract_features.main


def arguments(folder: Path, features: Path, *more: str) -> list[str]:
    given = ["--features", str(features), "--model_name_or_path", str(folder / "model"), "--use_cpu"]
    return [*given, *more, "--manifests", str(folder / "songs.jsonl")]


def open_store(folder: Path, features: Path, max_length_s: float | None = None, **fields) -> FeatureStore:
    extractor = AutoProcessor.from_pretrained(folder / "model").feature_extractor
    extractor.max_length_s = max_length_s
    return FeatureStore(features, AutoModel.from_pretrained(folder / "model", **fields).audio_model, extractor)


def test_manifests_and_data_sets(folder, main, tmp_path, capsys):
    main([*arguments(folder, tmp_path), str(folder / "data")])
    assert "5 songs encoded" in capsys.readouterr().out
    store = open_store(folder, tmp_path)
    store.check(load_manifest(folder / "songs.jsonl")["audio"])
    for song in load_manifest(folder / "data")["audio"]:
        assert store.load(song).shape == (store.num_frames(song), 28)


def test_fields_of_the_configuration(folder, main, tmp_path):
    main(arguments(folder, tmp_path, "--frame_pooling=4"))
    assert len(open_store(folder, tmp_path, frame_pooling=4)) == 3
    with pytest.raises(ValueError, match="frame_pooling: 4 in the features, 8 here"):
        open_store(folder, tmp_path)


def test_only_the_beginning(folder, main, tmp_path):
    main(arguments(folder, tmp_path, "--max_length_s=0.64"))
    store = open_store(folder, tmp_path, max_length_s=0.64)
    assert {store.num_frames(song) for song in load_manifest(folder / "songs.jsonl")["audio"]} == {3}


def test_missing_songs(folder, main, tmp_path):
    manifest = tmp_path / "songs.jsonl"
    lines = [{"audio": str(folder / "0.wav"), "text": "There."}, {"audio": "missing.wav", "text": "Not there."}]
    manifest.write_text("".join(json.dumps(line) + "\n" for line in lines))
    features = tmp_path / "features"
    given = [*arguments(folder, features)[:-1], str(manifest)]
    with pytest.raises(ValueError, match=r"1 of 2 songs cannot be heard:\n  .*missing\.wav"):
        main(given)
    main(["--on_bad_audio=skip", *given])
    assert len(open_store(folder, features)) == 1
    assert json.loads((features / "skipped.jsonl").read_text())["audio"] == str(tmp_path / "missing.wav")


@pytest.mark.slow
def test_as_a_command_in_two_processes(folder, tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command += [str(EXAMPLES / "extract_features.py"), *arguments(folder, tmp_path)]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert result.returncode == 0, result.stderr[-4000:]
    assert "on 2 process(es)" in result.stdout
    assert len(list(tmp_path.glob("shard-*.safetensors"))) == 2
    assert len(open_store(folder, tmp_path)) == 3
