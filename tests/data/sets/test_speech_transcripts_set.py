# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""LibriSpeech in miniature: utterances joined to chapters, whole or not at all."""

import json
import os
import shutil

import numpy as np
import pytest
import soundfile

pytest.importorskip("pyarrow", reason="the sets need the extra 'train'")

from set_miniatures import write_audio

from collap.data.sets.speech_transcripts import join_audio, load_speech_transcripts

RATE = 16_000
WORDS = {
    "61-70968": ["HE BEGAN A CONFUSED COMPLAINT", "I SAID SO AND I'M SURE", "GOOD"],
    "61-70970": ["YOUNG FITZOOTH"],
    "121-123852": ["THOSE PRETTY WRONGS"],
}


@pytest.fixture
def data_dir(tmp_path):
    part = tmp_path / "LibriSpeech" / "test-clean"
    for chapter, lines in WORDS.items():
        folder = part / chapter.replace("-", "/")
        for number, _ in enumerate(lines):
            write_audio(folder / f"{chapter}-{number:04d}.flac", 1.0 + number)
        transcript = "".join(f"{chapter}-{number:04d} {words}\n" for number, words in enumerate(lines))
        (folder / f"{chapter}.trans.txt").write_text(transcript, encoding="utf-8")
    return part


def test_chapters_are_tracks_and_utterances_their_sentences(data_dir):
    loaded = load_speech_transcripts(data_dir)
    assert sorted(loaded.songs) == sorted(WORDS)
    (text,) = [text for text in loaded.texts if text.id == "61-70968"]
    assert text.text == ["He began a confused complaint.", "I said so and I'm sure.", "Good."]
    assert loaded.targets().sum() == 3
    assert loaded.description["count_note"] is None
    assert (loaded.description["speakers"], loaded.description["utterances"]) == (2, 5)
    json.dumps(loaded.description)


def test_tracks_hold_the_utterances_with_pauses(data_dir):
    loaded = load_speech_transcripts(data_dir, pause_s=0.25)
    track, rate = soundfile.read(loaded.songs["61-70968"])
    assert rate == RATE
    assert len(track) == RATE * (1 + 2 + 3) + 2 * RATE // 4
    second, _ = soundfile.read(data_dir / "61/70968/61-70968-0001.flac")
    start = RATE + RATE // 4
    np.testing.assert_array_equal(track[start : start + len(second)], second)
    assert not track[RATE:start].any()


def test_tracks_are_made_once_and_anew_for_other_pauses(data_dir):
    path = load_speech_transcripts(data_dir).songs["61-70968"]
    os.utime(path, (1, 1))
    load_speech_transcripts(data_dir)
    assert os.stat(path).st_mtime == 1
    other = load_speech_transcripts(data_dir, pause_s=1.0).songs["61-70968"]
    assert soundfile.info(other).duration == 1 + 2 + 3 + 2
    assert os.stat(path).st_mtime == 1  # both can be used side by side


def test_tracks_lie_beside_the_corpus_or_where_one_says(data_dir, tmp_path):
    loaded = load_speech_transcripts(data_dir)
    assert loaded.songs["61-70970"] == str(data_dir.parent / "test-clean_joined_pause_0.3s" / "61-70970.flac")
    shutil.copytree(data_dir, tmp_path / "other")
    loaded = load_speech_transcripts(data_dir, tmp_path / "other")  # tracks of other recordings lie beside those
    assert loaded.songs["61-70970"] == str(tmp_path / "other_joined_pause_0.3s" / "61-70970.flac")
    loaded = load_speech_transcripts(data_dir, joined_dir=tmp_path / "tracks")
    assert loaded.songs["61-70970"] == str(tmp_path / "tracks" / "61-70970.flac")
    assert sorted(path.name for path in (tmp_path / "tracks").iterdir()) == sorted(f"{name}.flac" for name in WORDS)


def test_long_chapters_are_cut_between_utterances(data_dir):
    loaded = load_speech_transcripts(data_dir, max_s=3.5)
    lengths = {track: soundfile.info(path).duration for track, path in loaded.songs.items()}
    assert lengths["61-70968_1"] == pytest.approx(1 + 0.3 + 2)
    assert lengths["61-70968_2"] == 3
    assert "61-70970" in loaded.songs  # not cut, so no number
    sentences = [sentence for text in loaded.texts if text.id.startswith("61-70968") for sentence in text.text]
    assert len(sentences) == len(WORDS["61-70968"])

    # With the pause the first two have 3.3 s.
    assert "61-70968_3" in load_speech_transcripts(data_dir, max_s=3.2).songs


def test_an_utterance_longer_than_a_track_is_kept_whole(data_dir):
    loaded = load_speech_transcripts(data_dir, max_s=0.5)
    assert soundfile.info(loaded.songs["61-70968_3"]).duration == 3
    assert len(loaded.songs) == 5


def test_utterances_can_be_tracks(data_dir):
    loaded = load_speech_transcripts(data_dir, unit="utterance", case="published")
    assert len(loaded.songs) == 5
    assert loaded.songs["61-70968-0001"].endswith("61/70968/61-70968-0001.flac")
    assert loaded.texts[-1].text == [WORDS["61-70970"][0]]
    assert not (data_dir.parent / "test-clean_joined_pause_0.3s").exists()


def test_a_chapter_that_lacks_an_utterance_is_missing(data_dir):
    (data_dir / "61/70968/61-70968-0001.flac").unlink()
    loaded = load_speech_transcripts(data_dir)
    assert [(song.id, song.path, song.reason) for song in loaded.missing] == [
        ("61-70968", "61-70968-0001.flac", "no file of audio for 1 of 3 utterances")
    ]
    assert loaded.description["texts_of_missing_songs"] == 1
    assert "2 of 3 songs" in loaded.description["count_note"]


def test_a_chapter_with_an_utterance_that_is_no_audio_is_missing(data_dir):
    (data_dir / "61/70968/61-70968-0001.flac").write_bytes(b"no audio")
    loaded = load_speech_transcripts(data_dir, max_s=2.0)
    assert [song.id for song in loaded.missing] == ["61-70968_1"]
    assert loaded.missing[0].reason.startswith("unreadable audio")
    assert not list((data_dir.parent / "test-clean_joined_pause_0.3s_max_2s").glob(".*"))


def test_tracks_that_cannot_be_written_are_no_bad_audio(data_dir, tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        load_speech_transcripts(data_dir, joined_dir=tmp_path / "file")


def test_utterances_may_lie_elsewhere_in_another_format(data_dir, tmp_path):
    for file in sorted(data_dir.rglob("*.flac")):
        write_audio((tmp_path / "wav" / file.relative_to(data_dir)).with_suffix(".wav"))
        file.unlink()
    assert load_speech_transcripts(data_dir, tmp_path / "wav").missing == []


@pytest.mark.parametrize(
    ("transcript", "message"),
    [
        ("61-70970-0000\n", "61-70970.trans.txt, line 1 must be an utterance's name and words"),
        ("../../x WORDS\n", "line 1 must be an utterance's name and words"),
        ("61-70970-0000 A\n61-70970-0000 B\n", "has the utterance '61-70970-0000' twice"),
        ("\n", "61-70970.trans.txt has no utterances"),
    ],
)
def test_a_transcript_that_is_none_is_refused(data_dir, transcript, message):
    (data_dir / "61/70970/61-70970.trans.txt").write_text(transcript, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        load_speech_transcripts(data_dir)


def test_wrong_arguments_are_refused(data_dir, tmp_path):
    for arguments, message in (
        ({"unit": "word"}, "unit must be one of chapter, utterance, got 'word'"),
        ({"case": "upper"}, "case must be one of sentence, published"),
        ({"max_s": 0}, "max_s must be more than 0 s, got 0"),
        ({"max_s": "long"}, "max_s must be more than 0 s, got 'long'"),
        ({"pause_s": -1}, "pause_s must be seconds and not negative, got -1"),
        ({"pause_s": float("inf")}, "pause_s must be seconds and not negative, got inf"),
    ):
        with pytest.raises(ValueError, match=message):
            load_speech_transcripts(data_dir, **arguments)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="must be a folder with transcripts"):
        load_speech_transcripts(tmp_path / "empty")


def test_recordings_of_different_rates_are_not_joined(tmp_path):
    files = [write_audio(tmp_path / "a.wav"), write_audio(tmp_path / "b.wav", rate=8_000)]
    with pytest.raises(ValueError, match="differ in sampling rate"):
        join_audio(files, tmp_path / "joined.flac", 0.0)
    assert not (tmp_path / "joined.flac").exists()


def test_a_manifest_of_speech_is_read_as_one(tmp_path):
    pytest.importorskip("datasets", reason="manifests need the extra 'train'")
    write_audio(tmp_path / "test/0000.flac")
    line = {"audio": "test/0000.flac", "text": ["one two.", "three."]}
    (tmp_path / "test.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    loaded = load_speech_transcripts(tmp_path / "test.jsonl")
    assert loaded.name == "speech_transcripts test"
    assert loaded.texts[0].text == ["one two.", "three."]


def test_arguments_that_a_manifest_has_no_use_for_are_refused(tmp_path):
    (tmp_path / "test.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match="unit, case must be left out for a manifest"):
        load_speech_transcripts(tmp_path / "test.jsonl", unit="utterance", case="published")


def test_a_track_that_cannot_be_read_is_made_anew(data_dir):
    path = load_speech_transcripts(data_dir).songs["61-70968"]
    whole, _ = soundfile.read(path)
    with open(path, "wb") as track:
        track.write(b"no audio")
    loaded = load_speech_transcripts(data_dir)
    assert loaded.missing == []
    np.testing.assert_array_equal(soundfile.read(path)[0], whole)


def test_an_utterance_that_is_cut_off_makes_its_chapter_missing_and_leaves_nothing(data_dir):
    file = data_dir / "61/70968/61-70968-0002.flac"
    file.write_bytes(file.read_bytes()[:-2000])  # its head still tells the whole length
    loaded = load_speech_transcripts(data_dir)
    assert [song.id for song in loaded.missing] == ["61-70968"]
    assert not list((data_dir.parent / "test-clean_joined_pause_0.3s").glob("*61-70968*"))


@pytest.mark.parametrize("line", ["\ufeff61-70970-0000 YOUNG FITZOOTH", "61-70970-0000\tYOUNG  FITZOOTH "])
def test_transcripts_may_have_a_byte_order_mark_or_tabs(data_dir, line):
    (data_dir / "61/70970/61-70970.trans.txt").write_text(line, encoding="utf-8")
    loaded = load_speech_transcripts(data_dir, case="published")
    (text,) = [text for text in loaded.texts if text.id == "61-70970"]
    assert " ".join(text.text[0].split()) == "YOUNG FITZOOTH"


def test_a_transcript_of_another_encoding_is_named(data_dir):
    (data_dir / "61/70970/61-70970.trans.txt").write_bytes("61-70970-0000 CAFÉ".encode("latin-1"))
    with pytest.raises(ValueError, match=r"61-70970.trans.txt is not text in UTF-8"):
        load_speech_transcripts(data_dir)
