# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tables of FUTGA on a small scale: columns found, songs found, sections with times, what is missing counted."""

import logging

import pytest

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from set_miniatures import FUTGA, convert, pairs, write_audio, write_csv
from test_sets import IDS

from collap.data.sets.futga import find_columns
from collap.training.augmentation import Section, find_section_problem

LONG = "A slow song with a piano, a bass and soft drums. The mood is calm and a little sad, and the tempo stays even. "
PERCENT = LONG + "\n**0-40% - Intro:**\n- Piano alone\n**40-100% - Verse:**\n- The drums enter"
CLOCK = LONG + "\nIntro (0:00 - 0:15): Piano alone.\nVerse (0:15 - 0:40): The drums enter."
HUMAN = "This clip has a slow piano over a bass line and drums played with brushes; someone hums along, far away."


def rows_of(**columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"ytid": IDS, "caption": [PERCENT] * 3}, ("ytid", "caption")),
        ({"": ["0", "1", "2"], "YouTube-ID": IDS, "Text": [LONG] * 3}, ("YouTube-ID", "Text")),
        # MusicCaps has captions by people too.
        ({"ytid": IDS, "caption": [HUMAN] * 3, "model": [CLOCK] * 3}, ("ytid", "model")),
        ({"ytid": IDS, "notes": [CLOCK] * 3, "futga": [PERCENT] * 3}, ("ytid", "futga")),
        # An id with a telling name comes before one that may count rows.
        ({"id": ["0", "1", "2"], "File": IDS, "caption": [LONG] * 3, "start_s": ["30"] * 3}, ("File", "caption")),
    ],
)
def test_columns_are_found(columns, expected):
    assert find_columns(rows_of(**columns)) == expected


def test_columns_that_cannot_be_told():
    rows = rows_of(one=IDS, two=IDS[::-1], a=[PERCENT] * 3, b=[CLOCK] * 3)
    with pytest.raises(ValueError, match=r"caption_column can't be told, give it. .* 'one' \(such as '-0abcDEF_12'\)"):
        find_columns(rows)
    with pytest.raises(ValueError, match=r"id_column can't be told, give it. .* 'two' \(such as 'Kx_12345678'\)"):
        find_columns(rows, caption_column="a")
    with pytest.raises(ValueError, match=r"id_column must be one of 'one' .*, got 'three'"):
        find_columns(rows, id_column="three")
    assert find_columns(rows, "two", "b") == ("two", "b")


def test_audioset_with_sections(tmp_path, caplog):
    for name in (f"{IDS[0]}.wav", f"a/Y{IDS[1]}.wav", f"a/title [{IDS[2]}].wav", "AAAAAAAAAAA_30_40.wav"):
        write_audio(tmp_path / "songs" / name, 40, rate=1000)
    (tmp_path / "songs" / "BBBBBBBBBBB.wav").write_bytes(b"no audio")
    (tmp_path / "songs" / "CCCCCCCCCCC.webm").write_bytes(b"")
    rows = [
        {"ytid": IDS[0], "caption": PERCENT},
        {"ytid": IDS[1], "caption": CLOCK},
        {"ytid": IDS[2], "caption": LONG + "\n60% - 40%: Loud."},
        {"ytid": IDS[0], "caption": LONG},  # another caption of a song
        {"ytid": IDS[0], "caption": PERCENT},  # the same again
        *({"ytid": 11 * letter, "caption": PERCENT} for letter in "ABCD"),
        {"ytid": "", "caption": PERCENT},
        {"ytid": IDS[2], "caption": " "},
    ]
    write_csv(tmp_path / "AudioSet-Train.csv", rows)
    with caplog.at_level(logging.INFO):
        manifest, provenance = convert("futga", tmp_path, tmp_path / "songs", table="audioset_train")
    assert "ids from the column 'ytid', captions from 'caption'" in caplog.text
    assert (provenance["id_column"], provenance["caption_column"]) == ("ytid", "caption")

    assert [row["text_ids"][0] for row in manifest] == [IDS[0], f"{IDS[0]}#2", IDS[1], IDS[2], "AAAAAAAAAAA"]
    assert [row["song_id"] for row in manifest] == [IDS[0], IDS[0], IDS[1], IDS[2], "AAAAAAAAAAA"]
    sections = {row["text_ids"][0]: row["sections"] for row in manifest if "sections" in row}
    times = {name: [(part["start_s"], part["end_s"]) for part in parts] for name, parts in sections.items()}
    assert times == {IDS[0]: [(0.0, 16.0), (16.0, 40.0)], IDS[1]: [(0.0, 15.0), (15.0, 40.0)]}
    assert sections[IDS[1]][1]["text"] == ["Verse: The drums enter."]
    assert provenance["texts_by_sections"] == {
        "sections in percent": 1,
        "sections in clock": 1,
        "no sections: no time ranges": 1,
        "no sections: a range that is reversed": 1,
        "no sections: the file is an excerpt": 1,
    }
    for row in manifest:  # fit for the structure augmentation
        parts = [Section(part["start_s"], part["end_s"], tuple(part["text"])) for part in row.get("sections", [])]
        assert not parts or find_section_problem(row["text"], parts, row["duration_s"]) is None
    assert provenance["rows_left_out"]["by_reason"] == {
        "a repetition of id and caption": 1,
        "no id": 1,
        "no caption": 1,
    }
    assert [(song["id"], song["reason"].split(":")[0]) for song in provenance["missing"]] == [
        ("BBBBBBBBBBB", "unreadable audio"),
        ("CCCCCCCCCCC", "unreadable audio"),
        ("DDDDDDDDDDD", "no audio file"),
    ]


@pytest.fixture
def audioset(tmp_path):
    rows = [{"id": number, "video_id": ytid, "output": FUTGA.format(what=ytid)} for number, ytid in enumerate(IDS)]
    write_csv(tmp_path / "AudioSet-Eval.csv", rows)
    for ytid in IDS[:2]:
        write_audio(tmp_path / "songs" / f"{ytid}.wav", 31)
    return tmp_path


def test_times_are_removed_and_clips_are_warned_of(audioset, caplog):
    removed, provenance = convert("futga", audioset, audioset / "songs", table="audioset_eval")
    assert removed[0]["text"][1:] == ["Intro: The -0abcDEF_12 alone.", "Verse: Drums enter."]
    assert provenance["audio"]["shorter_than_30_s"] == 0
    assert "FUTGA describes whole songs" not in caplog.text
    write_audio(audioset / "songs" / f"{IDS[1]}.wav", 10)
    convert("futga", audioset, audioset / "songs", table="audioset_eval")
    assert "1 of 2 recordings are shorter than 30 s. FUTGA describes whole songs" in caplog.text


def test_the_table_may_be_given_itself_but_must_be_named(audioset):
    table = audioset / "AudioSet-Eval.csv"
    assert len(convert("futga", table, audioset / "songs", table="audioset_eval")[0]) == 2
    with pytest.raises(ValueError, match=r"table is 'audioset_train', but data_dir is the file .*Eval.csv"):
        convert("futga", table, audioset / "songs", table="audioset_train")
    with pytest.raises(ValueError, match="futga: missing a required argument: 'table'; its options"):
        convert("futga", table)
    with pytest.raises(ValueError, match=r"table must be one of .*, got "):
        convert("futga", table, table="all")


@pytest.mark.parametrize("form", ["{track}", "{folder}/{track}.mp3", "{track}.2min.mp3"])
def test_song_describer_tracks_however_the_table_writes_them(tmp_path, form):
    tracks = ("1004034", "1007299")
    captions = [FUTGA.format(what=track) for track in tracks]
    names = [form.format(track=track, folder=track[-2:]) for track in tracks]
    write_csv(tmp_path / "SongDescriber.tsv", rows_of(path=names, text=captions))
    (tmp_path / "SongDescriber.tsv").rename(tmp_path / "described.tsv")
    for track in tracks:
        write_audio(tmp_path / "audio" / track[-2:] / f"{track}.2min.mp3")
    rows, _ = convert("futga", tmp_path / "described.tsv", table="song_describer")
    assert [song for song, _ in pairs(rows)] == list(tracks)


TRACKS = ("0001_12step", "0003_6foot7foot", "0004_abc")


@pytest.fixture
def harmonixset(tmp_path):
    write_csv(tmp_path / "Harmonixset.csv", [{"id": song, "caption": FUTGA.format(what=song)} for song in TRACKS])
    for name in ("0001_12step.mp3", "0003.mp3"):
        write_audio(tmp_path / "audio" / name, 31)
    return tmp_path


def test_harmonixset_finds_files_by_names_and_numbers(harmonixset):
    rows, provenance = convert("futga", harmonixset, table="harmonixset")
    assert [row["song_id"] for row in rows] == ["0001_12step", "0003_6foot7foot"]
    assert [row["audio"][-8:] for row in rows] == ["step.mp3", "0003.mp3"]
    assert [song["id"] for song in provenance["missing"]] == ["0004_abc"]
