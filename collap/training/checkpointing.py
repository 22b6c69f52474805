# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Checkpoints that are whole or not there: a killed run or a full disk costs the steps since the last, never more."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from traceback import clear_frames
from typing import Any

from safetensors import SafetensorError
from torch import nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, get_last_checkpoint, rotate_checkpoints

logger = logging.getLogger(__name__)

# What is being written lies in this folder of the output folder. `get_last_checkpoint` does not look into it, and
# uploads to the Hub leave out what begins with an underscore.
UNFINISHED_FOLDER = "_unfinished"
LOSS_SUM_FILE = "loss_sum_{process}.json"
# torch has no exception of its own for a disk that takes no more, only these words.
TORCH_WRITE_ERRORS = ("PytorchStreamWriter", "inline_container.cc", "iostream error", "No space left on device")


class AtomicCheckpointMixin:
    r"""
    Makes the checkpoints of a `Trainer` atomic; stands before it: `class MyTrainer(AtomicCheckpointMixin, Trainer)`.

    - A checkpoint is written beside, brought to the disk, and renamed to `checkpoint-N` when all processes are done
      with it. Only then are old ones deleted. So the last `checkpoint-N` is whole whenever the run was killed.
    - `train(resume_from_checkpoint=True)` (or `"true"`, as the command line gives it) goes on from the last
      checkpoint, and begins anew, saying so, if there is none yet: one command starts a run and goes on with it.
    - A resumed run logs what the uninterrupted one would: transformers forgets the losses between the last log and the
      checkpoint; here they are kept in it.
    - The model that `save_model` writes is replaced file by file, none half-written.

    Raises:
        OSError: where something cannot be written, on a full disk above all. Says what, how much is free, and from
            which checkpoint to go on; what was written of the new one is removed.
    """

    _unfinished: Path | None = None  # where the checkpoint goes that is being written

    def train(
        self, resume_from_checkpoint: str | bool | None = None, trial: Any = None, *args: Any, **kwargs: Any
    ) -> TrainOutput:
        """As transformers', after what a killed run left half-written is removed."""
        folder = Path(self._get_output_dir(trial))
        if self.is_local_process_zero() and (folder / UNFINISHED_FOLDER).is_dir():
            logger.warning("Removing %s: the run that wrote it was stopped.", folder / UNFINISHED_FOLDER)
            shutil.rmtree(folder / UNFINISHED_FOLDER, ignore_errors=True)  # another node may do the same
        self.accelerator.wait_for_everyone()
        if str(resume_from_checkpoint).lower() in ("true", "false"):
            resume = str(resume_from_checkpoint).lower() == "true"
            resume_from_checkpoint = _last_checkpoint(folder) if resume else None
            if resume and resume_from_checkpoint is None:
                logger.warning("There is no checkpoint in %s to go on from: training begins with step 1.", folder)
        if resume_from_checkpoint is None and (old := _last_checkpoint(folder)) is not None:
            logger.warning("%s is of an earlier run, which this one does not go on with. Take another folder.", old)
        return super().train(resume_from_checkpoint, trial, *args, **kwargs)

    def _get_output_dir(self, trial: Any) -> str:
        return super()._get_output_dir(trial) if self._unfinished is None else str(self._unfinished.parent)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial))
        checkpoint = folder / f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"
        unfinished = folder / UNFINISHED_FOLDER / checkpoint.name
        with _clean_up_unless_written(unfinished, checkpoint):
            self._unfinished = unfinished
            try:
                super()._save_checkpoint(model, trial)
            finally:
                self._unfinished = None
            if self.state.best_model_checkpoint == str(unfinished):
                self.state.best_model_checkpoint = str(checkpoint)
                if self.args.should_save:
                    self.state.save_to_json(str(unfinished / TRAINER_STATE_NAME))
            self.accelerator.wait_for_everyone()
            if self.is_local_process_zero():
                _flush(unfinished)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                _publish(unfinished, checkpoint)
            self.accelerator.wait_for_everyone()
            # Nodes without a common disk: what their processes wrote (random states, shards) lies on each.
            if self.is_local_process_zero() and not self.args.should_save and unfinished.is_dir():
                with suppress(FileNotFoundError):  # a common disk that shows an old state
                    _publish(unfinished, checkpoint)
            self.accelerator.wait_for_everyone()
        if self.args.push_to_hub:
            super()._push_from_checkpoint(str(checkpoint))
        if self.args.should_save:
            rotate_checkpoints(
                str(folder), self.args.save_total_limit, self.state.best_model_checkpoint, use_mtime=True
            )

    def _push_from_checkpoint(self, checkpoint_folder: str) -> None:
        """Nothing yet while the checkpoint is being written: it would be renamed during its upload."""
        if self._unfinished is None:
            super()._push_from_checkpoint(checkpoint_folder)

    def _save(self, output_dir: str | None = None, state_dict: dict | None = None) -> None:
        # As a part of a checkpoint it is renamed with the whole; and other processes write nothing.
        if self._unfinished is not None or not self.args.should_save:
            super()._save(output_dir, state_dict)
            return
        folder = Path(output_dir or self.args.output_dir)
        unfinished = folder / UNFINISHED_FOLDER / "model"
        with _clean_up_unless_written(unfinished, folder):
            super()._save(str(unfinished), state_dict)
            _flush(unfinished)
            _move_model(unfinished, folder)

    def _save_rng_state(self, output_dir: str) -> None:
        super()._save_rng_state(output_dir)
        sums = {"loss": self._tr_loss.item(), "step_of_last_log": self._globalstep_last_logged}
        (Path(output_dir) / LOSS_SUM_FILE.format(process=self.args.process_index)).write_text(json.dumps(sums))

    def _load_rng_state(self, checkpoint: str | None) -> None:
        super()._load_rng_state(checkpoint)
        if checkpoint is None:
            return
        file = Path(checkpoint) / LOSS_SUM_FILE.format(process=self.args.process_index)
        if file.is_file():
            sums = json.loads(file.read_text())
            self._tr_loss.fill_(sums["loss"])
            self._globalstep_last_logged = sums["step_of_last_log"]
            self._total_loss_scalar -= sums["loss"]  # the mean at the end is over the steps of this run


def _last_checkpoint(folder: Path) -> str | None:
    return get_last_checkpoint(str(folder)) if folder.is_dir() else None


def _size(folder: str | Path) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


@contextmanager
def _clean_up_unless_written(unfinished: Path, goal: Path) -> Iterator[None]:
    """Removes what is unfinished if an error comes up, and says what a disk that takes no more means."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(unfinished.parent, ignore_errors=True)
        words = str(error)
        if isinstance(error, OSError | SafetensorError) or any(known in words for known in TORCH_WRITE_ERRORS):
            _close_files(error)
            raise OSError(_explain(error, goal)) from error
        raise


def _close_files(error: BaseException | None) -> None:
    """A file that torch could not write is open while a frame of the error holds it, and takes its room till then."""
    while error is not None:
        clear_frames(error.__traceback__)
        error = error.__context__


def _explain(error: BaseException, goal: Path) -> str:
    folder = goal.parent if goal.name.startswith(PREFIX_CHECKPOINT_DIR) else goal
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.is_dir())).free
    message = (
        f"{goal} could not be written, the disk is full or failing ({error}). What was written of it is removed; "
        f"{free / 1e6:.1f} MB are free"
    )
    last = _last_checkpoint(folder)
    if last is None:
        return f"{message}. There is no earlier checkpoint: training begins anew once it can be written."
    return (
        f"{message}, and {Path(last).name} takes {_size(last) / 1e6:.1f} MB. When there is room, go on from "
        f"{Path(last).name}, which is whole, with --resume_from_checkpoint true."
    )


def _flush(folder: Path) -> None:
    """
    Brings files to the disk: without it, a power cut after the renaming leaves an empty file under the right name.

    A full disk of another machine or a quota is often reported only here.
    """
    for path in (*folder.rglob("*"), folder):
        _flush_one(path)


def _flush_one(path: Path) -> None:
    if os.name == "nt":
        return  # Windows opens no folders, and flushes only what was opened for writing
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _publish(unfinished: Path, checkpoint: Path) -> None:
    """Renames a folder to what it is when it is whole, also where another of that name is in the way."""
    try:
        unfinished.rename(checkpoint)
    except OSError:
        # Another run into the same folder left a checkpoint of this name, and a folder replaces only an empty one.
        if not checkpoint.is_dir() or not unfinished.is_dir():
            raise
        replaced = unfinished.with_name(f"replaced-{checkpoint.name}")
        checkpoint.rename(replaced)
        unfinished.rename(checkpoint)
    shutil.rmtree(unfinished.parent)
    _flush_one(checkpoint.parent)


def _move_model(unfinished: Path, folder: Path) -> None:
    files = [path.relative_to(unfinished) for path in unfinished.rglob("*") if path.is_file()]
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (unfinished / file).replace(folder / file)
    shutil.rmtree(unfinished.parent)
    # Weights of an earlier model in one file would be preferred to those of a new one in several.
    for stale in {path.relative_to(folder) for path in folder.glob("model*.safetensors*")}.difference(files):
        (folder / stale).unlink()


__all__ = ["AtomicCheckpointMixin"]
