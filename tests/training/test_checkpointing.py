# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Checkpoints that are not complete are never resumed from: after interruptions, on full disks, with best models."""

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mounting import mount
from safetensors.torch import load_file
from tiny_models import VOCAB_SIZE, tiny_config, tiny_text_config

from collap import CollapModel
from collap.training.arguments import CollapTrainingArguments
from collap.training.checkpointing import COMPLETE_FILE
from collap.training.trainer import CollapTrainer

NUM_STEPS = 6


def collate(songs: list[dict]) -> dict[str, torch.Tensor | bool]:
    return {
        "encoder_frames": torch.stack([song["encoder_frames"] for song in songs]),
        "frame_mask": torch.ones(len(songs), 4, dtype=torch.bool),
        "input_ids": torch.stack([song["sentence"] for song in songs]),
        "sentence_counts": torch.ones(len(songs), dtype=torch.long),
        "return_loss": True,
    }


def make_trainer(
    folder: Path, trainer_class: type[CollapTrainer] = CollapTrainer, vocab_size: int = VOCAB_SIZE, **changes
) -> CollapTrainer:
    """Six steps of a tiny model with dropout, a checkpoint after every second."""
    torch.manual_seed(0)
    text_config = tiny_text_config()
    text_config.hidden_dropout_prob = 0.2
    text_config.vocab_size = vocab_size
    model = CollapModel(tiny_config(text_config=text_config))
    songs = [
        {"encoder_frames": torch.randn(4, model.config.encoder_hidden_size), "sentence": torch.arange(3, 8) + index}
        for index in range(8)
    ]
    fields = {
        "per_device_train_batch_size": 4,
        "max_steps": NUM_STEPS,
        "save_steps": 2,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
    }
    arguments = CollapTrainingArguments(output_dir=str(folder), **{**fields, **changes})
    return trainer_class(model=model, args=arguments, train_dataset=songs, eval_dataset=songs, data_collator=collate)


def losses(trainer: CollapTrainer) -> list[tuple[int, float, float]]:
    return [
        (entry["step"], entry["loss"], entry["grad_norm"]) for entry in trainer.state.log_history if "loss" in entry
    ]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


class StopsWhileSaving(CollapTrainer):
    """Is interrupted in its third save, between model and optimizer."""

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if self.state.global_step == 6:
            assert (Path(output_dir) / "model.safetensors").is_file()
            raise KeyboardInterrupt
        super()._save_optimizer_and_scheduler(output_dir)


@pytest.mark.parametrize("save_total_limit", [None, 1])
def test_an_interrupted_save_leaves_the_checkpoints_before(tmp_path, save_total_limit):
    with pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, StopsWhileSaving, save_total_limit=save_total_limit).train()
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-4"][-(save_total_limit or 2) :]
    whole = make_trainer(tmp_path / "whole")
    whole.train()
    resumed = make_trainer(tmp_path)
    resumed.train(resume_from_checkpoint=True)
    assert losses(resumed) == losses(whole)
    assert len(losses(whole)) == NUM_STEPS


def test_a_checkpoint_of_a_killed_run_is_not_resumed_from(tmp_path):
    make_trainer(tmp_path).train()
    (tmp_path / "checkpoint-6" / COMPLETE_FILE).unlink()  # the last file that is written
    with pytest.raises(ValueError, match=f"resume_from_checkpoint .*checkpoint-6, .*{COMPLETE_FILE}"):
        make_trainer(tmp_path).train(resume_from_checkpoint=str(tmp_path / "checkpoint-6"))
    resumed = make_trainer(tmp_path)
    resumed.train(resume_from_checkpoint="true")
    assert resumed._resumed_from == tmp_path / "checkpoint-4"
    assert len(losses(resumed)) == NUM_STEPS
    assert (tmp_path / "checkpoint-6" / COMPLETE_FILE).is_file()


def test_a_checkpoint_of_an_earlier_run_is_incomplete_while_it_is_replaced(tmp_path, caplog):
    make_trainer(tmp_path, max_steps=6).train()
    with caplog.at_level(logging.WARNING, "collap.training.checkpointing"), pytest.raises(KeyboardInterrupt):
        make_trainer(tmp_path, StopsWhileSaving, learning_rate=1e-3).train(resume_from_checkpoint="false")
    assert "checkpoint-6 is of an earlier run" in caplog.text
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-4"]
    state = json.loads((tmp_path / "checkpoint-4" / "trainer_state.json").read_text())
    assert state["log_history"][0]["learning_rate"] == 1e-3


@pytest.mark.parametrize(("step", "error"), [(1, RuntimeError("no memory")), (2, KeyboardInterrupt("by hand"))])
def test_an_error_outside_a_save_leaves_all_checkpoints(tmp_path, monkeypatch, step: int, error: BaseException):
    make_trainer(tmp_path, max_steps=2).train()
    (tmp_path / "checkpoint-1").mkdir()  # of another tool
    trainer = make_trainer(tmp_path, eval_strategy="steps", eval_steps=step)

    def fail(*_, **__) -> None:
        raise error

    monkeypatch.setattr(trainer, "evaluation_loop", fail)
    with pytest.raises(type(error), match=f"^{error}$"):
        trainer.train()
    assert names(tmp_path) == ["checkpoint-1", "checkpoint-2"]
    assert (tmp_path / "checkpoint-2" / COMPLETE_FILE).is_file()


def with_scaler(trainer: CollapTrainer) -> CollapTrainer:
    """As with float16, for which Accelerate wants a GPU; a scale so large that the first steps are skipped."""
    trainer.accelerator.scaler = torch.amp.GradScaler(
        "cpu", init_scale=2.0**80, backoff_factor=2.0**-8, growth_interval=3
    )
    return trainer


def test_the_gradient_scaler_is_resumed(tmp_path):
    fields = {"max_steps": 10, "max_grad_norm": 0.0, "optim": "adamw_torch"}
    whole = with_scaler(make_trainer(tmp_path / "whole", **fields))
    whole.train()
    assert whole.accelerator.scaler.get_scale() < 2.0**80
    assert 2 <= whole.skipped.num_skipped <= 5
    with pytest.raises(KeyboardInterrupt):
        with_scaler(make_trainer(tmp_path, StopsWhileSaving, **fields)).train()
    resumed = with_scaler(make_trainer(tmp_path, **fields))
    resumed.train(resume_from_checkpoint=True)
    assert [loss for _, loss, _ in losses(resumed)] == [loss for _, loss, _ in losses(whole)]
    assert resumed.accelerator.scaler.state_dict() == whole.accelerator.scaler.state_dict()
    assert resumed.skipped.num_skipped == whole.skipped.num_skipped


@pytest.mark.parametrize(("logging_steps", "save_steps"), [(3, 2), (4, 3)])
def test_losses_since_the_last_log_are_resumed(tmp_path, logging_steps: int, save_steps: int):
    steps = {"logging_steps": logging_steps, "save_steps": save_steps, "max_steps": 8}
    whole = make_trainer(tmp_path / "whole", **steps)
    whole.train()
    alone = make_trainer(tmp_path / "alone", **{**steps, "logging_steps": 1})
    alone.train()
    for checkpoint in (tmp_path / "whole").glob("checkpoint-*"):
        resumed = make_trainer(tmp_path / "resumed", **steps)
        output = resumed.train(resume_from_checkpoint=str(checkpoint))
        assert losses(resumed) == losses(whole)
        # The mean loss that `train` returns is over the steps of the resumed run.
        own = [loss for step, loss, _ in losses(alone) if step > int(checkpoint.name.split("-")[1])]
        assert output.training_loss == pytest.approx(sum(own) / max(len(own), 1), rel=1e-5)


@pytest.mark.parametrize("save_total_limit", [1, 2])
def test_the_best_model_stays(tmp_path, save_total_limit: int):
    trainer = make_trainer(
        tmp_path,
        eval_strategy="steps",
        eval_steps=2,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        greater_is_better=True,  # the first, which would be deleted otherwise
        save_total_limit=save_total_limit,
        learning_rate=1e-3,
    )
    trainer.train()
    best = tmp_path / "checkpoint-2"
    assert trainer.state.best_model_checkpoint == str(best)
    assert trainer.args.save_total_limit == save_total_limit
    torch.testing.assert_close(trainer.model.state_dict(), load_file(best / "model.safetensors"), rtol=0, atol=0)
    assert names(tmp_path) == ["checkpoint-2", "checkpoint-6"]


def test_the_final_model_replaces_an_earlier_one(tmp_path):
    trainer = make_trainer(tmp_path)
    (tmp_path / "_unfinished").mkdir()  # of a run that was killed
    (tmp_path / "_unfinished" / "model-00002-of-00003.safetensors").write_text("half")
    (tmp_path / "model-00001-of-00002.safetensors").write_text("of an earlier run")
    (tmp_path / "model.safetensors.index.json").write_text("of an earlier run")
    trainer.save_model()
    assert names(tmp_path) == ["config.json", "model.safetensors", "training_args.bin"]
    loaded = CollapModel.from_pretrained(tmp_path)
    torch.testing.assert_close(loaded.state_dict(), trainer.model.state_dict(), rtol=0, atol=0)


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 32 MB."""
    folder = tmp_path / "disk"
    mount(folder, "-t", "tmpfs", "-o", "size=32m", "tmpfs")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # torch.save leaves a file open when it fails


def fill_but(folder: Path, num_bytes: int) -> None:
    """Fills the disk but for so many bytes."""
    free = shutil.disk_usage(folder).free
    with (folder / "filling").open("wb") as filling:
        os.posix_fallocate(filling.fileno(), 0, free - num_bytes)


@pytest.mark.parametrize("room_for", ["nothing", "half the model", "half the optimizer", "all but the last files"])
def test_a_full_disk_leaves_the_previous_checkpoint(tmp_path, small_disk, room_for: str):
    vocab_size = 20_000  # 1.3 MB of embeddings, and twice that in the optimizer
    whole = make_trainer(tmp_path / "whole", vocab_size=vocab_size)
    whole.train()
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "whole" / "checkpoint-2").iterdir()}
    room = {
        "nothing": 0,
        "half the model": sizes["model.safetensors"] // 2,
        "half the optimizer": sizes["model.safetensors"] + sizes["optimizer.pt"] // 2,
        "all but the last files": sum(sizes.values()) - 8_192,
    }[room_for]

    class FillsTheDisk(CollapTrainer):
        def _save_checkpoint(self, *args, **kwargs) -> None:
            if self.state.global_step == 4:
                fill_but(small_disk, room)
            super()._save_checkpoint(*args, **kwargs)

    folder = small_disk / "run"
    with pytest.raises(OSError, match=r"checkpoint-4 could not be written.*resume from checkpoint-2"):
        make_trainer(folder, FillsTheDisk, vocab_size=vocab_size).train()
    assert names(folder) == ["checkpoint-2"]

    (small_disk / "filling").unlink()
    resumed = make_trainer(folder, vocab_size=vocab_size)
    resumed.train(resume_from_checkpoint="true")
    assert losses(resumed) == losses(whole)


def test_a_full_disk_leaves_the_final_model_that_was_there(small_disk):
    trainer = make_trainer(small_disk / "run")
    trainer.save_model()
    before = load_file(small_disk / "run" / "model.safetensors")
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.add_(1.0)
    fill_but(small_disk, 20_000)
    with pytest.raises(Exception, match="No space left"):
        trainer.save_model()
    torch.testing.assert_close(load_file(small_disk / "run" / "model.safetensors"), before, rtol=0, atol=0)
    assert "_unfinished" not in names(small_disk / "run")
