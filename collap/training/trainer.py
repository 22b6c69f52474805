# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' `Trainer` for CoLLAP: an exact contrastive loss, and evaluation by retrieval."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DistributedType
from torch import nn
from torch.utils.data import DataLoader
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput, EvalPrediction, denumpify_detensorize, has_length

from collap.metrics import RECALL_AT, text_to_audio_and_audio_to_text
from collap.modeling_collap.loss_collap import contrastive_loss
from collap.training.arguments import CollapTrainingArguments
from collap.training.checkpointing import AtomicCheckpointMixin
from collap.training.dataset import ContrastiveBatchSampler, SongDataset
from collap.training.frozen_text import encode_once
from collap.training.loss import (
    GatheredPairs,
    Pairs,
    caption_loss,
    count_micro_batches,
    gather_pairs,
    loss_and_backward,
    section_loss,
    split_ids,
    split_pairs,
)

logger = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 50  # the scaler of float16 needs up to 20 to find its scale
# What transformers' `Trainer` takes and a contrastive training cannot use.
REFUSED = {
    "compute_loss_func": "give a function of `GatheredPairs` as `loss`",
    "preprocess_logits_for_metrics": "`compute_metrics` gets all scores and can change them itself",
    "label_smoothing_factor": "the contrastive loss has no classes",
    "batch_eval_metrics": "a batch alone has no retrieval metrics",
    "include_for_metrics": "`compute_metrics` gets scores and label_ids only",
    "fp16_full_eval": "give `fp16`",
    "bf16_full_eval": "give `bf16`",
    "auto_find_batch_size": "a smaller contrastive batch is another loss; give `micro_batch_size`",
    "remove_unused_columns": "leave it False, because audio, text and ids are columns that the model does not take",
}


class CollapTrainer(AtomicCheckpointMixin, Trainer):
    r"""
    A `Trainer` whose loss is that of the whole contrastive batch, and whose evaluation is retrieval.

    **Training.** *N* processes with *b* songs each, one process with *N b* songs, and *N b* songs in micro-batches
    have the same loss and the same gradients. `args.contrastive_batch_size` is the number of songs in the loss;
    `gradient_accumulation_steps` average the losses of several such batches, which is a different loss. Songs that
    share an id, or their text, are no negatives of each other. A step whose gradient is not finite is skipped and
    counted in the logs as `skipped_steps`. Checkpoints are atomic ([`AtomicCheckpointMixin`]), and a resumed run
    equals the uninterrupted one (with a frozen text model within rounding).

    **FSDP2.** The weights must be one unit, gathered once a step. Songs differ in length, so that processes call the
    layers of the encoders differently often: with layers as units they would wait for each other forever. Mixed
    precision is autocast: weights and outputs in bfloat16 would round the embeddings before they are compared.

    **Evaluation.** `evaluate()` scores all songs of the set with all texts. It logs the contrastive loss of the whole
    set (`eval_loss`, whatever `loss` is), and the recall and the median rank of each text's song and of each song's
    text (`eval_text_to_audio_recall@1`). None of them depends on batch size or number of processes, but a larger set
    has a larger loss. `compute_metrics` gets, and `predict()` returns, the scaled scores of the whole set as
    `predictions` `(songs, texts)`, and as `label_ids` `(texts,)` the row of each text's song. Pairs with one song id
    are one song; songs and texts are in the order of the set.

    Args:
        args ([`CollapTrainingArguments`]): With a `section_loss_weight`, [`section_loss`] is added to `loss`.
        loss (`Callable`, *optional*): [`GatheredPairs`] to a scalar. Default: [`caption_loss`].
        kwargs: As in transformers' `Trainer`. With a [`SongDataset`] as `train_dataset` the batches are those of
            [`ContrastiveBatchSampler`], with others transformers' own.

    Raises:
        TypeError: if `args` are of another class.
        ValueError: if one process has several GPUs (`nn.DataParallel` would contrast the songs of each GPU alone); if
            the configuration of FSDP is not as above; if the processor does not fit the model; if an argument has no
            meaning here (`compute_loss_func`, `label_smoothing_factor` and others), or `metric_for_best_model` is no
            metric of the evaluation; if a batch or an evaluation set has one pair, which leaves nothing to contrast.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: CollapTrainingArguments | None = None,
        *other_args: Any,
        loss: Callable[[GatheredPairs], torch.Tensor] = caption_loss,
        **kwargs: Any,
    ):
        if not isinstance(args, CollapTrainingArguments):
            needed = f"{CollapTrainingArguments.__name__} of {CollapTrainingArguments.__module__}"
            raise TypeError(f"args must be {needed}, got {type(args).__name__}.")
        super().__init__(model, args, *other_args, **kwargs)
        if args.n_gpu > 1:
            raise ValueError(
                f"There must be one process for each GPU, got one for {args.n_gpu}: start the script with `accelerate "
                "launch` or `torchrun --nproc_per_node`, or set CUDA_VISIBLE_DEVICES to one GPU."
            )
        _prepare_fsdp(self.accelerator)
        for name, instead in REFUSED.items():
            if value := getattr(args, name, None) or getattr(self, name, None):
                raise ValueError(f"{name} must not be given, got {value}: {instead}.")
        for processor in (self.processing_class, getattr(self.data_collator, "processor", None)):
            if hasattr(processor, "check_model"):
                processor.check_model(self.model.config)
        if args.text_learning_rate is not None and self.optimizer is not None:
            raise ValueError("text_learning_rate must not be given together with `optimizers`.")
        self._check_evaluation()
        self.loss = loss
        self.known_texts: dict[bytes, torch.Tensor] = {}
        self.skipped = SkipNonFiniteSteps()
        self.add_callback(self.skipped)
        if args.gradient_accumulation_steps > 1:
            logger.warning(
                "gradient_accumulation_steps=%d averages the losses of separate contrastive batches and adds no "
                "negatives. For more negatives in the same memory raise contrastive_batch_size and set "
                "micro_batch_size.",
                args.gradient_accumulation_steps,
            )
        if has_length(self.train_dataset) and len(self.train_dataset) < args.contrastive_batch_size:
            logger.warning(
                "contrastive_batch_size=%d is more than the %d songs of train_dataset: an epoch is one step. For more "
                "steps, give a smaller one or more epochs.",
                args.contrastive_batch_size,
                len(self.train_dataset),
            )
        if args.device.type == "cpu":
            args.dataloader_pin_memory = False  # without a device, torch warns in every epoch

    def _check_evaluation(self) -> None:
        """Finds what would fail in the first evaluation only, after a whole epoch."""
        sets = self.eval_dataset if isinstance(self.eval_dataset, dict) else {"": self.eval_dataset}
        names = []
        for prefix, songs in sets.items():
            number = len(songs) if has_length(songs) else None
            if number == 1:
                raise ValueError("eval_dataset must hold at least 2 pairs of song and text to rank, got 1.")
            names += [f"{prefix}_{name}" if prefix else name for name in _metric_names(number)]
        best = self.args.metric_for_best_model
        if best is None or self.args.eval_strategy == "no" or self.compute_metrics is not None:
            return
        if best.removeprefix("eval_") not in names:
            raise ValueError(f"metric_for_best_model must be one of {', '.join(names)}, got {best!r}.")

    def get_train_dataloader(self) -> DataLoader:
        """The part of this process of the contrastive batches of a [`SongDataset`]."""
        songs, args = self.train_dataset, self.args
        if not isinstance(songs, SongDataset):
            rest = len(songs) % args.contrastive_batch_size if has_length(songs) and args.world_size == 1 else 0
            if rest == 1 and not args.dataloader_drop_last:
                raise ValueError(f"The last batch of {len(songs)} pairs has one pair only: set dataloader_drop_last.")
            return super().get_train_dataloader()
        sampler = ContrastiveBatchSampler(
            len(songs),
            args.contrastive_batch_size,
            songs.lengths(),
            num_processes=args.world_size,
            process_index=args.process_index,
            seed=args.seed if args.data_seed is None else args.data_seed,
            drop_last=args.dataloader_drop_last,
            groups=songs.rows["group"] if "group" in songs.rows.column_names else None,
        )
        loader = DataLoader(
            songs,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory,
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
            multiprocessing_context=args.dataloader_multiprocessing_context,
        )
        # The sampler has split the work already. The batch stays on the CPU: micro-batches go to the device.
        return prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False)

    def _get_dataloader(self, *args: Any, is_training: bool = False, **kwargs: Any) -> DataLoader:
        """As in transformers; an evaluation has all songs, with `dataloader_drop_last` too."""
        drop_last = self.args.dataloader_drop_last
        self.args.dataloader_drop_last = drop_last and is_training
        try:
            return super()._get_dataloader(*args, is_training=is_training, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop_last

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """As in transformers; with `args.text_learning_rate` the text model has parameter groups of its own."""
        rate = self.args.text_learning_rate
        if rate is None or self.optimizer is not None:
            return super().create_optimizer(model)
        named = (self.model if model is None else model).named_parameters()
        of_text = {parameter for name, parameter in named if "text_model.encoder." in name and parameter.requires_grad}
        if not of_text:
            raise ValueError(f"text_learning_rate has no effect, got {rate}: no layer of the text model is trained.")
        optimizer = super().create_optimizer(model)
        for group in list(optimizer.param_groups):
            own = [parameter for parameter in group["params"] if parameter in of_text]
            group["params"] = [parameter for parameter in group["params"] if parameter not in of_text]
            optimizer.add_param_group({**group, "params": own, "lr": rate})
        return optimizer

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """Forward and backward pass of one contrastive batch; returns its part of the loss of the step."""
        model.train()
        if callable(getattr(self.optimizer, "train", None)):  # optimizers without a schedule have two modes
            self.optimizer.train()
        inputs, ids = split_ids(dict(inputs))
        num_parts = count_micro_batches(len(inputs["sentence_counts"]), self.args.micro_batch_size, self.args.device)
        ids = self._prepare_input(ids)
        unwrapped = self.accelerator.unwrap_model(model)

        def loss_of(pairs: Pairs) -> torch.Tensor:
            gathered = gather_pairs(unwrapped, pairs, ids)
            if len(gathered.song_ids) < 2:
                raise ValueError("A contrastive batch must hold at least 2 pairs of song and text, got 1.")
            loss = self.loss(gathered)
            weight = self.args.section_loss_weight
            return loss + weight * section_loss(gathered) if weight else loss

        num_accumulated = self.current_gradient_accumulation_steps
        # DeepSpeed would divide by the number of accumulated batches once more.
        is_deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        options = {"scale_wrt_gas": False} if is_deepspeed else {}
        loss = loss_and_backward(
            partial(self._embed, model),
            split_pairs(inputs, num_parts),
            num_parts,
            loss_of,
            lambda value: self.accelerator.backward(value / num_accumulated, **options),
            lambda: self._accumulate(model),
            self.args.device,
        )
        return loss / num_accumulated

    def _embed(self, model: nn.Module, inputs: dict[str, Any]) -> Pairs:
        # The wrapped model contains autocast, but not under FSDP or without a training, and not in `encode_once`.
        with self.accelerator.autocast():
            inputs = encode_once(self.accelerator.unwrap_model(model), self._prepare_inputs(inputs), self.known_texts)
            return Pairs.of(model(**inputs, return_logits=False))

    @contextmanager
    def _accumulate(self, model: nn.Module) -> Iterator[None]:
        """Inside, a backward pass adds to the gradients of this process only, and DeepSpeed takes no step."""
        state = self.accelerator.gradient_state
        is_last = state.sync_gradients
        state._set_sync_gradients(False)
        try:
            with self.accelerator.no_sync(model):
                yield
        finally:
            state._set_sync_gradients(is_last)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """As in transformers, with the number of skipped steps if there are any."""
        if self.skipped.num_skipped:
            logs["skipped_steps"] = self.skipped.num_skipped
        super().log(logs, start_time)

    def evaluation_loop(
        self,
        dataloader: DataLoader,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Encodes all songs and texts and scores each song with each text; the scores are the `predictions`."""
        model = self.accelerator.unwrap_model(self.model).eval()
        if callable(getattr(self.optimizer, "eval", None)):
            self.optimizer.eval()
        self.callback_handler.eval_dataloader = dataloader
        pairs = []
        for batch in dataloader:
            inputs, ids = split_ids(dict(batch))
            with torch.no_grad():
                own = self._embed(model, inputs).to("cpu").split()
            of_pairs = [ids[name].tolist() if name in ids else [None] * len(own) for name in ("song_ids", "text_ids")]
            # In the order of the data set, without the pairs that the last batch repeats for equal numbers.
            gathered = list(zip(own, *of_pairs, strict=True))
            pairs += self.accelerator.gather_for_metrics(gathered, use_gather_object=True)
            self.control = self.callback_handler.on_prediction_step(self.args, self.state, self.control)
        embedded, *ids = zip(*pairs, strict=True)
        # A missing id becomes a number that no other pair has; ids are never negative.
        song_ids, text_ids = (
            torch.tensor([-1 - index if number is None else number for index, number in enumerate(numbers)])
            for numbers in ids
        )
        if len(song_ids.unique()) < 2 or len(text_ids.unique()) < 2:
            raise ValueError(f"{description}: {len(pairs)} pair(s) of one song or one text leave nothing to rank.")
        with torch.no_grad():
            everything = Pairs.join(list(embedded)).to(model.device)
            scores = (everything.logit_scale * model.similarity(everything.audio, everything.texts)).cpu()
            loss = contrastive_loss(scores, song_ids, text_ids).item()
        rows = {song: row for row, song in enumerate(dict.fromkeys(song_ids.tolist()))}
        label_ids = np.array([rows[song] for song in song_ids.tolist()])
        predictions = scores.numpy()[np.unique(label_ids, return_index=True)[1]]  # each song once

        found: dict[str, Any] = {"loss": loss, "gallery_size": len(predictions)}
        for direction, values in text_to_audio_and_audio_to_text(predictions, label_ids).items():
            found |= {f"{direction}_{name}": value for name, value in values.items()}
        metrics = {name: found[name] for name in _metric_names(len(pairs)) if name in found}
        if self.compute_metrics is not None:
            metrics |= denumpify_detensorize(self.compute_metrics(EvalPrediction(predictions, label_ids)))
        prefix = f"{metric_key_prefix}_"
        metrics = {prefix + name.removeprefix(prefix): value for name, value in metrics.items()}
        return EvalLoopOutput(predictions, label_ids, metrics, num_samples=len(pairs))


def _metric_names(num_pairs: int | None) -> list[str]:
    """Names of the metrics of an evaluation, without prefix; those of time are transformers' own."""
    # Recall at the number of pairs is always 1, but recall@1 is always there: models are selected by it.
    recall_at = [k for k in RECALL_AT if k == 1 or num_pairs is None or k < num_pairs]
    ranks = [*(f"recall@{k}" for k in recall_at), "median_rank"]
    both = [f"{direction}_{name}" for direction in ("text_to_audio", "audio_to_text") for name in ranks]
    return ["loss", *both, "gallery_size", "runtime", "samples_per_second", "steps_per_second"]


def _prepare_fsdp(accelerator: Accelerator) -> None:
    plugin = getattr(accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        return
    for name, value, expected in (
        ("fsdp_version", plugin.fsdp_version, 2),
        ("fsdp_auto_wrap_policy", plugin.auto_wrap_policy, None),
    ):
        if value != expected:
            expected = "NO_WRAP" if expected is None else expected
            raise ValueError(f"{name} must be {expected}, got {value}; see examples/launch_configs/fsdp2.yaml.")
    plugin.mixed_precision_policy = None


class SkipNonFiniteSteps(TrainerCallback):
    """
    Skips the steps whose gradient is not finite, which would make all weights NaN, and counts them; a
    FloatingPointError if there are 50 in a row.

    The gradient scaler of float16 and DeepSpeed skip steps by themselves: those are only counted.
    """

    def __init__(self) -> None:
        self.num_skipped = 0
        self.num_in_a_row = 0
        self._is_skipped = False
        self._scale: float | None = None  # of the scaler, before the step

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any):
        """Continues the count of a resumed run."""
        counts = [entry["skipped_steps"] for entry in state.log_history if "skipped_steps" in entry]
        self.num_skipped = counts[-1] if counts else 0

    def on_pre_optimizer_step(self, *_: Any, optimizer: Any, **kwargs: Any) -> None:
        scaler = getattr(optimizer, "scaler", None)
        self._scale = None if scaler is None else scaler.get_scale()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        self._is_skipped = scaler is None and bool(gradients) and not _is_finite(gradients)
        if self._is_skipped:
            for parameter in parameters:
                parameter.grad = None  # the optimizer skips what has no gradient, weight decay included

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ) -> None:
        # Only an overflow lowers the scale. (Accelerate's `step_was_skipped` misses the steps that a fused optimizer
        # skips by itself.)
        is_skipped = self._is_skipped or getattr(optimizer, "step_was_skipped", False)
        if self._scale is not None:
            is_skipped = optimizer.scaler.get_scale() < self._scale
        if not is_skipped:
            self.num_in_a_row = 0
            return
        self.num_skipped += 1
        self.num_in_a_row += 1
        step = state.global_step + 1
        logger.warning("Step %d is skipped: its gradient is not finite (%d skipped so far).", step, self.num_skipped)
        if self.num_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"The gradients of {self.num_in_a_row} steps in a row were not finite. Resume from an earlier "
                "checkpoint with a lower learning_rate, or check the audio with `collap validate`."
            )


def _is_finite(gradients: list[torch.Tensor]) -> bool:
    """Whether all gradients are finite, the same on all processes, which hold parts of a sharded gradient."""
    norm = nn.utils.get_total_norm(gradients)
    return bool((norm.full_tensor() if hasattr(norm, "full_tensor") else norm).isfinite())
