# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Plays songs: sampled General MIDI instruments (tinysoundfont) and a spoken voice, 16 kHz mono.

The sound font is the one inside the installed `pretty_midi` wheel. Each note is played by the synthesizer once a
process and kept; songs are mixed from the kept notes, which is several times faster than playing every section.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from song_plan import BEATS_PER_BAR, SAMPLING_RATE, Section, Song
from song_score import LOOP_BARS, Note, write_loop
from song_tags import ACCOMPANIMENTS, BASSES, LEADS
from song_voice import place_words, spoken_words

HELD_S = 3.7  # a kept note is held that long: a bar of the slowest tempo
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


@cache
def _synthesizer():
    """The synthesizer with its sound font loaded, and the font's number."""
    import tinysoundfont

    package = find_spec("pretty_midi")  # found, not imported: importing it takes longer than the file
    if package is None or package.origin is None:
        raise ImportError("the sound font lies in the pretty_midi wheel: `pip install pretty_midi`")
    synthesizer = tinysoundfont.Synth(samplerate=SAMPLING_RATE)
    return synthesizer, synthesizer.sfload(str(Path(package.origin).with_name("TimGM6mb.sf2")))


@cache
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
def kept_note(part: str, program: int, pitch: int) -> np.ndarray:
    """A calibrated note, held for `HELD_S` (drums: 1 s) or until it has died away."""
    note = _raw_note.__wrapped__(program, pitch, 1.0 if part == "drums" else HELD_S)
    gain = program_gain(part, program) * (DRUM_BOOSTS.get(pitch, 1.0) if part == "drums" else 1.0)
    note = note * np.float32(min(gain, NOTE_PEAK / np.abs(note).max()))
    audible = np.flatnonzero(np.abs(note) > 1e-4)
    return note[: audible[-1] + 1 if len(audible) else 1]


def _program(section: Section, part: str) -> int:
    programs = {"lead": LEADS, "accompaniment": ACCOMPANIMENTS, "bass": BASSES}
    return DRUM_KIT if part == "drums" else programs[part][getattr(section, part)]


def _play_loop(section: Section, notes: list[Note], bar_samples: int, num_bars: int) -> np.ndarray:
    """The first `num_bars` bars of the loop with what still sounds after their end."""
    release = np.linspace(1, 0, round(RELEASE_S * SAMPLING_RATE), dtype=np.float32)
    beat = bar_samples / BEATS_PER_BAR
    loop = np.zeros(num_bars * bar_samples + round(1.1 * SAMPLING_RATE), dtype=np.float32)
    for note in notes:
        if note.start >= num_bars * BEATS_PER_BAR:
            continue
        start = round(note.start * beat)
        held = len(loop) if note.part == "drums" else round(note.length * beat)
        sound = kept_note(note.part, _program(section, note.part), note.pitch)[: held + len(release)]
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
    if section.voice != "none":
        words = spoken_words()
        for word, beat in place_words(section.theme_seed, section.num_bars, song.beats_per_minute):
            start = round(beat * song.bar_samples / BEATS_PER_BAR)
            sound = words[section.voice, word][: length - start]
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
