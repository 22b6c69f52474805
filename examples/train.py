# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Trains CoLLAP on songs with descriptions, around transformers' `Trainer`.

From pretrained towers, with the recipe of the paper (frozen audio encoders, AdamW, 1e-4, 20 epochs):

    accelerate launch examples/train.py --train_manifest train.jsonl --eval_manifest validation.jsonl \
        --music_model FOLDER_OF_A_CONVERTED_BEATS --speech_model openai/whisper-large-v2 --text_model roberta-base \
        --learning_rate 1e-4 --num_train_epochs 20 --per_device_train_batch_size 16 --bf16 \
        --encoder_frames_dir frames --output_dir my-collap

To go on from a CoLLAP, give `--model_name_or_path FOLDER` in place of the three towers. A manifest is a file of JSON
lines or CSV with the columns `audio` (a path) and `text`; or name a data set with those columns. All of transformers'
`TrainingArguments` work too: `--resume_from_checkpoint`, `--gradient_checkpointing`, `--push_to_hub` and so on.
"""

import logging
import sys
from argparse import ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from datasets import Dataset
from transformers import AutoProcessor, AutoTokenizer, HfArgumentParser, TrainingArguments, set_seed

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.training.encoder_frames import keep_encoder_frames, load_encoder_frames
from collap.training.manifest import load_manifest, sample_text
from collap.training.trainer import CollapTrainer

logger = logging.getLogger(__name__)


@dataclass
class ModelArguments:
    """Where the model comes from."""

    model_name_or_path: str | None = field(default=None, metadata={"help": "A CoLLAP to go on from."})
    music_model: str | None = field(default=None, metadata={"help": "A BEATs, for a new CoLLAP."})
    speech_model: str | None = field(default=None, metadata={"help": "A Whisper, for a new CoLLAP."})
    text_model: str | None = field(default=None, metadata={"help": "A text model and its tokenizer, likewise."})
    max_text_tokens: int | None = field(default=None, metadata={"help": "Most tokens of a text (or sentence)."})


@dataclass
class ConfigArguments:
    """Fields of `CollapConfig`; what is left out stays as it is in the model, or at its default in a new one."""

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
    max_length_s: float | None = field(
        default=None, metadata={"help": "Hear only so many seconds of each song, from its start. Default: all."}
    )
    sentence_shuffle_probability: float = field(
        default=0.5, metadata={"help": "Share of training texts whose sentences are shuffled (sentence granularity)."}
    )
    encoder_frames_dir: str | None = field(
        default=None, metadata={"help": "Compute the frames of the frozen encoders once and keep them in this folder."}
    )


class HelpFormatter(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """Shows the text at the top of this file as it stands, and the default of each argument."""


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


def load_songs(
    manifest: str, split: str | None, model: CollapModel, processor: CollapProcessor, data: DataArguments
) -> Dataset:
    """The songs of a manifest, as the collator takes them: audio or kept frames, with one of the wordings."""
    songs = load_manifest(manifest, split)
    frames: dict[str, Path] = {}
    if data.encoder_frames_dir is not None:
        frames = keep_encoder_frames(
            songs["audio"],
            data.encoder_frames_dir,
            model.audio_model,
            processor.feature_extractor,
            truncation=data.max_length_s is not None,
        )
    return songs.with_transform(_make_transform(frames))


def _make_transform(frames: dict[str, Path]) -> Callable[[dict[str, list[Any]]], dict[str, list[Any]]]:
    def transform(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        rows = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        columns = {"text": [sample_text(row) for row in rows]}
        if frames:
            columns["encoder_frames"] = [load_encoder_frames(frames[row["audio"]]) for row in rows]
        else:
            columns["audio"] = batch["audio"]
        return columns

    return transform


def main(arguments: list[str] | None = None, model_class: type[CollapModel] = CollapModel) -> dict[str, float]:
    """Trains, evaluates, saves; returns the figures of the last evaluation."""
    parser = HfArgumentParser(
        (ModelArguments, ConfigArguments, DataArguments, TrainingArguments),
        usage="accelerate launch examples/train.py --train_manifest FILE --output_dir FOLDER [arguments]",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    model_arguments, config, data, training = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    if data.train_manifest is None and data.eval_manifest is None:
        raise ValueError("Give --train_manifest, --eval_manifest or both: there is nothing to do.")
    # The songs are read by a transform, so that no column may be dropped for being unknown to the model.
    training.remove_unused_columns = False

    set_seed(training.seed)
    model, processor = load_model(model_arguments, config, model_class)
    model.to(training.device)
    if data.max_length_s is not None:
        processor.feature_extractor.max_length_s = data.max_length_s
    train_songs = eval_songs = None
    if data.train_manifest is not None:
        train_songs = load_songs(data.train_manifest, data.train_split, model, processor, data)
    if data.eval_manifest is not None:
        eval_songs = load_songs(data.eval_manifest, data.eval_split, model, processor, data)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    logger.info("%d of %d parameters are trainable.", trainable, model.num_parameters())

    collator = CollapDataCollator(
        processor, data.sentence_shuffle_probability, truncation=data.max_length_s is not None
    )
    trainer = CollapTrainer(
        model=model,
        args=training,
        train_dataset=train_songs,
        eval_dataset=eval_songs,
        data_collator=collator,
        eval_data_collator=replace(collator, sentence_shuffle_probability=0.0),
        processing_class=processor,
    )
    if train_songs is not None:
        trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
        trainer.save_model()
    metrics = {}
    if eval_songs is not None:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if training.push_to_hub:
        trainer.push_to_hub(tags=["collap", "music", "audio-retrieval"])
    return metrics


if __name__ == "__main__":
    main()
