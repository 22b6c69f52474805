# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The arguments of a training script: model, configuration, data, and training."""

from dataclasses import dataclass, field, fields
from typing import Any

from transformers import TrainingArguments

from collap.training.augmentation import StructureAugmentation


@dataclass
class ModelArguments:
    """Where the model comes from."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "A CoLLAP (or a ClapModel) to go on from."})
    music_model: str | None = field(default=None, metadata={"help": "A BEATs, for a new CoLLAP."})
    speech_model: str | None = field(default=None, metadata={"help": "A Whisper, for a new CoLLAP."})
    text_model: str | None = field(default=None, metadata={"help": "A text model and its tokenizer, likewise."})
    max_text_tokens: int | None = field(default=None, metadata={"help": "Most tokens of a text (or sentence)."})


@dataclass
class ConfigArguments:
    """Fields of `CollapConfig`; what is left out stays as it is in the model, or at its default in a new one."""

    chunk_length_s: float | None = field(
        default=None, metadata={"help": "Default: what the Whisper takes, 30 s without one."}
    )
    projection_dim: int | None = None
    frame_pooling: int | None = None
    kernel_size: int | None = None
    kernel_stride: int | None = None
    kernel_weight: float | None = None
    temporal_weight: float | None = None
    kernel_temperature: float | None = None
    temporal_temperature: float | None = None
    logit_scale_init_value: float | None = None
    text_granularity: str | None = field(default=None, metadata={"help": "'document' or 'sentence'."})
    temporal_position: bool | None = None
    text_pooling: str | None = field(
        default=None, metadata={"help": "'first', 'last' or 'mean'; default: what the text model's kind takes."}
    )
    freeze_music_model: bool | None = None
    freeze_speech_model: bool | None = None
    encoder_batch_size: int | None = None

    def given(self) -> dict[str, Any]:
        return {item.name: getattr(self, item.name) for item in fields(self) if getattr(self, item.name) is not None}


@dataclass
class DataArguments:
    """What it learns from."""

    train_manifest: str | None = field(default=None, metadata={"help": "Songs and texts to train on."})
    eval_manifest: str | None = field(default=None, metadata={"help": "Songs and texts to evaluate on."})
    train_split: str | None = field(default=None, metadata={"help": "Split, if the manifest is a data set."})
    eval_split: str | None = field(default=None, metadata={"help": "Split, if the manifest is a data set."})
    streaming: bool = field(
        default=False, metadata={"help": "Read the training songs as a stream, in its order; needs --max_steps."}
    )
    features: str | None = field(
        default=None, metadata={"help": "Folder of kept encoder frames, made by examples/extract_features.py."}
    )
    max_length_s: float | None = field(
        default=None, metadata={"help": "Hear only so many seconds of each song, from its start. Default: all."}
    )
    truncate_texts: bool = field(
        default=False, metadata={"help": "Cut texts of more tokens than the text model takes; else they are an error."}
    )
    validate: bool = field(
        default=False, metadata={"help": "Only look through all songs and texts and report what is wrong with them."}
    )
    on_bad_audio: str = field(
        default="raise",
        metadata={
            "help": "'raise': stop at a song that cannot be read. 'skip': look through all first, leave such songs "
            "out, and write them to skipped_songs.jsonl.",
            "choices": ["raise", "skip"],
        },
    )
    section_crop_probability: float = field(
        default=0.0, metadata={"help": "Share of training songs of which only some sections are heard and described."}
    )
    section_reorder_probability: float = field(
        default=0.0, metadata={"help": "Share of training songs whose sections are rejoined in another order."}
    )
    sentence_drop_probability: float = field(
        default=0.0, metadata={"help": "Share of training texts of which about half the sentences are left out."}
    )
    sentence_shuffle_probability: float = field(
        default=0.25, metadata={"help": "Share of training texts whose sentences are shuffled (sentence granularity)."}
    )

    def augmentation(self) -> StructureAugmentation:
        return StructureAugmentation(
            self.section_crop_probability,
            self.section_reorder_probability,
            self.sentence_drop_probability,
            self.sentence_shuffle_probability,
        )


@dataclass
class CollapTrainingArguments(TrainingArguments):
    r"""
    transformers' `TrainingArguments`, and how many songs are contrasted with each other.

    Args:
        contrastive_batch_size (`int`, *optional*):
            Songs that are contrasted with each other in a step, over all processes; takes the place of
            `per_device_train_batch_size`, whose multiple by the number of processes it is otherwise. More songs are
            more negatives: another loss, which `gradient_accumulation_steps` do not give.
        micro_batch_size (`int`, *optional*):
            Songs whose activations a process holds at a time. Loss and gradients stay those of the whole contrastive
            batch; everything is embedded twice. Default: all at once.

        section_loss_weight (`float`):
            What the loss of moments counts beside the loss of whole texts (see
            [`collap.training.loss.SectionLoss`]; ours, the paper has none). It costs next to nothing, as
            the sentences are read already; it needs `sections` in the manifest and sentence granularity.

    Raises:
        ValueError: if a number of songs is less than 1, the weight is negative, or there are fewer songs to contrast
            than processes.
    """

    contrastive_batch_size: int | None = field(
        default=None,
        metadata={
            "help": "Songs contrasted with each other in a step, over all processes. Default: "
            "per_device_train_batch_size x processes."
        },
    )
    micro_batch_size: int | None = field(
        default=None,
        metadata={"help": "Songs whose activations a process holds at a time; changes the memory, not the loss."},
    )

    section_loss_weight: float = field(
        default=0.0,
        metadata={
            "help": "Weight of the loss that asks the sentences of each section to find their song at one moment of "
            "it; 1 is a good choice for captions with sections."
        },
    )

    def __post_init__(self) -> None:
        if not self.section_loss_weight >= 0:
            raise ValueError(f"section_loss_weight must not be negative, got {self.section_loss_weight}.")
        for name in ("contrastive_batch_size", "micro_batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1 song, got {value}.")
        super().__post_init__()
        if self.contrastive_batch_size is None:
            self.contrastive_batch_size = self.per_device_train_batch_size * self.world_size
        if self.contrastive_batch_size < self.world_size:
            raise ValueError(
                f"contrastive_batch_size must be at least one song a process ({self.world_size}), got "
                f"{self.contrastive_batch_size}."
            )
        self.per_device_train_batch_size = -(-self.contrastive_batch_size // self.world_size)


__all__ = ["CollapTrainingArguments", "ConfigArguments", "DataArguments", "ModelArguments"]
