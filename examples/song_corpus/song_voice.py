# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A spoken voice for the songs: espeak-ng, from the wheel `espeakng-loader`, called through ctypes."""

import ctypes
import math
from functools import cache

import numpy as np
import soxr
from song_plan import BEATS_PER_BAR, SAMPLING_RATE

# Voices and their pitch settings (0 to 99; 50 is the voice's own). Not the voices with breath (f2, f3, f5): its noise
# comes from an unseeded generator, and the same word would sound different in every process.
ESPEAK_VOICES = {"male": ("en-us+m3", 50), "female": ("en-us+f1", 85)}
VOICE_LEVEL = 0.14  # rms of each word
SILENCE_LEVEL = 0.01  # of a word's peak: what is quieter at its ends is cut off

# Lines of short words, so that each word fits on a beat.
LINES = (
    "the river runs down to the sea",
    "i hear the wind in the trees",
    "we walk along the road at night",
    "the stars look down on the town",
    "hold my hand and stay with me",
    "the rain falls soft on the roof",
    "bring me home before the dawn",
    "the city sleeps under the snow",
    "a fire burns in the dark",
    "we dance until the lights go out",
    "open the door and let me in",
    "the moon is high above the hill",
    "i wrote your name in the sand",
    "the train rolls on through the rain",
    "time moves slow when you are gone",
    "the birds fly south in the fall",
    "sing me a song of the old days",
    "the boat drifts out on the tide",
    "all the leaves are gold and red",
    "wake up and look at the sun",
    "the clock on the wall has stopped",
    "give me one more day with you",
    "the street is long and the night is cold",
    "we built a house out of stone",
)


def step_beats(beats_per_minute: int) -> int:
    """Beats from one word to the next, which are half a second or more."""
    return 1 if beats_per_minute <= 120 else 2


@cache
def spoken_words() -> dict[tuple[str, str], np.ndarray]:
    """Every word of `LINES` in both voices: `(voice, word)` -> float32 samples at 16 kHz, cut and levelled.

    espeak-ng carries state from one word to the next, so all words are spoken once, in a fixed order: the same samples
    in every process.

    Raises:
        RuntimeError: if espeak-ng can't be started.
    """
    import espeakng_loader  # only the songs with a voice need it

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    synchronous, no_options = 2, 0
    rate = espeak.espeak_Initialize(synchronous, 0, espeakng_loader.get_data_path().encode(), no_options)
    if rate <= 0:
        raise RuntimeError(f"espeak-ng could not be started (espeak_Initialize returned {rate})")
    chunks: list[np.ndarray] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def receive(samples, count: int, _events) -> int:
        if samples and count > 0:
            chunks.append(np.ctypeslib.as_array(samples, (count,)).astype(np.float32))
        return 0  # go on

    espeak.espeak_SetSynthCallback(receive)
    words = {}
    pitch_parameter = 3
    for voice, (name, pitch) in ESPEAK_VOICES.items():
        if espeak.espeak_SetVoiceByName(name.encode()) != 0:
            raise RuntimeError(f"espeak-ng has no voice {name!r}")
        espeak.espeak_SetParameter(pitch_parameter, pitch, 0)
        for word in sorted({word for line in LINES for word in line.split()}):
            chunks.clear()
            text = word.encode() + b"\0"
            by_character, utf8 = 1, 1
            espeak.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, by_character, 0, utf8, None, None)
            espeak.espeak_Synchronize()
            words[voice, word] = _trim_and_level(soxr.resample(np.concatenate(chunks), rate, SAMPLING_RATE))
    espeak.espeak_Terminate()
    return words


def _trim_and_level(samples: np.ndarray) -> np.ndarray:
    loud = np.flatnonzero(np.abs(samples) > SILENCE_LEVEL * np.abs(samples).max())
    samples = samples[loud[0] : loud[-1] + 1]
    return (samples * (VOICE_LEVEL / np.sqrt(np.mean(samples**2)))).astype(np.float32)


def place_words(theme_seed: int, num_bars: int, beats_per_minute: int) -> list[tuple[str, float]]:
    """The words that a voice speaks in a section and the beat on which each begins.

    A line begins on the first beat of a bar, two bars or more after the line before; the end of the section cuts the
    last one off.
    """
    rng = np.random.default_rng([theme_seed, 1])
    step, end, beat = step_beats(beats_per_minute), BEATS_PER_BAR * num_bars, 0
    placed = []
    while beat < end:
        line = LINES[int(rng.integers(len(LINES)))].split()
        placed += [(word, float(onset)) for word, onset in zip(line, range(beat, end, step), strict=False)]
        beat += BEATS_PER_BAR * max(2, math.ceil(step * len(line) / BEATS_PER_BAR))
    return placed
