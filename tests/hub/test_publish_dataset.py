# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`collap publish-dataset`: songs and texts as they are, with where they come from, and without local folders."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import soundfile
from datasets import Audio, load_dataset
from publish_helpers import contents, python_of_card

from collap.captioning.captioner import PROMPTS, hash_prompts
from collap.data.manifest import load_manifest
from collap.data.sets import SETS
from collap.hub import dataset
from collap.hub.checks import repository_problems
from collap.hub.dataset import publish_dataset, without_folders

TEXT = ["A calm piece.", "It begins with a piano.", "Drums and/or bass set in."]
SECTIONS = [{"start_s": 0.0, "end_s": 0.2, "text": TEXT[1:2]}, {"start_s": 0.2, "end_s": 0.5, "text": TEXT[2:]}]


@pytest.fixture
def songs(tmp_path: Path) -> list[Path]:
    """Songs of three formats, in folders whose names nobody should see."""
    paths = [tmp_path / "Secret Music" / name for name in ("a.wav", "The album/b.flac", "The album/c.mp3")]
    for seed, path in enumerate(paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.random.default_rng(seed).uniform(-0.1, 0.1, 8_000), 16_000)
    return paths


def write_manifest(folder: Path, *rows: dict[str, Any]) -> Path:
    manifest = folder / "songs.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest


def write(manifest: Path, *more: str) -> Path:
    """`collap publish-dataset --dry_run`; returns the folder, in which nothing names a folder of this machine."""
    folder = manifest.with_name("out")
    command = ["--manifest", str(manifest), "--output_dir", str(folder), "--repo_id", "somebody/songs", "--dry_run"]
    publish_dataset([*command, "--license", "cc-by-4.0", "--language", "en", *more])
    for file, content in contents(folder).items():
        for local in (str(manifest.parent), manifest.parent.parent.name, "Secret Music", str(Path.home())):
            assert local.encode() not in content, (file, local)
    return folder


def card_of(folder: Path) -> str:
    return (folder / "README.md").read_text(encoding="utf-8")


def test_what_is_loaded_is_what_was_published(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_BYTES", 16_000)
    rows = [
        {"audio": str(songs[0]), "song_id": str(songs[0]), "text": TEXT, "sections": SECTIONS},
        {"audio": "Secret Music/The album/b.flac", "song_id": "an id", "text": TEXT[:1], "lyrics": "la / la\nla"},
        {"audio": str(songs[2]), "duration_s": 0.5, "text": TEXT, "place": str(songs[2])},
        {"audio": str(songs[0]), "song_id": str(songs[0]), "text": TEXT[1:]},
    ]
    manifest = write_manifest(tmp_path, *rows)
    folder = write(manifest, "--source", "Noise of mine.")
    shards = [f"data/train-0000{index}-of-00003.parquet" for index in range(3)]
    assert sorted(contents(folder)) == ["README.md", *shards, "provenance.json"]

    data = load_dataset(str(folder), split="train")
    assert isinstance(data.features["audio"], Audio)
    published = data.cast_column("audio", Audio(decode=False)).to_list()
    for row, original, file in zip(published, rows, (*songs, songs[0]), strict=True):
        assert row["audio"] == {"bytes": file.read_bytes(), "path": file.name}
        assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
        assert row["song_id"] == ("an id" if file == songs[1] else row["sha256"][:32])
        for name in ("text", "sections", "duration_s", "lyrics"):
            assert row[name] == original.get(name)
    assert published[2]["place"] == "c.mp3"
    ours, before = load_manifest(folder).to_list(), load_manifest(manifest).to_list()
    assert [row["audio"] for row in ours] == [row["audio"] for row in published]
    for name in ("text", "sections", "duration_s"):
        assert [row[name] for row in ours] == [row[name] for row in before]

    card = card_of(folder)
    assert "| 3 | 0.00 | 4 | 4 | 2 |" in card
    assert "Noise of mine." in card
    assert "Not stated" not in card
    for line in ("license: cc-by-4.0", "- en", "size_categories: n<1K", "- text-to-audio-retrieval"):
        assert f"\n{line}\n" in card
    for column in data.column_names:
        assert f"| `{column}` | " in card
    counts = json.loads((folder / "provenance.json").read_bytes())["counts"]
    assert counts == {"songs": 3, "hours": 0.0, "rows": 4, "texts": 4, "sections": 2}


def test_a_published_data_set_can_be_published_again(songs, tmp_path, caplog):
    folder = write(write_manifest(tmp_path, *({"audio": str(song), "texts": [TEXT, TEXT[:1]]} for song in songs)))
    assert "source of the songs is not stated" in caplog.text
    assert "\nNot stated by the publisher.\n" in card_of(folder)
    given = ["--manifest", str(folder), "--output_dir", str(tmp_path / "again"), "--dry_run"]
    publish_dataset([*given, "--license", "other", "--license_name", "mine", "--license_link", "https://a.b"])
    first, second = (load_manifest(path, keep_extra_columns=True) for path in (folder, tmp_path / "again"))
    assert first.to_list() == second.to_list()
    card = card_of(tmp_path / "again")
    assert "\n- Set: somebody/songs\n- Licence: cc-by-4.0\n" in card
    assert "The publisher states `mine`" in card


def test_another_folder_of_the_same_name_is_not_loaded_from_the_cache(songs, tmp_path):
    for song in songs[:2]:
        folder = tmp_path / song.stem
        folder.mkdir()
        loaded = load_dataset(
            str(write(write_manifest(folder, {"audio": str(song), "text": song.stem}))), split="train"
        )
        assert loaded["text"][:] == [song.stem]


def test_captioners_with_their_licence_and_prompts(songs, tmp_path):
    model = tmp_path / "Secret Music" / "captioner"
    model.mkdir()
    (model / "README.md").write_text("---\nlicense: cc-by-nc-4.0\n---\n")
    known = {"model": str(model), "revision": "abc", "prompts": hash_prompts(PROMPTS), "collap_version": "0.1.0"}
    others = {**known, "revision": "def", "prompts": "0123"}
    rows = [
        {"audio": str(song), "text": TEXT, "captioner": who}
        for song, who in zip(songs, (known, known, others), strict=True)
    ]
    folder = write(write_manifest(tmp_path, *rows))
    assert [row["captioner"] for row in load_manifest(folder, keep_extra_columns=True)] == [
        {**row["captioner"], "model": "captioner"} for row in rows
    ]
    first, second = json.loads((folder / "provenance.json").read_bytes())["captioners"]
    assert first == {**known, "model": "captioner", "licence": "cc-by-nc-4.0", "prompt_texts": PROMPTS, "rows": 2}
    assert second == {**first, "revision": "def", "prompts": "0123", "prompt_texts": None, "rows": 1}
    card = card_of(folder)
    assert "- **captioner**, rows: 2. A model, revision `abc`, run by collap 0.1.0.\n" in card
    assert "Licence of the model: cc-by-nc-4.0." in card
    assert f"\n  - section: {PROMPTS['section']}\n" in card
    assert "Hash of its prompts: `0123`." in card


def test_a_person_as_captioner(songs, tmp_path):
    card = card_of(write(write_manifest(tmp_path, {"audio": str(songs[0]), "text": TEXT, "captioner": "Jo"})))
    assert re.search(r"\n- \*\*Jo\*\*, rows: 1\n", card)


def test_the_provenance_of_a_public_set_is_taken_over(songs, tmp_path, caplog):
    files = tmp_path / "Secret Music"
    (files / "audio" / "12").mkdir(parents=True)
    for song, name in zip(songs, ("12", "13", "14"), strict=True):
        song.rename(files / "audio" / "12" / f"{name}.2min{song.suffix}")
    table = "caption_id,track_id,caption,is_valid_subset,path\n7,12,A calm piece.,True,12/12.mp3\n"
    (files / "song_describer.csv").write_text(table)
    manifest = SETS["song_describer"].convert(files, tmp_path / "converted")
    converted = json.loads(manifest.with_name("provenance.json").read_bytes())
    caplog.clear()
    folder = write(manifest)
    assert "not stated" not in caplog.text
    kept = json.loads((folder / "provenance.json").read_bytes())["origin"]
    assert kept == without_folders(converted)
    assert (kept["files"], kept["manifest"]) == (converted["files"], converted["manifest"])
    for key in ("name", "source", "licence", "captions"):
        assert f": {converted[key]}\n" in card_of(folder)
    assert load_manifest(folder)["song_id"][:] == ["12"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/srv/My Music/a b.flac", "a b.flac"),
        ("/srv/a.flac", "a.flac"),
        ("../../srv/music/a.flac", "a.flac"),
        ("songs/../../srv/a.flac", "a.flac"),
        ("~/models/one", "one"),
        ("C:\\Users\\Jo Doe\\a.flac", "a.flac"),
        ("\\\\server\\share\\a.flac", "a.flac"),
        ("file:///srv/music/a.flac", "a.flac"),
        ("text:/srv/music/a.flac", "text:a.flac"),
        ("damaged: '/srv/music/a.flac', see https://a.b/c/d", "damaged: 'a.flac', see https://a.b/c/d"),
        *(
            (text, text)
            for text in ("nvidia/music-flamingo-2601-hf", "audio/a.mp3", "la / la / la", "and/or", "/b/ c")
        ),
    ],
)
def test_folders_of_paths(value, expected):
    assert without_folders({"notes": [value], "text": value, "number": 1}) == {
        "notes": [expected],
        "text": value,
        "number": 1,
    }


def test_refusals_leave_nothing(songs, tmp_path):
    good = {"audio": str(songs[0]), "text": TEXT}
    songs[1].write_bytes(b"no audio" * 100)
    cut = tmp_path / "cut.wav"
    cut.write_bytes(songs[0].read_bytes()[:9_000])
    files = set(tmp_path.rglob("*"))
    licence = ["--license", "mit"]
    for rows, more, message in [
        ([good], [], "license must be .* got None.*published whole: publish only what may be shared"),
        ([good], ["--license", "other"], "'other' needs a license_name"),
        ([good], [*licence, "--language", "English"], "language must be an ISO code.* got 'English'"),
        ([good, {"audio": str(songs[1]), "text": TEXT}], licence, "line 2.*b.flac"),
        ([good, {"audio": str(cut), "text": TEXT}], licence, "line 2.*cut.wav"),
        ([good, {"audio": "no.wav", "text": TEXT}], licence, "line 2.*no.wav"),
        ([good, {"audio": str(songs[0])}], licence, "line 2.*text must be"),
    ]:
        manifest = write_manifest(tmp_path, *rows)
        with pytest.raises(ValueError, match=re.compile(message, re.DOTALL)):
            publish_dataset(["--manifest", str(manifest), "--output_dir", str(tmp_path / "out"), "--dry_run", *more])
        assert set(tmp_path.rglob("*")) - {manifest} == files
    manifest = write_manifest(tmp_path, good)
    given = ["--manifest", str(manifest), "--dry_run", *licence, "--output_dir"]
    with pytest.raises(ValueError, match="output_dir must not exist or be an empty folder"):
        publish_dataset([*given, str(tmp_path)])
    for content, message in {
        "{": "cannot be read: Expecting",
        "[]": "cannot be read: provenance.json must hold a JSON object, got a list",
        '{"notes": "one"}': "must be a list of strings, got 'one'",
    }.items():
        manifest.with_name("provenance.json").write_text(content)
        with pytest.raises(ValueError, match=f"manifest: .*{message}"):
            publish_dataset([*given, str(tmp_path / "out")])


def test_a_damaged_folder_is_not_pushed(songs, tmp_path, monkeypatch):
    monkeypatch.setattr(dataset, "SHARD_BYTES", 1)
    folder = write(write_manifest(tmp_path, *({"audio": str(song), "text": TEXT} for song in songs)))
    assert repository_problems(folder, "somebody/songs", "dataset") == []
    shards = sorted(folder.glob("data/*"))
    shards[0].write_bytes(shards[0].read_bytes()[:-9])
    shards[1].unlink()
    (folder / "provenance.json").unlink()
    problems = repository_problems(folder, "somebody/songs", "dataset")
    assert problems[:2] == ["provenance.json is missing, or a link", f"data/{shards[1].name} is missing, or a link"]
    assert problems[2].startswith(f"data/{shards[0].name} can't be read: ")
    (folder / "data").rename(folder / "other")
    assert "data/train-00000-of-00001.parquet is missing, or a link" in repository_problems(folder, "a/b", "dataset")


def test_what_was_looked_at_is_pushed_and_loads_by_the_lines_of_the_card(hub, songs, tmp_path, monkeypatch, caplog):
    folder = write(write_manifest(tmp_path, *({"audio": str(song), "text": TEXT} for song in songs)))
    card = card_of(folder) + "\nBy hand.\n"
    (folder / "README.md").write_text(card)
    (folder / ".env").write_text("HF_TOKEN=hf_secret")
    given = ["--output_dir", str(folder), "--repo_id"]
    with pytest.raises(ValueError, match="Without --manifest the folder is not changed"):
        publish_dataset([*given, "somebody/songs", "--license", "mit"])
    with pytest.raises(ValueError, match="loads 'somebody/songs', not 'somebody/others'"):
        publish_dataset([*given, "somebody/others"])
    assert hub.requests == []
    hub.failures["POST /api/datasets/somebody/songs/commit"] = [500]
    with pytest.raises(RuntimeError, match=r"answered 500.* Try again by `collap publish-dataset --output_dir"):
        publish_dataset([*given, "somebody/songs"])
    assert hub.files == {"datasets/somebody/songs": {}}
    publish_dataset([*given, "somebody/songs"])
    (folder / ".env").unlink()
    assert "Not uploaded, as they are no part of the dataset or its card: .env" in caplog.text
    assert hub.files == {"datasets/somebody/songs": contents(folder)}
    assert hub.commits == {"datasets/somebody/songs": 1}

    monkeypatch.setattr(datasets.config, "HF_ENDPOINT", hub.endpoint)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    names: dict[str, Any] = {}
    exec(python_of_card(folder), names)
    ours = load_manifest("somebody/songs")
    for row, own, song in zip(names["songs"], ours, songs, strict=True):
        assert row["audio"] == own["audio"] == {"bytes": song.read_bytes(), "path": song.name}
        assert row["text"] == own["text"] == TEXT
