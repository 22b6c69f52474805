# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""LibriSpeech on a small scale: utterances joined to chapters, complete or not at all."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from set_miniatures import convert, write_audio

RATE = 16_000
PAUSE = 4_800  # samples
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


def durations(rows):
    return {row["song_id"]: row["duration_s"] for row in rows}


def test_chapters_are_tracks_and_utterances_their_sentences(data_dir):
    rows, provenance = convert("speech_transcripts", data_dir)
    (row,) = [row for row in rows if row["song_id"] == "61-70968"]
    assert row["text"] == ["He began a confused complaint.", "I said so and I'm sure.", "Good."]
    assert row["audio"] == "audio/61-70968.flac"
    assert sorted(durations(rows)) == sorted(WORDS)
    assert (provenance["speakers"], provenance["chapters"], provenance["utterances"]) == (2, 3, 5)
    assert len(provenance["files"]) == 3

    track, rate = soundfile.read(data_dir / "converted" / row["audio"])
    assert rate == RATE
    assert len(track) == RATE * (1 + 2 + 3) + 2 * PAUSE
    second, _ = soundfile.read(data_dir / "61/70968/61-70968-0001.flac")
    start = RATE + PAUSE
    np.testing.assert_array_equal(track[start : start + len(second)], second)
    assert not track[RATE:start].any()


def test_tracks_are_made_once_and_again_if_they_do_not_fit(data_dir):
    convert("speech_transcripts", data_dir)
    path = data_dir / "converted/audio/61-70968.flac"
    whole = path.read_bytes()
    os.utime(path, (1, 1))
    convert("speech_transcripts", data_dir)
    assert path.stat().st_mtime == 1
    path.write_bytes(b"no audio")
    convert("speech_transcripts", data_dir)
    assert path.read_bytes() == whole


def test_utterances_of_other_rates_and_channels_are_joined(data_dir):
    path = data_dir / "61/70968/61-70968-0001.flac"
    tone = 0.5 * np.sin(2 * np.pi * 500 * np.arange(2 * 44_100) / 44_100)
    soundfile.write(path, np.stack([tone, 0 * tone], axis=1), 44_100)
    _, provenance = convert("speech_transcripts", data_dir)
    assert provenance["missing"] == []
    track, rate = soundfile.read(data_dir / "converted/audio/61-70968.flac")
    assert (rate, track.shape) == (RATE, (RATE * (1 + 2 + 3) + 2 * PAUSE,))
    second = track[RATE + PAUSE :][: 2 * RATE]
    assert np.abs(np.fft.rfft(second)).argmax() == 2 * 500
    assert np.abs(second[1000:-1000]).max() == pytest.approx(0.25, abs=1e-3)  # the mean of both channels


def test_a_chapter_without_one_of_its_utterances_is_missing(data_dir):
    (data_dir / "61/70968/61-70968-0001.flac").unlink()
    file = data_dir / "121/123852/121-123852-0000.flac"
    file.write_bytes(file.read_bytes()[:-2000])  # its header still gives the whole length
    rows, provenance = convert("speech_transcripts", data_dir)
    assert list(durations(rows)) == ["61-70970"]
    assert [(song["id"], song["reason"].split(":")[0]) for song in provenance["missing"]] == [
        ("121-123852", "unreadable audio"),
        ("61-70968", "an utterance without audio"),
    ]
    assert [path.name for path in (data_dir / "converted/audio").iterdir()] == ["61-70970.flac"]


def test_a_full_disk_is_no_issue_of_the_audio(data_dir, monkeypatch):
    def fail(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        convert("speech_transcripts", data_dir)
    assert not list(Path(data_dir / "converted").rglob("*.*"))


@pytest.mark.parametrize(
    ("transcript", "message"),
    [
        (b"61-70970-0000\n", "line 1 must be an utterance's name and words"),
        (b"../../x YOUNG\n", "line 1 must be an utterance's name and words"),
        (b"61-70970-0000 A\n61-70970-0000 B\n", "has the utterance '61-70970-0000' twice"),
    ],
)
def test_a_transcript_of_another_form_is_refused(data_dir, transcript, message):
    (data_dir / "61/70970/61-70970.trans.txt").write_bytes(transcript)
    with pytest.raises(ValueError, match=message):
        convert("speech_transcripts", data_dir)
