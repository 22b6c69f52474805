# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The vocabulary of tags of the songs, and targets for any window of time.

This file imports nothing of its neighbours and no synthesizer, so a training script can use it alone.
"""

import hashlib
from collections.abc import Mapping

import numpy as np

# Instruments and their General MIDI programs (counted from 0). A smaller corpus takes the first names of each list.
LEADS = {
    "flute": 73,
    "violin": 40,
    "trumpet": 56,
    "saxophone": 66,
    "distorted guitar": 30,
    "marimba": 12,
    "music box": 10,
    "clarinet": 71,
    "harmonica": 22,
    "synthesizer": 81,
    "oboe": 68,
    "cello": 42,
    "trombone": 57,
    "French horn": 60,
    "vibraphone": 11,
    "xylophone": 13,
    "sitar": 104,
    "banjo": 105,
    "pan flute": 75,
    "steel drum": 114,
}
ACCOMPANIMENTS = {
    "piano": 0,
    "acoustic guitar": 24,
    "strings": 48,
    "organ": 16,
    "harpsichord": 6,
    "harp": 46,
    "electric piano": 4,
    "choir": 52,
    "accordion": 21,
    "synth chords": 90,
    "brass": 61,
    "clean guitar": 27,
}
BASSES = {"upright bass": 32, "electric bass": 33, "slap bass": 36, "synth bass": 38}
DRUMS = ("rock", "four on the floor", "swing", "bossa nova", "half time", "march")
TEXTURES = ("sustained", "arpeggio", "pulse", "offbeat")
DYNAMICS = ("soft", "medium", "loud")
VOICES = ("none", "male", "female")
KEYS = ("C", "D", "E", "F", "G", "A", "B")
MODES = ("major", "minor")
TEMPOS = {"slow": (66, 82), "medium": (94, 114), "fast": (130, 152)}  # beats a minute, both ends included

# Every tag of a section and its classes. Key, mode and tempo are the same in all sections of a song.
TAGS: dict[str, tuple[str, ...]] = {
    "lead": ("none", *LEADS),
    "accompaniment": tuple(ACCOMPANIMENTS),
    "bass": ("none", *BASSES),
    "drums": ("none", *DRUMS),
    "texture": TEXTURES,
    "dynamics": DYNAMICS,
    "voice": VOICES,
    "key": KEYS,
    "mode": MODES,
    "tempo": tuple(TEMPOS),
}

# The multi-label vocabulary of `window_targets`: one name a class, "lead=flute".
TAG_NAMES: tuple[str, ...] = tuple(f"{tag}={name}" for tag, names in TAGS.items() for name in names)
_TAG_INDEX = {name: index for index, name in enumerate(TAG_NAMES)}


def is_held_out_pair(lead: str, accompaniment: str) -> bool:
    """Whether this pair of instruments (about a fifth of all, chosen by a hash) occurs in test songs only."""
    if lead == "none":
        return False
    digest = hashlib.sha256(f"{lead} over {accompaniment}".encode()).digest()
    return digest[0] % 5 == 0


def window_targets(sections: list[Mapping], start_s: float, end_s: float) -> np.ndarray:
    """
    Multi-label targets of a window of time: the share of the window during which each of `TAG_NAMES` holds, float32.

    `sections` are those of a line of the manifest.
    """
    targets = np.zeros(len(TAG_NAMES), dtype=np.float32)
    for section in sections:
        overlap_s = min(end_s, section["end_s"]) - max(start_s, section["start_s"])
        if overlap_s > 0:
            for tag, name in section["tags"].items():
                targets[_TAG_INDEX[f"{tag}={name}"]] += overlap_s / (end_s - start_s)
    return targets
