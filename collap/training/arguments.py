# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The arguments of a training script: model, configuration, data, and training."""

from dataclasses import dataclass, fields
from typing import Any, Literal

from transformers import TrainingArguments
from transformers.hf_argparser import HfArg

from collap.training.augmentation import StructureAugmentation


@dataclass
class ModelArguments:
    """The model to train: one that is there, or a new one from towers."""

    model_name_or_path: str | None = HfArg(default=None, help="A CoLLAP (or a ClapModel) to train further.")
    music_model: str | None = HfArg(default=None, help="BEATs model of a new CoLLAP.")
    speech_model: str | None = HfArg(default=None, help="Whisper model of a new CoLLAP.")
    text_model: str | None = HfArg(default=None, help="Text model and tokenizer of a new CoLLAP.")
    max_text_tokens: int | None = HfArg(default=None, help="Maximum number of tokens of a text (or of a sentence).")
    trainable_text_layers: int | None = HfArg(
        default=None,
        help="Train only the last layers of the text model, as many as given; 0 freezes it. Default: all of it.",
    )


@dataclass
class ConfigArguments:
    """Fields of `CollapConfig`. Default: as in the model, or the default of `CollapConfig` in a new one."""

    chunk_length_s: float | None = HfArg(default=None, help="Default: Whisper's input length, or 30 s without it.")
    projection_dim: int | None = None
    frame_pooling: int | None = None
    kernel_size: int | None = None
    kernel_stride: int | None = None
    kernel_weight: float | None = None
    temporal_weight: float | None = None
    kernel_temperature: float | None = None
    temporal_temperature: float | None = None
    logit_scale_init_value: float | None = None
    text_granularity: Literal["document", "sentence"] | None = None
    temporal_position: bool | None = None
    text_pooling: Literal["first", "last", "mean"] | None = HfArg(
        default=None, help="Default: that of the text model."
    )
    freeze_music_model: bool | None = None
    freeze_speech_model: bool | None = None
    encoder_batch_size: int | None = None

    def given(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}


@dataclass
class DataArguments:
    """Songs and texts to train and evaluate on."""

    train_manifest: str | None = HfArg(default=None, help="Songs and texts to train on.")
    eval_manifest: str | None = HfArg(default=None, help="Songs and texts to evaluate on.")
    train_split: str | None = HfArg(default=None, help="Split, if the manifest is a data set.")
    eval_split: str | None = HfArg(default=None, help="Split, if the manifest is a data set.")
    features: str | None = HfArg(default=None, help="Folder of cached frames of examples/extract_features.py.")
    max_length_s: float | None = HfArg(default=None, help="Encode only the first seconds of each song. Default: all.")
    truncate_texts: bool = HfArg(default=False, help="Truncate texts with too many tokens; otherwise an error.")
    on_bad_audio: Literal["raise", "skip"] = HfArg(
        default="raise",
        help="'raise': stop at a song that cannot be decoded. 'skip': check all songs first, leave such songs out and "
        "list them in skipped.jsonl.",
    )
    section_crop_probability: float = HfArg(default=0.0, help="Share of the songs that are cropped to sections.")
    section_reorder_probability: float = HfArg(default=0.0, help="Share of the songs whose sections are reordered.")
    sentence_drop_probability: float = HfArg(default=0.0, help="Share of the texts that lose half their sentences.")
    sentence_shuffle_probability: float = HfArg(default=0.25, help="Share of the texts whose sentences are shuffled.")

    def augmentation(self) -> StructureAugmentation:
        names = (item.name for item in fields(StructureAugmentation))
        return StructureAugmentation(**{name: getattr(self, name) for name in names})


@dataclass
class CollapTrainingArguments(TrainingArguments):
    r"""
    transformers' `TrainingArguments` with the size of the contrastive batch and the weight of the section loss.

    `contrastive_batch_size` replaces `per_device_train_batch_size`. More songs in it are more negatives, so it changes
    the loss; `gradient_accumulation_steps` adds no negatives. `micro_batch_size` changes neither loss nor gradients;
    with it everything is encoded twice. `section_loss_weight` ([`section_loss`], not in the paper) needs `sections` in
    the manifest and sentence granularity.

    Raises:
        ValueError: if a number of songs is less than 1, a weight or learning rate is negative, or the contrastive
            batch has one song or fewer songs than processes.
    """

    contrastive_batch_size: int | None = HfArg(
        default=None,
        help="Songs contrasted with each other in a step, over all processes. Default: "
        "per_device_train_batch_size x processes.",
    )
    micro_batch_size: int | None = HfArg(
        default=None, help="Songs whose activations a process holds at a time. Default: all of its songs."
    )
    section_loss_weight: float = HfArg(
        default=0.0, help="Weight of the loss of single sections; 1 is a good choice if there are any."
    )
    text_learning_rate: float | None = HfArg(
        default=None, help="Learning rate of the text model, as a pretrained one needs less. Default: learning_rate."
    )
    remove_unused_columns: bool = HfArg(default=False, help="Leave as it is.")

    def __post_init__(self) -> None:
        for name in ("section_loss_weight", "text_learning_rate"):
            if not (getattr(self, name) or 0) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}.")
        for name in ("contrastive_batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 song, got {value}.")
        if self.greater_is_better is None and str(self.metric_for_best_model).endswith("median_rank"):
            self.greater_is_better = False  # transformers takes all but losses for better when greater
        super().__post_init__()
        if self.contrastive_batch_size is None:
            self.contrastive_batch_size = self.per_device_train_batch_size * self.world_size
        if self.contrastive_batch_size < max(self.world_size, 2):
            raise ValueError(
                f"contrastive_batch_size must be at least 2 songs, and one a process ({self.world_size}), got "
                f"{self.contrastive_batch_size}."
            )
        self.per_device_train_batch_size = -(-self.contrastive_batch_size // self.world_size)
