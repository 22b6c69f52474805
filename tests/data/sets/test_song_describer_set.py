# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Song Describer in miniature: the layout of its release, variants, what is missing, what is refused."""

import json
import logging

import pytest

pytest.importorskip("pyarrow", reason="finding songs needs the extra 'train'")

from set_miniatures import FUTGA, pairs, write_audio, write_csv

from collap.data.sets.song_describer import load_song_describer

HEAD = ("caption_id", "track_id", "caption", "is_valid_subset", "familiarity", "artist_id", "album_id", "path")


def row(caption_id, track_id, caption, valid):
    path = f"{str(track_id)[-2:]}/{track_id}.mp3"
    values = (caption_id, track_id, caption, valid, 1, 7, 8, path)
    return {**dict(zip(HEAD, values, strict=True)), "duration": 202.5}


ROWS = [
    row(859, 1004034, "An electronic tune, with one melody", True),
    row(990, 1007274, "Acoustic guitar", True),
    row(991, 1007274, "A guitar solo", ""),  # the release leaves the cell empty, or writes False
    row(992, 1007299, "Reggae with horns", False),
]


@pytest.fixture
def data_dir(tmp_path):
    write_csv(tmp_path / "song_describer.csv", ROWS)
    for track in ("34/1004034", "74/1007274", "99/1007299"):
        write_audio(tmp_path / "audio" / f"{track}.2min.mp3")
    return tmp_path


def test_full_has_all_captions_of_all_songs(data_dir):
    loaded = load_song_describer(data_dir)
    assert list(loaded.songs) == ["1004034", "1007274", "1007299"]
    assert loaded.songs["1004034"].endswith("34/1004034.2min.mp3")
    assert [(text.id, text.song_ids) for text in loaded.texts] == [
        ("859", ("1004034",)), ("990", ("1007274",)), ("991", ("1007274",)), ("992", ("1007299",)),
    ]  # fmt: skip
    assert loaded.texts[0].text == "An electronic tune, with one melody"
    assert loaded.targets().sum(1).tolist() == [1, 1, 1, 1]
    assert loaded.missing == []
    json.dumps(loaded.description)


def test_valid_leaves_out_captions_that_were_not_validated(data_dir):
    loaded = load_song_describer(data_dir, subset="valid")
    assert [text.id for text in loaded.texts] == ["859", "990"]
    assert list(loaded.songs) == ["1004034", "1007274"]
    assert loaded.description["published"] == {"songs": 546, "texts": 746}
    assert loaded.name == "song_describer valid"


def test_counts_other_than_published_are_told(data_dir, caplog):
    with caplog.at_level(logging.WARNING):
        note = load_song_describer(data_dir).description["count_note"]
    assert "3 of 706 songs and 4 of 1106 texts" in note
    assert "The files name 3 songs and 4 texts" in note
    assert note in caplog.text


def test_a_song_without_a_file_is_missing_with_its_texts(data_dir):
    (data_dir / "audio/74/1007274.2min.mp3").unlink()
    loaded = load_song_describer(data_dir)
    assert [(song.id, song.path, song.reason) for song in loaded.missing] == [
        ("1007274", "74/1007274.mp3", "no file of audio")
    ]
    assert [text.id for text in loaded.texts] == ["859", "992"]
    assert loaded.description["texts_of_missing_songs"] == 2
    assert "1 songs are missing" in loaded.description["count_note"]


def test_a_file_that_is_no_audio_is_missing(data_dir):
    (data_dir / "audio/34/1004034.2min.mp3").write_bytes(b"<html>not found</html>")
    loaded = load_song_describer(data_dir)
    assert loaded.missing[0].id == "1004034"
    assert loaded.missing[0].reason.startswith("unreadable audio: ")
    assert "1004034" not in loaded.songs


def test_audio_may_be_unpacked_one_folder_deeper_and_in_another_format(data_dir):
    (data_dir / "audio").rename(data_dir / "unpacked")
    (data_dir / "audio").mkdir()
    (data_dir / "unpacked").rename(data_dir / "audio" / "audio")
    (data_dir / "audio/audio/34/1004034.2min.mp3").unlink()
    write_audio(data_dir / "audio/audio/34/1004034.2min.flac")
    loaded = load_song_describer(data_dir)
    assert loaded.missing == []
    assert loaded.songs["1004034"].endswith(".flac")


def test_the_excerpt_is_taken_where_the_whole_song_is_there_too(data_dir):
    write_audio(data_dir / "audio/34/1004034.mp3", 1.0)
    assert load_song_describer(data_dir).songs["1004034"].endswith(".2min.mp3")


def test_the_folder_of_audio_may_lie_elsewhere(data_dir, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("songs")
    (data_dir / "audio").rename(elsewhere / "audio")
    assert load_song_describer(data_dir, elsewhere / "audio").missing == []
    with pytest.raises(ValueError, match=r"audio_dir: there is no folder .*nowhere"):
        load_song_describer(data_dir, tmp_path_factory.getbasetemp() / "nowhere")


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "34/../../x.mp3", "..\\x.mp3", "C:\\x.mp3", ""])
def test_a_path_out_of_the_folder_is_refused(data_dir, path):
    write_csv(data_dir / "song_describer.csv", [ROWS[0], {**ROWS[1], "path": path}])
    with pytest.raises(ValueError, match=r"song_describer.csv, row 2: path must be a path inside of the folder"):
        load_song_describer(data_dir)


def test_an_empty_caption_is_reported(data_dir):
    write_csv(data_dir / "song_describer.csv", [*ROWS, row(993, 1004034, "  ", True)])
    loaded = load_song_describer(data_dir)
    assert len(loaded.texts) == 4
    assert loaded.description["rows_left_out"] == {
        "count": 1,
        "by_reason": {"an empty caption": 1},
        "first": ["row 5: an empty caption"],
    }
    assert "1 rows gave no text (1 x an empty caption)" in loaded.description["count_note"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([ROWS[0], ROWS[0]], "has the caption_id '859' twice"),
        ([ROWS[1], {**ROWS[2], "path": "00/1.mp3"}], "track 1007274 is 74/1007274.mp3 in other rows"),
        ([{**ROWS[0], "track_id": ""}], "row 1 must have a track_id and a caption_id"),
        ([{name: cell for name, cell in ROWS[0].items() if name != "path"}], r"must have the columns \['path'\] too"),
    ],
)
def test_a_table_that_contradicts_itself_is_refused(data_dir, rows, message):
    write_csv(data_dir / "song_describer.csv", rows)
    with pytest.raises(ValueError, match=message):
        load_song_describer(data_dir)


def test_a_flag_that_is_none_is_refused(data_dir):
    write_csv(data_dir / "song_describer.csv", [{**ROWS[0], "is_valid_subset": "perhaps"}])
    with pytest.raises(ValueError, match="row 1: is_valid_subset must be True, False or empty, got 'perhaps'"):
        load_song_describer(data_dir, subset="valid")


def test_wrong_arguments_are_refused(data_dir, tmp_path_factory):
    with pytest.raises(ValueError, match="subset must be one of full, valid, got 'half'"):
        load_song_describer(data_dir, subset="half")
    with pytest.raises(ValueError, match="captions must be one of people, futga, got 'robots'"):
        load_song_describer(data_dir, captions="robots")
    empty = tmp_path_factory.mktemp("empty")
    with pytest.raises(ValueError, match=r"data_dir: .* must hold 'song_describer.csv', it holds no files"):
        load_song_describer(empty)
    with pytest.raises(ValueError, match="data_dir: there is no file or folder"):
        load_song_describer(empty / "nowhere")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"data_dir: .*song_describer.csv has no rows"),
        (b"caption_id,caption\n1,na\xefve\n", r"data_dir: .*song_describer.csv is not in UTF-8"),
        (b"caption_id,caption\n1," + b"x" * 200_000 + b"\n", r"cannot be read as a CSV: field larger than"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_the_cause(data_dir, content, message):
    (data_dir / "song_describer.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        load_song_describer(data_dir)


def test_without_any_audio_the_error_says_what_is_missing(data_dir):
    for file in data_dir.glob("audio/*/*"):
        file.unlink()
    with pytest.raises(
        ValueError, match=r"0 songs .* 3 songs are missing, such as 34/1004034.mp3 \(no file of audio\)"
    ):
        load_song_describer(data_dir)


def test_the_same_files_have_the_same_hash_wherever_they_lie(data_dir, tmp_path_factory):
    here = load_song_describer(data_dir).manifest_hash
    elsewhere = tmp_path_factory.mktemp("songs")
    (data_dir / "audio").rename(elsewhere / "audio")
    assert load_song_describer(data_dir, elsewhere / "audio").manifest_hash == here
    assert load_song_describer(data_dir, elsewhere / "audio", subset="valid").manifest_hash != here


@pytest.mark.parametrize("form", ["{track}", "{folder}/{track}.mp3", "{track}.2min.mp3"])
def test_futga_captions_go_to_the_tracks_whatever_their_ids_look_like(data_dir, form):
    tracks = ("1004034", "1007299")
    rows = [
        {"song": form.format(track=track, folder=track[-2:]), "text": FUTGA.format(what=track)} for track in tracks
    ]
    write_csv(data_dir / "SongDescriber.csv", rows)
    loaded = load_song_describer(data_dir, captions="futga")
    assert [song for song, _ in pairs(loaded)] == list(tracks)
    assert list(loaded.songs) == list(tracks)
    assert loaded.texts[0].text[-1] == "Verse: Drums enter."
    assert [song for song, _ in pairs(load_song_describer(data_dir, captions="futga", subset="valid"))] == ["1004034"]
    assert loaded.description["rows_left_out"]["first"] == ["track 1007274: no caption by FUTGA"]
    kept = load_song_describer(data_dir, captions="futga", times="kept")
    assert "**40-100% - Verse:**" in kept.texts[0].text


def test_a_track_that_futga_describes_and_that_has_no_file_is_missing(data_dir):
    rows = [{"a": str(track), "b": FUTGA.format(what=track)} for track in (1004034, 1007299, 5)]
    write_csv(data_dir / "SongDescriber.csv", rows)
    (data_dir / "audio/34/1004034.2min.mp3").unlink()
    loaded = load_song_describer(data_dir, captions="futga", id_column="a", caption_column="b")
    assert list(loaded.songs) == ["1007299"]
    assert [song.id for song in loaded.missing] == ["1004034"]
    assert loaded.description["texts_of_missing_songs"] == 1
    assert loaded.description["futga_songs_not_in_it"] == 1
    with pytest.raises(ValueError, match="futga_csv: there is no file or folder"):
        load_song_describer(data_dir, captions="futga", futga_csv=str(data_dir / "nothing.csv"))
