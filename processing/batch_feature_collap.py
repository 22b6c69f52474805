# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the processor gives: the inputs of the model, and beside them a record of what they cover."""

from dataclasses import dataclass
from typing import Any

from transformers import BatchFeature
from transformers.utils import TensorType


@dataclass(frozen=True)
class Coverage:
    """
    How much of a song and of a text has reached the tensors.

    `coverage[i]` of a batch tells of its i-th song and of its i-th text. The fields of what is not there are `None`:
    the text's in a batch of songs alone, the song's for the second and third of three texts beside one song.

    Args:
        duration_s (`float`): Length of the audio that came in.
        encoded_s (`float`):
            Seconds that frames stand for. Less than given by what `truncation=True` cut, by a rest of less than
            0.175 s after the last full chunk, and by what fills no step of 0.16 s at the end of a chunk (0.08 s of
            each 30 s, as in the original encoder).
        chunks (`int`): Chunks of `chunk_length_s` that the encoders hear; the last one may be padded.
        source_sampling_rate (`int`): Hz of the source. If it is not 16,000 the audio was resampled.
        source_channels (`int`): Channels of the source. If there are several they were averaged.
        sentences (`int`): Rows of `input_ids` that belong to the text.
        tokens_given (`int`): Tokens of the whole text, special tokens of each sentence included.
        tokens_kept (`int`): Tokens of the text in `input_ids`. Less than given only by `truncation=True`.
    """

    duration_s: float | None = None
    encoded_s: float | None = None
    chunks: int | None = None
    source_sampling_rate: int | None = None
    source_channels: int | None = None
    sentences: int | None = None
    tokens_given: int | None = None
    tokens_kept: int | None = None


class CollapBatchFeature(BatchFeature):
    """
    A `BatchFeature` whose keys are all arguments of [`CollapModel`], so that `model(**batch)` runs as it is.

    Args:
        data (`dict`): Inputs of the model.
        tensor_type (`str` or `TensorType`, *optional*): `"pt"` or `"np"`, as everywhere in transformers.
        coverage (`list[Coverage]`, *optional*): One record a song or text; an attribute, never a key.
    """

    def __init__(
        self,
        data: dict[str, Any] | None = None,
        tensor_type: str | TensorType | None = None,
        coverage: list[Coverage] | None = None,
    ):
        super().__init__(data, tensor_type=tensor_type)
        self.coverage = [] if coverage is None else coverage

    # The base class pickles its data alone, and a data loader's workers would lose the record.
    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
