# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""transformers' `Trainer`, which evaluates CoLLAP by what it is for: finding songs."""

from collections.abc import Callable
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader
from tqdm.auto import tqdm
from transformers import Trainer
from transformers.trainer_utils import EvalLoopOutput

from collap.modeling_collap.modeling_collap import CollapModel
from collap.modeling_collap.outputs_collap import CollapAudioOutput, CollapTextOutput
from collap.retrieval.metrics import text_to_audio_and_audio_to_text


class CollapTrainer(Trainer):
    r"""
    A `Trainer` whose evaluation is retrieval: every text of the evaluation set looks for its song, and back.

    `evaluate()` logs `eval_loss` (the contrastive loss, averaged over the batches) and, over the whole set, recall at
    1, 5 and 10 and the median rank, as in `eval_text_to_audio_recall@1`. Training is transformers' own, so on several
    processes each contrasts only the songs of its own batch.

    Args:
        eval_data_collator (`Callable`, *optional*):
            Collator of the evaluation, one that shuffles no sentences. Default: that of the training.
        kwargs: As in transformers' `Trainer`.
    """

    def __init__(self, *args: Any, eval_data_collator: Callable | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.eval_data_collator = eval_data_collator or self.data_collator

    def get_eval_dataloader(self, eval_dataset: Any = None) -> DataLoader:
        """As transformers', with the collator of the evaluation."""
        training_collator, self.data_collator = self.data_collator, self.eval_data_collator
        try:
            return super().get_eval_dataloader(eval_dataset)
        finally:
            self.data_collator = training_collator

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
            mine = self._one_by_one(output.frame_embeds, output.frame_mask, output.text_model_output)
            # In the order of the data set, without the songs that a last batch repeats to give every process as many.
            songs += self.accelerator.gather_for_metrics(mine, use_gather_object=True)
        with torch.no_grad():
            audio, text = join_songs(songs, model)
            logits_per_audio = model.score(audio, text).cpu().numpy()
        metrics = {"loss": sum(losses) / len(losses)}
        both = text_to_audio_and_audio_to_text(logits_per_audio, list(range(len(songs))))
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
    def _one_by_one(
        frame_embeds: torch.Tensor, frame_mask: torch.Tensor, text: CollapTextOutput
    ) -> list[dict[str, torch.Tensor]]:
        """The songs of a batch without its padding, on the CPU: batches differ in what they are padded to."""
        counts = text.sentence_counts.tolist()
        columns = {
            "frames": [frames[mask].cpu() for frames, mask in zip(frame_embeds, frame_mask, strict=True)],
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


__all__ = ["CollapTrainer"]
