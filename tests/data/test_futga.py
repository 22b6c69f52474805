# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""FUTGA's tables on a small scale: columns told, songs joined, what is missing counted."""

import csv
import hashlib
import json
import logging

import numpy as np
import pytest
import soundfile

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.data.futga import detect_columns, prepare_futga, read_table
from collap.data.manifest import load_manifest
from collap.training.augmentation import Section, find_section_problem

LONG = "A slow song with a piano, a bass and soft drums. The mood is calm and a little sad, and the tempo stays even. "
PERCENT = LONG + "\n**0-40% - Intro:**\n- Piano alone\n**40-100% - Verse:**\n- The drums enter"
CLOCK = LONG + "\nIntro (0:00 - 0:15): Piano alone.\nVerse (0:15 - 0:40): The drums enter."
HUMAN = "This clip has a slow piano over a bass line and drums played with brushes; someone hums along, far away."
IDS = ["-0abcDEF_12", "Y0abcDEF_12", "9xyzABCDE_1"]


def rows_of(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"ytid": IDS, "caption": [PERCENT] * 3}, ("ytid", "caption", "by its name", "by its name")),
        (
            {"": ["0", "1", "2"], "YouTube-ID": IDS, "Text": [LONG] * 3},
            ("YouTube-ID", "Text", "by its name", "by its name"),
        ),
        # MusicCaps has a caption by a human, too.
        (
            {"ytid": IDS, "caption": [HUMAN] * 3, "futga": [PERCENT] * 3},
            ("ytid", "futga", "by its name", "by its name"),
        ),
        (
            {"ytid": IDS, "caption": [HUMAN] * 3, "model": [CLOCK] * 3},
            ("ytid", "model", "by its name", "the only one with time ranges"),
        ),
        # An id that counts rows is none.
        (
            {"id": ["0", "1", "2"], "key": IDS, "words": [LONG] * 3, "start_s": ["30", "30", "40"]},
            ("key", "words", "the only one of YouTube ids", "the only one with long texts"),
        ),
        (
            {"where": ["00/1.mp3", "00/2.mp3", "01/3.mp3"], "a": [PERCENT] * 3, "b": [HUMAN] * 3},
            ("where", "a", "the only one of files of audio", "the only one with time ranges"),
        ),
        (
            {"key": ["0001_12step", "0003_6foot", "0004_abc"], "caption": [PERCENT] * 3},
            ("key", "caption", "the only one of numbers with names", "by its name"),
        ),
        (
            {"track": ["1004018", "1004019", "1004020"], "caption": [PERCENT] * 3},
            ("track", "caption", "the only one of track numbers", "by its name"),
        ),
    ],
)
def test_columns_are_told(columns, expected):
    found = detect_columns(rows_of(**columns))
    assert (found.id, found.caption, found.id_reason, found.caption_reason) == expected


def test_columns_that_cannot_be_told():
    rows = rows_of(one=IDS, two=IDS[::-1], a=[PERCENT] * 3, b=[CLOCK] * 3)
    with pytest.raises(ValueError, match=r"caption_column can't be told, give it. .* 'one' \(such as '-0abcDEF_12'\)"):
        detect_columns(rows)
    with pytest.raises(ValueError, match=r"id_column can't be told, give it. .* 'two' \(such as '9xyzABCDE_1'\)"):
        detect_columns(rows, caption_column="a")
    with pytest.raises(ValueError, match=r"id_column must be one of 'one' .*, got 'three'"):
        detect_columns(rows, id_column="three")
    found = detect_columns(rows, "two", "b")
    assert (found.id, found.caption, found.id_reason, found.caption_reason) == ("two", "b", "as given", "as given")
    with pytest.raises(ValueError, match="id_column can't be told"):
        detect_columns(rows_of(words=["a", "b", "c"], caption=[PERCENT] * 3))


def test_tables_that_are_none(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(ValueError, match="csv_path: there is no file"):
        read_table(path)
    for text, message in (
        ("ytid,caption\n", "has no rows"),
        (f'{IDS[0]},"{LONG}"\n{IDS[1]},"{LONG}"\n', "must be a header"),
        ("id,id\n1,2\n", "must be a header"),
        ("ytid,caption\nx,One, two\n", r"row 1 of .* has more cells"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_table(path)


@pytest.fixture
def songs(tmp_path):
    """Songs of 40 s at 1 kHz: 8-bit noise, small and quick."""

    def make(*names, seconds=40):
        for name in names:
            path = tmp_path / "songs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 1000 * seconds), 1000, subtype="PCM_U8")
        return tmp_path / "songs"

    return make


def write_table(folder, rows, name="table.csv"):
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter="\t" if name.endswith(".tsv") else ",")
        writer.writeheader()
        writer.writerows(rows)
    return folder / name


def read_lines(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_table_of_audioset(songs, tmp_path, caplog):
    audio_dir = songs(f"{IDS[0]}.wav", f"a/Y{IDS[1]}.wav", f"a/title [{IDS[2]}].wav", "AAAAAAAAAAA_30_40.wav")
    (audio_dir / "BBBBBBBBBBB.wav").write_bytes(b"no audio")
    (audio_dir / "CCCCCCCCCCC.webm").write_bytes(b"")
    reversed_times = LONG + "\n60% - 40%: Loud."
    rows = [
        {"ytid": IDS[0], "caption": PERCENT},
        {"ytid": IDS[1], "caption": CLOCK},
        {"ytid": IDS[2], "caption": reversed_times},
        {"ytid": IDS[0], "caption": LONG},  # another caption of a song
        {"ytid": IDS[0], "caption": PERCENT},  # the same once more
        {"ytid": "AAAAAAAAAAA", "caption": PERCENT},
        {"ytid": "BBBBBBBBBBB", "caption": PERCENT},
        {"ytid": "CCCCCCCCCCC", "caption": PERCENT},
        {"ytid": "DDDDDDDDDDD", "caption": PERCENT},
        {"ytid": "", "caption": PERCENT},
        {"ytid": IDS[2], "caption": " "},
    ]
    table = write_table(tmp_path, rows)
    with caplog.at_level(logging.INFO):
        summary = prepare_futga(table, audio_dir, tmp_path / "futga")
    assert "ids: column 'ytid' (by its name), such as '-0abcDEF_12'" in caplog.text
    assert "captions: column 'caption' (by its name), such as 'A slow song" in caplog.text

    manifest = read_lines(tmp_path / "futga" / "train.jsonl")
    assert [line["csv_row"] for line in manifest] == [1, 2, 3, 4, 6]
    assert [line["song_id"] for line in manifest] == [IDS[0], IDS[1], IDS[2], IDS[0], "AAAAAAAAAAA"]
    assert manifest[0]["audio"] == f"../songs/{IDS[0]}.wav"
    times = [[(part["start_s"], part["end_s"]) for part in line["sections"]] for line in manifest[:2]]
    assert times == [[(0.0, 16.0), (16.0, 40.0)], [(0.0, 15.0), (15.0, 40.0)]]
    assert [line["sections_unit"] for line in manifest[:2]] == ["percent", "clock"]
    assert [line.get("sections_problem") for line in manifest] == [
        None,
        None,
        "a range that is reversed: 60-40",
        "no time ranges",
        "the file is an excerpt",
    ]
    missing = read_lines(tmp_path / "futga" / "train.missing.jsonl")
    assert [(line["csv_row"], line["song_id"], line["reason"].split(":")[0]) for line in missing] == [
        (5, IDS[0], "a repetition"),
        (7, "BBBBBBBBBBB", "unreadable audio"),
        (8, "CCCCCCCCCCC", "unreadable audio"),
        (9, "DDDDDDDDDDD", "no file of audio"),
        (10, "", "no id"),
        (11, IDS[2], "no caption"),
    ]

    assert summary == json.loads((tmp_path / "futga" / "train.summary.json").read_text())
    for name, file in (("csv", table), ("manifest", tmp_path / "futga" / "train.jsonl")):
        assert summary[f"{name}_sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert summary["rows"] == summary["joined"] + summary["missing_rows"] == 11
    assert summary["missing_by_reason"]["unreadable audio"] == 2
    assert (summary["with_sections"], summary["without_sections"], summary["sections"]) == (2, 3, 4)
    assert summary["songs_by_rule"]["a YouTube id with Y or seconds"] == 2
    assert (summary["songs"], summary["seconds"], summary["seconds_in_sections"]) == (4, 160.0, 80.0)
    assert sorted(path.name for path in (tmp_path / "futga").iterdir()) == [
        "train.jsonl",
        "train.missing.jsonl",
        "train.summary.json",
    ]

    # The reader of manifests takes it, and the same input gives the same hash.
    data = load_manifest(tmp_path / "futga" / "train.jsonl")
    assert data.column_names == ["audio", "song_id", "duration_s", "text", "sections"]
    assert data[1]["sections"][1] == {"start_s": 15.0, "end_s": 40.0, "text": ["Verse: The drums enter."]}
    for row in data.select([0, 1]):  # fit for the structure augmentation
        sections = [Section(part["start_s"], part["end_s"], tuple(part["text"])) for part in row["sections"]]
        assert find_section_problem(row["text"], sections, row["duration_s"]) is None
    again = prepare_futga(table, audio_dir, tmp_path / "futga")
    assert again == summary


def test_tables_of_song_describer_and_harmonix(songs, tmp_path):
    audio_dir = songs("18/1004018.2min.wav", "19/1004019.2min.wav")
    rows = rows_of(track_id=["1004018", "1004019"], caption_id=["1", "2"], caption=[PERCENT, CLOCK])
    summary = prepare_futga(write_table(tmp_path, rows, "sdd.tsv"), audio_dir, tmp_path / "futga", split="describer")
    assert summary["songs_by_rule"] == {"the id is its name up to a dot": 2}
    assert summary["with_sections"] == len(load_manifest(tmp_path / "futga" / "describer.jsonl")) == 2

    audio_dir = songs("harmonix/0001_12step.wav", "harmonix/0003_6foot7foot.wav") / "harmonix"
    rows = rows_of(File=["0001", "0003_6foot7foot.mp3"], captions=[PERCENT, CLOCK])
    summary = prepare_futga(write_table(tmp_path, rows), audio_dir, tmp_path / "futga", split="harmonix")
    assert summary["songs_by_rule"] == {"the number is the same": 1, "the id is its name": 1}


def test_short_songs_are_warned_of(songs, tmp_path, caplog):
    audio_dir = songs(f"{IDS[0]}.wav", seconds=10)
    table = write_table(tmp_path, rows_of(ytid=IDS[:1], caption=[PERCENT]))
    assert prepare_futga(table, audio_dir, tmp_path / "futga")["short_songs"] == 1
    assert "1 of 1 songs are shorter than 30 s. FUTGA describes whole songs" in caplog.text


def test_nothing_to_join(songs, tmp_path):
    table = write_table(tmp_path, rows_of(ytid=IDS[:1], caption=[PERCENT]))
    with pytest.raises(ValueError, match="audio_dir: there is no folder"):
        prepare_futga(table, tmp_path / "songs", tmp_path / "futga")
    audio_dir = songs("other.wav")
    with pytest.raises(ValueError, match=r"No id of the column 'ytid' goes with .*'-0abcDEF_12' \(no file of audio\)"):
        prepare_futga(table, audio_dir, tmp_path / "futga")
    (audio_dir / f"{IDS[0]}.wav").write_bytes(b"no audio")
    with pytest.raises(ValueError, match=r"No row of .* has both a caption and a readable song: .*unreadable audio"):
        prepare_futga(table, audio_dir, tmp_path / "futga")
    assert not (tmp_path / "futga").exists()
