# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Writes the notes of a section: a four-bar loop of melody, chords, bass and drums."""

from dataclasses import dataclass

import numpy as np
from song_plan import BEATS_PER_BAR, Section

LOOP_BARS = 4

SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
TONICS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
# Chords of the four bars, as degrees of the scale (0 = tonic).
PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 4, 0), (0, 3, 0, 4), (0, 1, 4, 0), (0, 2, 3, 4)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 5, 3, 4), (0, 3, 6, 2), (0, 2, 5, 4)),
}
# Onsets in a bar of a melody, in beats; the last note is held until the next onset.
MELODY_RHYTHMS = (
    (0.0, 1.0, 2.0, 3.0),
    (0.0, 1.0, 1.5, 2.0, 3.0),
    (0.0, 0.5, 1.0, 2.0, 2.5, 3.0),
    (0.0, 1.5, 2.0, 3.0, 3.5),
    (0.0, 0.5, 1.0, 1.5, 2.0, 3.0),
    (0.0, 1.5, 3.0),
)
BASS_RHYTHMS = ((0.0, 2.0), (0.0, 1.5, 2.0, 3.5), (0.0, 1.0, 2.0, 3.0), (0.0, 0.5, 1.5, 2.0, 2.5, 3.5))

# The register of each lead: the lowest note of its two octaves (MIDI number). Others start at middle C.
LOWEST_LEAD_NOTES = {
    "cello": 43,
    "trombone": 46,
    "French horn": 48,
    "saxophone": 50,
    "distorted guitar": 52,
    "sitar": 52,
    "banjo": 55,
    "clarinet": 55,
    "music box": 72,
    "xylophone": 69,
    "flute": 67,
    "pan flute": 64,
}
LOWEST_BASS_NOTE = 28  # E of a bass guitar
LOWEST_CHORD_NOTE = 48

# General MIDI drum notes and, for each pattern, their onsets in a bar of 4 beats.
KICK, RIM, SNARE, CLOSED_HAT, OPEN_HAT, CRASH, RIDE, SHAKER = 36, 37, 38, 42, 46, 49, 51, 70
_EIGHTHS = tuple(np.arange(0, 4, 0.5).tolist())
_SIXTEENTHS = tuple(np.arange(0, 4, 0.25).tolist())
DRUM_PATTERNS: dict[str, dict[int, tuple[float, ...]]] = {
    "rock": {KICK: (0.0, 2.0, 2.5), SNARE: (1.0, 3.0), CLOSED_HAT: _EIGHTHS},
    "four on the floor": {KICK: (0.0, 1.0, 2.0, 3.0), OPEN_HAT: (0.5, 1.5, 2.5, 3.5), SNARE: (1.0, 3.0)},
    "swing": {RIDE: (0.0, 1.0, 1.667, 2.0, 3.0, 3.667), CLOSED_HAT: (1.0, 3.0), KICK: (0.0,)},
    "bossa nova": {RIM: (0.0, 1.5, 3.0), KICK: (0.0, 1.5, 2.0, 3.5), SHAKER: _SIXTEENTHS},
    "half time": {KICK: (0.0, 0.75), SNARE: (2.0,), CRASH: (0.0,), CLOSED_HAT: (0.0, 1.0, 2.0, 3.0)},
    "march": {SNARE: (0.0, 0.75, 1.0, 1.75, 2.0, 2.5, 2.75, 3.0, 3.25, 3.5, 3.75), KICK: (0.0, 2.0)},
}


@dataclass(frozen=True)
class Note:
    """One note of a loop: `pitch` is a MIDI number, times are in beats from the start of the loop."""

    part: str  # "lead", "accompaniment", "bass" or "drums"
    pitch: int
    start: float
    length: float
    accent: float  # amplitude, 1 = as calibrated


def write_loop(section: Section, key: str, mode: str) -> list[Note]:
    """The notes of the section's four-bar loop.

    Sections with the same `theme_seed` share chords, melody and rhythm; the instruments play them in their register.
    """
    rng = np.random.default_rng(section.theme_seed)
    progression = PROGRESSIONS[mode][int(rng.integers(len(PROGRESSIONS[mode])))]
    melody = _melody(rng, progression)
    bass_rhythm = BASS_RHYTHMS[int(rng.integers(len(BASS_RHYTHMS)))]
    scale, tonic = SCALES[mode], TONICS[key]

    def pitch(degree: int, lowest: int) -> int:
        """The degree of the scale (may pass 7 or be negative) above the first tonic that is not below `lowest`."""
        base = lowest + (tonic - lowest) % 12
        return base + 12 * (degree // 7) + scale[degree % 7]

    notes: list[Note] = []
    if section.lead != "none":
        lowest = LOWEST_LEAD_NOTES.get(section.lead, 60)
        notes += [
            Note("lead", pitch(degree, lowest), start, length, 1.0 if start % 2 == 0 else 0.85)
            for degree, start, length in melody
        ]
    for bar, chord in enumerate(progression):
        first = float(bar * BEATS_PER_BAR)
        # The chord's three notes folded into one octave, so that neighbouring chords lie close together.
        chord_pitches = sorted(
            LOWEST_CHORD_NOTE + (pitch(chord + step, 0) - LOWEST_CHORD_NOTE) % 12 for step in (0, 2, 4)
        )
        notes += _accompaniment_bar(section.texture, first, chord_pitches)
        if section.bass != "none":
            root = LOWEST_BASS_NOTE + (pitch(chord, 0) - LOWEST_BASS_NOTE) % 12
            ends = (*bass_rhythm[1:], 4.0)
            notes += [
                Note("bass", root + (7 if place == 2 else 0), first + start, 0.9 * (end - start), 1.0)
                for place, (start, end) in enumerate(zip(bass_rhythm, ends, strict=True))
            ]
        if section.drums != "none":
            notes += [
                Note("drums", drum, first + start, 1.0, 1.0 if start % 1 == 0 else 0.7)
                for drum, onsets in DRUM_PATTERNS[section.drums].items()
                for start in onsets
                if not (drum == CRASH and bar)  # one crash a loop
            ]
    return notes


def _melody(rng: np.random.Generator, progression: tuple[int, ...]) -> list[tuple[int, float, float]]:
    """A melody of four bars (the first rhythm comes back in the third bar) as `(degree, start, length)`."""
    first, second = rng.choice(len(MELODY_RHYTHMS), size=2, replace=False)
    rhythms = [MELODY_RHYTHMS[first], MELODY_RHYTHMS[second], MELODY_RHYTHMS[first], (0.0, 1.0, 2.0)]
    notes = []
    degree = int(rng.integers(2, 8))
    for bar, (chord, rhythm) in enumerate(zip(progression, rhythms, strict=True)):
        chord_degrees = [octave + (chord + step) % 7 for step in (0, 2, 4) for octave in (0, 7)]
        for start, end in zip(rhythm, (*rhythm[1:], 4.0), strict=True):
            if start in (0.0, 2.0):  # strong beats take the nearest note of the chord
                degree = min(chord_degrees, key=lambda candidate: abs(candidate - degree))
            else:
                degree = int(np.clip(degree + rng.choice((-2, -1, 1, 2)), 0, 13))
            notes.append((degree, bar * BEATS_PER_BAR + start, 0.95 * min(end - start, 2.0)))
    return notes


def _accompaniment_bar(texture: str, first: float, pitches: list[int]) -> list[Note]:
    """One bar of chords, played in one of the textures."""
    if texture == "sustained":
        return [Note("accompaniment", pitch, first, 3.95, 1.0) for pitch in pitches]
    if texture == "arpeggio":
        low, middle, high, top = *pitches, pitches[0] + 12
        wave = (low, middle, high, top, high, middle, high, top)
        return [Note("accompaniment", pitch, first + 0.5 * step, 0.6, 1.3) for step, pitch in enumerate(wave)]
    onsets = np.arange(0, 4, 0.5) if texture == "pulse" else np.arange(0.5, 4, 1.0)
    return [
        Note("accompaniment", pitch, first + float(onset), 0.4 if texture == "pulse" else 0.25, 1.0)
        for onset in onsets
        for pitch in pitches
    ]
