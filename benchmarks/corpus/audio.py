# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Plays songs: notes, sampled General MIDI instruments (tinysoundfont) and a spoken voice; 16 kHz, mono.

The sound font is the one inside the installed `pretty_midi` wheel. Each note is played by the synthesizer once a
process and reused; songs are mixed from these notes, which is several times faster than playing every section. The
voice is espeak-ng from the wheel `espeakng-loader`, called through ctypes.
"""

import ctypes
import math
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import soxr

from .plan import BEATS_PER_BAR, SAMPLING_RATE, Section, Song
from .tags import ACCOMPANIMENTS, BASSES, LEADS

# Notes: a four-bar loop of melody, chords, bass and drums.

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
        for degree, start, length in melody:
            notes.append(Note("lead", pitch(degree, lowest), start, length, 1.0 if start % 2 == 0 else 0.85))
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


# The spoken voice.

# Voices and their pitch settings (0 to 99; 50 is the voice's own). Not the voices with breath (f2, f3, f5): its noise
# comes from an unseeded generator, and the same word would sound different in every process.
ESPEAK_VOICES = {"male": ("en-us+m3", 50), "female": ("en-us+f1", 85)}
VOICE_LEVEL = 0.14  # rms of each word
SILENCE_LEVEL = 0.01  # of a word's peak: what is quieter at its ends is cut off

# Of short words, so that each word fits on a beat.
LINES = Path(__file__).with_name("lyrics.txt").read_text(encoding="utf-8").splitlines()


@cache
def spoken_words() -> dict[tuple[str, str], np.ndarray]:
    """Every word of `LINES` in both voices: `(voice, word)` -> float32 samples at 16 kHz, cut and levelled.

    espeak-ng carries state from one word to the next, so all words are spoken once, in a fixed order: the same samples
    in every process.
    """
    import espeakng_loader  # only the songs with a voice need it

    espeak = ctypes.CDLL(espeakng_loader.get_library_path())
    synchronous, no_options = 2, 0
    rate = espeak.espeak_Initialize(synchronous, 0, espeakng_loader.get_data_path().encode(), no_options)
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
        if rate <= 0 or espeak.espeak_SetVoiceByName(name.encode()) != 0:
            raise RuntimeError(f"espeak-ng could not be started with the voice {name!r}")
        espeak.espeak_SetParameter(pitch_parameter, pitch, 0)
        for word in sorted({word for line in LINES for word in line.split()}):
            chunks.clear()
            text = word.encode() + b"\0"
            by_character, utf8 = 1, 1
            espeak.espeak_Synth(text, ctypes.c_size_t(len(text)), 0, by_character, 0, utf8, None, None)
            espeak.espeak_Synchronize()
            samples = soxr.resample(np.concatenate(chunks), rate, SAMPLING_RATE)
            loud = np.flatnonzero(np.abs(samples) > SILENCE_LEVEL * np.abs(samples).max())
            samples = samples[loud[0] : loud[-1] + 1]
            words[voice, word] = (samples * (VOICE_LEVEL / np.sqrt(np.mean(samples**2)))).astype(np.float32)
    espeak.espeak_Terminate()
    return words


def place_words(song: Song, section: Section) -> list[tuple[str, float]]:
    """The words that a voice speaks in a section and the beat on which each begins; none without a voice.

    A line begins on the first beat of a bar, two bars or more after the line before; the end of the section cuts the
    last one off.
    """
    rng = np.random.default_rng([section.theme_seed, 1])
    step = 1 if song.beats_per_minute <= 120 else 2  # beats from one word to the next: half a second or more
    end, beat = 0 if section.voice == "none" else BEATS_PER_BAR * section.num_bars, 0
    placed = []
    while beat < end:
        line = LINES[int(rng.integers(len(LINES)))].split()
        placed += [(word, float(onset)) for word, onset in zip(line, range(beat, end, step), strict=False)]
        beat += BEATS_PER_BAR * max(2, math.ceil(step * len(line) / BEATS_PER_BAR))
    return placed


# The instruments and the whole song.

HELD_S = 3.7  # a note is held that long: a bar of the slowest tempo
RELEASE_S = 0.08  # and fades out that fast when its key is released
SECTION_FADE_S = 0.01  # at the end of a section, so that none ends with a click
VELOCITY = 100
CALIBRATION_PITCH = {"lead": 72, "accompaniment": 60, "bass": 36}
# Raw General MIDI levels differ by a factor of ten, so each program is brought to its part's level: the rms of the
# loudest 0.2 s of a note of 1 s. Drums get one gain for the whole kit, from the snare.
PART_LEVELS = {"lead": 0.16, "accompaniment": 0.07, "bass": 0.14, "drums": 0.13}
DRUM_KIT = 128  # the kit's place beside the 128 programs
DRUM_BOOSTS = {42: 3.0, 46: 2.5, 51: 3.0, 49: 2.0, 70: 2.5}  # cymbals and shaker are far too soft in this kit
NOTE_PEAK = 0.6  # a single note is never louder: struck instruments have short, high peaks
DYNAMICS_GAINS = {"soft": 0.15, "medium": 0.4, "loud": 1.0}
PEAK = 0.95  # of full scale; a section that passes it is turned down as a whole


def sound_font() -> Path:
    """The file of the sound font."""
    return Path(find_spec("pretty_midi").origin).with_name("TimGM6mb.sf2")


@cache
def _synthesizer():
    """The synthesizer with its sound font loaded, and the font's number."""
    import tinysoundfont

    synthesizer = tinysoundfont.Synth(samplerate=SAMPLING_RATE)
    return synthesizer, synthesizer.sfload(str(sound_font()))


def _raw_note(program: int, pitch: int, seconds: float) -> np.ndarray:
    """One note as the synthesizer plays it, held for `seconds`; float32 mono."""
    synthesizer, font = _synthesizer()
    if program == DRUM_KIT:
        synthesizer.program_select(0, font, 128, 0, True)
    else:
        synthesizer.program_select(0, font, 0, program)
    synthesizer.noteon(0, pitch, VELOCITY)
    stereo = np.frombuffer(synthesizer.generate(round(seconds * SAMPLING_RATE)), dtype=np.float32)
    # Let the voice die before the next note: otherwise a note would depend on the one that was played before it.
    synthesizer.sounds_off(0)
    synthesizer.generate(SAMPLING_RATE // 4)
    return stereo.reshape(-1, 2).mean(axis=1)


@cache
def program_gain(part: str, program: int) -> float:
    """The factor that brings a program to the level of its part."""
    note = _raw_note(program, 38 if part == "drums" else CALIBRATION_PITCH[part], 1.0)
    windows = note.reshape(5, -1)
    return PART_LEVELS[part] / float(np.sqrt((windows**2).mean(axis=1).max()))


@cache
def calibrated_note(part: str, program: int, pitch: int) -> np.ndarray:
    """A calibrated note, held for `HELD_S` (drums: 1 s) or until it has died away."""
    note = _raw_note(program, pitch, 1.0 if part == "drums" else HELD_S)
    gain = program_gain(part, program) * (DRUM_BOOSTS.get(pitch, 1.0) if part == "drums" else 1.0)
    note = note * np.float32(min(gain, NOTE_PEAK / np.abs(note).max()))
    audible = np.flatnonzero(np.abs(note) > 1e-4)
    return note[: audible[-1] + 1 if len(audible) else 1]


def _play_loop(section: Section, notes: list[Note], bar_samples: int, num_bars: int) -> np.ndarray:
    """The first `num_bars` bars of the loop with what still sounds after their end."""
    programs = {
        "lead": LEADS.get(section.lead),
        "accompaniment": ACCOMPANIMENTS[section.accompaniment],
        "bass": BASSES.get(section.bass),
        "drums": DRUM_KIT,
    }
    release = np.linspace(1, 0, round(RELEASE_S * SAMPLING_RATE), dtype=np.float32)
    beat = bar_samples / BEATS_PER_BAR
    loop = np.zeros(num_bars * bar_samples + round(1.1 * SAMPLING_RATE), dtype=np.float32)
    for note in notes:
        if note.start >= num_bars * BEATS_PER_BAR:
            continue
        start = round(note.start * beat)
        held = len(loop) if note.part == "drums" else round(note.length * beat)
        sound = calibrated_note(note.part, programs[note.part], note.pitch)[: held + len(release)]
        sound = sound * np.float32(note.accent)
        fading = sound[held:]
        fading *= release[: len(fading)]
        loop[start : start + len(sound)] += sound[: len(loop) - start]
    return loop


def play_section(song: Song, section: Section) -> np.ndarray:
    """The audio of a section, float32 of exactly `num_bars * bar_samples` samples.

    It depends on the section and on the song's key, mode and tempo alone, not on its place: the same section sounds
    the same, sample for sample, in every order of a song's sections.
    """
    length = section.num_bars * song.bar_samples
    loop_bars = min(LOOP_BARS, section.num_bars)
    loop = _play_loop(section, write_loop(section, song.key, song.mode), song.bar_samples, loop_bars)
    audio = np.zeros(length, dtype=np.float32)
    for start in range(0, length, loop_bars * song.bar_samples):
        audio[start : start + len(loop)] += loop[: length - start]
    gain = np.float32(DYNAMICS_GAINS[section.dynamics])
    audio *= gain
    for word, beat in place_words(song, section):
        start = round(beat * song.bar_samples / BEATS_PER_BAR)
        sound = spoken_words()[section.voice, word][: length - start]
        audio[start : start + len(sound)] += sound * np.sqrt(gain)
    fade = round(SECTION_FADE_S * SAMPLING_RATE)
    audio[-fade:] *= np.linspace(1, 0, fade, dtype=np.float32)
    peak = max(audio.max(), -audio.min())
    return audio * np.float32(PEAK / peak) if peak > PEAK else audio


def play_song(song: Song) -> np.ndarray:
    """The whole song, int16 of shape `(samples,)`."""
    audio = np.empty(song.section_bounds[-1][1], dtype=np.int16)
    for section, (start, end) in zip(song.sections, song.section_bounds, strict=True):
        audio[start:end] = np.rint(play_section(song, section) * 32767)
    return audio
