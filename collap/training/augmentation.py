# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Structure augmentation: parts of a song, or its sections in another order, with the caption to match.

CoLLAP (arXiv 2410.02271) has musical temporal structure augmentation in its title; how songs are cropped and rejoined
here is ours.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from collap.data.futga import CLOCK_TOLERANCE_S, Pieces, move_times

CROSS_FADE_S = 0.005  # long enough to avoid a click, shorter than a frame of any encoder
MIN_SECTION_S = 0.2  # the encoders take 0.175 s, and samples are rounded


@dataclass(frozen=True)
class Section:
    """Start and end of a section in seconds, and the sentences that describe it."""

    start_s: float
    end_s: float
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class AugmentedSong:
    """The sentences of a caption and the pieces of the song that they describe."""

    sentences: list[str]
    pieces: Pieces | None  # start and end in seconds, in the new order; None is the whole song
    section_ids: list[int]  # of each sentence; -1 for none in the song, or several


@dataclass(frozen=True)
class StructureAugmentation:
    r"""
    Draws a new structure for a song and its caption.

    There are four changes. Each is drawn independently, and they are applied in this order:
    - **Crop**: a run of neighbouring sections stays, with the audio between them; each run from one section to all
      but one is equally likely. The caption keeps the sentences of these sections. General sentences, which belong to
      no section, are left out: they describe the whole song.
    - **Reorder**: the (remaining) sections are joined in another order; each order but the present one is equally
      likely. Their sentences follow, and a general sentence stays at its place between the sections. Sections that are
      still neighbours stay joined with the audio between them; other audio outside of the sections is left out.
    - **Drop**: each sentence is left out with probability 1/2, but never all.
    - **Shuffle**: the sentences are put in a random order.

    Times in the sentences of a cropped or reordered song are rewritten ([`move_times`]): clock times ("1:05", "0:14 to
    0:32") and ranges in percent ("from 20% to 40%"). A sentence with a time that is no longer in the song, or with a
    range that is no longer in one piece, is left out. Words such as "at the start" or "finally" stay as they are.

    A song is not cropped or reordered if [`find_section_problem`] finds a problem, if a crop leaves one section to
    reorder, or if no sentence would be left.

    Raises:
        ValueError: if a value is not a probability; in a call, if there are no sentences.

    Example:

    ```python
    >>> import torch
    >>> from collap.training.augmentation import Section, StructureAugmentation

    >>> verse = Section(0.0, 20.0, ("A verse (0:00 to 0:20).",))
    >>> chorus = Section(20.0, 50.0, ("A chorus (0:20 to 0:50).",))
    >>> sentences = ["A song.", "A verse (0:00 to 0:20).", "A chorus (0:20 to 0:50)."]
    >>> reorder = StructureAugmentation(section_reorder_probability=1.0)
    >>> song = reorder(sentences, [verse, chorus], 50.0, torch.Generator().manual_seed(0))
    >>> song.sentences
    ['A song.', 'A chorus (0:00 to 0:30).', 'A verse (0:30 to 0:50).']
    >>> song.pieces
    [(20.0, 50.0), (0.0, 20.0)]

    ```
    """

    section_crop_probability: float = 0.0
    section_reorder_probability: float = 0.0
    sentence_drop_probability: float = 0.0
    sentence_shuffle_probability: float = 0.0

    def __post_init__(self) -> None:
        for item in fields(self):
            if not 0 <= getattr(self, item.name) <= 1:
                raise ValueError(f"{item.name} must lie in [0, 1], got {getattr(self, item.name)}.")

    def __call__(
        self, sentences: list[str], sections: Sequence[Section], duration_s: float | None, generator: torch.Generator
    ) -> AugmentedSong:
        """
        One draw. Without a `duration_s` the end of the last section is not checked, and percents can't be rewritten.

        `generator` first gives four numbers that decide on crop, reorder, drop and shuffle (always all four), then
        what each change needs. So two augmentations that differ in one probability agree on the other decisions.
        """
        if not sentences:
            raise ValueError("sentences must hold at least one, got none.")
        crop, reorder, drop, shuffle = (
            torch.rand(4, generator=generator, dtype=torch.float64)
            < torch.tensor([getattr(self, item.name) for item in fields(self)], dtype=torch.float64)
        ).tolist()
        song = AugmentedSong(list(sentences), None, _section_ids(sentences, sections, duration_s))
        if (crop or reorder) and find_section_problem(sentences, sections, duration_s) is None:
            order = list(range(len(sections)))
            if crop:
                order = _draw_run(len(order), generator)
            if reorder and len(order) > 1:
                order = [order[place] for place in _draw_other_order(len(order), generator)]
            if order != list(range(len(sections))):
                song = _restructure(song, sections, duration_s, order)
        chosen = list(zip(song.sentences, song.section_ids, strict=True))
        if drop:
            chosen = _draw_some(chosen, generator)
        if shuffle:
            chosen = [chosen[index] for index in torch.randperm(len(chosen), generator=generator).tolist()]
        return AugmentedSong([sentence for sentence, _ in chosen], song.pieces, [number for _, number in chosen])


def find_section_problem(
    sentences: Sequence[str], sections: Sequence[Section], duration_s: float | None
) -> str | None:
    """
    Why the sections of a song can't be cropped and reordered; None if they can.

    They can if there are two or more, they follow each other in the song as in the caption without an overlap, each
    has 0.2 s of the song, the last ends at most a second after it, and all their sentences are in the caption.
    """
    if len(sections) < 2:
        return f"it has {len(sections)} section(s), two or more are needed"
    for place, section in enumerate(sections):
        if not 0 <= section.start_s <= section.end_s - MIN_SECTION_S:
            return f"section {place} lasts from {section.start_s} s to {section.end_s} s"
        if not section.sentences:
            return f"section {place} has no sentence"
    for place, (before, after) in enumerate(itertools.pairwise(sections)):
        if after.start_s < before.end_s:
            return f"section {place + 1} begins at {after.start_s} s, before section {place} ends at {before.end_s} s"
    if duration_s is not None:
        last = sections[-1]
        if last.end_s > duration_s + CLOCK_TOLERANCE_S or last.start_s > duration_s - MIN_SECTION_S:
            return f"the last section lasts from {last.start_s} s to {last.end_s} s, the song ends at {duration_s} s"
    if _find_sentences(sentences, sections) is None:
        return "the sentences of its sections are not all in its text, in their order"
    return None


def cut_waveform(waveform: np.ndarray, sampling_rate: int, pieces: Sequence[tuple[float, float]]) -> np.ndarray:
    """
    Joins pieces of a song `(..., num_samples)`, given by start and end in seconds.

    Pieces are joined by a linear cross-fade of 5 ms with the audio after the end of the first one, so that the result
    is as long as the pieces together. Where the result begins or ends inside the song, 5 ms are faded in or out. An
    end after the end of the song is cut off: times in captions are rounded.

    Raises:
        ValueError: if there are no pieces, or one is empty or begins after the end of the song.
    """
    num_samples = waveform.shape[-1]
    fade = round(CROSS_FADE_S * sampling_rate)
    parts, before = [], num_samples  # where the audio before the piece would go on: at the song's end, in silence
    for start_s, end_s in _checked(pieces, num_samples / sampling_rate):
        first = round(start_s * sampling_rate)
        last = min(max(round(end_s * sampling_rate), first + 1), num_samples)
        part = waveform[..., first:last].copy()
        if first != (before if parts else 0):
            length = min(fade, last - first)
            rise = (np.arange(length) + 0.5) / length
            going_on = np.zeros_like(part[..., :length])
            going_on[..., : max(0, num_samples - before)] = waveform[..., before : before + length]
            part[..., :length] = part[..., :length] * rise + going_on * (1 - rise)
        parts.append(part)
        before = last
    if before < num_samples and fade:
        length = min(fade, parts[-1].shape[-1])
        parts[-1][..., -length:] = parts[-1][..., -length:] * ((np.arange(length) + 0.5) / length)[::-1]
    return np.concatenate(parts, axis=-1)


def cut_frames(frames: torch.Tensor, frame_times: torch.Tensor, pieces: Sequence[tuple[float, float]]) -> torch.Tensor:
    """
    The cached encoder frames of pieces of a song, in the order of the pieces.

    A frame belongs to a piece if its centre lies in it; a piece without a centre gets the nearest frame. Unlike the
    waveform of [`cut_waveform`], the frames are those of the original song, so a frame near a joint has context from
    the other side of it.

    Args:
        frames (`torch.Tensor` of shape `(N, E)`): Frames of one song, without padding.
        frame_times (`torch.Tensor` of shape `(N, 2)`): Start and end of each frame in seconds; `pieces` likewise.

    Raises:
        ValueError: if there are no pieces, or one is empty or begins after the song's last frame.
    """
    centres = frame_times.double().mean(1).to(frames.device)  # (N,)
    # The end of a song that is shorter than a frame has none.
    end_s = float(frame_times[-1, 1] + (frame_times[:, 1] - frame_times[:, 0]).max())
    chosen = []
    for start_s, stop_s in _checked(pieces, end_s):
        inside = ((centres >= start_s) & (centres < stop_s)).nonzero()[:, 0]
        if len(inside) == 0:
            inside = (centres - (start_s + stop_s) / 2).abs().argmin()[None]
        chosen.append(inside)
    return frames[torch.cat(chosen)]


def _checked(pieces: Sequence[tuple[float, float]], end_s: float) -> Sequence[tuple[float, float]]:
    if not pieces:
        raise ValueError("pieces must hold at least one, got none.")
    for start_s, stop_s in pieces:
        if not 0 <= start_s < stop_s or start_s >= end_s:
            raise ValueError(
                f"pieces must each begin inside the song, which ends at {end_s:.2f} s, and end later than they begin, "
                f"got ({start_s}, {stop_s})."
            )
    return pieces


def _draw_run(count: int, generator: torch.Generator) -> list[int]:
    """A run of neighbours out of `count`, but not all of them."""
    runs = [(first, last) for first in range(count) for last in range(first + 1, count + 1) if last - first < count]
    return list(range(*runs[int(torch.randint(len(runs), (), generator=generator))]))


def _draw_other_order(count: int, generator: torch.Generator) -> list[int]:
    while True:
        order = torch.randperm(count, generator=generator).tolist()
        if order != list(range(count)):
            return order


def _draw_some(values: list[tuple[str, int]], generator: torch.Generator) -> list[tuple[str, int]]:
    is_chosen = torch.rand(len(values), generator=generator) < 0.5
    if not is_chosen.any():
        is_chosen[int(torch.randint(len(values), (), generator=generator))] = True
    return list(itertools.compress(values, is_chosen.tolist()))


def _section_ids(sentences: Sequence[str], sections: Sequence[Section], duration_s: float | None) -> list[int]:
    """The section that each sentence describes; -1 if that is none in the song, or several."""
    inside = [section for section in sections if duration_s is None or section.start_s < duration_s]
    counts = [[section.sentences.count(sentence) for section in inside] for sentence in sentences]
    return [count.index(1) if sum(count) == 1 else -1 for count in counts]


def _find_sentences(sentences: Sequence[str], sections: Sequence[Section]) -> list[list[int]] | None:
    """For each section the places of its sentences in the caption; None if one is missing or out of order."""
    found: list[list[int]] = []
    position = 0
    for section in sections:
        found.append([])
        for sentence in section.sentences:
            if sentence not in sentences[position:]:
                return None
            position = sentences.index(sentence, position)
            found[-1].append(position)
            position += 1
    return found


def _restructure(
    song: AugmentedSong, sections: Sequence[Section], duration_s: float | None, order: list[int]
) -> AugmentedSong:
    """The song that consists of the sections in `order`; the song itself if no sentence would be left."""
    pieces: Pieces = []
    piece_of = {}  # section -> the piece that it lies in
    for place, index in enumerate(order):
        section = sections[index]
        end_s = section.end_s if duration_s is None else min(section.end_s, duration_s)
        if place and index == order[place - 1] + 1:
            pieces[-1] = (pieces[-1][0], end_s)
        else:
            pieces.append((section.start_s, end_s))
        piece_of[index] = len(pieces) - 1

    places = _find_sentences(song.sentences, sections)
    # General sentences before each section, and after the last one; a cropped song has none.
    general: list[list[int]] = [[] for _ in range(len(sections) + 1)]
    if len(order) == len(sections):
        for index in set(range(len(song.sentences))).difference(*places):
            general[sum(section[0] < index for section in places)].append(index)
    new = [(index, None) for index in sorted(general[0])]
    for place, section in enumerate(order):
        new += [(index, piece_of[section]) for index in places[section]]
        new += [(index, None) for index in sorted(general[place + 1])]
    moved = [(move_times(song.sentences[index], pieces, piece, duration_s), index) for index, piece in new]
    left = [(sentence, song.section_ids[index]) for sentence, index in moved if sentence is not None]
    return AugmentedSong([sentence for sentence, _ in left], pieces, [number for _, number in left]) if left else song
