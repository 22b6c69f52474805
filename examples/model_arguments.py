# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Which model a script takes: a CoLLAP, or a new one of three towers, with any field of its configuration."""

from dataclasses import dataclass, field, fields
from typing import Any

from transformers import AutoProcessor, AutoTokenizer

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor


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


def load_model(
    arguments: ModelArguments, config: ConfigArguments, model_class: type[CollapModel]
) -> tuple[CollapModel, CollapProcessor]:
    """Loads a CoLLAP with its processor, or builds both from towers."""
    if arguments.model_name_or_path is not None:
        model = model_class.from_pretrained(arguments.model_name_or_path, **config.given())
        return model, AutoProcessor.from_pretrained(arguments.model_name_or_path)
    if arguments.text_model is None or (arguments.music_model is None and arguments.speech_model is None):
        raise ValueError(
            "Give --model_name_or_path, or --text_model and at least one of --music_model, --speech_model."
        )
    model = model_class.from_music_speech_text_pretrained(
        arguments.music_model, arguments.speech_model, arguments.text_model, **config.given()
    )
    speech_config = model.config.speech_config
    extractor = CollapFeatureExtractor(
        chunk_length_s=model.config.chunk_length_s,
        music=model.config.music_config is not None,
        speech=speech_config is not None,
        **({} if speech_config is None else {"num_speech_mel_bins": speech_config.num_mel_bins}),
    )
    tokenizer = AutoTokenizer.from_pretrained(arguments.text_model)
    return model, CollapProcessor(
        extractor, tokenizer, model.config.text_granularity, max_text_tokens=arguments.max_text_tokens
    )
