# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/extract_features.py` on a tiny model: a training of that model finds what it has cached."""

import json
from pathlib import Path

import pytest
from cached_frames import load_frames
from datasets import Audio, Dataset
from tiny_retrieval import tiny_collap, write_songs
from transformers import AutoModel, AutoProcessor

from collap.data.cache import TensorCache, describe_features
from collap.data.manifest import load_manifest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "extract_features.py"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved model, a manifest of three songs, and a data set that holds two songs inside."""
    folder = tmp_path_factory.mktemp("extract")
    for part in tiny_collap(text_granularity="document", temporal_position=False):
        part.save_pretrained(folder / "model")
    write_songs(folder, (0.75, 1.0, 1.25, 1.5, 1.75))
    lines = [json.dumps({"audio": f"{index}.wav", "text": "A song."}) + "\n" for index in range(3)]
    (folder / "songs.jsonl").write_text("".join(lines))
    inside = [{"bytes": (folder / f"{index}.wav").read_bytes(), "path": None} for index in (3, 4)]
    data = Dataset.from_dict({"audio": inside, "text": ["One.", "Two."]}).cast_column("audio", Audio(decode=False))
    data.save_to_disk(str(folder / "data"))
    return folder


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    import extract_features

    return extract_features.main


def arguments(folder: Path, features: Path, *more: str) -> list[str]:
    given = ["--features", str(features), "--model_name_or_path", str(folder / "model"), "--use_cpu"]
    return [*given, *more, "--manifests", str(folder / "songs.jsonl")]


def open_cache(folder: Path, features: Path, max_length_s: float | None = None, **fields) -> TensorCache:
    extractor = AutoProcessor.from_pretrained(folder / "model").feature_extractor
    extractor.max_length_s = max_length_s
    audio_model = AutoModel.from_pretrained(folder / "model", **fields).audio_model
    return TensorCache(features, describe_features(audio_model, extractor))


def test_manifests_and_data_sets(folder, main, tmp_path):
    main([*arguments(folder, tmp_path), str(folder / "data")])
    cache = open_cache(folder, tmp_path)
    assert len(cache.songs) == 5
    cache.check(load_manifest(folder / "songs.jsonl")["audio"])
    for song in load_manifest(folder / "data")["audio"]:
        assert load_frames(cache, song).shape == (cache.num_frames(song), 28)


def test_options(folder, main, tmp_path):
    (tmp_path / "missing.jsonl").write_text('{"audio": "missing.wav", "text": "Not there."}\n')
    options = ["--frame_pooling=4", "--max_length_s=0.64", "--on_bad_audio=skip"]
    main([*arguments(folder, tmp_path, *options), str(tmp_path / "missing.jsonl")])
    cache = open_cache(folder, tmp_path, max_length_s=0.64, frame_pooling=4)
    assert {cache.num_frames(song) for song in load_manifest(folder / "songs.jsonl")["audio"]} == {6}
    with pytest.raises(ValueError, match=r"max_length_s must be at least 0\.175 s or None, got 0\.0"):
        main(arguments(folder, tmp_path, "--max_length_s=0"))
    with pytest.raises(ValueError, match="frame_pooling: 4 in the cache, 8 here"):
        open_cache(folder, tmp_path, max_length_s=0.64)
