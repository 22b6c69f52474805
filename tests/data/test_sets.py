# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Converters of public sets on small copies of their layouts: Song Describer, MusicCaps, CASTELLA, WikiMuTe."""

import hashlib
import inspect
import json
import logging

import pytest

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from set_miniatures import convert, pairs, write_audio, write_csv

from collap.data.sets import SETS
from collap.evaluation.evaluation_set import load_evaluation_set


@pytest.mark.parametrize("name", SETS)
def test_every_set_says_what_it_is_and_takes_what_it_says(name):
    converter = SETS[name]
    parameters = inspect.signature(converter.read).parameters
    assert list(parameters) == ["folders", *converter.options]
    described = converter.describe()
    for text in (converter.summary, converter.source, converter.download, converter.licence, converter.paper_row):
        assert text
        assert text in described
    assert "\n" not in converter.summary


# Song Describer, and what all sets have in common


def caption(caption_id, track_id, text, valid):
    path = f"{str(track_id)[-2:]}/{track_id}.mp3"
    values = {"caption_id": caption_id, "track_id": track_id, "caption": text, "is_valid_subset": valid, "path": path}
    return {**values, "familiarity": 1, "artist_id": 7, "album_id": 8, "duration": 202.5}


CAPTIONS = [
    caption(859, 1004034, "An electronic tune, with one melody", True),
    caption(990, 1007274, "Acoustic guitar", True),
    caption(991, 1007274, "A guitar solo", ""),  # the release leaves the cell empty, or writes False
    caption(992, 1007299, "Reggae with horns", False),
]


@pytest.fixture
def describer(tmp_path):
    write_csv(tmp_path / "song_describer.csv", CAPTIONS)
    for track in ("34/1004034", "74/1007274", "99/1007299"):
        write_audio(tmp_path / "audio" / f"{track}.2min.mp3")
    return tmp_path


def test_song_describer_is_a_row_for_each_caption(describer):
    rows, provenance = convert("song_describer", describer)
    assert rows[0] == {
        "audio": "../audio/34/1004034.2min.mp3",
        "song_id": "1004034",
        "duration_s": rows[0]["duration_s"],
        "text": "An electronic tune, with one melody",
        "text_ids": ["859"],
    }
    assert [(row["text_ids"], row["song_id"]) for row in rows[1:]] == [
        (["990"], "1007274"),
        (["991"], "1007274"),
        (["992"], "1007299"),
    ]
    assert (provenance["set"], provenance["name"]) == ("song_describer", "song_describer full")
    assert provenance["licence"].startswith("CC BY-SA 4.0")
    assert provenance["options"] == {"subset": "full"}
    assert provenance["published"] == {"songs": 706, "texts": 1106}
    assert provenance["in_files"] == {"songs": 3, "texts": 4}
    assert provenance["in_manifest"] == {"songs": 3, "texts": 4, "rows": 4}
    assert provenance["missing"] == provenance["songs_without_text"] == []
    for entry, path in (
        (provenance["files"][0], "song_describer.csv"),
        (provenance["manifest"], "converted/manifest.jsonl"),
    ):
        assert entry["sha256"] == hashlib.sha256((describer / path).read_bytes()).hexdigest()
    assert str(describer) not in json.dumps(provenance)
    rows, provenance = convert("song_describer", describer, subset="valid")
    assert [row["text_ids"][0] for row in rows] == ["859", "990"]
    assert provenance["published"] == {"songs": 546, "texts": 746}


def test_one_warning_says_all_that_is_missing(describer, caplog):
    write_csv(describer / "song_describer.csv", [*CAPTIONS, caption(993, 1004034, "  ", True)])
    (describer / "audio/74/1007274.2min.mp3").unlink()
    (describer / "audio/99/1007299.2min.mp3").write_bytes(b"<html>not found</html>")
    with caplog.at_level(logging.WARNING):
        rows, provenance = convert("song_describer", describer)
    assert [row["song_id"] for row in rows] == ["1004034"]
    (record,) = caplog.records
    for part in (
        "706 songs and 1106 texts are published, the files name 3 and 4",
        "2 of 3 songs have no usable audio (no audio file: 1, unreadable audio: 1), 3 of 4 texts are left out",
        "1 rows gave no text (an empty caption: 1)",
        "1 of 1 recordings are shorter than 30 s",
    ):
        assert part in record.message
        assert any(part in note for note in provenance["notes"])
    assert [(song["id"], song["path"]) for song in provenance["missing"]] == [
        ("1007274", "74/1007274.mp3"),
        ("1007299", "99/1007299.mp3"),
    ]
    assert provenance["missing"][1]["reason"].startswith("unreadable audio: ")
    assert provenance["audio"]["shorter_than_30_s"] == 1
    assert provenance["rows_left_out"] == {
        "count": 1,
        "by_reason": {"an empty caption": 1},
        "first": ["song_describer.csv, row 5: an empty caption"],
    }


def test_audio_may_lie_elsewhere_one_folder_deeper_or_in_another_format(describer, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("songs")
    (describer / "audio").rename(elsewhere / "audio")
    write_audio(elsewhere / "audio/34/1004034.mp3", 1.0)  # the whole song: the excerpt is taken
    (elsewhere / "audio/74/1007274.2min.mp3").unlink()
    write_audio(elsewhere / "audio/74/1007274.2min.flac")
    rows, provenance = convert("song_describer", describer, elsewhere)
    assert [row["audio"][-17:] for row in rows[:2]] == ["/1004034.2min.mp3", "1007274.2min.flac"]
    assert provenance["missing"] == []


def test_the_same_files_give_the_same_manifest_and_a_failure_leaves_the_old_one(describer):
    manifest = SETS["song_describer"].convert(describer, describer / "out")
    before = {path.name: path.read_bytes() for path in manifest.parent.iterdir()}
    SETS["song_describer"].convert(describer, describer / "out")
    assert {path.name: path.read_bytes() for path in manifest.parent.iterdir()} == before
    for file in describer.glob("audio/*/*"):
        file.unlink()
    with pytest.raises(ValueError, match=r"3 of 3 songs are missing, the first is 34/1004034.mp3 \(no audio file\)"):
        SETS["song_describer"].convert(describer, describer / "out")
    assert {path.name: path.read_bytes() for path in manifest.parent.iterdir()} == before


@pytest.mark.parametrize("path", ["/etc/passwd", "34/../../x.mp3", "..\\x.mp3", "C:\\x.mp3", ""])
def test_a_path_out_of_the_folder_is_refused(describer, path):
    write_csv(describer / "song_describer.csv", [CAPTIONS[0], {**CAPTIONS[1], "path": path}])
    with pytest.raises(ValueError, match=r"song_describer.csv, row 2: path must be a path inside"):
        convert("song_describer", describer)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([CAPTIONS[0], CAPTIONS[0]], {}, "has the caption_id '859' twice"),
        ([{name: cell for name, cell in CAPTIONS[0].items() if name != "path"}], {}, r"columns \['path'\] too"),
        (CAPTIONS, {"subset": "half"}, "subset must be one of full, valid, got 'half'"),
        (CAPTIONS, {"split": "test"}, "unexpected keyword argument 'split'; its options are subset"),
    ],
)
def test_tables_and_options_that_are_refused(describer, rows, options, message):
    write_csv(describer / "song_describer.csv", rows)
    with pytest.raises(ValueError, match=message):
        convert("song_describer", describer, **options)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"song_describer.csv has no rows"),
        (b"caption_id,caption,track_id,is_valid_subset,path\n1,One, two,3,4,5\n", "row 1 of .* more or fewer"),
        (b"caption_id,caption,track_id,is_valid_subset,path\n1,One,3\n", "row 1 of .* more or fewer cells"),
        (b'caption_id,caption\n1,"One\n2,Two\n', "cannot be read as a CSV in UTF-8: unexpected end of data"),
        (b"caption_id,caption\n1,na\xefve\n", r"cannot be read as a CSV in UTF-8"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_the_cause(describer, content, message):
    (describer / "song_describer.csv").write_bytes(content)
    with pytest.raises(ValueError, match=rf"data_dir: .*{message}"):
        convert("song_describer", describer)


# MusicCaps


IDS = ("-0abcDEF_12", "9xyzABCDE_1", "Kx_12345678")


def clip(ytid, text, balanced, evaluation):
    flags = {"is_balanced_subset": balanced, "is_audioset_eval": evaluation}
    return {"ytid": ytid, "start_s": 30, "end_s": 40, "aspect_list": "['low quality']", "caption": text, **flags}


CLIPS = [
    clip(IDS[0], "Low strings, sustained. It sounds sad.", False, True),
    clip(IDS[1], "A rock band, loud.", True, False),
    clip(IDS[2], "A harp.", False, True),
]


@pytest.fixture
def musiccaps(tmp_path):
    write_csv(tmp_path / "musiccaps-public.csv", CLIPS)
    for name in (f"{IDS[0]}.wav", f"[{IDS[1]}]-[30-40].wav", f"Y{IDS[2]}.flac"):
        write_audio(tmp_path / "audio" / name, 10)
    return tmp_path


@pytest.mark.parametrize(
    ("subset", "ids", "count"), [("all", IDS, 5521), ("audioset_eval", IDS[::2], 2858), ("balanced", IDS[1:2], 1000)]
)
def test_musiccaps_finds_clips_however_they_are_named(musiccaps, subset, ids, count):
    rows, provenance = convert("musiccaps", musiccaps, subset=subset)
    assert pairs(rows) == [(row["ytid"], row["caption"]) for row in CLIPS if row["ytid"] in ids]
    assert provenance["published"] == {"songs": count, "texts": count}
    assert provenance["missing"] == []


# CASTELLA


RECORDINGS = [
    {
        "yid": "--0w1YA1Hm4",
        "duration": 299,
        "moments": [
            {"local_caption": "A car horn blares", "timestamps": [[289, 290], [27, 28], [291, 300]]},
            {"local_caption": "A phone beeps", "timestamps": [[72, 76]]},
        ],
    },
    {"yid": "-SkjbQVgJ0M", "duration": 100, "moments": []},
]


def write_recordings(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


@pytest.fixture
def castella(tmp_path):
    write_recordings(tmp_path / "json/en/test.json", RECORDINGS)
    for recording in RECORDINGS:
        write_audio(tmp_path / "download/audio" / f"{recording['yid']}.wav")
    return tmp_path


def test_castella_sections_have_all_their_times_in_order(castella):
    rows, provenance = convert("castella", castella)
    assert pairs(rows) == [("--0w1YA1Hm4", "A car horn blares"), ("--0w1YA1Hm4", "A phone beeps")]
    assert [row["text_ids"] for row in rows] == [["--0w1YA1Hm4#0"], ["--0w1YA1Hm4#1"]]
    assert [row["spans_s"] for row in rows] == [[[27, 28], [289, 290], [291, 300]], [[72, 76]]]
    assert provenance["section_query"]
    assert provenance["published"] == {"songs": 640, "texts": 1360}
    # A recording without a section belongs to the gallery.
    assert provenance["songs_without_text"] == [
        {"song_id": "-SkjbQVgJ0M", "audio": "../download/audio/-SkjbQVgJ0M.wav"}
    ]


def test_castella_from_the_file_of_the_split(castella):
    file = castella / "json/en/test.json"
    assert len(convert("castella", file, castella / "download/audio")[0]) == 2
    with pytest.raises(ValueError, match=r"split is 'val', but data_dir is the file .*test.json"):
        convert("castella", file, split="val")


def test_castella_times_outside_of_the_recording_are_counted(castella):
    moments = [
        {"local_caption": "A bell", "timestamps": [[5, 3], [-1, 2], [40, 50], [400, 410], [60, 302], [298, 301]]},
        {"local_caption": "A drum", "timestamps": [[9, 9]]},
    ]
    write_recordings(castella / "json/en/test.json", [{**RECORDINGS[0], "moments": moments}])
    (row,), provenance = convert("castella", castella)
    assert (row["text"], row["spans_s"]) == ("A bell", [[40, 50], [298, 301]])
    assert (provenance["times_left_out"], provenance["rows_left_out"]["count"]) == (5, 1)


def test_evaluation_reads_the_manifest_with_its_provenance(castella):
    manifest = SETS["castella"].convert(castella, castella / "converted")
    loaded = load_evaluation_set(manifest)
    assert (loaded.name, loaded.section_query) == ("castella test", True)
    assert sorted(loaded.songs) == sorted(recording["yid"] for recording in RECORDINGS)  # one has no text
    assert loaded.targets().sum() == 2
    assert [text.spans for text in loaded.texts] == [
        {"--0w1YA1Hm4": [(27, 28), (289, 290), (291, 300)]},
        {"--0w1YA1Hm4": [(72, 76)]},
    ]
    assert loaded.provenance["published"] == {"songs": 640, "texts": 1360}
    assert "640 songs and 1360 texts are published, the files name 2 and 2." in loaded.notes


# WikiMuTe


def article(file, page, sentences, aspects=()):
    return {"file": file, "pageid": page, "aspects": repr(list(aspects)), "sentences": repr(list(sentences))}


TAKE_ON_ME = ['It is a "synth-pop" song.', "It has a keyboard riff, and it's fast."]
ARTICLES = [
    article("A-ha-Take on Me.ogg", 1, TAKE_ON_ME, ["synth-pop", "fast"]),
    article("A-ha-Take on Me.ogg", 2, ["A falsetto is sung."]),
    article("Étude No. 1.ogg", 3, ["A piano study."], ["piano"]),
    article("Étude No. 2.ogg", 3, ["A piano study."], ["piano"]),
]


@pytest.fixture
def wikimute(tmp_path):
    write_csv(tmp_path / "data" / "all.csv", ARTICLES)
    write_csv(tmp_path / "data" / "filtered_sf.csv", ARTICLES[:1])
    for name in ("A-ha-Take on Me.ogg", "Étude No. 1.ogg", "Étude_No._2.ogg"):
        write_audio(tmp_path / "data" / "audios" / name)
    return tmp_path


def test_wikimute_an_article_is_a_text_of_each_of_its_recordings(wikimute):
    rows, provenance = convert("wikimute", wikimute)
    assert [(row["text_ids"][0], row["song_id"]) for row in rows] == [
        ("1#1", "A-ha-Take on Me.ogg"),
        ("2#1", "A-ha-Take on Me.ogg"),
        ("3#1", "Étude No. 1.ogg"),
        ("3#1", "Étude No. 2.ogg"),
    ]
    assert rows[0]["text"] == TAKE_ON_ME
    assert provenance["in_manifest"] == {"songs": 3, "texts": 3, "rows": 4}
    (wikimute / "data/audios/Étude No. 1.ogg").unlink()
    rows, provenance = convert("wikimute", wikimute)  # the text keeps the recording that is there
    assert [row["song_id"] for row in rows][2:] == ["Étude No. 2.ogg"]
    assert provenance["in_manifest"]["texts"] == 3


def test_wikimute_sentences_and_aspects(wikimute):
    rows, provenance = convert("wikimute", wikimute, texts="sentence")
    assert pairs(rows)[:2] == [("A-ha-Take on Me.ogg", sentence) for sentence in TAKE_ON_ME]
    assert provenance["section_query"]
    assert provenance["in_manifest"]["texts"] == 4
    rows, provenance = convert("wikimute", wikimute, texts="aspects")
    assert [row["text"] for row in rows] == ["synth-pop, fast", "piano", "piano"]
    assert provenance["rows_left_out"]["first"] == ["row 2 (A-ha-Take on Me.ogg): no aspects"]
    assert len(convert("wikimute", wikimute, table="filtered_sf")[0]) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentences": "A study."}, "sentences must be a list"),
        ({"file": "../../secret.ogg"}, "file must be a path inside the audio folder"),
    ],
)
def test_wikimute_refuses_other_cells(wikimute, change, message):
    write_csv(wikimute / "data/all.csv", [{**ARTICLES[0], **change}])
    with pytest.raises(ValueError, match=rf"all.csv, row 1: {message}"):
        convert("wikimute", wikimute)
