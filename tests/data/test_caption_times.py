# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Times in a sentence, moved for a song that consists of pieces of another song."""

import pytest

from collap.data.futga import move_times

# Of a song of 200 s: 100 to 160 s (now 0 to 60 s) and then 20 to 60 s (now 60 to 100 s).
PIECES = [(100.0, 160.0), (20.0, 60.0)]
DURATION_S = 200.0


def move(sentence: str, owner: int | None = None, duration_s: float | None = DURATION_S) -> str | None:
    return move_times(sentence, PIECES, owner, duration_s)


@pytest.mark.parametrize(
    ("sentence", "moved"),
    [
        ("At 1:45 the drums set in.", "At 0:05 the drums set in."),
        ("At 0:25 and at 0:59.", "At 1:05 and at 1:39."),
        ("A verse (0:20 to 1:00).", "A verse (1:00 to 1:40)."),
        ("Between 0:30 and 0:40 it rests; by 2:40.", "Between 1:10 and 1:20 it rests; by 1:00."),
        ("At 00:25, 0:00:25 and 01:00:25.", None),  # there is no hour
        ("At 00:25, and at 0:00:25.", "At 01:05, and at 0:01:05."),  # the format stays
        ("At 0:25.25 and at 0:25.5.", "At 1:05.25 and at 1:05.5."),
        ("From 20% to 30%.", "From 80% to 100%."),  # 40 to 60 s are now 80 to 100 of 100 s
        ("From 50 to 80 percent.", "From 0 to 60 percent."),
        ("It lasts from 12.5%-17.5% of the song.", "It lasts from 65.0%-75.0% of the song."),
        ("50% louder, in 4/4, at 120 bpm, 1:2 and 3:99.", "50% louder, in 4/4, at 120 bpm, 1:2 and 3:99."),
        ("The chorus is 20-30% louder than the verse.", "The chorus is 20-30% louder than the verse."),
        ("Its tempo rises from 120 to 130 percent.", "Its tempo rises from 120 to 130 percent."),
        ("Outro (20% - 30%), then 50 - 60%: a choir.", "Outro (80% - 100%), then 50 - 60%: a choir."),
        ("Outro: 20-30%", "Outro: 80-100%"),
        ("20-30% - Outro", "80-100% - Outro"),
        ("At 0:10 it is cut.", None),
        ("From 0:50 to 1:50.", None),  # across a gap
        ("From 1:50 to 1:45.", None),  # back in time
        ("From 40% to 60%.", None),
        ("All 3:20 of it.", "All 1:40 of it."),  # how long the song is
    ],
)
def test_general_sentence(sentence, moved):
    assert move(sentence) == moved


def test_tolerance_of_rounded_times():
    assert move("At 0:19.") == "At 1:00."
    assert move("At 0:18.") is None
    assert move("At 2:41.") == "At 1:00."
    assert move("At 2:42.") is None
    assert move("From 49% to 81%.") == "From 0% to 60%."
    assert move("From 48% to 80%.") is None
    assert move("From 50% to 82%.") is None


def test_border_of_two_pieces():
    """What has a border in it begins there, but for a sentence whose own piece ends there."""
    pieces = [(60.0, 90.0), (0.0, 60.0)]
    assert move_times("At 1:00.", pieces, None, 90.0) == "At 0:00."
    assert move_times("At 1:00.", pieces, 0, 90.0) == "At 0:00."
    assert move_times("At 1:00.", pieces, 1, 90.0) == "At 1:30."
    assert move_times("At 1:20.", pieces, 1, 90.0) == "At 0:20."  # of another section


def test_percents_need_the_duration():
    assert move("From 20% to 30%.", duration_s=None) is None
    assert move("At 1:45, and 50% louder.", duration_s=None) == "At 0:05, and 50% louder."


def test_seconds_that_round_up_to_a_minute():
    assert move_times("At 1:10.", [(10.4, 100.0)], None, None) == "At 1:00."  # 59.6 s
    assert move_times("At 1:00:10.", [(10.4, 4000.0)], None, None) == "At 1:00:00."
