# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""CASTELLA in miniature: captions of moments, with all their boundaries."""

import json

import pytest

pytest.importorskip("pyarrow", reason="finding songs needs the extra 'train'")

from set_miniatures import write_audio

from collap.data.sets.castella import load_castella

RECORDINGS = [
    {
        "yid": "--0w1YA1Hm4",
        "global_caption": "As a car drives by, two men talk",
        "duration": 299,
        "num_moments": 2,
        "moments": [
            {"local_caption": "A car horn blares", "timestamps": [[289, 290], [27, 28], [291, 300]]},
            {"local_caption": "A phone beeps", "timestamps": [[72, 76]]},
        ],
    },
    {
        "yid": "-SkjbQVgJ0M",
        "global_caption": "A man speaks as an engine rumbles",
        "duration": 100,
        "num_moments": 0,
        "moments": [],
    },
]


@pytest.fixture
def data_dir(tmp_path):
    write(tmp_path / "json/en/test.json", RECORDINGS)
    write(tmp_path / "json/ja/test.json", [{**RECORDINGS[0], "global_caption": "車"}])
    for recording in RECORDINGS:
        write_audio(tmp_path / "download/audio" / f"{recording['yid']}.wav")
    return tmp_path


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")


def test_moments_have_all_their_boundaries_in_order(data_dir):
    loaded = load_castella(data_dir)
    first, second = loaded.texts
    assert (first.text, first.moment_s, first.other_moments_s) == (
        "A car horn blares",
        (27, 28),
        ((289, 290), (291, 300)),
    )
    assert (second.moment_s, second.other_moments_s) == ((72, 76), ())
    assert first.song_ids == ("--0w1YA1Hm4",)
    assert loaded.description["section_query"]
    assert loaded.description["published"] == {"songs": 640, "texts": 1360}


def test_recordings_without_a_moment_stay_in_the_gallery(data_dir):
    loaded = load_castella(data_dir)
    assert list(loaded.songs) == ["--0w1YA1Hm4", "-SkjbQVgJ0M"]
    assert loaded.targets().any(0).tolist() == [True, False]


def test_global_captions_are_of_whole_recordings(data_dir):
    loaded = load_castella(data_dir, captions="global")
    assert [(text.text, text.moment_s) for text in loaded.texts] == [
        (recording["global_caption"], None) for recording in RECORDINGS
    ]
    assert not loaded.description["section_query"]
    assert loaded.description["published"] == {"songs": 640, "texts": 640}


@pytest.mark.parametrize("inner", ["", "json", "json/ja", "json/ja/test.json"])
def test_any_folder_of_the_release_will_do(data_dir, inner):
    loaded = load_castella(data_dir / inner, data_dir / "download/audio", language="ja", captions="global")
    assert loaded.texts[0].text == "車"


def test_the_other_language_or_split_is_not_taken_by_mistake(data_dir):
    audio = data_dir / "download/audio"
    with pytest.raises(ValueError, match=r"must hold 'test.json'"):
        load_castella(data_dir / "json/ja", audio, language="en")
    with pytest.raises(ValueError, match=r"split is 'val', but data_dir is the file .*test.json"):
        load_castella(data_dir / "json/en/test.json", audio, split="val")


def test_boundaries_outside_of_the_recording_are_counted(data_dir):
    moments = [
        {"local_caption": "A bell", "timestamps": [[5, 3], [-1, 2], [40, 50], [400, 410], [60, float("inf")]]},
        {"local_caption": "A drum", "timestamps": [[9, 9]]},
    ]
    write(data_dir / "json/en/test.json", [{**RECORDINGS[0], "moments": moments}])
    loaded = load_castella(data_dir)
    assert [(text.text, text.moment_s, text.other_moments_s) for text in loaded.texts] == [("A bell", (40, 50), ())]
    assert loaded.description["moments_left_out"] == 5
    assert loaded.description["rows_left_out"]["count"] == 1


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"yid": "a"}, "must hold a list of recordings, got a dict"),
        ([{"yid": "--0w1YA1Hm4"}], "recording 1 must have yid, global_caption, duration, moments"),
        ([{**RECORDINGS[0], "moments": [{"caption": "x"}]}], r"recording 1: moments\[0\] must have local_caption"),
        ([{**RECORDINGS[0], "moments": [{"local_caption": "x", "timestamps": [3]}]}], "timestamps in pairs"),
        ([RECORDINGS[0], RECORDINGS[0]], "has the recording '--0w1YA1Hm4' twice"),
    ],
)
def test_other_contents_are_refused(data_dir, content, message):
    write(data_dir / "json/en/test.json", content)
    with pytest.raises(ValueError, match=message):
        load_castella(data_dir)


def test_a_file_that_is_cut_off_is_named(data_dir):
    (data_dir / "json/en/test.json").write_text('[{"yid": "a",', encoding="utf-8")
    with pytest.raises(ValueError, match=r"data_dir: .*test.json is not JSON"):
        load_castella(data_dir)


def test_a_recording_that_is_not_on_the_disk_is_missing(data_dir):
    (data_dir / "download/audio/-SkjbQVgJ0M.wav").unlink()
    loaded = load_castella(data_dir)
    assert [(song.id, song.reason) for song in loaded.missing] == [("-SkjbQVgJ0M", "no file of audio")]
