# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""MusicCaps, AudioSet-Eval and the Harmonix Set in miniature: ids joined with files, clips told from songs."""

import json
import logging

import pytest

pytest.importorskip("pyarrow", reason="finding songs needs the extra 'train'")

from set_miniatures import FUTGA, pairs, write_audio, write_csv

from collap.data.sets.audioset_eval import load_audioset_eval
from collap.data.sets.harmonixset import load_harmonixset
from collap.data.sets.musiccaps import load_musiccaps

IDS = ("-0abcDEF_12", "9xyzABCDE_1", "Kx_12345678")


def clip(ytid, caption, balanced, evaluation):
    return {
        "ytid": ytid,
        "start_s": 30,
        "end_s": 40,
        "audioset_positive_labels": "/m/04rlf,/m/0xzly",
        "aspect_list": "['low quality', 'sustained strings']",
        "caption": caption,
        "author_id": 4,
        "is_balanced_subset": balanced,
        "is_audioset_eval": evaluation,
    }


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


def test_musiccaps_joins_clips_however_they_are_named(musiccaps):
    loaded = load_musiccaps(musiccaps)
    assert pairs(loaded) == [(row["ytid"], row["caption"]) for row in CLIPS]
    assert loaded.songs[IDS[1]].endswith(f"[{IDS[1]}]-[30-40].wav")
    assert loaded.missing == []
    assert loaded.description["published"] == {"songs": 5521, "texts": 5521}
    json.dumps(loaded.description)


@pytest.mark.parametrize(
    "name", ["{}.mp3", "{}_30_40.wav", "{}_30.000_40.000.flac", "[{}]-[30-40].ogg", "A song [{}].wav"]
)
def test_musiccaps_knows_common_names(musiccaps, name):
    (musiccaps / "audio" / f"{IDS[0]}.wav").unlink()
    write_audio(musiccaps / "audio" / name.format(IDS[0]))
    assert load_musiccaps(musiccaps).missing == []


@pytest.mark.parametrize(("subset", "ids", "count"), [("audioset_eval", IDS[::2], 2858), ("balanced", IDS[1:2], 1000)])
def test_musiccaps_subsets(musiccaps, subset, ids, count):
    loaded = load_musiccaps(musiccaps, subset=subset)
    assert tuple(loaded.songs) == ids
    assert loaded.description["published"] == {"songs": count, "texts": count}


def test_musiccaps_says_what_is_missing_and_what_is_there_twice(musiccaps):
    (musiccaps / "audio" / f"{IDS[0]}.wav").unlink()
    write_audio(musiccaps / "audio" / f"[{IDS[1]}]-[50-60].wav")
    loaded = load_musiccaps(musiccaps)
    assert [song.id for song in loaded.missing] == list(IDS[:2])
    assert loaded.missing[0].reason == "no file of audio"
    assert loaded.missing[1].reason.startswith("several files of audio: ")
    assert list(loaded.songs) == [IDS[2]]
    assert loaded.description["texts_of_missing_songs"] == 2


def test_musiccaps_tells_clips_from_songs(musiccaps, caplog):
    assert load_musiccaps(musiccaps).description["audio"]["kind"] == "clips"
    write_audio(musiccaps / "audio" / f"{IDS[0]}.wav", 40)
    audio = load_musiccaps(musiccaps).description["audio"]
    assert (audio["kind"], audio["up_to_12_s"], audio["longest_s"]) == ("clips and longer recordings", 2, 40)

    write_csv(musiccaps / "MusicCaps.csv", [{"ytid": ytid, "caption": FUTGA.format(what=ytid)} for ytid in IDS])
    with caplog.at_level(logging.WARNING):
        loaded = load_musiccaps(musiccaps, captions="futga")
    assert loaded.description["audio_note"].startswith(
        "2 of 3 recordings are shorter than 30 s. FUTGA describes whole"
    )
    assert loaded.description["audio_note"] in caplog.text
    for ytid in IDS:
        for file in (musiccaps / "audio").glob(f"*{ytid}*"):
            file.unlink()
        write_audio(musiccaps / "audio" / f"{ytid}.wav", 31)
    songs = load_musiccaps(musiccaps, captions="futga")
    assert "audio_note" not in songs.description
    assert songs.description["audio"]["kind"] == "longer recordings"


@pytest.mark.parametrize(
    "form",
    ["{}", "{}.wav", "[{}]-[30-40].wav", "https://www.youtube.com/watch?v={}", "Y{}.wav", "{}_30.000_40.000.wav"],
)
def test_musiccaps_with_futga_takes_the_subset_of_the_other_table(musiccaps, form):
    names = [form.format(ytid) for ytid in IDS]
    if form.endswith(".wav"):  # then files are called so, too
        for ytid, name in zip(IDS, names, strict=True):
            next((musiccaps / "audio").glob(f"*{ytid}*")).rename(musiccaps / "audio" / name)
    rows = [{"ytid": name, "caption": FUTGA.format(what=name)} for name in names]
    write_csv(musiccaps / "MusicCaps.csv", rows)
    loaded = load_musiccaps(musiccaps, captions="futga", subset="audioset_eval")
    assert list(loaded.songs) == names[::2]
    assert loaded.description["in_files"] == {"songs": 2, "texts": 2}
    write_csv(musiccaps / "MusicCaps.csv", rows[:1])
    loaded = load_musiccaps(musiccaps, captions="futga", subset="audioset_eval")
    assert loaded.description["rows_left_out"]["first"] == [f"clip {IDS[2]}: no caption by FUTGA"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([CLIPS[0], CLIPS[0]], "has the ytid '-0abcDEF_12' twice"),
        ([{**CLIPS[0], "ytid": " "}], "row 1 must have a ytid"),
        ([{"ytid": IDS[0], "text": "A harp."}], r"must have the columns \['start_s', 'end_s', 'caption', "),
    ],
)
def test_musiccaps_refuses_tables_that_are_not_it(musiccaps, rows, message):
    write_csv(musiccaps / "musiccaps-public.csv", rows)
    with pytest.raises(ValueError, match=message):
        load_musiccaps(musiccaps)


def test_musiccaps_reports_empty_captions(musiccaps):
    write_csv(musiccaps / "musiccaps-public.csv", [*CLIPS[:2], {**CLIPS[2], "caption": ""}])
    loaded = load_musiccaps(musiccaps)
    assert loaded.description["rows_left_out"]["by_reason"] == {"an empty caption": 1}


def test_identical_captions_of_different_songs_are_counted(musiccaps):
    write_csv(musiccaps / "musiccaps-public.csv", [CLIPS[0], {**CLIPS[1], "caption": "a HARP. "}, CLIPS[2]])
    assert load_musiccaps(musiccaps).description["identical_texts"] == 2


@pytest.fixture
def audioset(tmp_path):
    rows = [{"id": number, "video": ytid, "output": FUTGA.format(what=ytid)} for number, ytid in enumerate(IDS)]
    write_csv(tmp_path / "AudioSet-Eval.csv", rows)
    for ytid in IDS[:2]:
        write_audio(tmp_path / "songs" / f"{ytid}.wav", 31)
    return tmp_path


def test_audioset_eval_tells_the_columns_and_keeps_them_in_the_protocol(audioset):
    loaded = load_audioset_eval(audioset, audioset / "songs")
    assert list(loaded.songs) == list(IDS[:2])
    assert loaded.description["id_column"] == "video (the only one of YouTube ids)"
    assert loaded.description["caption_column"] == "output (by its name)"
    assert [song.id for song in loaded.missing] == [IDS[2]]
    assert "2 of 3 songs and 2 of 3 texts are here" in loaded.description["count_note"]
    assert loaded.description["files"][0]["name"] == "AudioSet-Eval.csv"


def test_futga_times_are_removed_or_kept(audioset):
    removed, kept = (load_audioset_eval(audioset, audioset / "songs", times=times) for times in ("removed", "kept"))
    assert removed.texts[0].text[1:] == ["Intro: The -0abcDEF_12 alone.", "Verse: Drums enter."]
    assert kept.texts[0].text == FUTGA.format(what=IDS[0])
    assert removed.manifest_hash != kept.manifest_hash
    with pytest.raises(ValueError, match="times must be one of removed, kept, got 'moved'"):
        load_audioset_eval(audioset, audioset / "songs", times="moved")


def test_the_table_may_be_given_itself(audioset):
    loaded = load_audioset_eval(audioset / "AudioSet-Eval.csv", audioset / "songs")
    assert list(loaded.songs) == list(IDS[:2])


def test_futga_rows_without_a_caption_or_repeated_are_reported_and_second_captions_are_texts(audioset):
    rows = [
        {"ytid": IDS[0], "caption": FUTGA.format(what="slow")},
        {"ytid": IDS[0], "caption": FUTGA.format(what="slow")},
        {"ytid": IDS[0], "caption": FUTGA.format(what="fast")},
        {"ytid": IDS[1], "caption": " "},
        {"ytid": "", "caption": FUTGA.format(what="lost")},
    ]
    write_csv(audioset / "AudioSet-Eval.csv", rows)
    loaded = load_audioset_eval(audioset, audioset / "songs", id_column="ytid")
    assert [text.id for text in loaded.texts] == [IDS[0], f"{IDS[0]}#2"]
    assert loaded.description["rows_left_out"]["by_reason"] == {
        "a repetition of id and caption": 1,
        "an empty caption": 1,
        "no id": 1,
    }


def test_columns_that_cannot_be_told_are_named(audioset):
    rows = [{"one": FUTGA.format(what=ytid), "two": FUTGA.format(what=ytid)} for ytid in IDS]
    write_csv(audioset / "AudioSet-Eval.csv", rows)
    with pytest.raises(ValueError, match=r"caption_column can't be told, give it. The columns are 'one'"):
        load_audioset_eval(audioset, audioset / "songs")


TRACKS = {"0001_12step": "iBHNgV6_znU", "0003_6foot7foot": "c7tOAGY59uQ", "0004_abc": "ho7796-au8U"}


@pytest.fixture
def harmonixset(tmp_path):
    write_csv(tmp_path / "Harmonixset.csv", [{"id": song, "caption": FUTGA.format(what=song)} for song in TRACKS])
    for name in ("0001_12step.mp3", "0003.mp3"):
        write_audio(tmp_path / "audio" / name, 31)
    return tmp_path


def test_harmonixset_joins_songs_by_their_names(harmonixset):
    loaded = load_harmonixset(harmonixset)
    assert list(loaded.songs) == ["0001_12step", "0003_6foot7foot"]
    assert [song.id for song in loaded.missing] == ["0004_abc"]
    assert loaded.description["tracks_of_the_set"] == 912


@pytest.mark.parametrize("folder", ["", "dataset"])
def test_harmonixset_finds_files_by_the_addresses_of_their_videos(harmonixset, folder):
    write_audio(harmonixset / "audio" / "ho7796-au8U.wav", 31)
    rows = [
        {"File": file, "URL": f"https://www.youtube.com/watch?v={video} (backwards)"} for file, video in TRACKS.items()
    ]
    write_csv(harmonixset / folder / "youtube_urls.csv", rows)
    loaded = load_harmonixset(harmonixset)
    assert loaded.missing == []
    assert loaded.songs["0004_abc"].endswith("ho7796-au8U.wav")


@pytest.mark.parametrize("form", ["{}", "http://www.youtube.com/watch?v={}"])
def test_harmonixset_finds_files_by_their_names_if_futga_has_videos(harmonixset, form):
    captions = [{"url": form.format(video), "caption": FUTGA.format(what=video)} for video in TRACKS.values()]
    write_csv(harmonixset / "Harmonixset.csv", captions)
    rows = [{"File": file, "URL": f"http://www.youtube.com/watch?v={video}"} for file, video in TRACKS.items()]
    write_csv(harmonixset / "youtube_urls.csv", rows)
    loaded = load_harmonixset(harmonixset)
    assert [path[-8:] for path in loaded.songs.values()] == ["step.mp3", "0003.mp3"]
    assert [song.path for song in loaded.missing] == [form.format("ho7796-au8U")]


def test_harmonixset_gives_a_file_to_one_song_only(harmonixset):
    songs = ("0001_12step", TRACKS["0001_12step"], "0004_abc")
    write_csv(harmonixset / "Harmonixset.csv", [{"id": song, "caption": FUTGA.format(what=song)} for song in songs])
    write_csv(
        harmonixset / "youtube_urls.csv",
        [{"File": file, "URL": f"http://www.youtube.com/watch?v={video}"} for file, video in TRACKS.items()],
    )
    loaded = load_harmonixset(harmonixset, id_column="id")
    assert list(loaded.songs) == ["0001_12step"]
    assert [song.id for song in loaded.missing] == list(songs[1:])
