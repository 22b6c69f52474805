# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs found by their ids, in the layouts that AudioSet, Song Describer and the Harmonix Set are kept in."""

import pytest

from collap.data.audio_files import find_songs, is_excerpt, youtube_id


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")
        return tmp_path

    return make


@pytest.mark.parametrize(
    ("song_id", "name"),
    [
        ("-0abcDEF_12", "-0abcDEF_12.flac"),
        ("Y0abcDEF_12", "Y0abcDEF_12.flac"),
        ("https://www.youtube.com/watch?v=-0abcDEF_12&t=3", "-0abcDEF_12.mp3"),
        ("1004018", "18/1004018.2min.mp3"),
        ("-0abcDEF_12", "Y-0abcDEF_12_30000_40000.wav"),
        ("Y0abcDEF_12", "Y0abcDEF_12_30.000_40.000.wav"),
        ("-0abcDEF_12", "A title (live) [-0abcDEF_12].opus"),
        ("0001_12step", "0001.mp3"),
        ("1", "0001_12step.mp3"),
    ],
)
def test_rules(folder, song_id, name):
    others = ["other.mp3", "0002_12stepping.mp3", "00/1004019.2min.mp3", "-0abcDEF_13.flac", "notes.txt"]
    songs, problems = find_songs([song_id, "nothing"], folder(name, *others))
    assert songs[song_id] == folder() / name
    assert is_excerpt(songs[song_id]) == ("000" in name and "_30" in name)
    assert problems == {"nothing": "no audio file"}


def test_an_exact_name_comes_before_one_that_only_holds_the_id(folder):
    songs, problems = find_songs(["1004018"], folder("1004018.mp3", "1004018.2min.mp3", "x-1004018-y.mp3"))
    assert songs["1004018"].name == "1004018.mp3"
    assert not problems


def test_what_is_not_unique_is_no_match(folder):
    names = ["a/song_1.mp3", "b/song_1.flac", "0007_one.mp3", "0007_two.mp3", "9.mp3"]
    songs, problems = find_songs(["song_1", "0007", "9", "0009", "0009_x"], folder(*names))
    assert problems["song_1"] == "several audio files: a/song_1.mp3, b/song_1.flac"
    assert problems["0007"] == "several audio files: 0007_one.mp3, 0007_two.mp3"
    # "9" is its very name; the others have no more than the number.
    assert songs["9"].name == "9.mp3"
    assert problems["0009"] == problems["0009_x"] == "an audio file that another id has: 9.mp3, '9'"
    assert set(songs) == {"9"}


@pytest.mark.parametrize(
    ("song_id", "found"),
    [
        ("-0abcDEF_12", "-0abcDEF_12"),
        ("https://youtu.be/-0abcDEF_12?t=30", "-0abcDEF_12"),
        ("-0abcDEF_12_30.000_40.000.wav", "-0abcDEF_12"),
        ("[-0abcDEF_12]-[30-40].wav", "-0abcDEF_12"),
        ("A title [-0abcDEF_12].opus", "-0abcDEF_12"),
        ("[-0abcDEF_12] live", "[-0abcDEF_12] live"),
    ],
)
def test_the_youtube_id_in_an_id(song_id: str, found: str):
    assert youtube_id(song_id) == found
