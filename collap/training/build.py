# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A model and a trainer from the arguments of a training script."""

import logging
from collections.abc import Callable
from pathlib import Path

from huggingface_hub.utils import validate_repo_id
from torch import nn
from transformers import AutoProcessor, set_seed

from collap import CollapDataCollator, CollapModel, CollapProcessor, from_towers
from collap.data.audio_files import audio_name
from collap.data.cache import TensorCache, describe_features
from collap.data.manifest import load_manifest
from collap.data.validation import RowIssue, ValidationReport, find_issues, find_text_issues
from collap.encode import SKIPPED_FILE, limit_length
from collap.files import write_jsonl
from collap.hub.card import CardArguments
from collap.hub.push import publish_model
from collap.modeling_collap.modeling_collap_base import load_complete

from .arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from .clap import is_clap, make_clap_trainer
from .dataset import SongDataset, SongReader
from .trainer import CollapTrainer

logger = logging.getLogger(__name__)

# What the weights and the features of a model depend on.
TOWERS = ("music_model", "speech_model", "text_model")
ONLY_NEW = (*TOWERS, "chunk_length_s", "projection_dim", "temporal_position", "logit_scale_init_value")


def load_model(
    arguments: ModelArguments, config: ConfigArguments, model_class: type[CollapModel] = CollapModel
) -> tuple[CollapModel, CollapProcessor]:
    """Loads a CoLLAP with its processor, or builds both from towers; a ValueError if arguments do not fit them."""
    if arguments.model_name_or_path is not None:
        given = {**vars(arguments), **config.given()}
        refused = [f"--{name}" for name in ONLY_NEW if given.get(name) is not None]
        if refused:
            raise ValueError(f"{' and '.join(refused)} make a new model: leave them out beside --model_name_or_path.")
        model = load_complete(model_class, arguments.model_name_or_path, **config.given())
        processor = AutoProcessor.from_pretrained(arguments.model_name_or_path)
        if config.text_granularity is not None:
            processor.text_granularity = config.text_granularity  # as the model's already is
        if arguments.max_text_tokens is not None:
            processor.max_text_tokens = arguments.max_text_tokens
        processor.check_model(model.config)
        return model, processor
    if arguments.text_model is None or (arguments.music_model is None and arguments.speech_model is None):
        raise ValueError(
            "Give --model_name_or_path, or --text_model and at least one of --music_model, --speech_model."
        )
    towers = arguments.music_model, arguments.speech_model, arguments.text_model
    return from_towers(*towers, arguments.max_text_tokens, model_class, **config.given())


def freeze_text_layers(encoder: nn.Module, num_trainable: int) -> None:
    """Freezes a text model except its last `num_trainable` layers; a ValueError if it has fewer."""
    stacks = [module for module in encoder.modules() if isinstance(module, nn.ModuleList)]
    layers = list(max(stacks, key=len, default=[]))
    if not 0 <= num_trainable <= len(layers):
        raise ValueError(f"trainable_text_layers must be 0 to {len(layers)}, got {num_trainable}.")
    encoder.requires_grad_(False)
    for layer in layers[len(layers) - num_trainable :]:
        layer.requires_grad_(True)


def make_trainer(
    model_arguments: ModelArguments,
    config: ConfigArguments,
    data: DataArguments,
    training: CollapTrainingArguments,
    model_class: type[CollapModel] = CollapModel,
    prepare_model: Callable[[CollapModel], nn.Module] | None = None,
) -> CollapTrainer:
    """
    The trainer with model and songs, ready to train.

    Args:
        model_class (`type`): Class of the model; a subclass may score in another way.
        prepare_model (`Callable`, *optional*): Changes the loaded model, for example adds adapters of PEFT.

    Raises:
        ValueError: if the arguments contradict each other, or something that they name does not exist.
    """
    if data.train_manifest is None and data.eval_manifest is None:
        raise ValueError("Give --train_manifest, --eval_manifest or both: there is nothing to do.")
    set_seed(training.seed)
    if is_clap(model_arguments.model_name_or_path):
        if prepare_model is not None:
            raise ValueError(f"model_name_or_path must be a CoLLAP here, got {model_arguments.model_name_or_path}.")
        return make_clap_trainer(model_arguments, config, data, training)
    model, processor = load_model(model_arguments, config, model_class)
    if model_arguments.trainable_text_layers is not None:
        freeze_text_layers(model.text_model.encoder, model_arguments.trainable_text_layers)
    if prepare_model is not None:
        model = prepare_model(model)
    model.to(training.device)
    truncation = limit_length(processor.feature_extractor, data.max_length_s)
    features = None
    if data.features is not None:
        features = TensorCache(data.features, describe_features(model.audio_model, processor.feature_extractor))
    reader = SongReader(
        processor,
        model.config,
        features,
        data.augmentation(),
        truncation=truncation,
        with_sections=training.section_loss_weight > 0,
    )
    skipped: list[dict[str, str]] = []
    train_songs = _load_songs(data.train_manifest, data.train_split, reader, data, training, skipped)
    eval_songs = _load_songs(data.eval_manifest, data.eval_split, reader, data, training, skipped)
    file = Path(training.output_dir) / SKIPPED_FILE
    if training.process_index == 0 and (skipped or file.exists()):
        write_jsonl(file, skipped)
    weight = training.section_loss_weight
    rows = [] if train_songs is None else train_songs.rows.remove_columns("audio")  # which may be whole files
    if weight and train_songs is not None and not any(row.get("sections") for row in rows):
        raise ValueError(f"section_loss_weight has no effect, got {weight}: no song of train_manifest has `sections`.")
    if train_songs is not None and (data.section_crop_probability or data.section_reorder_probability):
        problems = [problem for row in rows if (problem := reader.find_section_problem(row)) is not None]
        if problems:
            share = f"{len(problems)} of {len(train_songs)}"
            logger.warning("%s songs are never cropped or reordered; the first: %s.", share, problems[0])
    trainable = model.num_parameters(only_trainable=True)
    logger.info("%d of %d parameters are trainable.", trainable, model.num_parameters())
    return CollapTrainer(
        model=model,
        args=training,
        train_dataset=train_songs,
        eval_dataset=eval_songs,
        data_collator=CollapDataCollator(processor, truncation, data.truncate_texts),
        processing_class=processor,
    )


def _load_songs(
    manifest: str | None,
    split: str | None,
    reader: SongReader,
    data: DataArguments,
    training: CollapTrainingArguments,
    skipped: list[dict[str, str]],
) -> SongDataset | None:
    if manifest is None:
        return None
    skip, features = data.on_bad_audio == "skip", reader.features
    rows = load_manifest(manifest, split, check_audio=not skip)
    if skip and features is None:
        workers = training.dataloader_num_workers
        issues = find_issues(rows, reader.processor, workers, reader.truncation, data.truncate_texts)
    else:
        issues = [] if data.truncate_texts else find_text_issues(rows, reader.processor)
    if skip and features is not None:
        issues += [
            RowIssue(index, audio_name(audio), "song without features", f"it is not in {data.features}")
            for index, audio in enumerate(rows["audio"])
            if audio not in features
        ]
    if issues and not skip:  # now, not in the middle of the training
        raise ValueError(f"{manifest}: {ValidationReport(len(rows), issues)}")
    if issues and training.process_index == 0:
        logger.warning("Left out of %s:\n%s", manifest, ValidationReport(len(rows), issues))
    if bad := {issue.index for issue in issues}:
        skipped += [{"manifest": manifest, "audio": issue.song, "problem": issue.issue} for issue in issues]
        rows = rows.select([index for index in range(len(rows)) if index not in bad])
    if features is not None:
        with training.main_process_first():  # it writes the hashes of new files for the other processes
            features.check(rows["audio"])
    return SongDataset(rows, reader)


def take_push_to_hub(training: CollapTrainingArguments) -> bool:
    """
    Returns `push_to_hub` and unsets it, so that only [`train_and_evaluate`] pushes.

    transformers' `Trainer` would push each checkpoint, with `training_args.bin`, which holds paths and the token.
    """
    push_to_hub, training.push_to_hub = training.push_to_hub, False
    if push_to_hub:
        validate_repo_id(training.hub_model_id or Path(training.output_dir).name)  # not after hours of training
    return push_to_hub


def train_and_evaluate(
    trainer: CollapTrainer, push_to_hub: bool = False, evaluated_on: str | None = None
) -> dict[str, float]:
    """
    Trains, saves and evaluates; returns the metrics of the evaluation.

    Args:
        trainer ([`CollapTrainer`]): What has no `train_dataset` is only evaluated.
        push_to_hub (`bool`): Whether to publish the model as [`publish_model`] does.
        evaluated_on (`str`, *optional*): Name of the evaluation data; the model card has metrics only with it.
    """
    training = trainer.args
    if trainer.train_dataset is not None:
        trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
        trainer.save_model()
    metrics = {}
    if trainer.eval_dataset is not None:
        metrics = trainer.evaluate()
        trainer.log_metrics("eval", metrics)
        trainer.save_metrics("eval", metrics)
    if push_to_hub:
        if trainer.is_world_process_zero():
            card = CardArguments()
            if metrics and evaluated_on is not None:
                card.evaluation_json = [str(Path(training.output_dir) / "eval_results.json")]
                card.evaluation_dataset = [evaluated_on]
            repository = training.hub_model_id or Path(training.output_dir).name
            address = publish_model(
                training.output_dir, repository, card, training.hub_token, training.hub_private_repo
            )
            logger.info("Pushed: %s", address)
        trainer.accelerator.wait_for_everyone()
    return metrics
