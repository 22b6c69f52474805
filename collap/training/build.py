# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A model and a trainer from the arguments of a training script."""

import json
import logging
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from datasets import Dataset, IterableDataset
from torch import nn
from transformers import AutoProcessor, AutoTokenizer, set_seed

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.data.cache import TensorCache, describe_features
from collap.data.manifest import load_manifest
from collap.data.validation import BadRow, ManifestError, find_bad_rows, report
from collap.hub.card import CardArguments
from collap.hub.push import publish_model
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.clap import is_clap, make_clap_trainer
from collap.training.dataset import SongDataset, SongReader, SongStream
from collap.training.trainer import CollapTrainer


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


logger = logging.getLogger(__name__)


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
        model_class (`type`): Class of the model; a subclass may score in its own way.
        prepare_model (`Callable`, *optional*): Changes the loaded model before anything else is done with it, as PEFT.

    Raises:
        ValueError: if the arguments contradict each other, or something that they name is not there.
        SystemExit: after `--validate`; with status 1 if something was found.
    """
    if data.train_manifest is None and data.eval_manifest is None:
        raise ValueError("Give --train_manifest, --eval_manifest or both: there is nothing to do.")
    if data.streaming and training.max_steps < 1:
        raise ValueError("--streaming needs --max_steps: a stream does not say how many songs it has.")
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    training.remove_unused_columns = False  # the songs' ids are no argument of every model

    set_seed(training.seed)
    if is_clap(model_arguments.model_name_or_path):
        if prepare_model is not None:
            raise ValueError(f"model_name_or_path must be a CoLLAP here, got {model_arguments.model_name_or_path}.")
        return make_clap_trainer(model_arguments, config, data, training)
    model, processor = load_model(model_arguments, config, model_class)
    if prepare_model is not None:
        model = prepare_model(model)
    model.to(training.device)
    if data.max_length_s is not None:
        processor.feature_extractor.max_length_s = data.max_length_s
    store = None
    if data.features is not None:
        store = TensorCache(data.features, describe_features(model.audio_model, processor.feature_extractor))

    def load_rows(
        manifest: str | None, split: str | None, streaming: bool = False
    ) -> Dataset | IterableDataset | None:
        if manifest is None:
            return None
        look_first = data.validate or data.on_bad_audio == "skip"
        try:
            rows = load_manifest(manifest, split, streaming=streaming, check_audio=not look_first)
        except ManifestError as error:
            if data.validate:
                raise SystemExit(
                    "\n  ".join([f"{manifest} cannot be read:", *(error.problems or [str(error)])])
                ) from None
            raise
        if data.on_bad_audio == "skip" and not data.validate:
            rows = _leave_out_bad(rows, manifest, processor, store, data, training)
        if store is not None and isinstance(rows, Dataset):
            with training.main_process_first():  # of files that are new to it, it remembers the hashes for the others
                store.check(rows["audio"])
        return rows

    train_rows = load_rows(data.train_manifest, data.train_split, data.streaming)
    eval_rows = load_rows(data.eval_manifest, data.eval_split)
    if data.validate:
        raise SystemExit(_validate([train_rows, eval_rows], processor, data, training))
    reader = SongReader(
        processor,
        model.config,
        store,
        data.augmentation(),
        truncation=data.max_length_s is not None,
        with_sections=training.section_loss_weight > 0,
    )
    train_songs = eval_songs = None
    if isinstance(train_rows, IterableDataset):
        train_songs = SongStream(train_rows, reader, training.seed, training.world_size, training.process_index)
    elif train_rows is not None:
        train_songs = SongDataset(train_rows, reader)
        if data.section_crop_probability or data.section_reorder_probability:
            problems = [problem for row in train_rows if (problem := reader.find_section_problem(row)) is not None]
            if problems:
                logger.warning(
                    "%d of %d songs are never cropped or reordered; the first: %s.",
                    len(problems),
                    len(train_rows),
                    problems[0],
                )
    if eval_rows is not None:
        eval_songs = SongDataset(eval_rows, reader)
    trainable = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    logger.info("%d of %d parameters are trainable.", trainable, model.num_parameters())
    return CollapTrainer(
        model=model,
        args=training,
        train_dataset=train_songs,
        eval_dataset=eval_songs,
        data_collator=CollapDataCollator(processor, data.max_length_s is not None, data.truncate_texts),
        processing_class=processor,
    )


def _leave_out_bad(
    rows: Dataset,
    manifest: str,
    processor: CollapProcessor,
    store: TensorCache | None,
    data: DataArguments,
    training: CollapTrainingArguments,
) -> Dataset:
    """The rows that can be read; the others are said, counted and written down."""
    if store is None:
        bad = find_bad_rows(
            rows, processor, training.dataloader_num_workers, data.max_length_s is not None, data.truncate_texts
        )
    else:
        bad = [
            BadRow(
                index,
                audio if isinstance(audio, str) else str(audio.get("path")),
                "songs without features",
                f"there are none of it in {data.features}",
            )
            for index, audio in enumerate(rows["audio"])
            if audio not in store
        ]
    if not bad:
        return rows
    if training.process_index == 0:
        logger.warning("Left out of %s:\n%s", manifest, report(bad, len(rows)))
        file = Path(training.output_dir) / "skipped_songs.jsonl"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a") as lines:
            lines.writelines(json.dumps({"manifest": manifest, **asdict(row)}) + "\n" for row in bad)
    bad_indices = {row.index for row in bad}
    return rows.select([index for index in range(len(rows)) if index not in bad_indices])


def _validate(
    manifests: Sequence[Dataset | None],
    processor: CollapProcessor,
    data: DataArguments,
    training: CollapTrainingArguments,
) -> int:
    """Reports on all rows; returns the exit status."""
    status = 0
    for name, rows in zip((data.train_manifest, data.eval_manifest), manifests, strict=True):
        if rows is None:
            continue
        bad = find_bad_rows(
            rows, processor, training.dataloader_num_workers, data.max_length_s is not None, data.truncate_texts
        )
        if training.process_index == 0:
            print(f"{name}: {report(bad, len(rows))}")
        status = status or int(bool(bad))
    return status


def take_push_to_hub(training: CollapTrainingArguments) -> bool:
    """
    Whether the model is to be pushed, which is then no longer left to transformers' `Trainer`.

    It would push each checkpoint with a plain card, and its `training_args.bin`, which holds paths and the token.
    """
    push_to_hub, training.push_to_hub = training.push_to_hub, False
    return push_to_hub


def train_and_evaluate(
    trainer: CollapTrainer, push_to_hub: bool = False, evaluated_on: str | None = None
) -> dict[str, float]:
    """
    Trains, saves, evaluates; returns the figures of the last evaluation.

    With `push_to_hub` the Hub gets what `collap publish` makes of the folder. The figures stand in its card if
    `evaluated_on` names what they were measured on.
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
