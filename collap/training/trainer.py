# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' `Trainer` for CoLLAP: an exact contrastive loss, and evaluation by what it is for, finding songs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
import torch.distributed as dist
from accelerate.data_loader import prepare_data_loader
from accelerate.utils import DistributedType
from torch import nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import EvalLoopOutput

from collap.metrics import RECALL_AT, text_to_audio_and_audio_to_text
from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.training.arguments import CollapTrainingArguments
from collap.training.checkpointing import AtomicCheckpointMixin
from collap.training.dataset import ContrastiveBatchSampler, SongDataset
from collap.training.loss import (
    ContrastiveLoss,
    GatheredPairs,
    Pairs,
    SectionLoss,
    count_micro_batches,
    gather_pairs,
    loss_and_backward,
    num_processes,
    split_ids,
    split_pairs,
)

logger = logging.getLogger(__name__)

MAX_SKIPPED_IN_A_ROW = 50  # the scaler of float16 needs up to 20 to find its scale


class SkipNonFiniteSteps(TrainerCallback):
    """
    Leaves the weights as they are where a gradient is not finite, instead of making them all NaN.

    With float16 the gradient scaler does that by itself, in silence; here it is counted too. (DeepSpeed takes its
    steps by itself: there only what it skipped is counted.)

    Raises:
        FloatingPointError: if 50 steps in a row had no finite gradient: the weights are broken, or the data.
    """

    def __init__(self) -> None:
        self.num_skipped = 0
        self.num_in_a_row = 0
        self._is_skipped = False
        self._scale: float | None = None  # of float16's scaler, before the step

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any):
        """Goes on counting where a resumed run had stopped."""
        counts = [entry["skipped_steps"] for entry in state.log_history if "skipped_steps" in entry]
        self.num_skipped = counts[-1] if counts else 0

    def on_pre_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ):
        self._is_skipped, self._scale = False, None
        scaler = getattr(optimizer, "scaler", None)
        if scaler is not None:
            self._scale = scaler.get_scale()
            return
        gradients = [
            parameter.grad
            for group in optimizer.param_groups
            for parameter in group["params"]
            if parameter.grad is not None
        ]
        if not gradients or _all_finite(gradients):
            return
        self._is_skipped = True
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None  # what has no gradient is passed over, by the weight decay too

    def on_optimizer_step(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        optimizer: Any = None,
        **kwargs: Any,
    ):
        # A scaler lowers its scale after an overflow and then alone. (Accelerate's `step_was_skipped` does not see the
        # steps that a fused optimizer skips by itself.)
        is_skipped = self._is_skipped or getattr(optimizer, "step_was_skipped", False)
        if self._scale is not None:
            is_skipped = optimizer.scaler.get_scale() < self._scale
        if not is_skipped:
            self.num_in_a_row = 0
            return
        self.num_skipped += 1
        self.num_in_a_row += 1
        logger.warning(
            "Step %d is skipped: its gradient is not finite (%d skipped so far).",
            state.global_step + 1,
            self.num_skipped,
        )
        if self.num_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise FloatingPointError(
                f"The gradients of {self.num_in_a_row} steps in a row were not finite. Go on from an earlier "
                "checkpoint with a lower learning_rate, or look for broken audio with `collap validate`."
            )


def _all_finite(gradients: list[torch.Tensor]) -> bool:
    # Of a sharded gradient each process sees its part, and all have to do the same.
    parts = [gradient.to_local() if hasattr(gradient, "to_local") else gradient for gradient in gradients]
    is_broken = torch.stack([~part.isfinite().all() for part in parts if part.numel()] or [torch.tensor(False)]).any()
    if num_processes() > 1:
        flag = is_broken.to(parts[0].device, torch.int32)
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        is_broken = flag > 0
    return not bool(is_broken)


class ShardingMixin:
    r"""
    Lets a `Trainer` shard a CoLLAP by FSDP2; stands before it in the bases. Without FSDP it changes nothing.

    - The weights are one unit, gathered once a step. A layer that is a unit of its own is gathered by all processes
      each time that one of them calls it; but songs differ in length, so that processes call the encoders differently
      often, and would wait for each other for ever.
    - Mixed precision is autocast, as everywhere else. Accelerate's way with FSDP2, weights and outputs in bfloat16,
      would round the embeddings before they are compared, and the temperature to steps of 3 %.

    Raises:
        ValueError: if the configuration of FSDP names units, or is of FSDP's first version.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        plugin = getattr(self.accelerator.state, "fsdp_plugin", None)
        if plugin is None:
            return
        if plugin.fsdp_version != 2:
            raise ValueError(
                f"fsdp_version must be 2, got {plugin.fsdp_version}; see examples/launch_configs/fsdp2.yaml."
            )
        if plugin.auto_wrap_policy is not None:
            raise ValueError(
                "fsdp_auto_wrap_policy must be NO_WRAP: where songs differ in length, processes would wait for each "
                "other's layers for ever; see examples/launch_configs/fsdp2.yaml."
            )
        plugin.mixed_precision_policy = None

    def compute_loss_context_manager(self) -> AbstractContextManager:
        """Autocast, where the wrapped model does not bring it."""
        if self.is_fsdp_enabled:
            return self.accelerator.autocast()
        return super().compute_loss_context_manager()


logger = logging.getLogger(__name__)


class CollapTrainer(ShardingMixin, AtomicCheckpointMixin, Trainer):
    r"""
    A `Trainer` whose loss is that of the whole contrastive batch, and whose evaluation is retrieval.

    **Training.** *N* processes with *b* songs each, one process with *N b* songs, and *N b* songs in micro-batches
    have the same loss and the same gradients, also where the last batch is uneven. What counts is
    `args.contrastive_batch_size`; `gradient_accumulation_steps` average the losses of several such batches, which is
    something else. Songs that share an id, or their text, are no negatives of each other. A step whose gradient is not
    finite is skipped, said, and counted in the logs as `skipped_steps`. Checkpoints are atomic
    ([`AtomicCheckpointMixin`]), and a resumed run is the uninterrupted one.

    **Evaluation.** Every text of the evaluation set looks for its song, and back: `evaluate()` logs `eval_loss` (the
    contrastive loss, averaged over the batches) and, over the whole set, recall at 1, 5 and 10 and the median rank, as
    in `eval_text_to_audio_recall@1`.

    Args:
        args ([`CollapTrainingArguments`]): With a `section_loss_weight`, [`SectionLoss`] is added to `loss`.
        loss (`Callable`, *optional*): [`GatheredPairs`] to a scalar. Default: [`ContrastiveLoss`].
        kwargs: As in transformers' `Trainer`. With a [`SongDataset`] as `train_dataset` the batches are those of
            [`ContrastiveBatchSampler`], with others transformers' own.

    Raises:
        ValueError: if one process has several GPUs: `nn.DataParallel` would contrast each GPU's songs alone.
    """

    def __init__(
        self,
        model: nn.Module | None = None,
        args: CollapTrainingArguments | None = None,
        *other_args: Any,
        loss: Callable[[GatheredPairs], torch.Tensor] | None = None,
        **kwargs: Any,
    ):
        if not isinstance(args, CollapTrainingArguments):
            raise TypeError(f"args must be CollapTrainingArguments, got {type(args).__name__}.")
        super().__init__(model, args, *other_args, **kwargs)
        self.loss = ContrastiveLoss() if loss is None else loss
        self.section_loss = SectionLoss(args.section_loss_weight) if args.section_loss_weight else None
        if self.args.n_gpu > 1:
            raise ValueError(
                f"There must be one process a GPU, got one for {self.args.n_gpu}: start the script with "
                "`accelerate launch` or `torchrun --nproc_per_node`, or show it one GPU by CUDA_VISIBLE_DEVICES."
            )
        if self.args.gradient_accumulation_steps > 1:
            logger.warning(
                "gradient_accumulation_steps=%d averages the losses of so many separate contrastive batches and adds "
                "no negatives. For more negatives in the same memory raise contrastive_batch_size and set "
                "micro_batch_size.",
                self.args.gradient_accumulation_steps,
            )
        if self.args.device.type == "cpu":
            self.args.dataloader_pin_memory = False  # there is nowhere to copy to; torch warns in every epoch
        self.skipped = SkipNonFiniteSteps()
        self.add_callback(self.skipped)

    def get_train_dataloader(self) -> DataLoader:
        """Contrastive batches of a [`SongDataset`], which this process has its part of."""
        songs = self.train_dataset
        if not isinstance(songs, SongDataset):
            return super().get_train_dataloader()
        arguments = self.args
        sampler = ContrastiveBatchSampler(
            len(songs),
            arguments.contrastive_batch_size,
            songs.lengths(),
            num_processes=arguments.world_size,
            process_index=arguments.process_index,
            seed=arguments.seed if arguments.data_seed is None else arguments.data_seed,
            drop_last=arguments.dataloader_drop_last,
        )
        loader = DataLoader(
            songs,
            batch_sampler=sampler,
            collate_fn=self.data_collator,
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
            persistent_workers=arguments.dataloader_persistent_workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            multiprocessing_context=arguments.dataloader_multiprocessing_context,
        )
        # The songs are shared out already (Accelerate would cut batches of a stream by rows, of which texts have more
        # than songs); and the batch stays where it is: micro-batches go to the device.
        return prepare_data_loader(loader, num_processes=1, process_index=0, put_on_device=False)

    def training_step(
        self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: torch.Tensor | int | None = None
    ) -> torch.Tensor:
        """One contrastive batch, forward and backward; returns its share of the step's loss, the same everywhere."""
        model.train()
        if callable(getattr(self.optimizer, "train", None)):  # optimizers without a schedule have two modes
            self.optimizer.train()
        inputs, ids = split_ids(dict(inputs))
        num_pairs = len(inputs["sentence_counts"])
        num_parts = count_micro_batches(num_pairs, self.args.micro_batch_size, self.args.device)
        ids = self._prepare_input(ids)
        scorer = self.accelerator.unwrap_model(model)

        def embed(part: dict[str, Any]) -> Pairs:
            with self.compute_loss_context_manager():
                return Pairs.of(model(**self._prepare_inputs(part), return_logits=False))

        num_accumulated = self.current_gradient_accumulation_steps
        # DeepSpeed would divide by the number of accumulated batches once more.
        is_deepspeed = self.accelerator.distributed_type == DistributedType.DEEPSPEED
        options = {"scale_wrt_gas": False} if is_deepspeed else {}
        loss = loss_and_backward(
            embed,
            split_pairs(inputs, num_parts),
            num_parts,
            lambda pairs: self._loss_of(gather_pairs(scorer, pairs, ids)),
            lambda value: self.accelerator.backward(value / num_accumulated, **options),
            lambda: self._keep_gradients_here(model),
            self.args.device,
        )
        return loss / num_accumulated

    def _loss_of(self, pairs: GatheredPairs) -> torch.Tensor:
        loss = self.loss(pairs)
        return loss if self.section_loss is None else loss + self.section_loss(pairs)

    @contextmanager
    def _keep_gradients_here(self, model: nn.Module) -> Iterator[None]:
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
        """As transformers', with the number of skipped steps, once there are any."""
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
        """Embeds all songs and texts, scores each pair, and returns the scores as `predictions`."""
        model = self.accelerator.unwrap_model(self.model).eval()
        songs, losses = [], []
        progress = tqdm(
            dataloader, desc=description, disable=self.args.disable_tqdm or not self.is_world_process_zero()
        )
        for batch in progress:
            batch = self._prepare_inputs(batch)
            with torch.no_grad(), self.compute_loss_context_manager():
                output = model(**batch)
            losses.append(self.accelerator.gather(output.loss.float()).mean().item())
            mine = self._one_by_one(output.audio_model_output, output.text_model_output)
            # In the order of the data set, without the songs that a last batch repeats to give every process as many.
            songs += self.accelerator.gather_for_metrics(mine, use_gather_object=True)
        with torch.no_grad():
            audio, text = join_songs(songs, model)
            logits_per_audio = (output.logit_scale * model.similarity(audio, text)).cpu().numpy()
        metrics = {"loss": sum(losses) / len(losses)}
        # A k as large as the gallery says nothing; but recall@1, by which a model may be chosen, is always there.
        recall_at = [k for k in RECALL_AT if k == 1 or k < len(songs)]
        both = text_to_audio_and_audio_to_text(logits_per_audio, list(range(len(songs))), recall_at)
        for direction, figures in both.items():
            metrics |= {
                f"{direction}_{name}": value
                for name, value in figures.items()
                if name.startswith(("recall", "median_rank"))
            }
        metrics["gallery_size"] = len(songs)
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in metrics.items()}
        return EvalLoopOutput(predictions=logits_per_audio, label_ids=None, metrics=metrics, num_samples=len(songs))

    @staticmethod
    def _one_by_one(audio: CollapAudioOutput, text: CollapTextOutput) -> list[dict[str, torch.Tensor]]:
        """The songs of a batch without its padding, on the CPU: batches differ in what they are padded to."""
        counts = text.sentence_counts.tolist()
        columns = {
            "frames": [
                frames[mask].cpu() for frames, mask in zip(audio.last_hidden_state, audio.frame_mask, strict=True)
            ],
            "queries": [queries.cpu() for queries in text.query_embeds.split(counts)],
        }
        if text.time_query_embeds is not None:
            columns["time_queries"] = [queries.cpu() for queries in text.time_query_embeds.split(counts)]
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def join_songs(songs: list[dict[str, Any]], model: CollapModel) -> tuple[CollapAudioOutput, CollapTextOutput]:
    """Songs and their texts, kept one by one, as one batch on the model's device."""
    frames = [song["frames"] for song in songs]
    counts = torch.tensor([len(item) for item in frames])
    audio = CollapAudioOutput(
        last_hidden_state=pad_sequence(frames, batch_first=True).to(model.device),
        frame_mask=(torch.arange(int(counts.max())) < counts[:, None]).to(model.device),
    )
    with_time = "time_queries" in songs[0]
    text = CollapTextOutput(
        query_embeds=torch.cat([song["queries"] for song in songs]).to(model.device),
        time_query_embeds=torch.cat([song["time_queries"] for song in songs]).to(model.device) if with_time else None,
        sentence_counts=torch.tensor([len(song["queries"]) for song in songs], device=model.device),
    )
    return audio, text


__all__ = ["CollapTrainer", "ShardingMixin", "SkipNonFiniteSteps"]
