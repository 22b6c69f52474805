# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Songs and texts to the inputs of CollapModel."""

import copy
import math
import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import torch
from transformers import AutoTokenizer, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, TypedDict, Unpack
from transformers.utils import TensorType, logging

from .audio_loading_collap import AudioLike
from .feature_extraction_collap import CollapBatchFeature, CollapFeatureExtractor, TextCoverage, settings_of_model
from .sentence_splitting_collap import split_sentences

logger = logging.get_logger(__name__)

UNLIMITED_TOKENS = 10**9  # a tokenizer without a limit has 1e30
AUDIO_NAME = re.compile(r"\S\.(aac|aiff?|flac|m4[ab]|mp[34]|og[ag]|opus|wav|webm|wma)\s*$", re.IGNORECASE)

TextLike = str | Sequence[str] | Sequence[str | Sequence[str]]
"""One text, a list of texts, or a list in which texts may be given as the list of their sentences."""


class CollapAudioKwargs(TypedDict, total=False):
    """Options of a call for [`CollapFeatureExtractor`]."""

    sampling_rate: Any  # checked by the feature extractor, whose message names the song
    downmix: bool
    resample: bool
    truncation: bool
    device: str | torch.device | None
    return_tensors: str | TensorType | None


class CollapProcessorKwargs(ProcessingKwargs, total=False):
    """Options of a call of [`CollapProcessor`]."""

    audio_kwargs: CollapAudioKwargs


class CollapProcessor(ProcessorMixin):
    r"""
    A feature extractor for songs and a tokenizer for texts in one.

    Args:
        feature_extractor ([`CollapFeatureExtractor`]): Takes the songs.
        tokenizer (`PreTrainedTokenizerBase`):
            Takes the texts. One without a pad token, such as GPT-2's, is copied and pads with its end token.
        text_granularity (`"document"` or `"sentence"`):
            `"document"`: a text is one row of `input_ids`. `"sentence"`: each of its sentences is one, so a text of
            any length fits. The same as in the model's configuration.
        max_text_tokens (`int`, *optional*):
            Most tokens of a row, special tokens included; by default the tokenizer's `model_max_length`.
        language (`str`): ISO code of the language by whose rules texts are split into sentences.

    Raises:
        ValueError: if an argument is out of its range, or the tokenizer has neither pad nor end token.

    Example:

    ```python
    >>> import numpy as np
    >>> from transformers import ByT5Tokenizer  # one token a byte; most models have their own, by AutoTokenizer
    >>> from collap import CollapFeatureExtractor, CollapProcessor

    >>> feature_extractor = CollapFeatureExtractor(chunk_length_s=5.0)
    >>> processor = CollapProcessor(feature_extractor, ByT5Tokenizer(), text_granularity="sentence")
    >>> batch = processor(
    ...     text=["A slow piano intro. Then the drums set in.", ["A choir sings.", "It fades."]],
    ...     audio=[np.zeros(16000 * 12), np.zeros(16000 * 3)],  # or files: ["first.flac", "second.mp3"]
    ...     sampling_rate=16000,
    ...     return_tensors="pt",
    ... )
    >>> batch["input_ids"].shape, batch["sentence_counts"]  # four sentences, two of each text
    (torch.Size([4, 23]), tensor([2, 2]))
    >>> batch.audio_coverage[0]
    AudioCoverage(duration_s=12.0, encoded_s=11.84, chunks=3, source_sampling_rate=16000, source_channels=1,
                  is_truncated=False, problem=None)
    >>> batch.text_coverage[0]
    TextCoverage(sentences=('A slow piano intro.', 'Then the drums set in.'), num_tokens=43, num_encoded_tokens=43)

    ```

    `model(**batch)` runs as it is.
    """

    valid_processor_kwargs = CollapProcessorKwargs

    def __init__(
        self,
        feature_extractor: CollapFeatureExtractor,
        tokenizer: PreTrainedTokenizerBase,
        text_granularity: Literal["document", "sentence"] = "document",
        max_text_tokens: int | None = None,
        language: str = "en",
    ):
        if text_granularity not in ("document", "sentence"):
            raise ValueError(f"text_granularity must be 'document' or 'sentence', got {text_granularity!r}.")
        if max_text_tokens is not None and max_text_tokens < 1:
            raise ValueError(f"max_text_tokens must be at least 1 or None, got {max_text_tokens}.")
        super().__init__(feature_extractor, _with_pad_token(tokenizer))
        self.text_granularity = text_granularity
        self.max_text_tokens = max_text_tokens
        self.language = language

    @classmethod
    def for_model(
        cls, config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase | str | os.PathLike, **options: Any
    ) -> "CollapProcessor":
        r"""
        Makes the processor that fits a model.

        Args:
            config ([`CollapConfig`]): Of the model.
            tokenizer (`PreTrainedTokenizerBase` or `str`): That of the text model, or its folder or Hub name.
            options: `max_text_tokens` (at most, and by default where the tokenizer has no lower limit, as many as the
                text model has positions) and `language`.

        Raises:
            ValueError: if the tokenizer does not fit the text model ([`CollapProcessor.check_model`]).
        """
        if isinstance(tokenizer, str | os.PathLike):
            tokenizer = AutoTokenizer.from_pretrained(tokenizer)
        limit = config.max_text_tokens
        if options.get("max_text_tokens") is None and limit is not None and tokenizer.model_max_length > limit:
            options["max_text_tokens"] = limit
        feature_extractor = CollapFeatureExtractor(**settings_of_model(config))
        processor = cls(feature_extractor, tokenizer, config.text_granularity, **options)
        processor.check_model(config)
        return processor

    def check_model(self, model: PreTrainedModel | PreTrainedConfig) -> None:
        """
        Raises a ValueError if the processor does not fit a [`CollapModel`] or [`CollapConfig`]. It names all that
        differs: `text_granularity`, `max_text_tokens`, the feature extractor's settings, and what shows that the
        tokenizer is another model's.
        """
        config = getattr(model, "config", model)
        differences = _tokenizer_differences(self.tokenizer, config.text_config)
        if self.text_granularity != config.text_granularity:
            needed = config.text_granularity
            differences.append(f"text_granularity is {self.text_granularity}, the model needs {needed}")
        tokens, most = self.max_text_tokens, config.max_text_tokens or math.inf
        if tokens is not None and not 1 <= tokens <= most:
            differences.append(f"max_text_tokens is {tokens}, the text model takes 1 to {most}")
        self.feature_extractor.check_model(config, *differences)

    @property
    def model_input_names(self) -> list[str]:
        """Keys of the result of a call with songs and texts."""
        return [*self.feature_extractor.model_input_names, *self.tokenizer.model_input_names, "sentence_counts"]

    def __call__(
        self,
        text: TextLike | None = None,
        audio: AudioLike | Sequence[AudioLike] | None = None,
        **kwargs: Unpack[CollapProcessorKwargs],
    ) -> CollapBatchFeature:
        """
        The numbers of songs and texts may differ: the model scores each song against each text. Only its loss needs
        the i-th text to describe the i-th song.

        Args:
            text (`str`, `list[str]` or `list[list[str]]`, *optional*):
                One text or a list of texts. A text is a string or the list of its sentences; `[["One.", "Two."]]` is
                one text of two sentences, `["One.", "Two."]` are two texts.
            audio (*optional*):
                One song or a list of songs: paths, arrays, audio dicts of `datasets`; see
                [`CollapFeatureExtractor.__call__`].
            sampling_rate (`int`, *optional*): Hz of songs that are arrays.
            downmix, resample (`bool`, *optional*):
                Whether the channels of songs that are arrays may be averaged, and the songs resampled to 16 kHz.
            truncation (`bool`, *optional*):
                Whether what is too long is cut instead of refused: a song by the feature extractor's `max_length_s`, a
                row of tokens by `max_text_tokens`. The coverage tells how much is left.
            device (`str` or `torch.device`, *optional*): Where to compute the songs' features.
            return_tensors (`str`, *optional*): `"pt"` or `"np"`.
            kwargs:
                Options of the tokenizer, such as `padding` (here `True` without it: to the longest) or `max_length`
                (here the most tokens of a row, in place of `max_text_tokens`); `text_kwargs` and `audio_kwargs` hold
                options for one of the two alone.

        Returns:
            [`CollapBatchFeature`] with the inputs of the feature extractor and, for *T* texts of *S* sentences in all,
            - `input_ids`, `attention_mask` and what else the tokenizer gives, `(S, num_tokens)` int64: the sentences
              of the first text, then those of the second, ...
            - `sentence_counts` `(T,)` int64: the sentences of each text, all 1 if `text_granularity="document"`.
            Its attributes `audio_coverage` and `text_coverage` have an [`AudioCoverage`] for each song and a
            [`TextCoverage`] for each text.

        Raises:
            TypeError: if an entry of `text` or `audio` is of another type.
            ValueError: if there is neither text nor audio; for an empty text, or one that is the path of a file; for
                one of more tokens than its limit without `truncation`; and for all that the feature extractor refuses.
            ImportError: if a string has to be split into sentences and sentencex is not installed.
        """
        if text is None and audio is None:
            raise ValueError("text and audio are both None: expected at least one of them.")
        saved = self.tokenizer.init_kwargs
        if saved.get("padding") != "max_length":
            # It would take precedence over `max_text_tokens`: models of sentence-transformers have 128 there.
            saved = {name: value for name, value in saved.items() if name != "max_length"}
        options = self._merge_kwargs(CollapProcessorKwargs, tokenizer_init_kwargs=saved, **kwargs)
        return_tensors = options["text_kwargs"].pop("return_tensors", None)
        songs, rows, text_coverage = CollapBatchFeature(), {}, []
        if text is not None:  # before the songs, which take longer to check
            rows, text_coverage = self._tokenize(self.split_texts(text), **options["text_kwargs"])
        if audio is not None:
            songs = self.feature_extractor(audio, **options["audio_kwargs"])
        # Songs come first: accelerate takes the batch size from the first tensor, and rows of text are sentences.
        return CollapBatchFeature({**songs, **rows}, return_tensors, songs.audio_coverage, text_coverage)

    def split_texts(self, text: TextLike) -> list[list[str]]:
        """
        The rows that each text becomes.

        Args:
            text (`str`, `list[str]` or `list[list[str]]`): As in [`CollapProcessor.__call__`].

        Returns:
            `list[list[str]]`: the sentences of each text, or in document granularity the whole text as one.

        Raises:
            TypeError, ValueError: if an entry is no text, empty or a file; the message names it, as in `text[3]`.
        """
        if isinstance(text, str):
            return [self._split_text(text, "text")]
        if not isinstance(text, Sequence):  # a column of `datasets` is one without being a list
            raise TypeError(f"text must be a string or a list, got {type(text).__name__}.")
        if len(text) == 0:
            raise ValueError("text must hold at least one text, got an empty list.")
        return [self._split_text(entry, f"text[{index}]") for index, entry in enumerate(text)]

    def _split_text(self, text: str | Sequence[str], name: str) -> list[str]:
        if isinstance(text, str):
            _check_text(text, name)
            return split_sentences(text, self.language) if self.text_granularity == "sentence" else [text]
        if not isinstance(text, list | tuple):
            raise TypeError(f"{name} must be a string or a list of sentences, got {type(text).__name__}.")
        if not text:
            raise ValueError(f"{name} must hold at least one sentence, got an empty list.")
        for index, sentence in enumerate(text):
            if not isinstance(sentence, str):
                raise TypeError(f"{name}[{index}] must be a sentence, got {type(sentence).__name__}.")
            _check_text(sentence, f"{name}[{index}]")
        sentences = [sentence.strip() for sentence in text]
        return sentences if self.text_granularity == "sentence" else [" ".join(sentences)]

    def _tokenize(
        self,
        texts: list[list[str]],
        truncation: bool | str | None = None,
        padding: bool | str = True,
        max_length: int | None = None,
        **options: Any,
    ) -> tuple[dict[str, Any], list[TextCoverage]]:
        """Tokens of all sentences, flat and padded, and how much of each text they are."""
        sentences = [sentence for text in texts for sentence in text]
        options = {**options, "padding": padding, "return_attention_mask": True, "verbose": False}
        limit = max_length or self.max_text_tokens or self.tokenizer.model_max_length
        limit = limit if limit < UNLIMITED_TOKENS else None

        padded_length = limit if padding == "max_length" else None
        rows = self.tokenizer(sentences, truncation=False, max_length=padded_length, **options)
        tokens = _count_tokens(rows, texts)
        encoded = tokens
        if limit is not None and max(max(counts) for counts in tokens) > limit:
            if not truncation or truncation == "do_not_truncate":
                raise ValueError(self._too_long(tokens, limit))
            rows = self.tokenizer(sentences, truncation=True, max_length=limit, **options)
            encoded = _count_tokens(rows, texts)
        coverage = [
            TextCoverage(tuple(text), num_tokens=sum(whole), num_encoded_tokens=sum(rest))
            for text, whole, rest in zip(texts, tokens, encoded, strict=True)
        ]
        return {**rows, "sentence_counts": [len(text) for text in texts]}, coverage

    def _too_long(self, tokens: list[list[int]], limit: int) -> str:
        index = next(index for index, counts in enumerate(tokens) if max(counts) > limit)
        longest, what, hint = max(tokens[index]), f"text[{index}]", "truncation=True to cut it"
        if self.text_granularity == "sentence":
            what = f"sentence {tokens[index].index(longest)} of {what}"
        else:
            hint += ", or use text_granularity='sentence' in processor and model, where a text of any length fits"
        return f"{what} must have at most {limit} tokens, got {longest}: pass {hint}."


def _count_tokens(rows: Any, texts: list[list[str]]) -> list[list[int]]:
    """Tokens of each sentence of each text, padding left out."""
    counts = iter([sum(mask) for mask in rows["attention_mask"]])
    return [[next(counts) for _ in text] for text in texts]


def _tokenizer_differences(tokenizer: PreTrainedTokenizerBase, config: PreTrainedConfig) -> list[str]:
    """What shows that a tokenizer is that of another text model."""
    special = {getattr(tokenizer, f"{role}_token_id") for role in ("pad", "bos", "eos", "cls", "sep", "unk")}
    # Other special tokens stand in no text: some tokenizers have more of them than their text model has embeddings.
    unused = {index for index, token in tokenizer.added_tokens_decoder.items() if token.special} - special
    highest = max(set(tokenizer.get_vocab().values()) - unused)
    # A configuration may name only some of the tokens that begin and end a text, or more than the tokenizer adds, but
    # of another model's tokenizer it names none. Ids beyond the vocabulary are defaults that nobody set.
    named = [getattr(config, f"{role}_token_id", None) for role in ("bos", "eos", "cls", "sep")]
    ends = {index for ids in named for index in (ids if isinstance(ids, list) else [ids]) if index is not None}
    vocab_size = getattr(config, "vocab_size", math.inf)  # CANINE takes any character
    ends = {index for index in ends if index < vocab_size}
    has_ends = not ends.isdisjoint(tokenizer.all_special_ids)
    own, padding = tokenizer.pad_token_id, getattr(config, "pad_token_id", None)
    pads_with_end = has_ends and own == tokenizer.eos_token_id  # as a tokenizer without a pad token does here
    shown = {
        f"token ids go up to {highest}, vocab_size of the model is {vocab_size}": highest >= vocab_size,
        f"pad_token_id is {own}, the model needs {padding}": padding not in (None, own) and not pads_with_end,
        f"bos and eos of the model, {sorted(ends)}, are no special tokens of the tokenizer": ends and not has_ends,
    }
    return [difference for difference, is_there in shown.items() if is_there]


def _check_text(text: str, name: str) -> None:
    if not text.strip():
        raise ValueError(f"{name} must not be empty, got {text!r}.")
    # sentence-transformers takes a file for a text if there is none of this name, or it does not know the suffix.
    if AUDIO_NAME.search(text):
        raise ValueError(
            f"{name} must be a text, got the name of a file, {text!r}: pass it as audio (to sentence-transformers as "
            '{"audio": path}).'
        )


def _with_pad_token(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    if tokenizer.pad_token is not None:
        return tokenizer
    if tokenizer.eos_token is None:
        raise ValueError("tokenizer must have a pad token or an end token to pad with, got one that has neither.")
    tokenizer = copy.deepcopy(tokenizer)  # the caller's tokenizer does not change
    tokenizer.pad_token = tokenizer.eos_token
    logger.info(f"The tokenizer has no pad token: padding with its end token {tokenizer.eos_token!r}.")
    return tokenizer
