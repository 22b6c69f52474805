# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions without a language model: tags of a classifier, loudness, tempo and key, in sentences of templates."""

import math
from typing import Any

import numpy as np
import soxr
import torch
from transformers import AutoFeatureExtractor, AutoModelForAudioClassification, pipeline

from collap.modeling_collap.modeling_collap_base import load_complete
from collap.processing.feature_extraction_beats import kaldi_fbank

from .captioner import TEMPLATES, describe_captioner, make_columns
from .sections import SAMPLING_RATE, cut, find_sections

WINDOW_S = 10.0  # of a classifier, as in AudioSet: many cut longer ones silently
NUM_TAGS = 3  # of a section and of a song
LEVEL_DB = 3.0  # a section that differs so much from the song is louder or quieter
MIN_POWER = 1e-10  # -100 dB: silence
BEAT_LAGS = np.arange(30, 121)  # of 10 ms: 200 to 50 beats a minute
MIN_PULSE = 0.1  # autocorrelation at the beat of what has a tempo
MIN_KEY = 0.6  # correlation with its key of what has one
KEY_FRAME = 8192  # samples: bins of 2 Hz
NOTES = ("C", "C sharp", "D", "E flat", "E", "F", "F sharp", "G", "A flat", "A", "B flat", "B")
# How well each note from the tonic on fits a key (Krumhansl and Kessler, 1982).
KEY_PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


class TagCaptioner:
    """Captions by an audio classifier of transformers, a folder or a name on the Hub."""

    def __init__(self, name: str, batch_size: int = 4):
        model = load_complete(AutoModelForAudioClassification, name, device_map="auto")
        extractor = AutoFeatureExtractor.from_pretrained(name)
        self.tagger = pipeline("audio-classification", model=model, feature_extractor=extractor)
        self.batch_size = batch_size
        self.provenance = describe_captioner(model, name, TEMPLATES)

    def caption(self, waveform: np.ndarray) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """
        [`make_columns`] of a song, `(samples,)` at 16 kHz in [-1, 1], and nothing refused: its likeliest tags, tempo
        and key; of each section its tags, those new and gone since the one before, and the level against the song.
        """
        spans = find_sections(waveform)
        parts = cut(waveform, spans)
        scores = [self._tag(part) for part in parts]
        whole = {tag: sum(len(part) * own[tag] for part, own in zip(parts, scores, strict=True)) for tag in scores[0]}
        ranked = [sorted(own, key=own.get, reverse=True)[:NUM_TAGS] for own in (whole, *scores)]
        sentences = [TEMPLATES["song"].format(tags=_list(ranked[0]))]
        measured = {"tempo": estimate_tempo(waveform), "key": estimate_key(waveform)}
        sentences += [TEMPLATES[name].format(value) for name, value in measured.items() if value is not None]
        texts, before, level_of_song_db = [], [], level_db(waveform)
        for part, tags in zip(parts, ranked[1:], strict=True):
            place = "first" if not texts else "last" if part is parts[-1] else "middle"
            texts.append([TEMPLATES[place].format(tags=_list(tags))])
            if new := [tag for tag in tags if before and tag not in before]:
                gone = [tag for tag in before if tag not in tags]
                texts[-1].append(TEMPLATES["changes"].format(new=_list(new), gone=_list(gone)))
            level = level_db(part) - level_of_song_db
            if abs(level) >= LEVEL_DB:
                texts[-1].append(TEMPLATES["loud" if level > 0 else "quiet"].format(round(abs(level))))
            before = tags
        return make_columns(sentences, spans, texts, coverage=1.0, boundaries="novelty"), []

    def _tag(self, waveform: np.ndarray) -> dict[str, float]:
        """The mean score of each tag over windows of equal length that cover `(samples,)`."""
        size = min(len(waveform), round(WINDOW_S * SAMPLING_RATE))
        starts = np.linspace(0, len(waveform) - size, math.ceil(len(waveform) / size)).round().astype(int)
        rate = self.tagger.feature_extractor.sampling_rate
        windows = [soxr.resample(waveform[start : start + size], SAMPLING_RATE, rate) for start in starts]
        found = self.tagger(windows, top_k=None, batch_size=self.batch_size)
        scores = [{tag["label"].replace("_", " ").lower(): tag["score"] for tag in window} for window in found]
        return {tag: sum(window[tag] for window in scores) / len(scores) for tag in scores[0]}


def level_db(waveform: np.ndarray) -> float:
    """The mean power of `(samples,)` in dB of full scale; -100 for silence."""
    return 10 * math.log10(max(MIN_POWER, float(np.mean(np.square(waveform, dtype=np.float64)))))


def estimate_tempo(waveform: np.ndarray) -> int | None:
    """Beats a minute of `(samples,)` at 16 kHz, or half or twice as many; None where no rises of the mel repeat."""
    if len(waveform) < 5 * SAMPLING_RATE:
        return None
    rises = np.diff(kaldi_fbank(torch.from_numpy(waveform)).numpy(), axis=0).clip(0).mean(1)  # (N,), 100 a second
    repeats = np.fft.irfft(np.abs(np.fft.rfft(rises - rises.mean(), 2 * len(rises))) ** 2)
    best = BEAT_LAGS[np.argmax(repeats[BEAT_LAGS] * np.exp(-0.5 * np.log2(BEAT_LAGS / 50) ** 2))]
    low, top, high = repeats[best - 1 : best + 2]
    if top <= max(MIN_PULSE * repeats[0], low, high):
        return None
    return round(6000 / (best + 0.5 * (low - high) / (low - 2 * top + high)))  # the vertex of a parabola


def estimate_key(waveform: np.ndarray) -> str | None:
    """The key of `(samples,)` at 16 kHz, such as "A minor", None where no profile fits the notes of its peaks well."""
    frequencies = np.fft.rfftfreq(KEY_FRAME, 1 / SAMPLING_RATE)
    used = np.flatnonzero((frequencies > 80) & (frequencies < 1500))
    notes = np.round(12 * np.log2(frequencies[used] / 261.626)).astype(int) % 12
    chroma = np.zeros(12)  # from C on
    for start in range(0, len(waveform) - KEY_FRAME + 1, KEY_FRAME // 2):
        power = np.abs(np.fft.rfft(waveform[start : start + KEY_FRAME] * np.hanning(KEY_FRAME)))
        is_peak = (power[used] > power[used - 1]) & (power[used] > power[used + 1])
        own = np.bincount(notes, power[used] * is_peak / frequencies[used], minlength=12)  # overtones count less
        chroma += own / max(own.max(), MIN_POWER)
    fits = [(MIN_KEY, None)]
    for mode, profile in KEY_PROFILES.items() if chroma.any() else ():
        fits += [(np.corrcoef(chroma, np.roll(profile, tonic))[0, 1], f"{NOTES[tonic]} {mode}") for tonic in range(12)]
    return max(fits, key=lambda fit: fit[0])[1]


def _list(words: list[str]) -> str:
    return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]
