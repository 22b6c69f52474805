# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Structure augmentation of a song that a reader can follow by hand."""

import re
from collections import Counter
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch

from collap.training.augmentation import (
    AugmentedSong,
    Section,
    StructureAugmentation,
    cut_frames,
    cut_waveform,
    find_section_problem,
)

# 100 s: silence, A, B, a pause, C, silence.
A = Section(10.0, 20.0, ("A begins at 0:10.", "A is loud."))
B = Section(20.0, 50.0, ("B (0:20 to 0:50).",))
C = Section(60.0, 90.0, ("C lasts from 60% to 90%.",))
SECTIONS = [A, B, C]
SENTENCES = ["A song of 1:40.", *A.sentences, *B.sentences, "In between a pause.", *C.sentences, "What a song."]
DURATION_S = 100.0

CROP = StructureAugmentation(section_crop_probability=1.0)
REORDER = StructureAugmentation(section_reorder_probability=1.0)
DROP = StructureAugmentation(sentence_drop_probability=1.0)
SHUFFLE = StructureAugmentation(sentence_shuffle_probability=1.0)
ALL = StructureAugmentation(1.0, 1.0, 1.0, 1.0)

# All results, by hand. A crop has the pause between B and C if it has both.
CROPS = {
    ((10.0, 20.0),): ["A begins at 0:00.", "A is loud."],
    ((20.0, 50.0),): ["B (0:00 to 0:30)."],
    ((60.0, 90.0),): ["C lasts from 0% to 100%."],
    ((10.0, 50.0),): ["A begins at 0:00.", "A is loud.", "B (0:10 to 0:40)."],
    ((20.0, 90.0),): ["B (0:00 to 0:30).", "C lasts from 57% to 100%."],  # 40 to 70 of 70 s
}
GENERAL = "A song of 1:10.", "In between a pause.", "What a song."
LONGER = "A song of 1:20.", *GENERAL[1:]  # with the pause of 10 s
REORDERS = {
    ((10.0, 20.0), (60.0, 90.0), (20.0, 50.0)): [
        GENERAL[0], "A begins at 0:00.", "A is loud.", "C lasts from 14% to 57%.", GENERAL[1],
        "B (0:40 to 1:10).", GENERAL[2],
    ],
    ((20.0, 50.0), (10.0, 20.0), (60.0, 90.0)): [
        GENERAL[0], "B (0:00 to 0:30).", "A begins at 0:30.", "A is loud.", GENERAL[1],
        "C lasts from 57% to 100%.", GENERAL[2],
    ],
    ((20.0, 90.0), (10.0, 20.0)): [
        LONGER[0], "B (0:00 to 0:30).", "C lasts from 50% to 88%.", LONGER[1],
        "A begins at 1:10.", "A is loud.", LONGER[2],
    ],
    ((60.0, 90.0), (10.0, 50.0)): [
        GENERAL[0], "C lasts from 0% to 43%.", "A begins at 0:30.", "A is loud.", GENERAL[1],
        "B (0:40 to 1:10).", GENERAL[2],
    ],
    ((60.0, 90.0), (20.0, 50.0), (10.0, 20.0)): [
        GENERAL[0], "C lasts from 0% to 43%.", "B (0:30 to 1:00).", GENERAL[1],
        "A begins at 1:00.", "A is loud.", GENERAL[2],
    ],
}  # fmt: skip


def draw(augmentation: StructureAugmentation, seed: int, sentences=SENTENCES, sections=SECTIONS) -> AugmentedSong:
    return augmentation(list(sentences), sections, DURATION_S, torch.Generator().manual_seed(seed))


def draws(augmentation: StructureAugmentation, count: int, **song) -> list[AugmentedSong]:
    """Many draws of one generator."""
    generator = torch.Generator().manual_seed(0)
    song = {"sentences": SENTENCES, "sections": SECTIONS, "duration_s": DURATION_S} | song
    return [augmentation(generator=generator, **song) for _ in range(count)]


@pytest.mark.parametrize(("augmentation", "expected"), [(CROP, CROPS), (REORDER, REORDERS)])
def test_pieces_and_sentences(augmentation, expected):
    songs = draws(augmentation, 500)
    for song in songs:
        assert song.sentences == expected[tuple(song.pieces)]
    counts = Counter(tuple(song.pieces) for song in songs)
    assert set(counts) == set(expected)
    # Equally likely: 100 each, give or take four standard deviations (9).
    assert all(64 < count < 136 for count in counts.values())


def test_crop_and_reorder_together():
    """Two sections that a crop keeps change places."""
    songs = draws(replace(CROP, section_reorder_probability=1.0), 300)
    found = {tuple(song.pieces): song.sentences for song in songs}
    assert found == {
        **{pieces: sentences for pieces, sentences in CROPS.items() if pieces[0] not in ((10.0, 50.0), (20.0, 90.0))},
        ((20.0, 50.0), (10.0, 20.0)): ["B (0:00 to 0:30).", "A begins at 0:30.", "A is loud."],
        ((60.0, 90.0), (20.0, 50.0)): ["C lasts from 0% to 50%.", "B (0:30 to 1:00)."],
    }


@pytest.mark.parametrize("augmentation", [CROP, REORDER, DROP, SHUFFLE, ALL])
def test_sentences_keep_their_section_where_their_times_change(augmentation):
    sections = {"A b": 0, "A i": 0, "B (": 1, "C l": 2}  # by the beginning of the sentence
    for song in draws(augmentation, 50):
        assert song.section_ids == [sections.get(sentence[:3], -1) for sentence in song.sentences]


def test_sentence_drop():
    songs = draws(DROP, 2000)
    assert all(song.pieces is None for song in songs)
    for song in songs:
        all_sentences = iter(SENTENCES)
        assert song.sentences
        assert all(sentence in all_sentences for sentence in song.sentences)  # in their order
    counts = Counter(sentence for song in songs for sentence in song.sentences)
    assert all(900 < counts[sentence] < 1100 for sentence in SENTENCES)
    only = [song.sentences for song in draws(DROP, 300, sentences=["One.", "Two."], sections=[])]
    # Both in a quarter; each alone in a quarter, and in half of the quarter where none would be left.
    counts = Counter(map(tuple, only))
    assert set(counts) == {("One.",), ("Two.",), ("One.", "Two.")}
    assert 45 < counts["One.", "Two."] < 105
    assert draws(DROP, 1, sentences=["One."], sections=[])[0].sentences == ["One."]


def test_sentence_shuffle():
    orders = Counter(
        tuple(song.sentences) for song in draws(SHUFFLE, 600, sentences=["One.", "Two.", "Three."], sections=[])
    )
    assert set(orders) == set(permutations(["One.", "Two.", "Three."]))
    assert all(60 < count < 140 for count in orders.values())


@pytest.mark.parametrize("augmentation", [CROP, REORDER, DROP, SHUFFLE, ALL])
def test_a_draw_depends_on_the_generator_only(augmentation):
    before = torch.get_rng_state()
    songs = [draw(augmentation, seed) for seed in range(10)]
    torch.rand(3)
    np.random.rand(3)
    assert songs == [draw(augmentation, seed) for seed in range(10)]
    assert any(song != songs[0] for song in songs)
    torch.set_rng_state(before)
    draw(augmentation, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_the_crops_do_not_depend_on_the_other_probabilities():
    alone = [draw(StructureAugmentation(section_crop_probability=0.5), seed).pieces for seed in range(50)]
    both = [draw(StructureAugmentation(0.5, 0.0, 0.5, 0.5), seed).pieces for seed in range(50)]
    assert alone == both
    assert 10 < sum(pieces is None for pieces in alone) < 40


def test_a_sentence_with_a_time_outside_of_the_pieces_is_left_out():
    sections = [A, replace(B, sentences=("B, as loud as at 0:15.", "B rests."))]
    sentences = [sentence for section in sections for sentence in section.sentences]
    for song in draws(CROP, 20, sentences=sentences, sections=sections):
        assert (song.pieces, song.sentences) in (
            ([(10.0, 20.0)], ["A begins at 0:00.", "A is loud."]),
            ([(20.0, 50.0)], ["B rests."]),
        )
    reordered = draws(REORDER, 1, sentences=sentences, sections=sections)[0]
    assert reordered.sentences == ["B, as loud as at 0:35.", "B rests.", "A begins at 0:30.", "A is loud."]


@pytest.mark.parametrize(
    ("sections", "problem"),
    [
        ([], r"has 0 section\(s\)"),
        ([A, replace(B, start_s=19.0), C], "section 1 begins at 19.0 s, before section 0 ends at 20.0 s"),
        ([A, replace(B, end_s=20.0), C], "section 1 lasts from 20.0 s to 20.0 s"),
        ([replace(A, start_s=-1.0), B, C], "section 0 lasts from -1.0 s"),
        ([A, replace(B, sentences=()), C], "section 1 has no sentence"),
        ([A, B, replace(C, end_s=101.5)], "the last section lasts from 60.0 s to 101.5 s, the song ends at 100.0 s"),
        ([A, B, replace(C, start_s=99.9, end_s=100.3)], "from 99.9 s to 100.3 s, the song ends at 100.0 s"),
        ([A, replace(B, end_s=20.1), C], "section 1 lasts from 20.0 s to 20.1 s"),  # too short for the encoders
        ([replace(A, sentences=A.sentences[::-1]), B, C], "are not all in its text, in their order"),
    ],
)
def test_sections_with_a_problem_are_not_used(sections, problem):
    assert re.search(problem, find_section_problem(SENTENCES, sections, DURATION_S))
    both = replace(CROP, section_reorder_probability=1.0)
    for song in draws(both, 20, sections=sections):
        assert (song.sentences, song.pieces) == (SENTENCES, None)


def test_without_a_duration():
    songs = draws(CROP, 50, duration_s=None)
    for song in songs:
        if song.pieces is None:  # C alone, of which percents say nothing without a duration
            assert song.sentences == SENTENCES
        else:
            assert song.sentences == [text for text in CROPS[tuple(song.pieces)] if not text.startswith("C")]
    assert {None, (10.0, 20.0), (20.0, 90.0)} <= {song.pieces and song.pieces[0] for song in songs}


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_wrong_probabilities(value):
    with pytest.raises(ValueError, match=r"sentence_drop_probability must lie in \[0, 1\], got"):
        StructureAugmentation(sentence_drop_probability=value)


# Waveforms: 1,000 samples a second, so that a cross-fade has 5 samples.


def test_waveform_of_pieces():
    waveform = np.arange(1000, dtype=np.float32)
    cut = cut_waveform(waveform, 1000, [(0.6, 0.8), (0.1, 0.4)])
    assert cut.dtype == np.float32
    assert len(cut) == 500
    assert np.array_equal(cut[5:200], waveform[605:800])
    assert np.array_equal(cut[205:495], waveform[105:395])
    # At the joint 800, 801, ... gives way to 100, 101, ... in five even steps, and the ends come out of silence.
    assert cut[200:205] == pytest.approx([730, 591, 452, 313, 174])
    assert cut[:5] == pytest.approx([60, 180.3, 301, 422.1, 543.6])
    assert cut[-5:] == pytest.approx([355.5, 277.2, 198.5, 119.4, 39.9])
    assert np.array_equal(waveform, np.arange(1000))  # the song itself is not touched


def test_pieces_shorter_than_a_fade_or_beyond_the_end():
    waveform = np.ones(1000)
    assert cut_waveform(waveform, 1000, [(0.5, 0.502), (0.2, 0.2001)]) == pytest.approx([0.25, 0.75, 0.5])
    assert len(cut_waveform(waveform, 1000, [(0.8, 1.7)])) == 200


@pytest.mark.parametrize("pieces", [[], [(0.5, 0.5)], [(0.5, 0.4)], [(-0.1, 0.4)], [(1.0, 1.2)], [(0, 0.5), (9, 10)]])
def test_wrong_pieces(pieces):
    with pytest.raises(ValueError, match="pieces must"):
        cut_waveform(np.ones(1000), 1000, pieces)
    with pytest.raises(ValueError, match="pieces must"):
        cut_frames(torch.ones(9, 2), torch.arange(10).unfold(0, 2, 1) / 10, pieces)


# Frames


def test_frames_of_pieces():
    frames = torch.arange(10.0)[:, None].half()  # frame n from n to n + 1 s
    times = torch.arange(11.0).unfold(0, 2, 1)
    cut = cut_frames(frames, times, [(6.0, 8.0), (0.6, 3.5), (9.2, 9.4)])
    # The middle of frame 0 (0.5 s) lies before 0.6 s, that of frame 3 (3.5 s) is no longer inside; 9 is the nearest.
    assert cut.dtype == torch.float16
    assert cut[:, 0].tolist() == [6, 7, 1, 2, 9]
    assert cut_frames(frames, times, [(10.0, 10.5)]).tolist() == [[9]]  # left over at the end of the song
    with pytest.raises(ValueError, match="pieces must"):
        cut_frames(frames, times, [(11.0, 12.0)])


def test_frames_and_waveform_agree():
    """A song whose sample tells its second: the frames of the pieces are those of the joined waveform."""
    waveform = np.repeat(np.arange(100.0), 100)  # 100 samples a second
    times = torch.arange(101.0).unfold(0, 2, 1)
    frames = torch.arange(100.0)[:, None]
    for song in draws(ALL, 50):
        cut = cut_waveform(waveform, 100, song.pieces)
        assert cut[50::100].tolist() == cut_frames(frames, times, song.pieces)[:, 0].tolist()
