# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Rows of a manifest as training examples, and the contrastive batches they are drawn in."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from datasets.distributed import split_dataset_by_node
from torch.utils import data
from torch.utils.data import Sampler

from collap.data.audio_files import audio_duration_s
from collap.data.cache import TensorCache
from collap.modeling_collap.configuration_collap import CollapConfig
from collap.modeling_collap.modeling_collap_audio import frame_times
from collap.processing.processing_collap import CollapProcessor
from collap.processing.sentence_splitting_collap import split_sentences
from collap.training.augmentation import (
    AugmentedSong,
    Section,
    StructureAugmentation,
    cut_frames,
    cut_waveform,
    find_section_problem,
)


class SongReader:
    r"""
    Makes an example for [`CollapDataCollator`] of a row of a manifest: the song, one of its wordings, and its ids.

    Args:
        processor ([`CollapProcessor`]): Splits texts into sentences and loads audio.
        config ([`CollapConfig`]): Says when a frame of `features` sounds.
        features ([`TensorCache`], *optional*): Kept frames, read in place of the audio.
        augmentation ([`StructureAugmentation`], *optional*): Draws the structure of training examples anew.
        truncation (`bool`): Whether a song longer than the processor's `max_length_s` is cut instead of refused.
        with_sections (`bool`): Whether training examples say which sentences describe the same section.

    Raises:
        ValueError: if `with_sections` is asked of a processor that does not split texts into sentences.
    """

    def __init__(
        self,
        processor: CollapProcessor,
        config: CollapConfig,
        features: TensorCache | None = None,
        augmentation: StructureAugmentation | None = None,
        truncation: bool = False,
        with_sections: bool = False,
    ):
        if with_sections and processor.text_granularity != "sentence":
            raise ValueError(
                "moments (section_loss_weight) need text_granularity='sentence', got "
                f"{processor.text_granularity!r}: a document is one query."
            )
        self.with_sections = with_sections
        self.processor = processor
        self.config = config
        self.features = features
        self.augmentation = augmentation or StructureAugmentation()
        if processor.text_granularity == "document":
            # The order of the sentences says nothing of time there, but the text model reads them in order.
            self.augmentation = replace(self.augmentation, sentence_shuffle_probability=0.0)
        self.truncation = truncation

    def for_evaluation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The whole song with the first of its wordings."""
        text = row["text"] if row.get("text") is not None else row["texts"][0]
        return self._example(row, AugmentedSong(self._split(text), None))

    def for_training(self, row: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """One of the song's wordings, augmented; all of it drawn by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        if row.get("texts") is not None:
            wording = int(torch.randint(len(row["texts"]), (), generator=generator))
            text = row["texts"][wording]
        else:
            wording, text = None, row["text"]
        sections = self._sections(row, wording)
        song, duration_s = self._load(row) if sections else (None, None)
        drawn = self.augmentation(self._split(text), sections, duration_s, generator)
        example = self._example(row, drawn, song)
        if self.with_sections:
            example["section_ids"] = _moments(drawn.sentences, sections)
        return example

    def find_section_problem(self, row: Mapping[str, Any]) -> str | None:
        """Why a song cannot be cropped and reordered, in words; None if it can."""
        wording = None if row.get("texts") is None else 0
        text = row["text"] if wording is None else row["texts"][0]
        return find_section_problem(self._split(text), self._sections(row, wording), row.get("duration_s"))

    def _sections(self, row: Mapping[str, Any], wording: int | None) -> list[Section]:
        sections = []
        for section in row.get("sections") or []:
            own = section["text"] if wording is None else section["texts"][wording]
            sections.append(Section(section["start_s"], section["end_s"], tuple(self._split(own))))
        return sections

    def _split(self, text: str | Sequence[str]) -> list[str]:
        """Sentences, of documents too: the augmentation goes by them."""
        if isinstance(text, str):
            return split_sentences(text, self.processor.language)
        return [sentence.strip() for sentence in text]

    def _load(self, row: Mapping[str, Any]) -> tuple[torch.Tensor, float]:
        """Frames `(N, E)` or waveform `(samples,)` of a song, and the seconds of it that can be heard."""
        if self.features is not None:
            frames = self.features.load(row["audio"])
            return frames, float(frame_times(self.config, len(frames))[-1, 1])
        extractor = self.processor.feature_extractor
        (loaded,) = extractor.load(row["audio"], truncation=self.truncation)
        return loaded.waveform, len(loaded.waveform) / extractor.sampling_rate

    def _example(
        self, row: Mapping[str, Any], drawn: AugmentedSong, song: torch.Tensor | None = None
    ) -> dict[str, Any]:
        audio = row["audio"]
        example = {"text": drawn.sentences, **ids_of(row)}
        if self.features is not None:
            frames = self.features.load(audio) if song is None else song
            if drawn.pieces is not None:
                frames = cut_frames(frames, frame_times(self.config, len(frames)), drawn.pieces)
            return example | {"encoder_frames": frames}
        if song is None:
            return example | {"audio": audio}
        sampling_rate = self.processor.feature_extractor.sampling_rate
        if drawn.pieces is not None:
            song = torch.from_numpy(cut_waveform(song.numpy(), sampling_rate, drawn.pieces))
        return example | {"audio": song, "sampling_rate": sampling_rate}


class SongDataset(data.Dataset):
    """
    Songs of a manifest. An index gives what an evaluation reads, `(index, seed)` a draw for training.

    The draw is a function of the row and the seed, so that it does not matter which process or worker makes it, or
    what was drawn before. [`CollapTrainer`] asks for such draws.

    Args:
        rows (`datasets.Dataset`): Of [`load_manifest`].
        reader ([`SongReader`]): Makes examples of them.
    """

    def __init__(self, rows: Dataset, reader: SongReader):
        self.rows = rows
        self.reader = reader

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: int | tuple[int, int]) -> dict[str, Any]:
        if isinstance(key, tuple):
            index, seed = key
            return self.reader.for_training(self.rows[index], seed)
        return self.reader.for_evaluation(self.rows[key])

    def lengths(self) -> list[int] | None:
        """
        Length of each song in whole chunks, to group songs by; None if a file does not tell its length.

        It comes from kept frames, the column `duration_s`, or the heads of the files. All say the same, so that live
        audio and kept frames are trained on in the same batches.
        """
        audio = self.rows["audio"]
        if self.reader.features is not None:
            frames_per_chunk = self.reader.config.frames_per_chunk
            return [self.reader.features.num_frames(song) // frames_per_chunk for song in audio]
        if "duration_s" in self.rows.column_names and None not in (durations := list(self.rows["duration_s"])):
            seconds = durations
        else:
            try:
                seconds = [audio_duration_s(song) for song in audio]
            except (ValueError, TypeError):  # not for this to report: grouping is a matter of speed
                return None
        extractor = self.reader.processor.feature_extractor
        longest = extractor.max_length_s or math.inf
        samples = [round(min(length, longest) * extractor.sampling_rate) for length in seconds]
        return [number // extractor.num_chunk_samples for number in samples]


class SongStream(data.IterableDataset):
    """
    Songs of a manifest that is read as a stream, for training: over and over, as the number of steps ends it.

    The processes share the rows, and so do the workers of each. The draw of a song goes by its place in that share.

    Args:
        rows (`datasets.IterableDataset`): Of [`load_manifest`] with `streaming=True`.
        reader ([`SongReader`]): Makes examples of them.
        seed (`int`): Of all draws, and of the order where the rows are shuffled.
        num_processes, process_index (`int`): How many processes share the rows, and which of them this is.
    """

    def __init__(
        self,
        rows: IterableDataset,
        reader: SongReader,
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
    ):
        self.rows = split_dataset_by_node(rows, process_index, num_processes) if num_processes > 1 else rows
        self.reader = reader
        self.seed = seed
        self.process_index = process_index

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = data.get_worker_info()
        for number in itertools.count():
            self.rows.set_epoch(number)
            place = (number, self.process_index, 0 if worker is None else worker.id)
            generator = torch.Generator().manual_seed(seed_of(self.seed, *place))
            is_empty = True
            for row in self.rows:
                is_empty = False
                yield self.reader.for_training(row, int(torch.randint(2**62, (), generator=generator)))
            if is_empty:  # a worker that got no share
                return


def _moments(sentences: Sequence[str], sections: Sequence[Section]) -> list[int]:
    """The section that each sentence describes, -1 for one of the whole song or of several sections."""
    described: dict[str, list[int]] = {}
    for number, section in enumerate(sections):
        for sentence in section.sentences:
            described.setdefault(sentence, []).append(number)
    found = [described.get(sentence, []) for sentence in sentences]
    return [numbers[0] if len(numbers) == 1 else -1 for numbers in found]


def ids_of(row: Mapping[str, Any]) -> dict[str, str]:
    """What says which rows share their song or their description: `song_id` and `text_id`."""
    audio = row["audio"]
    return {
        "song_id": row.get("song_id") or (audio if isinstance(audio, str) else audio.get("path")),
        # The description, however it is worded and augmented: two songs with the same one are no negatives.
        "text_id": str(row["text"] if row.get("texts") is None else row["texts"]),
    }


def seed_of(seed: int, *place: int) -> int:
    """One number for a seed and, say, an epoch; other than their sum, seed 1 does not see the epochs of seed 0."""
    return hash((seed, *place)) % 2**63  # of whole numbers, `hash` is the same in every process


class ContrastiveBatchSampler(Sampler[list[tuple[int, int]]]):
    r"""
    Draws the contrastive batches of an epoch and gives each process its share of each.

    The batches depend on seed and epoch alone, so that *N* processes train on the batches of one. An epoch's batches
    differ in size by one song at most: a rest of a few songs would be a batch with hardly any negatives. Within a
    batch songs go from the long to the short and each process gets every *N*-th, so that all have about as much to do
    and micro-batches are of songs of like length. (Batches of songs of like length would spare little more, as the
    encoders hear no padding, and would have a say in what is contrasted with what: docs/log.md.)

    Args:
        num_songs (`int`): Songs in the data set.
        batch_size (`int`): Most songs of a batch, over all processes.
        lengths (`Sequence[float]`, *optional*): Length of each song, in any unit; without it songs are not sorted.
        num_processes, process_index (`int`): How many processes share a batch, and which of them this is.
        seed (`int`): Of all draws.
        drop_last (`bool`): Whether batches have exactly `batch_size` songs, and the rest of an epoch is left out.

    Yields:
        `list[tuple[int, int]]`: the songs of this process in one batch, each as its index and a random number to draw
        its wording and augmentation by ([`SongDataset`]). Nothing depends on a state that is lost with the process.

    Raises:
        ValueError: if a batch has fewer songs than there are processes, or there is none; or `lengths` do not fit.
    """

    def __init__(
        self,
        num_songs: int,
        batch_size: int,
        lengths: Sequence[float] | None = None,
        num_processes: int = 1,
        process_index: int = 0,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.num_batches = num_songs // batch_size if drop_last else math.ceil(num_songs / batch_size)
        smallest = batch_size if drop_last else num_songs // max(self.num_batches, 1)
        if self.num_batches == 0 or smallest < num_processes:
            raise ValueError(
                f"Each of {num_processes} process(es) needs a song of each batch, but {num_songs} songs in batches of "
                f"{batch_size} make some of {smallest}: take another contrastive_batch_size, or fewer processes."
            )
        if lengths is not None and len(lengths) != num_songs:
            raise ValueError(f"lengths must hold one length for each of the {num_songs} songs, got {len(lengths)}.")
        self.num_songs = num_songs
        self.batch_size = batch_size
        self.lengths = lengths
        self.num_processes = num_processes
        self.process_index = process_index
        self.seed = seed
        self.drop_last = drop_last
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that is drawn next; transformers' `Trainer` calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        generator = torch.Generator().manual_seed(seed_of(self.seed, self.epoch))
        seeds = torch.randint(2**62, (self.num_songs,), generator=generator).tolist()
        kept = torch.randperm(self.num_songs, generator=generator)
        if self.drop_last:
            kept = kept[: self.num_batches * self.batch_size]
        for batch in kept.tensor_split(self.num_batches):
            songs = batch.tolist()
            if self.lengths is not None:
                songs.sort(key=lambda index: self.lengths[index], reverse=True)
            mine = songs[self.process_index :: self.num_processes]
            yield [(index, seeds[index]) for index in mine]


__all__ = ["ContrastiveBatchSampler", "SongDataset", "SongReader", "SongStream"]
