# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Pairs of song and text to a training batch of CollapModel."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from .feature_extraction_collap import CollapBatchFeature
from .processing_collap import CollapProcessor


@dataclass
class CollapDataCollator:
    r"""
    Makes a training batch of a list of examples; for a `DataLoader` or transformers' `Trainer`.

    An example is a dict with `text` and one of
    - `audio`: a song as in [`CollapProcessor`], with `sampling_rate` if it is an array;
    - `encoder_frames`: result of `model.audio_model.encode` for the song, `(num_frames, width)` without padding. The
      encoders are frozen in the paper's recipe, so their frames can be cached.
    Optional:
    - `song_id`: equal for pairs of the same song; by default the path, where `audio` is one or `{"path": ...}`;
    - `text_id`: equal for pairs of the same text; by default the text itself;
    - `section_ids`: a whole number for each sentence of `text`, which is then a list of sentences; those with the same
      number describe one section of the song, those with -1 none. If the first example has them, all need them.
    Other columns are ignored.

    The batch has `return_loss=True`, and the ids as whole numbers `song_ids` and `text_ids` of shape `(batch_size,)`:
    a song with several captions, or a caption of several songs, is then no negative of itself. (`song_ids` are left
    out if the id of a song is unknown.)

    Args:
        processor ([`CollapProcessor`]): Makes the model's inputs.
        truncate_songs (`bool`): Whether songs longer than `max_length_s` are cut instead of refused.
        truncate_texts (`bool`): Whether rows of more tokens than the text model takes are cut instead of refused.

    Raises:
        ValueError: in a call, if an example lacks something, some have `audio` and others `encoder_frames`, or the
            processor refuses one, which it names as in `audio[3]`.

    Example:

    ```python
    >>> import numpy as np
    >>> from transformers import ByT5Tokenizer
    >>> from collap import CollapDataCollator, CollapFeatureExtractor, CollapProcessor

    >>> processor = CollapProcessor(CollapFeatureExtractor(), ByT5Tokenizer(), text_granularity="sentence")
    >>> collator = CollapDataCollator(processor)
    >>> songs = [np.zeros(16000), np.zeros(16000)]  # or files: "first.flac", "second.mp3"
    >>> texts = ["A piano. Drums set in.", "A choir."]
    >>> batch = collator([{"audio": a, "sampling_rate": 16000, "text": t} for a, t in zip(songs, texts)])
    >>> list(batch)
    ['fbank_features', 'input_features', 'audio_attention_mask', 'input_ids', 'attention_mask', 'sentence_counts',
     'text_ids', 'return_loss']

    ```
    """

    processor: CollapProcessor
    truncate_songs: bool = False
    truncate_texts: bool = False

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> CollapBatchFeature:
        source = _source_of_songs(examples)
        songs: dict[str, torch.Tensor] = {}
        audio = None
        if source == "encoder_frames":
            songs = _pad_frames([example["encoder_frames"] for example in examples])
        else:
            audio = [_song_with_rate(example) for example in examples]
        texts = self.processor.split_texts([example["text"] for example in examples])
        batch = self.processor(
            text=texts,
            audio=audio,
            text_kwargs={"truncation": self.truncate_texts},
            audio_kwargs={"truncation": self.truncate_songs},
            return_tensors="pt",
        )
        # Songs first, as in the processor's own batch
        return CollapBatchFeature(
            {**songs, **batch, **pair_ids(examples, texts), **_section_ids(examples, texts), "return_loss": True},
            audio_coverage=batch.audio_coverage,
            text_coverage=batch.text_coverage,
        )


def pair_ids(examples: Sequence[Mapping[str, Any]], texts: list[list[str]]) -> dict[str, torch.Tensor]:
    """`song_ids` and `text_ids`, `(B,)`: equal for pairs that share their song or their text."""
    songs = [_first_given(example.get("song_id"), _path(example.get("audio"))) for example in examples]
    words = [
        _first_given(example.get("text_id"), " ".join(sentences))
        for example, sentences in zip(examples, texts, strict=True)
    ]
    ids = {"text_ids": torch.tensor([_number(word) for word in words])}
    if all(isinstance(song, str | int | np.integer | os.PathLike) for song in songs):
        ids = {"song_ids": torch.tensor([_number(song) for song in songs])} | ids
    return ids


def _section_ids(examples: Sequence[Mapping[str, Any]], texts: list[list[str]]) -> dict[str, torch.Tensor]:
    """`section_ids` `(S,)` of all sentences, if the examples have them."""
    if examples[0].get("section_ids") is None:
        return {}
    section_ids = [example.get("section_ids") for example in examples]
    for index, (of_text, sentences) in enumerate(zip(section_ids, texts, strict=True)):
        if of_text is None or len(of_text) != len(sentences):
            number = "none" if of_text is None else len(of_text)
            raise ValueError(
                f"section_ids of examples[{index}] must be one for each of its {len(sentences)} rows of text, got "
                f"{number}; they need text_granularity='sentence'."
            )
    return {"section_ids": torch.tensor([section_id for of_text in section_ids for section_id in of_text])}


def _path(audio: Any) -> Any:
    """The path of a song that is one or a dict with one. Beside bytes or an array it is only a name, and no id."""
    is_file = isinstance(audio, Mapping) and audio.get("bytes") is None and audio.get("array") is None
    return audio.get("path") if is_file else audio


def _first_given(value: Any, default: Any) -> Any:
    return default if value is None else value


def _number(name: str | int) -> int:
    """A whole number for a name, the same in every process (which `hash` is not), never negative."""
    return int.from_bytes(hashlib.sha256(str(name).encode()).digest()[:8], "big") >> 1


def _source_of_songs(examples: Sequence[Mapping[str, Any]]) -> str:
    """`"encoder_frames"` if the first example has them, else `"audio"`; all others have to hold the same."""
    source = "audio"
    for index, example in enumerate(examples):
        if index == 0 and example.get("encoder_frames") is not None:
            source = "encoder_frames"
        if example.get(source) is None or example.get("text") is None:
            raise ValueError(
                f"examples must all hold 'text', and all 'audio' or all 'encoder_frames'; got examples[{index}] with "
                f"{[key for key, value in example.items() if value is not None]}. transformers' Trainer removes what "
                "the model does not take: set remove_unused_columns=False there."
            )
    return source


def _song_with_rate(example: Mapping[str, Any]) -> Any:
    audio, sampling_rate = example["audio"], example.get("sampling_rate")
    if sampling_rate is not None and isinstance(audio, np.ndarray | torch.Tensor | list | tuple):
        return {"array": audio, "sampling_rate": sampling_rate}
    return audio


def _pad_frames(frames: list[Any]) -> dict[str, torch.Tensor]:
    """
    Frames of *B* songs to `encoder_frames` `(B, N, E)` and `frame_mask` `(B, N)` bool.

    Frames in half precision stay so, which halves the transfer to the device; all others become float32.
    """
    songs = [torch.as_tensor(song) for song in frames]
    half = songs[0].dtype in (torch.float16, torch.bfloat16)
    songs = [song.to(songs[0].dtype if half else torch.float32) for song in songs]
    width = songs[0].shape[-1] if songs[0].ndim else 0
    for index, song in enumerate(songs):
        if song.ndim != 2 or len(song) == 0 or song.shape[1] != width:
            raise ValueError(
                f"encoder_frames of examples[{index}] must have the shape (num_frames, width), with a frame at least "
                f"and the width of the others, got {tuple(song.shape)}."
            )
    lengths = torch.tensor([len(song) for song in songs])
    frame_mask = torch.arange(int(lengths.max())) < lengths[:, None]  # (B, N)
    return {"encoder_frames": pad_sequence(songs, batch_first=True), "frame_mask": frame_mask}
