# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions of real songs from labels of frames, and the manifests."""

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from benchmarks.real_music import __main__ as command
from benchmarks.real_music import captions, fetch
from benchmarks.spoken_digits.__main__ import build_text_tower
from collap.data.manifest import load_manifest

NAMES = ["piano", "drums", "classical", "rock", "female", "woman", "slow"]
QUIET_PIANO = {"0": 60, "2": 50, "6": 40}
LOUD_DRUMS = {"1": 55, "3": 40, "4": 9, "5": 30}


def track(path: str = "a.ogg", data: bytes = b"a", **other: Any) -> dict[str, Any]:
    """Ten frames of a slow piano, then ten of drums and a woman's voice, 20 dB louder."""
    line = {"package": "mine", "path": path, "sha256": hashlib.sha256(data).hexdigest(), "duration_s": 60.5}
    labels = {"frames_s": 3.0, "level_db": [-30.0] * 10 + [-10.0] * 10, "tags": [QUIET_PIANO] * 10 + [LOUD_DRUMS] * 10}
    return line | labels | other


def test_facts_of_a_song() -> None:
    song = captions.describe(captions.read_frames(track(), NAMES))
    assert song["thing"] == ["piano", "drums", "female voice"]  # 60 and 55 of 20, 30 of 15 percent
    assert song["course"] == "grows"
    first, second = song["sections"]
    assert [first[name] for name in ("start_s", "end_s", "level_db", "level")] == [0, 30, -30, ["much quieter"]]
    assert [second[name] for name in ("start_s", "end_s", "level_db", "level")] == [30, 60.5, -10, ["much louder"]]
    assert (first["thing"], first["genre"], first["tempo"], first["new"]) == (["piano"], ["classical"], ["slow"], [])
    assert first["without"] == ["voice", "drums"]  # the other section has them
    assert (second["genre"], second["without"], second["moves"]) == (["rock"], [], [])
    assert second["thing"] == second["new"] == ["drums", "female voice"]  # and not "voice" beside it
    assert second["gone"] == ["piano"]
    assert second["tags"]["female voice"] == second["tags"]["voice"] == pytest.approx(0.3)  # the likeliest synonym


def test_a_less_sure_tag_is_not_gone() -> None:
    frames = [{"0": 25, "1": 40}] * 10 + [{"0": 15, "3": 40}] * 10
    song = captions.describe(captions.read_frames(track(tags=frames), NAMES))
    assert song["sections"][1]["gone"] == ["drums"]
    assert song["sections"][1]["thing"] == []  # a piano is not sure either


def test_neighbours_with_the_same_facts_are_one_section() -> None:
    frames = [{"0": 30, "2": 30}] * 10 + [{"0": 70, "2": 60}] * 10
    labels = captions.read_frames(track(tags=frames, level_db=[-20.0] * 20, duration_s=60.0), NAMES)
    assert len(captions.find_sections(labels)) == 2
    assert len(captions.describe(labels)["sections"]) == 1


@pytest.mark.parametrize("writer", captions.WORDS)
def test_both_writers_have_words_for_all(writer: str) -> None:
    words = captions.WORDS[writer]
    places = {"what": {"genre", "things"}, "what_bare": {"genre"}, "song": {"what"}, "in": {"new"}, "out": {"gone"}}
    places |= {"swap": {"new", "gone"}} | {kind: {"what", "level"} for kind in ("first", "next", "last", "alone")}
    for kind, needed in places.items():
        assert all(set(re.findall(r"{(\w+)}", phrase)) == needed for phrase in words[kind]), kind
    for kind, names in captions.NAMES.items():
        assert set(words[kind]) == {*names, *(["other"] if kind == "genre" else [])}
    assert set(words["level"]) == set(captions.LEVELS)
    assert set(words["course"]) == {"even", "grows", "fades", "arch", "dip", "contrasts"}


def test_the_writers_share_no_phrase() -> None:
    def phrases(words: Any) -> set[str]:
        parts = words.values() if isinstance(words, dict) else words
        return {words} if isinstance(words, str) else set().union(*map(phrases, parts))

    assert set.intersection(*map(phrases, captions.WORDS.values())) == {"{genre}"}


def test_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    song = captions.describe(captions.read_frames(track(), NAMES))
    words = {**captions.WORDS["train"], "what": ["{genre} with {things}"], "first": ["First {what}, {level}."]}
    words |= {"alone": ["{what}, {level}."], "swap": ["{new} for {gone}."], "tempo": {"slow": ["slow"]}}
    words |= {"thing": {"piano": ["a piano"], "drums": ["drums"], "female voice": ["a woman singing"]}}
    words |= {"genre": {"classical": ["classical music"], "rock": ["rock"]}}
    words |= {"without": {"voice": ["without a voice"], "drums": ["with no drums"]}}
    words |= {"level": {"much quieter": ["very quiet"], "much louder": ["very loud"]}}
    monkeypatch.setitem(captions.WORDS, "mine", words)
    wording = captions.write(song, "mine", "seed")
    first = "low classical music with a piano, without a voice and with no drums, very quiet."
    assert wording.sections[0] == [f"First s{first}"]
    assert wording.sections[1][1] == "Drums and a woman singing for a piano."
    assert wording.queries == [
        [f"S{first}"],
        ["Rock with drums and a woman singing, very loud.", wording.sections[1][1]],
    ]
    assert wording.text[2:] == [*wording.sections[0], *wording.sections[1]]


def write_tracks(folder: Path, *tracks: dict[str, Any]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "tracks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in tracks))
    (folder / "tags.json").write_text(json.dumps({"tags": [["magnatagatune", name] for name in NAMES]}))


def test_manifests(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.ogg").write_bytes(b"a")
    (tmp_path / "b.ogg").write_bytes(b"b")
    write_tracks(tmp_path, track(), track("b.ogg", b"b", package="naev-data"))
    arguments = [f"--output_dir={tmp_path / 'out'}", f"--tracks={tmp_path}", f"--music={tmp_path}"]
    fetch.main(arguments)
    assert len(load_manifest(tmp_path / "out" / "all.jsonl")) == 2
    (row,) = map(json.loads, (tmp_path / "out" / "test.jsonl").read_text().splitlines())
    assert (row["album"], row["title"], row["audio"]) == ("naev-data", "b", str(tmp_path / "b.ogg"))
    assert len(row["texts"]) == captions.NUM_WORDINGS
    assert {len(text) for text in [*row["texts"], row["text"], row["text_other"]]} == {5}  # 2, then 1 and 2
    for number, text in enumerate(row["texts"]):
        assert text[2:] == [sentence for section in row["sections"] for sentence in section["texts"][number]]

    (tmp_path / "b.ogg").write_bytes(b"c")
    with pytest.raises(SystemExit):
        fetch.main(arguments)
    assert "not the file that was labelled" in capsys.readouterr().err
    (tmp_path / "b.ogg").unlink()
    with pytest.raises(SystemExit):
        fetch.main(arguments)
    assert "b.ogg is missing" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        fetch.main([*arguments, "--tracks=nowhere"])
    assert "--tracks must be a folder with tracks.jsonl and tags.json, got nowhere" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="no dpkg")
def test_packages_are_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine" / "DEBIAN").mkdir(parents=True)
    (tmp_path / "mine" / "DEBIAN" / "control").write_text(
        "Package: mine\nVersion: 1\nArchitecture: all\nMaintainer: me\nDescription: songs\n"
    )
    (tmp_path / "mine" / "a.ogg").write_bytes(b"a")
    subprocess.run(["dpkg-deb", "--build", tmp_path / "mine", tmp_path / "mine.deb"], check=True, capture_output=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "apt-get").write_text(f'#!/bin/sh\nmv {tmp_path}/mine.deb "$2"_1_all.deb\n')
    (tmp_path / "bin" / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    write_tracks(tmp_path / "tracks", track())
    for _ in range(2):  # the second time there is nothing to download any more
        fetch.main([f"--output_dir={tmp_path / 'out'}", f"--tracks={tmp_path / 'tracks'}"])
    assert [path.name for path in (tmp_path / "out" / "music").iterdir()] == ["a.ogg"]
    (tmp_path / "out" / "music" / "a.ogg").unlink()
    with pytest.raises(ValueError, match="mine could not be fetched: mv:"):
        fetch.unpack("mine", tmp_path / "out" / "music")


@pytest.mark.slow
def test_the_command_on_a_handful_of_tracks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Captions, music tower, features, trainings, ranks and spans; a second call finds all done."""
    tracks, packages = [], ["wesnoth-1.16-music"] * 4 + ["hyperrogue-music"] * 2 + ["naev-data"] * 3
    for number, package in enumerate(packages):
        noise = 0.1 * np.random.default_rng(number).standard_normal(round(60.5 * 16000))
        soundfile.write(tmp_path / f"{number}.wav", noise, 16000)
        data = (tmp_path / f"{number}.wav").read_bytes()
        tags = ([QUIET_PIANO] * 7 + [LOUD_DRUMS] * 7 + [QUIET_PIANO] * 6)[:: (-1) ** number]
        tracks.append(track(f"{number}.wav", data, package=package, tags=tags))
    write_tracks(tmp_path, *tracks)
    fetch.main([f"--output_dir={tmp_path / 'data'}", f"--tracks={tmp_path}", f"--music={tmp_path}"])
    build_text_tower(tmp_path / "text", 0)
    given = [f"--data={tmp_path / 'data'}", f"--tracks={tmp_path}", f"--output_dir={tmp_path / 'out'}"]
    given += [f"--text_model={tmp_path / 'text'}", "--rows", "mean-first", "mean", "ours", "--seeds", "0"]
    given += ["--num_pretraining_steps", "2", "--num_epochs", "1"]
    for _ in range(2):
        capsys.readouterr()
        command.main(given)
    printed = capsys.readouterr()
    assert printed.out.count("done before") == 9
    tables = [line for line in printed.out.splitlines() if line.startswith("|")]
    rows = json.loads((tmp_path / "out" / "test.json").read_text())["rows"]
    assert [row["questions"]["captions, all, other"]["gallery_size"] for row in rows.values()] == [9, 9, 9]
    assert rows["ours"]["questions"]["order, seen"]["gallery_size"] == 4
    assert 0 <= rows["ours"]["questions"]["aligned together, seen"]["iou"]["value"] <= 100
    assert len(tables) == 14  # three tables of three rows; the first 10 s have no order


def test_nothing_of_a_test_album_is_in_training() -> None:
    tracks = [json.loads(line) for line in (fetch.LABELS / "tracks.jsonl").read_text().splitlines()]
    packages = [package for split in ("train", "validation", "test") for package in fetch.SPLITS[split]]
    assert sorted(packages) == sorted({line["package"] for line in tracks})  # and so none twice
    assert len({line["sha256"] for line in tracks}) == len(tracks)
    assert {line["path"] for line in tracks} >= {*fetch.SPLITS["left_out"], *fetch.SPLITS["unreadable"]}


def test_what_can_be_reached() -> None:
    """Whoever draws one of the sections, or songs, that have the facts of a query finds the right one so often."""
    names = [name for _, name in json.loads((fetch.LABELS / "tags.json").read_text())["tags"]]
    songs = []
    for line in map(json.loads, (fetch.LABELS / "tracks.jsonl").read_text().splitlines()):
        if line["package"] in fetch.SPLITS["test"]:
            songs.append(captions.describe(captions.read_frames(line, names)))
    said = ("thing", "genre", "tempo", "without", "level", "moves", "new", "gone")
    texts = [[json.dumps([section[name] for name in said]) for section in song["sections"]] for song in songs]
    openings = [json.dumps([song["course"], *(song[name] for name in said)]) for song in songs]
    assert (
        len({json.dumps([opening, *text]) for opening, text in zip(openings, texts, strict=True)}) == len(songs) == 100
    )
    all_texts = [text for song in texts for text in song]
    section = len(set(all_texts)) / len(all_texts)
    pairs = {(number, text) for number, song in enumerate(texts) for text in song}
    num_songs = Counter(text for _, text in pairs)
    song = sum(1 / num_songs[text] for text in all_texts) / len(all_texts)
    print(f"{len(set(openings))} different openings; section {100 * section:.1f} %, its song {100 * song:.1f} %")
    assert (len(set(openings)), round(section, 2), round(song, 2)) == (93, 0.70, 0.79)
