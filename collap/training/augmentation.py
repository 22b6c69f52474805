# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Musical temporal structure augmentation: a song heard in part or in another order, with the caption to match.

CoLLAP (arXiv 2410.02271) has the name in its title and takes its captions from FUTGA (arXiv 2407.20445), which learned
from songs joined out of clips. How songs are cropped and rejoined here is ours. Nothing here reads a file or knows a
model.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from collap.data.futga import CLOCK_TOLERANCE_S, Pieces, move_times

CROSS_FADE_S = 0.005  # long enough that no step in the waveform is heard, shorter than a frame of any encoder


@dataclass(frozen=True)
class Section:
    """A section of a song: when it is heard, in seconds from the song's start, and the sentences on it."""

    start_s: float
    end_s: float
    sentences: tuple[str, ...]


@dataclass(frozen=True)
class AugmentedSong:
    """What is heard of a song, and what is said of it."""

    sentences: list[str]
    pieces: Pieces | None  # seconds of the song to be heard, in this order; None = the whole song as it is


@dataclass(frozen=True)
class StructureAugmentation:
    r"""
    Draws a song's structure anew: some of its sections, in another order, with fewer sentences or shuffled ones.

    The four follow each other in this order, each is drawn on its own, so one song may undergo them all:
    - **Crop**: a run of whole neighbouring sections is heard, with what lies between them; each run from one section
      to all but one is equally likely. The caption keeps the sentences of these sections. General sentences, which no
      section holds, are left out: they speak of the whole song.
    - **Reorder**: the sections (those of the crop) are rejoined in another order, each order but the present one
      equally likely. Their sentences follow; a general sentence stays between the sections' places where it stood.
      Sections that were neighbours and still are stay joined with what lies between them; other audio that no section
      holds is left out.
    - **Drop**: each sentence is left out with probability 1/2; if that would leave none, one of them stays.
    - **Shuffle**: the sentences come in any order, so that a text that does not tell its song in order still finds it.

    Times in the sentences of a cropped or reordered song are rewritten to where their music is now heard: clock times
    ("1:05", "0:14 to 0:32") and ranges in percent ("from 20% to 40%"), but no single percents, which are seldom times.
    A sentence with a time that is no longer heard (it speaks of a section that was cropped away), or with a range that
    is no longer in one piece, is left out. Words that tell a place ("at the start", "finally") stay as they are.

    A song is not cropped or reordered, but heard as a whole, if [`find_section_problem`] finds something, if a crop
    leaves one section to reorder, or if no sentence would be left.

    Args:
        section_crop_probability (`float`): Share of the songs that are cropped.
        section_reorder_probability (`float`): Share of the songs whose sections are reordered.
        sentence_drop_probability (`float`): Share of the texts of which sentences are left out.
        sentence_shuffle_probability (`float`): Share of the texts whose sentences are shuffled.

    Raises:
        ValueError: if one of them is no probability; in a call, if there are no sentences.

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
        self,
        sentences: list[str],
        sections: Sequence[Section],
        duration_s: float | None,
        generator: torch.Generator,
    ) -> AugmentedSong:
        """
        One draw.

        All draws come from `generator`, in this order: four numbers that decide on crop, reorder, drop and shuffle
        (always all four), then what those that take place need. So two augmentations that differ in one probability
        agree on who undergoes the others.

        Args:
            sentences (`list[str]`): The text of the song.
            sections (`Sequence[Section]`): Its sections; none if they are not known.
            duration_s (`float`, *optional*): Seconds of the song that can be heard. If it is not known, sections are
                taken at their word, and percents cannot be placed.
            generator (`torch.Generator`): Source of all randomness, on the CPU.
        """
        if not sentences:
            raise ValueError("sentences must hold at least one, got none.")
        crop, reorder, drop, shuffle = (
            torch.rand(4, generator=generator, dtype=torch.float64)
            < torch.tensor([getattr(self, item.name) for item in fields(self)], dtype=torch.float64)
        ).tolist()
        song = AugmentedSong(list(sentences), None)
        if (crop or reorder) and find_section_problem(sentences, sections, duration_s) is None:
            order = list(range(len(sections)))
            if crop:
                order = _draw_run(len(order), generator)
            if reorder and len(order) > 1:
                order = [order[place] for place in _draw_other_order(len(order), generator)]
            if order != list(range(len(sections))):
                song = _restructure(sentences, sections, duration_s, order) or song
        kept = song.sentences
        if drop:
            kept = _draw_some(kept, generator)
        if shuffle:
            kept = [kept[index] for index in torch.randperm(len(kept), generator=generator).tolist()]
        return AugmentedSong(kept, song.pieces)


def find_section_problem(
    sentences: Sequence[str], sections: Sequence[Section], duration_s: float | None
) -> str | None:
    """
    Why the sections of a song cannot be cropped and reordered, in words; None if they can.

    That takes two sections or more, which follow each other in the song as in the text, do not overlap, end with the
    song at the latest (a second is forgiven), and whose sentences all stand in the text.
    """
    if len(sections) < 2:
        return f"it has {len(sections)} section(s), two or more are needed"
    for place, section in enumerate(sections):
        if not 0 <= section.start_s < section.end_s:
            return f"section {place} lasts from {section.start_s} s to {section.end_s} s"
        if not section.sentences:
            return f"section {place} has no sentence"
    for place, (before, after) in enumerate(itertools.pairwise(sections)):
        if after.start_s < before.end_s:
            return f"section {place + 1} begins at {after.start_s} s, before section {place} ends at {before.end_s} s"
    if duration_s is not None:
        last = sections[-1]
        if last.end_s > duration_s + CLOCK_TOLERANCE_S or last.start_s >= duration_s:
            return f"the last section ends at {last.end_s} s, the song at {duration_s} s"
    if _find_sentences(sentences, sections) is None:
        return "the sentences of its sections do not all stand in its text, in their order"
    return None


def cut_waveform(waveform: np.ndarray, sampling_rate: int, pieces: Sequence[tuple[float, float]]) -> np.ndarray:
    """
    Joins pieces of a song.

    Each piece goes over into the next by a linear cross-fade of 5 ms: its music goes on beneath the first 5 ms of the
    next piece. So the result is as long as the pieces together, and no click tells a model where the joints are. Where
    the pieces begin or end inside the song, 5 ms are faded in or out.

    Args:
        waveform (`np.ndarray` of shape `(..., num_samples)`): The song.
        sampling_rate (`int`): Hz.
        pieces (`Sequence[tuple[float, float]]`): Start and end of each piece in seconds.

    Returns:
        `np.ndarray` of shape `(..., num_samples of the pieces)`, a copy.

    Raises:
        ValueError: if there are no pieces, or one is empty or begins after the song's end. (One that ends after it is
            cut off there: times in captions are rounded.)
    """
    waveform = np.asarray(waveform)
    num_samples = waveform.shape[-1]
    fade = round(CROSS_FADE_S * sampling_rate)
    parts, before = [], num_samples  # where the music before the piece would go on; at the song's end: in silence
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
    Frames of the encoders that lie in pieces of a song, for songs whose frames are kept.

    A frame belongs to a piece if its middle lies in it; a piece that holds no frame's middle takes the nearest frame.
    The encoders heard the song as it was: a frame near a joint still knows what was on the other side, as far as its
    chunk reaches, whereas a waveform of [`cut_waveform`] is heard anew. Taken together they count as a song of their
    own, whose frames begin at 0 s and follow each other evenly.

    Args:
        frames (`torch.Tensor` of shape `(N, E)`): Frames of one song, without padding.
        frame_times (`torch.Tensor` of shape `(N, 2)`): Start and end of each frame in seconds.
        pieces (`Sequence[tuple[float, float]]`): Start and end of each piece in seconds.

    Returns:
        `torch.Tensor` of shape `(num_frames of the pieces, E)`, at least one frame a piece, in the pieces' order.

    Raises:
        ValueError: if shapes do not fit, there are no pieces, or one is empty or begins after the song's last frame.
    """
    if frames.ndim != 2 or frame_times.shape != (len(frames), 2) or len(frames) == 0:
        raise ValueError(
            "frames (N, E) and frame_times (N, 2) must be as many, and at least one, got "
            f"{tuple(frames.shape)} and {tuple(frame_times.shape)}."
        )
    middles = frame_times.double().mean(1).to(frames.device)  # (N,)
    # What is left over at the end of a song, shorter than a frame, has none.
    end_s = float(frame_times[-1, 1] + (frame_times[:, 1] - frame_times[:, 0]).max())
    chosen = []
    for start_s, stop_s in _checked(pieces, end_s):
        inside = ((middles >= start_s) & (middles < stop_s)).nonzero()[:, 0]
        if len(inside) == 0:
            inside = (middles - (start_s + stop_s) / 2).abs().argmin()[None]
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
    """A run of neighbours out of `count`, not all of them; each run is equally likely."""
    runs = [(first, last) for first in range(count) for last in range(first + 1, count + 1) if last - first < count]
    return list(range(*runs[int(torch.randint(len(runs), (), generator=generator))]))


def _draw_other_order(count: int, generator: torch.Generator) -> list[int]:
    """An order of `count` that is not the present one; each is equally likely."""
    while True:
        order = torch.randperm(count, generator=generator).tolist()
        if order != list(range(count)):
            return order


def _draw_some(sentences: list[str], generator: torch.Generator) -> list[str]:
    """Each sentence by the toss of a coin, in their order; one of them at least."""
    heads = torch.rand(len(sentences), generator=generator) < 0.5
    if not heads.any():
        heads[int(torch.randint(len(sentences), (), generator=generator))] = True
    return [sentence for sentence, head in zip(sentences, heads.tolist(), strict=True) if head]


def _find_sentences(sentences: Sequence[str], sections: Sequence[Section]) -> list[list[int]] | None:
    """For each section where its sentences stand in the text; None if one is missing or out of order."""
    found: list[list[int]] = []
    position = 0
    for section in sections:
        found.append([])
        for sentence in section.sentences:
            while position < len(sentences) and sentences[position] != sentence:
                position += 1
            if position == len(sentences):
                return None
            found[-1].append(position)
            position += 1
    return found


def _restructure(
    sentences: Sequence[str], sections: Sequence[Section], duration_s: float | None, order: list[int]
) -> AugmentedSong | None:
    """The song that consists of the sections in `order`; None if no sentence of it can be kept."""
    pieces: Pieces = []
    owners = {}  # of each section, the piece that it lies in
    for place, index in enumerate(order):
        section = sections[index]
        end_s = section.end_s if duration_s is None else min(section.end_s, duration_s)
        if place and index == order[place - 1] + 1:
            pieces[-1] = (pieces[-1][0], end_s)
        else:
            pieces.append((section.start_s, end_s))
        owners[index] = len(pieces) - 1

    where = _find_sentences(sentences, sections)
    slots: list[list[int]] = [[] for _ in range(len(sections) + 1)]  # general sentences before each place, and at last
    held = {index for section in where for index in section}
    if len(order) == len(sections):
        for index in range(len(sentences)):
            if index not in held:
                slots[sum(section[0] < index for section in where)].append(index)
    told = [(index, None) for index in slots[0]]
    for place, section in enumerate(order):
        told += [(index, owners[section]) for index in where[section]]
        told += [(index, None) for index in slots[place + 1]]
    moved = [move_times(sentences[index], pieces, owner, duration_s) for index, owner in told]
    kept = [sentence for sentence in moved if sentence is not None]
    return AugmentedSong(kept, pieces) if kept else None


__all__ = ["AugmentedSong", "Section", "StructureAugmentation", "cut_frames", "cut_waveform", "find_section_problem"]
