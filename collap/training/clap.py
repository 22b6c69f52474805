# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
transformers' `ClapModel` trained by [`CollapTrainer`]: a baseline on the same manifests, with the same loss.

transformers has no usable loss for it: its own takes both halves along the same axis. Each training example is one
window of a song, drawn anew in each epoch, as the authors of CLAP trained it; an evaluation encodes the first window.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoProcessor, BatchFeature, ClapModel, PreTrainedConfig, ProcessorMixin
from transformers.utils import logging

from collap.baselines.clap import clap_features, clap_positions, tokenize
from collap.data.audio_files import audio_duration_s, read_audio
from collap.data.manifest import load_manifest
from collap.modeling_collap.modeling_collap import limited_factor
from collap.modeling_collap.modeling_collap_base import load_complete
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapOutput, CollapTextOutput
from collap.processing.data_collator_collap import pair_ids

from .arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from .augmentation import MIN_SECTION_S
from .dataset import SongDataset, draw_text, ids_of, text_of_section
from .trainer import CollapTrainer

logger = logging.get_logger(__name__)

STATISTICS_SONGS = 256  # number of windows for the mel statistics of a new model
STATISTICS_BATCH = 16
REFUSED_PROBABILITIES = ("section_reorder_probability", "sentence_drop_probability")


class TrainableClap(ClapModel):
    r"""
    A `ClapModel` with the interface that [`CollapTrainer`] needs: a song has one frame, its vector, a text one query.

    It is saved as an ordinary `ClapModel`. Its training differs from that of one in three ways:

    - The batch norm of the spectrogram keeps its statistics. With statistics of the batch a song's vector would depend
      on the other songs of its micro-batch, and the loss would not be that of the whole batch. A new model gets them
      from [`measure_mel_statistics`].
    - The two factors of its logits are trained as one, their geometric mean, because both directions of the loss use
      the same scores. Like CoLLAP's factor it is at most 100.
    - A model with `enable_fusion` is a ValueError: single windows do not train the fusion.
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
        return_logits: bool = False,
    ) -> CollapOutput:
        """
        As [`CollapModel`]'s, without logits and loss, and with one frame a song: `input_features`
        `(B, 1, num_frames, num_mel_bins)` are of windows, `input_ids` `(B, num_tokens)` of texts. `is_longer`,
        `sentence_counts` and `return_logits` have no effect.
        """
        songs = self.get_audio_features(input_features=input_features).pooler_output  # (B, d)
        queries = self.get_text_features(input_ids=input_ids, attention_mask=attention_mask).pooler_output  # (B, d)
        ones = torch.ones(len(songs), dtype=torch.long, device=songs.device)
        text = CollapTextOutput(pooler_output=queries, query_embeds=queries, sentence_counts=ones)
        audio = CollapAudioOutput(last_hidden_state=songs[:, None], frame_mask=ones[:, None].bool())  # one frame
        logit_scale = limited_factor((self.logit_scale_a + self.logit_scale_t) / 2)
        return CollapOutput(logit_scale=logit_scale, audio_model_output=audio, text_model_output=text)

    def similarity(
        self, audio: CollapAudioOutput, text: CollapTextOutput, use_time: bool = True, section_query: bool = False
    ) -> torch.Tensor:
        """Cosines of songs and texts, `(B, T)` in float32; `use_time` and `section_query` have no effect."""
        with torch.autocast(device_type=audio.last_hidden_state.device.type, enabled=False):
            return audio.last_hidden_state[:, 0].float() @ text.query_embeds.float().T


# config.json names the class: what is saved is an ordinary ClapModel.
TrainableClap.__name__ = "ClapModel"


@dataclass
class ClapSongReader:
    r"""
    Makes an example for [`ClapDataCollator`] from a row of a manifest: a window, one of the song's texts, its ids.

    With `section_probability` a training example is a clip with its own caption, as in the training of CLAP: a window
    inside one section (the whole section, where that is shorter) with the sentences of the section. The probability of
    a section is proportional to its length. Songs without `sections` give whole captions.
    """

    processor: ProcessorMixin
    section_probability: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.section_probability <= 1:
            raise ValueError(f"section_probability must be between 0 and 1, got {self.section_probability}.")

    def for_evaluation(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """The first window of the song with the first of its texts."""
        text = row["text"] if row.get("text") is not None else row["texts"][0]
        return self._example(row, text, 0.0, self.processor.feature_extractor.max_length_s) | ids_of(row)

    def for_training(self, row: Mapping[str, Any], seed: int) -> dict[str, Any]:
        """A window of the song, or of a section, with one of its texts; all of it is drawn by `seed`."""
        generator = torch.Generator().manual_seed(seed)
        wording, text = draw_text(row, generator)
        duration_s = audio_duration_s(row["audio"])
        sections = [section for section in row.get("sections") or [] if text_of_section(section, wording)]
        sections = [section for section in sections if section["start_s"] <= duration_s - MIN_SECTION_S]
        is_clip = bool(torch.rand((), generator=generator) < self.section_probability)
        ids = ids_of(row)
        if is_clip and sections:
            lengths = torch.tensor([min(section["end_s"], duration_s) - section["start_s"] for section in sections])
            section = sections[int(torch.multinomial(lengths, 1, generator=generator))]
            start_s, end_s, text = section["start_s"], section["end_s"], text_of_section(section, wording)
            ids["text_id"] = str(section["text"] if wording is None else section["texts"])
        else:
            start_s, end_s = 0.0, duration_s
        end_s = min(end_s, duration_s)
        length_s = min(self.processor.feature_extractor.max_length_s, end_s - start_s)
        start_s += float(torch.rand((), generator=generator)) * (end_s - start_s - length_s)
        return self._example(row, text, start_s, length_s) | ids

    def lengths(self, rows: Dataset) -> None:
        """None: windows are equally long."""

    def _example(
        self, row: Mapping[str, Any], text: str | Sequence[str], start_s: float, length_s: float
    ) -> dict[str, Any]:
        window, _ = read_audio(row["audio"], self.processor.feature_extractor.sampling_rate, start_s, length_s)
        return {"window": window, "text": text if isinstance(text, str) else " ".join(text)}


@dataclass
class ClapDataCollator:
    """Makes a batch for [`TrainableClap`] from examples of a [`ClapSongReader`]."""

    processor: ProcessorMixin
    max_text_tokens: int
    truncate_texts: bool = False  # otherwise longer texts are a ValueError

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> BatchFeature:
        texts = [example["text"] for example in examples]
        tokens, truncated = tokenize(self.processor.tokenizer, texts, self.max_text_tokens)
        if truncated:
            found = (
                f"texts must have at most {self.max_text_tokens} tokens, got more in {texts[truncated[0]][:60]!r} of "
                f"{examples[truncated[0]]['song_id']}."
            )
            if not self.truncate_texts:
                raise ValueError(f"{found} To cut them, set truncate_texts.")
            logger.warning_once(f"{found} This text and all others that are too long are cut (truncate_texts).")
        features = clap_features(self.processor.feature_extractor, [example["window"] for example in examples])
        counts = torch.ones(len(texts), dtype=torch.long)
        ids = pair_ids(examples, [[text] for text in texts])
        return BatchFeature({**features, **tokens, "sentence_counts": counts, **ids, "return_loss": True})


def lacks_mel_statistics(model: ClapModel) -> bool:
    """Whether the batch norm of the spectrogram has its initial statistics, mean 0 and variance 1 (values are dB)."""
    norm = model.audio_model.audio_encoder.batch_norm
    return bool((norm.running_mean == 0).all() and (norm.running_var == 1).all())


def measure_mel_statistics(model: ClapModel, songs: SongDataset, collator: ClapDataCollator, seed: int) -> None:
    """Sets the mean and variance of each mel bin from windows of up to 256 songs, the same ones on all processes."""
    number = min(STATISTICS_SONGS, len(songs))
    draws = [(index * len(songs) // number, seed + index) for index in range(number)]
    count, total, squares = 0, 0.0, 0.0
    for first in range(0, number, STATISTICS_BATCH):
        batch = collator([songs[draw] for draw in draws[first : first + STATISTICS_BATCH]])
        frames = batch["input_features"].double().flatten(0, 2)  # (windows x frames, bins)
        count += len(frames)
        total, squares = total + frames.sum(0), squares + frames.square().sum(0)
    mean = total / count
    norm = model.audio_model.audio_encoder.batch_norm
    norm.running_mean.copy_(mean)
    norm.running_var.copy_((squares / count - mean.square()).clamp(min=1e-6))
    logger.info("The model is new: mean and variance of its mel bins are set from %d windows.", number)


def is_clap(name_or_path: str | None) -> bool:
    """Whether a folder or a name on the Hub holds a `ClapModel`."""
    return name_or_path is not None and PreTrainedConfig.get_config_dict(name_or_path)[0].get("model_type") == "clap"


def make_clap_trainer(
    arguments: ModelArguments, config: ConfigArguments, data: DataArguments, training: CollapTrainingArguments
) -> CollapTrainer:
    """The trainer with a `ClapModel` and its songs; a ValueError if an argument is given that only a CoLLAP has."""
    given = config.given()
    refused = [name for name in ("features", "max_length_s", *REFUSED_PROBABILITIES) if getattr(data, name)]
    refused += ["on_bad_audio"] * (data.on_bad_audio != "raise")
    refused += ["section_loss_weight"] * (training.section_loss_weight > 0)
    refused += ["text_learning_rate"] * (training.text_learning_rate is not None)
    of_collap = ("music_model", "speech_model", "text_model", "trainable_text_layers")
    refused += [name for name in of_collap if getattr(arguments, name) is not None]
    if refused := [f"--{name}" for name in [*given, *refused]]:
        raise ValueError(f"--model_name_or_path is a ClapModel, which is trained without {' and '.join(refused)}.")
    model = load_complete(TrainableClap, arguments.model_name_or_path)
    processor = AutoProcessor.from_pretrained(arguments.model_name_or_path)
    limit = min(processor.tokenizer.model_max_length, clap_positions(model))
    if arguments.max_text_tokens is not None:
        limit = min(limit, arguments.max_text_tokens)
        processor.tokenizer.model_max_length = limit  # saved, because the trained model has to be used with it
    model.to(training.device)
    reader = ClapSongReader(processor, data.section_crop_probability)
    collator = ClapDataCollator(processor, limit, data.truncate_texts)
    songs = {}
    for name, manifest, split in (
        ("train_dataset", data.train_manifest, data.train_split),
        ("eval_dataset", data.eval_manifest, data.eval_split),
    ):
        if manifest is not None:
            songs[name] = SongDataset(load_manifest(manifest, split), reader)
    if "train_dataset" in songs and lacks_mel_statistics(model):
        measure_mel_statistics(model, songs["train_dataset"], collator, training.seed)
    return CollapTrainer(model=model, args=training, data_collator=collator, processing_class=processor, **songs)
