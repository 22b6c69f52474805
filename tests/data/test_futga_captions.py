# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions of FUTGA's many layouts: sentences, section times, and times that give no sections."""

import random

import pytest

from collap.data.futga import has_time_ranges, parse_caption

# A layout of the data set's own examples: bold headings in percent, bullets, a closing in the last section.
PERCENT = """The song is lively and warm. Its tempo is medium.

**0-18% - Intro/Verse:**
- Electric guitar with a distorted sound
- Drums start a steady groove

**18-40% - Spoken part:**
- A man talks over the noise

**40-100% - Outro:**
- The band fades out.

Overall, the music is mellow."""
# Another of its own: no sign of percent.
NO_SIGN = """A calm song.
**0-16:** Intro and Verse
- The piano starts alone.
**16-100:** Chorus
- A choir grows by 10-20% over 3-4 bars, as in the 80s-90s."""


def sections_of(caption, duration_s=200.0):
    parsed = parse_caption(caption, duration_s)
    assert parsed.problem is None, parsed
    return [(part["start_s"], part["end_s"], part["text"]) for part in parsed.sections]


def test_percent_with_general_text_around():
    parsed = parse_caption(PERCENT, 200.0)
    assert parsed.unit == "percent"
    assert sections_of(PERCENT) == [
        (0.0, 36.0, ["Intro/Verse: Electric guitar with a distorted sound.", "Drums start a steady groove."]),
        (36.0, 80.0, ["Spoken part: A man talks over the noise."]),
        (80.0, 200.0, ["Outro: The band fades out."]),
    ]
    texts = [sentence for part in parsed.sections for sentence in part["text"]]
    general = ["The song is lively and warm.", "Its tempo is medium."]
    assert parsed.sentences == [*general, *texts, "Overall, the music is mellow."]


@pytest.mark.parametrize(
    ("caption", "unit", "expected"),
    [
        ("0% - 25%: Soft. 25% – 100%: Loud.", "percent", [(0, 50, ["Soft."]), (50, 200, ["Loud."])]),
        ("From 0% to 50%, it is soft. Still. Between 50% and 90%, it is loud.", "percent",
         [(0, 100, ["It is soft.", "Still."]), (100, 180, ["It is loud."])]),
        ("The end (90 percent to 100 percent of the song) is quiet.", "percent", [(180, 200, ["The end is quiet."])]),
        ("1. Intro (0:00 - 0:30): Piano.\n2. Verse (0:30-1:05): Voice.", "clock",
         [(0, 30, ["Intro: Piano."]), (30, 65, ["Verse: Voice."])]),
        ("[00:00-01:15] Verse\nA voice.\n[01:15—end] Outro\nA flute.", "clock",
         [(0, 75, ["Verse: A voice."]), (75, 200, ["Outro: A flute."])]),
        ("The part from 1:05 to 2:10 is sad.", "clock", [(65, 130, ["The part is sad."])]),
        ("0:00:00 - 0:01:40 Intro: horns.", "clock", [(0, 100, ["Intro: horns."])]),
        ("0s-30s: Piano.\n30s to 60s: Drums.", "seconds", [(0, 30, ["Piano."]), (30, 60, ["Drums."])]),
        ("Intro: 0-30 seconds\nSoft.\nVerse: 30-100 secs\nLoud.", "seconds",
         [(0, 30, ["Intro: Soft."]), (30, 100, ["Verse: Loud."])]),
        ("0s-20s: a.\n20s-40s: b.", "seconds", [(0, 20, ["A."]), (20, 40, ["B."])]),  # no decades after 0 s
        ("Details:\n1. Intro:\n - Time boundaries: 0% - 10%\n - Soft piano.\n2. Outro:\n - Time: 10%-100%\n - Drums.",
         "percent", [(0, 20, ["Intro: Soft piano."]), (20, 200, ["Outro: Drums."])]),
        ("**Section 1 (0%-50%)**: A flute.\n**Section 2 (50%-100%)**: A horn.", "percent",
         [(0, 100, ["A flute."]), (100, 200, ["A horn."])]),
        ("### 0% - 20%\nA flute.\n### 20% - 100%\nOutro", "percent", [(0, 40, ["A flute."]), (40, 200, ["Outro."])]),
        ("**0-50% - Verse**\n**50-100% - Chorus**\n", "percent", [(0, 100, ["Verse."]), (100, 200, ["Chorus."])]),
        ("0% - 50%: Soft. (1:40 - 3:20) Loud.", "mixed", [(0, 100, ["Soft."]), (100, 200, ["Loud."])]),
        ("0%-50%: Soft.\n50%-100%: Overall loud.", "percent", [(0, 100, ["Soft."]), (100, 200, ["Overall loud."])]),
        (r"A song.\n0-50%: Soft.\n50-100%: Loud.</s>", "percent", [(0, 100, ["Soft."]), (100, 200, ["Loud."])]),
    ],
)  # fmt: skip
def test_layouts(caption, unit, expected):
    assert sections_of(caption) == expected
    assert parse_caption(caption, 200.0).unit == unit
    assert has_time_ranges(caption)


@pytest.mark.parametrize(
    ("caption", "problem"),
    [
        ("A song at 120-130 BPM in 4/4, as in the 80s-90s.", "no time ranges"),
        ("80s-90s rock. It starts at 0:10 and grows by 10-20%.", "no time ranges"),
        ("0% - 50%: Soft.\n70% - 60%: Loud.", "a range that is reversed"),
        ("0:30-0:30: Soft.", "a range that is reversed"),
        ("0:00 - 3:23: Soft.", "a range beyond the end of the song"),
        ("0% - 101%: Soft.", "a range beyond the end of the song"),
        ("3:20 - 3:21: Soft.", "a range beyond the end of the song"),
        ("50% - 100%: Soft.\n0% - 50%: Loud.", "ranges that overlap or are out of order"),
        ("0:00 - 1:00: Soft.\n0:50 - 2:00: Loud.", "ranges that overlap or are out of order"),
        ("0:00 - 0:75: Soft.", "a clock time that is none"),
        ("0-60: Soft.\n60-100: Loud.", "no time ranges"),
        ("Verses (0:10-0:30) and (0:50-1:10).", "several ranges in one sentence"),
        ("A song.\n0% - 50%\n50% - 100%: Loud.", "a section without text"),
    ],
)
def test_captions_without_sections(caption, problem):
    parsed = parse_caption(caption, 200.0)
    assert parsed.problem == problem
    assert parsed.sections is None
    assert parsed.sentences  # the text is kept
    assert has_time_ranges(caption) == (problem != "no time ranges")


def test_clock_times_are_forgiven_two_seconds():
    parts = sections_of("0:00 - 1:01: Soft.\n1:00 - 3:22: Loud.")
    assert [part[:2] for part in parts] == [(0.0, 61.0), (61.0, 200.0)]
    # Percents are not rounded to seconds: for them there is nothing to forgive.
    assert parse_caption("0% - 100.5%: Soft.", 200.0).problem == "a range beyond the end of the song"


def test_no_text_without_words_and_no_section_out_of_place():
    pieces = ["0-18%", "**", "1:05 - 2:10", "(0:30-0:40)", "[10% to 20%]", "- ", "\n", "Intro", ":", "The drums play.",
              "from 0 to 30 seconds", "between 1:00 and 1:10", "80s-90s", "0s-20s", "16-35:", "Overall, calm.", ".",
              "0:99-1:30", "0:30-end", "%", "—", "1.", "#", "</s>"]  # fmt: skip
    generator = random.Random(0)
    with_sections = 0
    for _ in range(3000):
        words = generator.choices(pieces, k=generator.randint(1, 14))
        parsed = parse_caption(" ".join(words), 100.0)
        assert all(any(map(str.isalnum, sentence)) for sentence in parsed.sentences)
        if parsed.sections is None:
            assert parsed.problem
            continue
        with_sections += 1
        times = [time for part in parsed.sections for time in (part["start_s"], part["end_s"])]
        assert times == sorted(times)
        assert 0 <= times[0] < times[-1] <= 100
        told = [sentence for part in parsed.sections for sentence in part["text"]]
        rest = iter(parsed.sentences)
        assert all(sentence in rest for sentence in told)  # in their order
    assert with_sections > 100
