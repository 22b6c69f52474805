# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Checkpoints with a mark of completeness, and runs that resume from the last complete one, bit by bit."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, sort_checkpoints

from collap.files import flush, write_json

logger = logging.getLogger(__name__)

# Written last, when all files of all processes are on the disk.
COMPLETE_FILE = "complete.json"


class AtomicCheckpointMixin:
    r"""
    A `Trainer` that resumes from complete checkpoints only: `class MyTrainer(AtomicCheckpointMixin, Trainer)`.

    - A checkpoint is complete when it holds `complete.json`, which is written when all files of all processes are on
      the disk. Only then are old checkpoints deleted (the last and the best always stay).
    - `train(resume_from_checkpoint=True)` (or `"true"`, as the command line gives it) resumes from the last complete
      checkpoint. If there is none, training begins with a warning: the same command starts and resumes.
    - A resumed run logs what the uninterrupted one would: the losses since the last log, which transformers loses, are
      in `complete.json`.
    - `save_model` replaces an earlier model when the new one is complete.

    Raises:
        OSError: if a checkpoint can't be written, as on a full disk. The message names the checkpoint to resume from;
            what was written of the new one is removed.
        ValueError: if `resume_from_checkpoint` is a checkpoint that is not complete.
    """

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.add_callback(_CompleteCheckpoints(self))
        self._resumed_from: Path | None = None
        self._being_written: Path | None = None
        self._save_total_limit: int | None = None

    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> TrainOutput:
        """As in transformers, from the last complete checkpoint."""
        complete = complete_checkpoints(Path(self.args.output_dir))
        checkpoint = None
        if str(resume_from_checkpoint).lower() == "true":
            checkpoint = complete[-1] if complete else None
            if checkpoint is None:
                logger.warning("There is no complete checkpoint in %s: training begins anew.", self.args.output_dir)
        elif str(resume_from_checkpoint).lower() not in ("false", "none"):
            checkpoint = Path(resume_from_checkpoint)
            if not (checkpoint / COMPLETE_FILE).is_file():
                raise ValueError(
                    f"resume_from_checkpoint must be complete, got {checkpoint}, which has no {COMPLETE_FILE}."
                )
        elif complete:
            logger.warning("%s is of an earlier run. Use another output_dir to keep its checkpoints.", complete[-1])
        self._resumed_from, self._being_written = checkpoint, None
        # transformers deletes old checkpoints before the new one is complete, so it must not know the limit.
        self._save_total_limit, self.args.save_total_limit = self.args.save_total_limit, None
        try:
            return super().train(checkpoint and str(checkpoint), trial, *args, **kwargs)
        except BaseException as error:
            self._remove_incomplete(error)
            raise
        finally:
            self.args.save_total_limit = self._save_total_limit

    def _remove_incomplete(self, error: BaseException) -> None:
        """Removes the checkpoint that was being written when `error` came up."""
        checkpoint = self._being_written
        if checkpoint is None or not checkpoint.is_dir() or (checkpoint / COMPLETE_FILE).is_file():
            return
        shutil.rmtree(checkpoint, ignore_errors=True)
        if isinstance(error, Exception):  # and no KeyboardInterrupt
            advice = "There is no earlier checkpoint."
            if complete := complete_checkpoints(checkpoint.parent):
                size = sum(path.stat().st_size for path in complete[-1].rglob("*")) / 1e6
                advice = (
                    f"Make room ({complete[-1].name} has {size:.1f} MB), then resume from {complete[-1].name} with "
                    "--resume_from_checkpoint true."
                )
            raise OSError(f"{checkpoint} could not be written and is removed: {error}. {advice}") from error

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._being_written = Path(self.args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        (self._being_written / COMPLETE_FILE).unlink(missing_ok=True)  # one of an earlier run is written over
        super()._save_checkpoint(*args, **kwargs)

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """As in transformers; a model that was there stays until the new one is complete."""
        if _internal_call:  # a part of a checkpoint
            super().save_model(output_dir, _internal_call)
            return
        folder = Path(output_dir or self.args.output_dir)
        unfinished = folder / "_unfinished"
        try:
            super().save_model(str(unfinished), _internal_call=True)
            if self.args.should_save:
                flush(*unfinished.rglob("*"))
                _replace_model(unfinished, folder)
        finally:
            if self.args.should_save:
                shutil.rmtree(unfinished, ignore_errors=True)


class _CompleteCheckpoints(TrainerCallback):
    """Marks checkpoints as complete, deletes old ones, and restores the losses since the last log."""

    def __init__(self, trainer: AtomicCheckpointMixin):
        self.trainer = trainer

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any):
        trainer = self.trainer
        if trainer._resumed_from is not None:
            sums = json.loads((trainer._resumed_from / COMPLETE_FILE).read_text())
            trainer._tr_loss.fill_(sums["loss_since_last_log"])
            trainer._globalstep_last_logged = sums["step_of_last_log"]
            trainer._total_loss_scalar -= sums["loss_since_last_log"]  # the mean at the end is over this run's steps

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any):
        trainer = self.trainer
        trainer.accelerator.wait_for_everyone()
        if trainer.is_local_process_zero():  # of each node, for nodes may have disks of their own
            checkpoint = trainer._being_written
            flush(*checkpoint.rglob("*"), checkpoint, checkpoint.parent)
            # The loss of a step is the same on all processes.
            loss, step = trainer._tr_loss.item(), trainer._globalstep_last_logged
            write_json(checkpoint / COMPLETE_FILE, {"loss_since_last_log": loss, "step_of_last_log": step})
            flush(checkpoint)
        trainer.accelerator.wait_for_everyone()
        trainer._being_written = None
        if args.should_save:
            _delete_old(Path(args.output_dir), trainer._save_total_limit, state.best_model_checkpoint)


def complete_checkpoints(folder: Path) -> list[Path]:
    """From the first step to the last."""
    return [path for path in map(Path, sort_checkpoints(str(folder))) if (path / COMPLETE_FILE).is_file()]


def _delete_old(folder: Path, save_total_limit: int | None, best: str | None) -> None:
    if not save_total_limit:
        return
    complete = complete_checkpoints(folder)
    protected = {complete[-1], complete[-1] if best is None else Path(best)}
    num_surplus = max(0, len(complete) - max(save_total_limit, len(protected)))
    for checkpoint in [path for path in complete if path not in protected][:num_surplus]:
        (checkpoint / COMPLETE_FILE).unlink()  # first: what is half deleted is not complete
        shutil.rmtree(checkpoint, ignore_errors=True)


def _replace_model(new: Path, folder: Path) -> None:
    files = [path.relative_to(new) for path in new.rglob("*") if path.is_file()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (new / file).replace(folder / file)
    # Weights of an earlier model in one file would be preferred to those of a new one in several.
    for stale in {path.relative_to(folder) for path in folder.glob("model*.safetensors*")}.difference(files):
        (folder / stale).unlink()
