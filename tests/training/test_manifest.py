# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json

import numpy as np
import pytest
import soundfile
import torch

datasets = pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.training.manifest import load_manifest, sample_text  # noqa: E402 - after the skip


@pytest.fixture
def folder(tmp_path):
    """A folder with two songs and no manifest yet."""
    (tmp_path / "songs").mkdir()
    for name in ("a.wav", "b.wav"):
        soundfile.write(tmp_path / "songs" / name, np.zeros(1600), 16000)
    return tmp_path


def write_lines(folder, *rows):
    path = folder / "songs.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


def test_json_lines(folder):
    absolute = str(folder / "songs" / "b.wav")
    path = write_lines(
        folder,
        {"audio": "songs/a.wav", "text": "A song.", "year": 1999},
        "",  # an empty line is no song
        {"audio": absolute, "text": "None"},
    )
    data = load_manifest(path)
    assert data.to_dict() == {"audio": [str(folder / "songs" / "a.wav"), absolute], "text": ["A song.", "None"]}
    assert load_manifest(str(path), keep_extra_columns=True)["year"][:] == [1999, None]


def test_relative_manifest_gives_absolute_paths(folder, monkeypatch):
    write_lines(folder, {"audio": "songs/a.wav", "text": "A song."})
    monkeypatch.chdir(folder)
    data = load_manifest("songs.jsonl")
    monkeypatch.chdir("/")
    assert soundfile.info(data[0]["audio"]).frames == 1600


def test_extra_column_that_only_a_later_line_has(folder):
    path = write_lines(
        folder,
        {"audio": "songs/a.wav", "text": ["One.", "Two."]},
        {"audio": "songs/b.wav", "text": ["Three."], "sections": [{"start_s": 0.0, "label": "intro"}]},
    )
    data = load_manifest(path, keep_extra_columns=True)
    assert data["text"][:] == [["One.", "Two."], ["Three."]]
    assert data[1]["sections"] == [{"start_s": 0.0, "label": "intro"}]


def test_csv_reads_texts_as_they_are(folder):
    path = folder / "songs.csv"
    path.write_text('audio,text,note\nsongs/a.wav,"Slow, then\nfast.",x\nsongs/b.wav,NA,\n')
    data = load_manifest(path, keep_extra_columns=True)
    assert data["text"][:] == ["Slow, then\nfast.", "NA"]
    assert data["note"][:] == ["x", ""]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"audio": "songs/a.wav"}], r"needs the columns 'audio' and 'text'.*has \['audio'\]"),
        ([{"text": "A song."}], "needs the columns"),
        ([], "has no songs"),
        ([{"audio": "songs/a.wav", "text": "A song."}, "{"], "line 2 is not JSON"),
        (["[1, 2]"], "line 1: one JSON object a line"),
        ([{"audio": "songs/a.wav", "text": "A."}, {"audio": "songs/c.wav", "text": "B."}], "line 2: no file of audio"),
        ([{"audio": "songs", "text": "A."}], "line 1: no file of audio"),
        ([{"audio": 3, "text": "A."}], "line 1: audio must be a path, got 3"),
        ([{"audio": "songs/a.wav", "text": " "}], "line 1: text must be"),
        ([{"audio": "songs/a.wav", "text": []}], "line 1: text must be"),
        ([{"audio": "songs/a.wav", "text": ["A.", ""]}], "line 1: text must be"),
        ([{"audio": "songs/a.wav", "text": "A."}, {"audio": "songs/b.wav", "texts": ["A."]}], "line 1: texts must be"),
        ([{"audio": "songs/a.wav", "texts": "A."}], "line 1: texts must be a list"),
        (
            [{"audio": "songs/a.wav", "text": "A."}, {"audio": "songs/b.wav", "text": ["A."]}],
            "'text' of .* mixes types: write every text",
        ),
    ],
)
def test_faults_of_a_manifest(folder, rows, message):
    with pytest.raises(ValueError, match=message):
        load_manifest(write_lines(folder, *rows))


def test_extra_column_of_mixed_types(folder):
    rows = [{"audio": "songs/a.wav", "text": "A.", "x": "1"}, {"audio": "songs/b.wav", "text": "B.", "x": [1]}]
    path = write_lines(folder, *rows)
    assert load_manifest(path).column_names == ["audio", "text"]
    with pytest.raises(ValueError, match=r"'x' of .* mixes types: .*keep_extra_columns=False"):
        load_manifest(path, keep_extra_columns=True)


def test_only_the_first_faults_are_listed(folder):
    path = write_lines(folder, *({"audio": f"songs/{n}.wav", "text": "A."} for n in range(8)))
    with pytest.raises(ValueError, match="has 8 problem") as error:
        load_manifest(path)
    assert "line 5" in str(error.value)
    assert "line 6" not in str(error.value)
    assert str(error.value).endswith("and 3 more")


def test_manifest_that_is_not_there_or_has_a_split(folder):
    with pytest.raises(ValueError, match="there is no manifest"):
        load_manifest(folder / "other.jsonl")
    with pytest.raises(ValueError, match="split='train' was given"):
        load_manifest(write_lines(folder, {"audio": "songs/a.wav", "text": "A."}), split="train")


def test_csv_row_with_too_many_cells(folder):
    (folder / "songs.csv").write_text("audio,text\nsongs/a.wav,Slow, then fast.\n")
    with pytest.raises(ValueError, match="line 2 has more cells"):
        load_manifest(folder / "songs.csv")


def audio_data_set(folder):
    paths = [str(folder / "songs" / name) for name in ("a.wav", "b.wav")]
    data = datasets.Dataset.from_dict({"audio": paths, "text": ["A.", "B."], "year": [1, 2]})
    return data.cast_column("audio", datasets.Audio())


@pytest.mark.parametrize("splits", [False, True])
def test_data_set_saved_to_disk_stays_undecoded(folder, splits):
    data = audio_data_set(folder)
    saved = datasets.DatasetDict({"train": data, "test": data.select([0])}) if splits else data
    saved.save_to_disk(folder / "saved")
    loaded = load_manifest(folder / "saved", split="train" if splits else None)
    assert loaded.column_names == ["audio", "text"]
    assert set(loaded[0]["audio"]) == {"bytes", "path"}
    if splits:
        with pytest.raises(ValueError, match=r"splits \['test', 'train'\]"):
            load_manifest(folder / "saved")
        with pytest.raises(ValueError, match="split must be one of"):
            load_manifest(folder / "saved", split="dev")


def test_folder_of_parquet(folder, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", folder / "cache")
    (folder / "parquet").mkdir()
    audio_data_set(folder).to_parquet(folder / "parquet" / "train.parquet")
    loaded = load_manifest(folder / "parquet", split="train", keep_extra_columns=True)
    assert loaded.column_names == ["audio", "text", "year"]
    assert loaded[1]["audio"] == {"bytes": None, "path": str(folder / "songs" / "b.wav")}
    assert load_manifest(folder / "parquet")["text"][:] == ["A.", "B."]  # the only split needs no name


def test_empty_text_in_a_data_set(folder):
    datasets.Dataset.from_dict({"audio": ["x"], "text": [None]}).save_to_disk(folder / "saved")
    with pytest.raises(ValueError, match="row 1: text must be"):
        load_manifest(folder / "saved")


def test_sample_text():
    assert sample_text({"text": ["One.", "Two."]}) == ["One.", "Two."]
    example = {"text": "unused", "texts": ["a", "b", "c"]}
    assert {sample_text(example, torch.Generator().manual_seed(seed)) for seed in range(20)} == {"a", "b", "c"}
    torch.manual_seed(0)
    first = [sample_text(example) for _ in range(10)]
    torch.manual_seed(0)
    assert [sample_text(example) for _ in range(10)] == first
