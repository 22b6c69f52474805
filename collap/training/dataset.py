# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Rows of a manifest as training examples, and the contrastive batches they are drawn in."""

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from datasets import Dataset
from torch.utils import data
from torch.utils.data import Sampler

from collap.data.audio_files import audio_duration_s, audio_path
from collap.data.cache import TensorCache
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap_audio import frame_times
from collap.processing.processing_collap import CollapProcessor
from collap.processing.sentence_splitting_collap import split_sentences

from .augmentation import AugmentedSong, Section, StructureAugmentation, cut_frames, cut_waveform, find_section_problem


@dataclass
class SongReader:
    r"""
    Makes an example for [`CollapDataCollator`] from a row of a manifest: the song, one of its texts, and its ids.

    `features` are cached encoder frames, which replace the audio; `config` gives their times. With `truncation` songs
    longer than the processor's `max_length_s` are cut; otherwise they are an error. With `with_sections` training
    examples have `section_ids`, which the section loss needs; a ValueError if the processor does not split texts into
    sentences.
    """

    processor: CollapProcessor
    config: CollapConfig
    features: TensorCache | None = None
    augmentation: StructureAugmentation | None = None
    truncation: bool = False
    with_sections: bool = False

    def __post_init__(self) -> None:
        granularity = self.processor.text_granularity
        if self.with_sections and granularity != "sentence":
            raise ValueError(f"section_loss_weight needs text_granularity='sentence', got {granularity!r}.")
        self.augmentation = self.augmentation or StructureAugmentation()
        if granularity == "document":
            # A text model encodes a document in its order, so a shuffled document is another text.
            self.augmentation = replace(self.augmentation, sentence_shuffle_probability=0.0)

    def for_evaluation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The whole song with the first of its texts."""
        text = row["text"] if row.get("text") is not None else row["texts"][0]
        return self._example(row, AugmentedSong(self._split(text), None, []))

    def for_training(self, row: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """One of the song's texts, augmented; all of it is drawn by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        wording, text = draw_text(row, generator)
        sections = self._sections(row, wording)
        song, duration_s = self._load(row) if sections else (None, None)
        drawn = self.augmentation(self._split(text), sections, duration_s, generator)
        section_ids = {"section_ids": drawn.section_ids} if self.with_sections else {}
        return self._example(row, drawn, song) | section_ids

    def find_section_problem(self, row: Mapping[str, Any]) -> str | None:
        """Why a song can't be cropped and reordered; None if it can."""
        wording, text = (None, row["text"]) if row.get("texts") is None else (0, row["texts"][0])
        duration_s = min(row.get("duration_s") or math.inf, self.processor.feature_extractor.max_length_s or math.inf)
        return find_section_problem(self._split(text), self._sections(row, wording), duration_s)

    def lengths(self, rows: Dataset) -> list[int] | None:
        """
        Length of each song in whole chunks; None if a file does not tell its length.

        It comes from the cached frames, the column `duration_s`, or the headers of the files. All three give the same,
        so that training on audio and on cached frames uses the same batches.
        """
        audio = rows["audio"]
        if self.features is not None:
            return [self.features.num_frames(song) // self.config.frames_per_chunk for song in audio]
        if "duration_s" in rows.column_names and None not in (durations := list(rows["duration_s"])):
            seconds = durations
        else:
            try:
                seconds = [audio_duration_s(song) for song in audio]
            except (ValueError, TypeError):  # lengths only make training faster: no error here
                return None
        extractor = self.processor.feature_extractor
        longest = extractor.max_length_s or math.inf
        samples = [round(min(length, longest) * extractor.sampling_rate) for length in seconds]
        return [number // extractor.num_chunk_samples for number in samples]

    def _sections(self, row: Mapping[str, Any], wording: int | None) -> list[Section]:
        return [
            Section(section["start_s"], section["end_s"], tuple(self._split(text_of_section(section, wording))))
            for section in row.get("sections") or []
        ]

    def _split(self, text: str | Sequence[str]) -> list[str]:
        """Sentences, of documents too: the augmentation works on sentences."""
        if isinstance(text, str):
            return split_sentences(text, self.processor.language)
        return [sentence.strip() for sentence in text]

    def _load(self, row: Mapping[str, Any]) -> tuple[torch.Tensor, float]:
        """Frames `(N, E)` or waveform `(samples,)` of a song, and its length in seconds."""
        if self.features is not None:
            song = self.features.read(self.features.find(row["audio"]))
            end_s = float(frame_times(self.config, len(song.frames))[-1, 1])
            return torch.from_numpy(song.frames), min(end_s, song.duration_s)
        extractor = self.processor.feature_extractor
        (loaded,) = extractor.load(row["audio"], truncation=self.truncation)
        if loaded.problem is not None:
            advice = "repair or remove it, or leave such songs out by on_bad_audio='skip'"
            raise ValueError(f"{loaded.name} must be whole, but {loaded.problem}: {advice}.")
        return loaded.waveform, len(loaded.waveform) / extractor.sampling_rate

    def _example(
        self, row: Mapping[str, Any], drawn: AugmentedSong, song: torch.Tensor | None = None
    ) -> dict[str, Any]:
        example = {"text": drawn.sentences, **ids_of(row)}
        song = self._load(row)[0] if song is None else song
        if self.features is not None:
            if drawn.pieces is not None:
                song = cut_frames(song, frame_times(self.config, len(song)), drawn.pieces)
            return example | {"encoder_frames": song}
        sampling_rate = self.processor.feature_extractor.sampling_rate
        if drawn.pieces is not None:
            song = torch.from_numpy(cut_waveform(song.numpy(), sampling_rate, drawn.pieces))
        return example | {"audio": song, "sampling_rate": sampling_rate}


@dataclass(eq=False)
class SongDataset(data.Dataset):
    """
    Songs of a manifest. An index gives the example of an evaluation, `(index, seed)` one drawn for training.

    A draw depends on the row and the seed only, not on the process or worker that makes it, or on what was drawn
    before. `rows` are those of [`load_manifest`], `reader` makes examples of them.
    """

    rows: Dataset
    reader: SongReader

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if isinstance(key, tuple):
            index, seed = key
            return self.reader.for_training(self.rows[index], seed)
        return self.reader.for_evaluation(self.rows[key])

    def lengths(self) -> list[int] | None:
        """As [`SongReader.lengths`]."""
        return self.reader.lengths(self.rows)


def draw_text(row: Mapping[str, Any], generator: torch.Generator) -> tuple[int | None, str | list[str]]:
    """One of the texts of a row and its place in `texts`; None as the place of a single `text`, without a draw."""
    if row.get("texts") is None:
        return None, row["text"]
    wording = int(torch.randint(len(row["texts"]), (), generator=generator))
    return wording, row["texts"][wording]


def text_of_section(section: Mapping[str, Any], wording: int | None) -> str | list[str]:
    """The text of a section that belongs to the text of the row that [`draw_text`] gave."""
    return section["text"] if wording is None else section["texts"][wording]


def ids_of(row: Mapping[str, Any]) -> dict[str, str]:
    """`song_id` and `text_id`: rows that share one of them are no negatives of each other."""
    audio = row["audio"]
    return {
        # The path beside bytes is only a name, which other songs may have too.
        "song_id": row.get("song_id") or audio_path(audio) or hashlib.sha256(audio["bytes"]).hexdigest(),
        # All texts of the row, so that the id does not depend on the draw and the augmentation.
        "text_id": str(row["text"] if row.get("texts") is None else row["texts"]),
    }


@dataclass(eq=False)
class ContrastiveBatchSampler(Sampler[list[tuple[int, int]]]):
    r"""
    Draws the contrastive batches of an epoch and gives each process its part of each batch.

    The batches depend on seed and epoch only, so *N* processes train on the batches of one. The batches of an epoch
    differ in size by one song at most: a last batch of a few songs would have hardly any negatives. Within a batch
    songs are sorted from long to short and each process gets every *N*-th, so that all processes have about the same
    work and the songs of a micro-batch have about the same length.

    Songs with the same entry in `groups` (None: no group) follow each other before the epoch is cut into batches: a
    group is in one batch, but for one at each border of two batches.

    `batch_size` is the maximum number of songs of a batch, over all processes. Without `lengths` (in any unit) songs
    are not sorted. With `drop_last` batches have exactly `batch_size` songs, and the rest of an epoch is left out.
    Yields the songs of this process in one batch, each as its index and the seed of its draw ([`SongDataset`]). The
    sampler has no state that a checkpoint would have to hold.

    Raises:
        ValueError: if a batch has fewer songs than there are processes, or one song only, which has nothing to be
            contrasted with; if there is no batch; or if `lengths` do not fit.
    """

    num_songs: int
    batch_size: int
    lengths: Sequence[float] | None = None
    num_processes: int = 1
    process_index: int = 0
    seed: int = 0
    drop_last: bool = False
    groups: Sequence[str | None] | None = None

    def __post_init__(self) -> None:
        songs, size = self.num_songs, self.batch_size
        self.num_batches = songs // size if self.drop_last else math.ceil(songs / size)
        smallest = size if self.drop_last else songs // max(self.num_batches, 1)
        if self.num_batches == 0 or smallest < max(self.num_processes, 2):
            raise ValueError(
                f"contrastive_batch_size must give each of {self.num_processes} process(es) a song of each batch, and "
                f"each batch two, but {songs} songs in batches of {size} make some of {smallest}."
            )
        if self.lengths is not None and len(self.lengths) != songs:
            raise ValueError(f"lengths must hold one length for each of the {songs} songs, got {len(self.lengths)}.")
        if self.groups is not None:
            self.groups = list(self.groups)  # not a column, which is read anew for each row
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that is drawn next; transformers' `Trainer` calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        # Not the sum of both: the epochs of seed 1 would be those of seed 0. The hash of integers is the same in
        # every process.
        generator = torch.Generator().manual_seed(hash((self.seed, self.epoch)) % 2**63)
        seeds = torch.randint(2**62, (self.num_songs,), generator=generator).tolist()
        order = torch.randperm(self.num_songs, generator=generator)
        if self.groups is not None:
            first: dict[Any, int] = {}  # of each group the place of its first song, to which the others move
            places = []
            for place, index in enumerate(order.tolist()):
                group = self.groups[index]
                places.append(place if group is None else first.setdefault(group, place))
            order = order[torch.tensor(places).argsort(stable=True)]
        if self.drop_last:
            order = order[: self.num_batches * self.batch_size]
        for batch in order.tensor_split(self.num_batches):
            songs = batch.tolist()
            if self.lengths is not None:
                songs.sort(key=lambda index: self.lengths[index], reverse=True)
            yield [(index, seeds[index]) for index in songs[self.process_index :: self.num_processes]]
