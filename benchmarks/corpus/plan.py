# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Draws songs: which sections follow each other, how long they are and what each of them holds.

A song depends on `(seed, split, index)` only, never on the other songs or on the process that builds it.
The sound of a section does not depend on its place, so the order of a song's sections can't be guessed from one.
"""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import numpy as np

from .tags import ACCOMPANIMENTS, BASSES, DRUMS, DYNAMICS, KEYS, LEADS, MODES, TEMPOS, TEXTURES, is_held_out_pair

FREEHAND = Path(__file__).parent / "freehand.jsonl"
SAMPLING_RATE = 16_000
BEATS_PER_BAR = 4
MIN_SECTION_S = 6.0
GROUP_SIZE = 4  # songs of a group in the grouped splits
ORDER_SPLITS = ("validation_order", "order")
GROUPED_SPLITS = (*ORDER_SPLITS, "near_duplicates")
TRAINING_SPLITS = ("train", "validation", "validation_order")  # never a held-out pair of instruments
LONG_MINUTES = {"long_2": 2, "long_5": 5, "long_10": 10, "long_20": 20}  # the same songs at four lengths

SECTION_TAGS = ("lead", "accompaniment", "bass", "drums", "texture", "dynamics", "voice")  # what each section draws
NO_LEAD, NO_BASS, NO_DRUMS = 0.08, 0.2, 0.2  # shares of the sections without
VOICE_SHARES = {"none": 0.70, "male": 0.15, "female": 0.15}

LAYOUTS = (
    ("intro", "verse", "chorus", "outro"),
    ("verse", "chorus", "bridge", "chorus"),
    ("intro", "verse", "chorus", "bridge"),
    ("verse", "chorus", "verse", "chorus"),
    ("intro", "verse", "chorus", "verse", "chorus"),
    ("intro", "verse", "bridge", "chorus", "outro"),
    ("verse", "chorus", "verse", "bridge", "chorus"),
    ("intro", "verse", "chorus", "interlude", "chorus"),
    ("intro", "verse", "chorus", "verse", "chorus", "outro"),
    ("verse", "chorus", "verse", "chorus", "bridge", "chorus"),
    ("intro", "verse", "pre-chorus", "chorus", "bridge", "outro"),
    ("intro", "verse", "chorus", "verse", "bridge", "chorus", "outro"),
    ("verse", "pre-chorus", "chorus", "verse", "chorus", "bridge", "chorus"),
    ("intro", "verse", "chorus", "interlude", "verse", "chorus", "outro"),
    ("intro", "verse", "chorus", "verse", "chorus", "bridge", "chorus", "outro"),
    ("intro", "verse", "pre-chorus", "chorus", "verse", "interlude", "chorus", "outro"),
    ("verse", "chorus", "interlude", "verse", "chorus", "bridge", "breakdown", "chorus"),
)


@dataclass(frozen=True)
class CorpusSize:
    """How much is made."""

    num_songs: Mapping[str, int]  # of each split; multiples of 4 where a split is made of groups
    min_duration_s: float = 60.0  # of all splits but "long_2" to "long_20"
    max_duration_s: float = 120.0
    num_leads: int = 10  # so many of the instruments are used, the first ones
    num_accompaniments: int = 8
    audio_format: str = "wav"  # fast to write and read; "flac" takes half the disk space or less


def _songs_of_splits(train: int, validation: int, content: int, other: int, long: int) -> dict[str, int]:
    return {
        "train": train,
        "validation": validation,
        "validation_order": other,
        "content": content,
        **dict.fromkeys(("order", "near_duplicates", "structures", "instrument_pairs"), other),
        **dict.fromkeys(LONG_MINUTES, long),
        "freehand": 120,  # as many as there are descriptions
    }


SIZES = {
    "demo": CorpusSize(_songs_of_splits(train=320, validation=40, content=100, other=100, long=20)),
    "small": CorpusSize(_songs_of_splits(train=640, validation=100, content=1_000, other=200, long=48)),
    "full": CorpusSize(
        _songs_of_splits(train=10_000, validation=500, content=1_000, other=1_000, long=200),
        max_duration_s=300.0,
        num_leads=len(LEADS),
        num_accompaniments=len(ACCOMPANIMENTS),
        audio_format="flac",
    ),
}
SPLITS = tuple(SIZES["full"].num_songs)


@dataclass(frozen=True)
class Section:
    """One section: the part of the song that it plays, its length, its musical material and its tags."""

    label: str
    num_bars: int
    theme_seed: int  # melody, chords and spoken words; sections with the same label share it
    lead: str
    accompaniment: str
    bass: str
    drums: str
    texture: str
    dynamics: str
    voice: str

    @property
    def section_tags(self) -> dict[str, str]:
        """The section's own tags: not key, mode and tempo, which are the song's."""
        return {name: getattr(self, name) for name in SECTION_TAGS}


@dataclass(frozen=True)
class Song:
    """One song. `group` is the same for songs that belong together (None outside of the grouped splits)."""

    split: str
    index: int
    group: int | None
    beats_per_minute: int
    tempo: str
    key: str
    mode: str
    sections: tuple[Section, ...]

    @property
    def bar_samples(self) -> int:
        """Samples of one bar: a whole number, so that every bar and section starts exactly on a sample."""
        return round(BEATS_PER_BAR * 60 * SAMPLING_RATE / self.beats_per_minute)

    @property
    def section_bounds(self) -> list[tuple[int, int]]:
        """First and one-past-last sample of each section; the sections cover the song without a gap."""
        ends = np.cumsum([section.num_bars * self.bar_samples for section in self.sections]).tolist()
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def tags(self, section: Section) -> dict[str, str]:
        """All tags of a section, by the names of `tags.TAGS`."""
        return section.section_tags | {"key": self.key, "mode": self.mode, "tempo": self.tempo}


def random_stream(seed: int, *names: str | int) -> np.random.Generator:
    """A random generator of its own for every purpose, for example `random_stream(seed, "train", 7, "caption")`."""
    return np.random.default_rng([seed, zlib.crc32("/".join(map(str, names)).encode())])


def stream_of(split: str) -> str:
    """The name of a split's random streams: one for all splits that hold the same songs."""
    return "long" if split in LONG_MINUTES else split


def draw_song(
    size: CorpusSize, seed: int, split: str, index: int, structures: Sequence[tuple[tuple[str, float], ...]] = ()
) -> Song:
    """
    Draws one song of a split; the result depends on the arguments only. README.md says what each split holds.

    Only the split "structures" uses `structures`, which is what `read_structures` gives.
    """
    base_index, member = divmod(index, GROUP_SIZE if split in GROUPED_SPLITS else 1)
    rng = random_stream(seed, stream_of(split), base_index, "song")
    described = read_freehand()[index]["tags"] if split == "freehand" else None
    tempo = described["tempo"] if described else str(rng.choice(list(TEMPOS)))
    song = Song(
        split=split,
        index=index,
        group=base_index if split in GROUPED_SPLITS else None,
        beats_per_minute=int(rng.integers(TEMPOS[tempo][0], TEMPOS[tempo][1] + 1)),
        tempo=tempo,
        key=described["key"] if described else str(rng.choice(KEYS)),
        mode=described["mode"] if described else str(rng.choice(MODES)),
        sections=(),
    )
    bar_s = song.bar_samples / SAMPLING_RATE
    least_bars = math.ceil(MIN_SECTION_S / bar_s)  # of a section
    if split == "structures":
        longest = int(size.max_duration_s // (least_bars * bar_s))
        layouts = [layout for layout in structures if len(layout) <= longest]
        labels, weights = zip(*layouts[int(rng.integers(len(layouts)))], strict=True)
    else:
        num_sections = int(rng.integers(4, 9))
        fitting = [layout for layout in LAYOUTS if len(layout) == num_sections]
        labels = fitting[int(rng.integers(len(fitting)))]
        weights = rng.uniform(0.6, 1.4, len(labels))
    # The duration is drawn apart from the layout: the number of sections, and with it the length of the caption,
    # says nothing about the length of the song.
    shortest_s, longest_s = size.min_duration_s, size.max_duration_s
    if split in LONG_MINUTES:
        duration_s = 60.0 * LONG_MINUTES[split]
        shortest_s, longest_s = duration_s - bar_s, duration_s + bar_s
    else:
        duration_s = rng.uniform(shortest_s, longest_s)
    # Whole bars a section, in the proportion of the weights, with the song's length inside the range.
    shares = np.asarray(weights) / np.sum(weights)
    bars = np.maximum(least_bars, np.round(shares * duration_s / bar_s)).astype(int)
    while bars.sum() * bar_s > longest_s and bars.max() > least_bars:
        bars[bars.argmax()] -= 1
    while bars.sum() * bar_s < shortest_s:
        bars[bars.argmin()] += 1
    theme_seeds = {label: int(rng.integers(2**31)) for label in dict.fromkeys(labels)}
    lengths = zip(labels, bars.tolist(), strict=True)
    blanks = [Section(label, num_bars, theme_seeds[label], *[""] * 7) for label, num_bars in lengths]
    sections: list[Section] = []
    if described:
        sections = _draw_around(described, blanks, rng, size)
    else:
        for blank in blanks:
            sections.append(_draw_section(blank, sections, rng, size, split))
    if split in ORDER_SPLITS:
        sections = _reorder(sections, random_stream(seed, split, base_index, "orders"), member)
    elif split == "near_duplicates":
        changes = random_stream(seed, split, base_index, "change")
        place = int(changes.integers(len(sections)))
        drawn = [*sections]
        for _ in range(member):
            drawn.append(_draw_section(sections[place], drawn, changes, size, split))
        sections[place] = drawn[-1] if member else sections[place]
    return replace(song, sections=tuple(sections))


def _draw_section(
    section: Section, earlier: Sequence[Section], rng: np.random.Generator, size: CorpusSize, split: str
) -> Section:
    """Fills in instruments, texture, dynamics and voice. No pair of lead and accompaniment comes twice in a song."""
    used = {(other.lead, other.accompaniment) for other in earlier}
    draw_pair = _draw_held_out_pair if split == "instrument_pairs" else _draw_pair
    lead, accompaniment = draw_pair(used, rng, size, split)
    return replace(
        section,
        lead=lead,
        accompaniment=accompaniment,
        bass="none" if rng.random() < NO_BASS else str(rng.choice(list(BASSES))),
        drums="none" if rng.random() < NO_DRUMS else str(rng.choice(DRUMS)),
        texture=str(rng.choice(TEXTURES)),
        dynamics=str(rng.choice(DYNAMICS)),
        voice=str(rng.choice(list(VOICE_SHARES), p=list(VOICE_SHARES.values()))),
    )


def _draw_pair(used: set[tuple[str, str]], rng: np.random.Generator, size: CorpusSize, split: str) -> tuple[str, str]:
    """A lead (or none) and an accompaniment."""
    leads, accompaniments = list(LEADS)[: size.num_leads], list(ACCOMPANIMENTS)[: size.num_accompaniments]
    while True:
        lead = "none" if rng.random() < NO_LEAD else str(rng.choice(leads))
        accompaniment = str(rng.choice(accompaniments))
        if (lead, accompaniment) in used and len(used) < len(leads) * len(accompaniments) // 2:
            continue
        if split in TRAINING_SPLITS and is_held_out_pair(lead, accompaniment):
            continue
        return lead, accompaniment


def _draw_held_out_pair(
    used: set[tuple[str, str]], rng: np.random.Generator, size: CorpusSize, split: str
) -> tuple[str, str]:
    """A held-out pair, or an accompaniment without a lead, as often as elsewhere."""
    if rng.random() < NO_LEAD:
        pairs = [("none", accompaniment) for accompaniment in list(ACCOMPANIMENTS)[: size.num_accompaniments]]
    else:
        pairs = product(list(LEADS)[: size.num_leads], list(ACCOMPANIMENTS)[: size.num_accompaniments])
        pairs = [pair for pair in pairs if is_held_out_pair(*pair)]
    free = [pair for pair in pairs if pair not in used] or pairs
    return free[int(rng.integers(len(free)))]


@cache
def read_freehand() -> list[dict]:
    """The descriptions of single sections written by hand: the `tags` of the section, and the sentences of its `text`.

    The tags were drawn at random; each text was written singly for them, as one would search. There is one for each
    song of the split "freehand".
    """
    return [json.loads(line) for line in FREEHAND.read_text(encoding="utf-8").splitlines()]


def _draw_around(
    tags: Mapping[str, str], blanks: Sequence[Section], rng: np.random.Generator, size: CorpusSize
) -> list[Section]:
    """One section with these tags; no other section has those of any description."""
    described = [{name: line["tags"][name] for name in SECTION_TAGS} for line in read_freehand()]
    place = int(rng.integers(len(blanks)))
    target = replace(blanks[place], **{name: tags[name] for name in SECTION_TAGS})
    drawn = [target]
    for blank in [*blanks[:place], *blanks[place + 1 :]]:
        section = _draw_section(blank, drawn, rng, size, "freehand")
        while section.section_tags in described:
            section = _draw_section(blank, drawn, rng, size, "freehand")
        drawn.append(section)
    return [*drawn[1 : place + 1], target, *drawn[place + 1 :]]


def _reorder(sections: list[Section], rng: np.random.Generator, member: int) -> list[Section]:
    """The sections in the member-th of four different orders; the labels (intro, verse ...) stay at their places."""
    orders: list[list[int]] = []
    while len(orders) < GROUP_SIZE:
        order = rng.permutation(len(sections)).tolist()
        if order not in orders:
            orders.append(order)
    return [
        replace(sections[source], label=place.label) for source, place in zip(orders[member], sections, strict=True)
    ]


_REAL_LABELS = {  # how annotators' labels begin -> a label of ours; anything else is an interlude
    "intro": "intro",
    "opening": "intro",
    "fadein": "intro",
    "pre": "pre-chorus",
    "postchorus": "post-chorus",
    "verse": "verse",
    "chorus": "chorus",
    "refrain": "chorus",
    "bridge": "bridge",
    "break": "breakdown",
    "outro": "outro",
}


def read_structures(path: str | Path) -> list[tuple[tuple[str, float], ...]]:
    """
    Reads section layouts of real songs.

    Args:
        path: JSON lines with `sections`, a list of `[start_s, label]` up to "end"; or a folder of text files with a
            line `start_s label` for each section, as the Harmonix Set has them in `dataset/segments`.

    Returns:
        For each song of 4 sections or more, its `(label, seconds)` pairs without silent ones.
    """
    path = Path(path)
    if path.is_dir():
        texts = [file.read_text(encoding="utf-8") for file in sorted(path.glob("*.txt"))]
        songs = [[line.split() for line in text.splitlines() if line.strip()] for text in texts]
    else:
        songs = [json.loads(line)["sections"] for line in path.read_text(encoding="utf-8").splitlines()]
    layouts = []
    for marks in songs:
        layout = []
        for (start_s, label), (end_s, _) in pairwise(marks):
            seconds = float(end_s) - float(start_s)
            if label not in ("silence", "end") and seconds > 0:
                ours = next((ours for start, ours in _REAL_LABELS.items() if label.startswith(start)), "interlude")
                layout.append((ours, seconds))
        if len(layout) >= 4:
            layouts.append(tuple(layout))
    if not layouts:
        raise ValueError(f"`structures`: {path} holds no song of 4 sections or more")
    return layouts
