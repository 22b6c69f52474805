# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
transformers' `ClapModel` trained by [`CollapTrainer`]: the baseline learns from the same manifests as CoLLAP.

transformers' own loss takes both of its halves along the same axis, and under its `Trainer` there is none at all. Here
the loss is that of CoLLAP: both directions, over the songs of all processes and micro-batches. Of each song the model
hears one window, in each epoch another, as its authors trained it; where it is evaluated it hears the first.
"""

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset, IterableDataset
from torch import nn
from transformers import AutoProcessor, BatchFeature, ClapModel, PreTrainedConfig, ProcessorMixin

from collap.baselines.clap import clap_features, clap_positions, tokenize
from collap.data.audio_files import audio_duration_s, read_audio
from collap.data.manifest import load_manifest
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapOutput, CollapTextOutput
from collap.processing.data_collator_collap import pair_ids
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.dataset import SongDataset, SongStream, ids_of
from collap.training.trainer import CollapTrainer


class TrainableClap(ClapModel):
    r"""
    A `ClapModel` as [`CollapTrainer`] takes a model: a song has one frame, its vector, and a text one query.

    What it saves is an ordinary `ClapModel`. In three ways it trains otherwise than one:

    - The batch norm of the spectrogram keeps its statistics. By those of the batch, what a song is would depend on who
      else is in its micro-batch or on its process, and the loss would not be that of the whole batch. A new model has
      to be given them: [`measure_mel_statistics`].
    - The two factors of its logits are trained as one, their geometric mean, as both directions of the loss go by the
      same scores. Like CoLLAP's it is 100 at most.
    - Where `enable_fusion` is on it cannot be trained: it hears single windows, by which the fusion learns nothing.

    Raises:
        ValueError: if `config.audio_config.enable_fusion`.
    """

    def __init__(self, config: Any):
        super().__init__(config)
        if config.audio_config.enable_fusion:
            raise ValueError("audio_config.enable_fusion must be off: only a ClapModel without fusion can be trained.")

    def train(self, mode: bool = True) -> "TrainableClap":
        super().train(mode)
        self.audio_model.audio_encoder.batch_norm.eval()
        return self

    def forward(
        self,
        input_features: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        is_longer: torch.Tensor | None = None,
        sentence_counts: torch.Tensor | None = None,
        song_ids: torch.Tensor | None = None,
        text_ids: torch.Tensor | None = None,
        return_loss: bool | None = None,
        return_logits: bool = True,
    ) -> CollapOutput:
        r"""
        Args:
            input_features (`torch.Tensor` of shape `(B, 1, num_frames, num_mel_bins)`): Of windows, one a song.
            input_ids, attention_mask (`torch.Tensor` of shape `(B, num_tokens)`): Of texts, one a song.
            is_longer, sentence_counts: What the batch holds beside; of no effect.
            song_ids, text_ids (`torch.Tensor` of shape `(B,)`, *optional*): As in [`contrastive_loss`].
            return_loss (`bool`, *optional*): Whether to compute the loss.
            return_logits (`bool`): Whether to score; the loss needs it.

        Returns:
            [`CollapOutput`], with one frame a song.
        """
        songs = self.get_audio_features(input_features=input_features).pooler_output  # (B, d)
        queries = self.get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output  # (B, d)
        counts = torch.ones(len(queries), dtype=torch.long, device=queries.device)
        text = CollapTextOutput(pooler_output=queries, query_embeds=queries, sentence_counts=counts)
        audio = CollapAudioOutput(
            last_hidden_state=songs[:, None],  # (B, 1, d)
            frame_mask=torch.ones(len(songs), 1, dtype=torch.bool, device=songs.device),
        )
        logit_scale = ((self.logit_scale_a + self.logit_scale_t) / 2).float().clamp(max=math.log(100)).exp()
        logits_per_audio = logit_scale * self.similarity(audio, text) if return_logits else None
        return CollapOutput(
            loss=contrastive_loss(logits_per_audio, song_ids, text_ids) if return_loss else None,
            logits_per_audio=logits_per_audio,
            logits_per_text=None if logits_per_audio is None else logits_per_audio.T,
            logit_scale=logit_scale,
            audio_embeds=songs,
            text_embeds=queries,
            audio_model_output=audio,
            text_model_output=text,
        )

    def similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True, section_query: bool = False
    ) -> torch.Tensor:
        """
        Cosines of songs and texts, `(B, T)` in float32.

        A song's one vector has neither time nor moments: `use_time` and `section_query` change nothing.
        """
        with torch.autocast(device_type=audio.last_hidden_state.device.type, enabled=False):
            return audio.last_hidden_state[:, 0].float() @ text.query_embeds.float().T


# config.json names the class: what is saved is an ordinary ClapModel.
TrainableClap.__name__ = "ClapModel"


class ClapSongReader:
    r"""
    Makes an example for [`ClapDataCollator`] of a row of a manifest: a window, one of the song's wordings, its ids.

    Args:
        processor (`ClapProcessor`): Its feature extractor says how long a window is.
        section_probability (`float`):
            Share of training examples that are a clip with its own caption, as CLAP's authors train it: the window
            lies inside one section (it is that section, where that is shorter), and the text is what the song's says
            of it. A longer section is drawn more often. Songs without `sections` are taken as they are.
    """

    features = None  # encoder frames are never kept: each epoch hears other windows

    def __init__(self, processor: ProcessorMixin, section_probability: float = 0.0):
        if not 0 <= section_probability <= 1:
            raise ValueError(f"section_probability must be between 0 and 1, got {section_probability}.")
        self.processor = processor
        self.section_probability = section_probability

    def for_evaluation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The first window of the song with the first wording."""
        text = row["text"] if row.get("text") is not None else row["texts"][0]
        return self._example(row, text, 0.0, self.processor.feature_extractor.max_length_s) | ids_of(row)

    def for_training(self, row: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """A window from anywhere in the song, or in a section, with one of its wordings; all of it drawn by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        wording = None
        if row.get("texts") is not None:
            wording = int(torch.randint(len(row["texts"]), (), generator=generator))
        sections = [section for section in row.get("sections") or [] if _text_of(section, wording)]
        is_clip = bool(torch.rand((), generator=generator) < self.section_probability)
        ids = ids_of(row)
        if is_clip and sections:
            lengths = torch.tensor([section["end_s"] - section["start_s"] for section in sections])
            described = sections[int(torch.multinomial(lengths, 1, generator=generator))]
            start_s, end_s = described["start_s"], described["end_s"]
            ids["text_id"] = str(described["text"] if wording is None else described["texts"])
        else:
            described, start_s, end_s = row, 0.0, audio_duration_s(row["audio"])
        length_s = min(self.processor.feature_extractor.max_length_s, end_s - start_s)
        start_s += float(torch.rand((), generator=generator)) * (end_s - start_s - length_s)
        return self._example(row, _text_of(described, wording), start_s, length_s) | ids

    def _example(
        self, row: Mapping[str, Any], text: str | Sequence[str], start_s: float, length_s: float
    ) -> dict[str, Any]:
        window = read_audio(row["audio"], self.processor.feature_extractor.sampling_rate, start_s, length_s).waveform
        return {"window": window, "text": text if isinstance(text, str) else " ".join(text)}


def _text_of(described: Mapping[str, Any], wording: int | None) -> str | list[str]:
    """What a song's text, or a section's, is in one of its wordings."""
    return described["text"] if wording is None else described["texts"][wording]


class ClapSongDataset(SongDataset):
    """Songs of a manifest, read by a [`ClapSongReader`]."""

    def lengths(self) -> None:
        """None: windows are equally long."""


@dataclass
class ClapDataCollator:
    r"""
    Makes a batch of [`TrainableClap`] of examples of a [`ClapSongReader`].

    Args:
        processor (`ClapProcessor`): Makes the model's inputs.
        max_text_tokens (`int`): Most tokens of a text.
        truncate_texts (`bool`): Whether longer texts are cut instead of refused.

    Raises:
        ValueError: in a call, if a text is too long.
    """

    processor: ProcessorMixin
    max_text_tokens: int
    truncate_texts: bool = False

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> BatchFeature:
        texts = [example["text"] for example in examples]
        tokens, truncated = tokenize(self.processor.tokenizer, texts, self.max_text_tokens)
        if truncated and not self.truncate_texts:
            raise ValueError(
                f"texts must have at most {self.max_text_tokens} tokens, got more in the text of "
                f"{examples[truncated[0]]['song_id']}: {texts[truncated[0]][:60]!r}. To cut them, set truncate_texts."
            )
        features = clap_features(self.processor.feature_extractor, [example["window"] for example in examples])
        counts = torch.ones(len(texts), dtype=torch.long)
        ids = pair_ids(examples, [[text] for text in texts])
        return BatchFeature({**features, **tokens, "sentence_counts": counts, **ids, "return_loss": True})


def most_text_tokens(model: ClapModel, processor: ProcessorMixin) -> int:
    """Most tokens of a text that tokenizer and text model take."""
    return min(processor.tokenizer.model_max_length, clap_positions(model))


def lacks_mel_statistics(model: ClapModel) -> bool:
    """Whether the batch norm of the spectrogram is as a new model's: as if its values were around 0, they are dB."""
    norm: nn.BatchNorm2d = model.audio_model.audio_encoder.batch_norm
    return bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())


def measure_mel_statistics(model: ClapModel, windows: Iterable[torch.Tensor]) -> None:
    r"""
    Gives the batch norm of the spectrogram its mean and variance of each mel bin.

    Args:
        model (`ClapModel`): Changed.
        windows (`Iterable[torch.Tensor]`): `input_features` `(windows, 1, num_frames, num_mel_bins)`, in batches.
    """
    count, total, squares = 0, 0.0, 0.0
    for features in windows:
        frames = features.double().flatten(0, 2)  # (windows x frames, bins)
        count += len(frames)
        total, squares = total + frames.sum(0), squares + frames.square().sum(0)
    norm: nn.BatchNorm2d = model.audio_model.audio_encoder.batch_norm
    mean = total / count
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((squares / count - mean.square()).clamp(min=1e-6))


logger = logging.getLogger(__name__)

STATISTICS_SONGS = 256  # windows that the statistics of a new model's spectrograms are of
STATISTICS_BATCH = 16


def is_clap(name_or_path: str | None) -> bool:
    """Whether a folder or a name on the Hub holds a `ClapModel`."""
    if name_or_path is None:
        return False
    return PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type") == "clap"


def make_clap_trainer(
    arguments: ModelArguments, config: ConfigArguments, data: DataArguments, training: CollapTrainingArguments
) -> CollapTrainer:
    """
    The trainer with a `ClapModel` and its songs, ready to train.

    Raises:
        ValueError: if an argument is given that is CoLLAP's alone, or texts are longer than the model takes and
            `--truncate_texts` is not given.
    """
    _refuse_arguments(config, data, training)
    model = TrainableClap.from_pretrained(arguments.model_name_or_path)
    processor = AutoProcessor.from_pretrained(arguments.model_name_or_path)
    limit = most_text_tokens(model, processor)
    if arguments.max_text_tokens is not None:
        limit = min(limit, arguments.max_text_tokens)
        processor.tokenizer.model_max_length = limit  # whoever loads what is saved has to cut there too
    model.to(training.device)
    reader = ClapSongReader(processor, data.section_crop_probability)
    collator = ClapDataCollator(processor, limit, data.truncate_texts)

    train_songs = eval_songs = None
    if data.train_manifest is not None:
        rows = load_manifest(data.train_manifest, data.train_split, streaming=data.streaming)
        if isinstance(rows, IterableDataset):
            train_songs = SongStream(rows, reader, training.seed, training.world_size, training.process_index)
        else:
            _check_texts(rows, data.train_manifest, collator)
            train_songs = ClapSongDataset(rows, reader)
        if lacks_mel_statistics(model):
            _measure(model, train_songs, collator, training.seed)
    if data.eval_manifest is not None:
        rows = load_manifest(data.eval_manifest, data.eval_split)
        _check_texts(rows, data.eval_manifest, collator)
        eval_songs = ClapSongDataset(rows, reader)
    return CollapTrainer(
        model=model,
        args=training,
        train_dataset=train_songs,
        eval_dataset=eval_songs,
        data_collator=collator,
        processing_class=processor,
    )


def _refuse_arguments(config: ConfigArguments, data: DataArguments, training: CollapTrainingArguments) -> None:
    """Raises a ValueError for arguments that would have no effect on a ClapModel."""
    chosen = {
        "--features": data.features,
        "--max_length_s": data.max_length_s,
        "--validate": data.validate,
        "--on_bad_audio": data.on_bad_audio if data.on_bad_audio != "raise" else None,
        "--section_reorder_probability": data.section_reorder_probability,
        "--sentence_drop_probability": data.sentence_drop_probability,
        "--section_loss_weight": training.section_loss_weight,
    }
    refused = [f"--{name}" for name in config.given()] + [name for name, value in chosen.items() if value]
    if refused:
        raise ValueError(
            f"--model_name_or_path is a ClapModel, which is trained without {' and '.join(refused)}: it hears a "
            "random window of each song, from the audio itself, and has none of CoLLAP's settings."
        )


def _check_texts(rows: Dataset, manifest: str, collator: ClapDataCollator) -> None:
    """Counts the texts that are too long, before the training: says so if they are cut, else refuses them."""
    num_texts, too_long = 0, []
    for number, row in enumerate(rows, start=1):
        texts = _wordings(row)
        num_texts += len(texts)
        _, truncated = tokenize(collator.processor.tokenizer, texts, collator.max_text_tokens)
        too_long += [number] * len(truncated)
    if not too_long:
        return
    words = (
        f"{len(too_long)} of the {num_texts} texts of {manifest} have more than {collator.max_text_tokens} tokens, "
        f"the first in row {too_long[0]}"
    )
    if not collator.truncate_texts:
        raise ValueError(f"{words}: give --truncate_texts to train without the rest of them.")
    logger.warning("%s: the rest of them is cut off.", words)


def _wordings(row: Mapping[str, Any]) -> list[str]:
    wordings = [row["text"]] if row.get("texts") is None else row["texts"]
    return [text if isinstance(text, str) else " ".join(text) for text in wordings]


def _measure(model: TrainableClap, songs: ClapSongDataset | SongStream, collator: ClapDataCollator, seed: int) -> None:
    """The same on all processes: by the songs' places in the manifest, not by who reads them."""
    if isinstance(songs, SongStream):
        raise ValueError(
            "--streaming needs a ClapModel whose batch norm has statistics of spectrograms; this one is new. Train it "
            "for a step without --streaming first."
        )
    number = min(STATISTICS_SONGS, len(songs))
    draws = [(index * len(songs) // number, seed + index) for index in range(number)]

    def batches():
        for first in range(0, number, STATISTICS_BATCH):
            examples = [songs[draw] for draw in draws[first : first + STATISTICS_BATCH]]
            yield collator(examples)["input_features"]

    measure_mel_statistics(model, batches())
    logger.info("The model is new: the mean and variance of its mel bins are those of %d windows.", number)


__all__ = [
    "ClapDataCollator",
    "ClapSongDataset",
    "ClapSongReader",
    "TrainableClap",
    "is_clap",
    "lacks_mel_statistics",
    "make_clap_trainer",
    "measure_mel_statistics",
    "most_text_tokens",
]
