# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Trains a tiny model and writes down losses and gradients; `test_exact_loss.py` runs it on several processes."""

import json
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from datasets import Dataset
from safetensors.torch import save_file
from tiny_models import CHUNK_LENGTH_S, tiny_config
from tiny_tokenizer import tiny_tokenizer
from transformers import TrainerCallback

from collap import CollapDataCollator, CollapFeatureExtractor, CollapModel, CollapProcessor
from collap.training.arguments import CollapTrainingArguments
from collap.training.augmentation import StructureAugmentation
from collap.training.dataset import SongDataset, SongReader
from collap.training.trainer import CollapTrainer

SECTION_LOSS_WEIGHT = 0.7


class WriteGradients(TrainerCallback):
    """Keeps the gradients of each step, which are those that the optimizer gets."""

    def __init__(self, model: CollapModel, file: Path):
        self.model = model
        self.file = file
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        for name, parameter in self.model.named_parameters():
            if parameter.grad is not None:
                self.gradients[f"{state.global_step}.{name}"] = parameter.grad.detach().clone()

    def on_train_end(self, args, state, control, **kwargs):
        save_file(self.gradients, self.file)
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        self.file.with_suffix(".json").write_text(json.dumps(losses))


def make_model() -> CollapModel:
    torch.manual_seed(0)
    config = tiny_config(
        text_granularity="sentence",
        temporal_position=True,
        freeze_music_model=False,
        freeze_speech_model=False,
        encoder_batch_size=2,
    )
    return CollapModel(config)


def make_songs(folder: Path) -> SongDataset:
    lines = [json.loads(line) for line in (folder / "songs.jsonl").read_text().splitlines()]
    rows = Dataset.from_list([{**line, "audio": str(folder / line["audio"])} for line in lines])
    words = " ".join(sentence for text in rows["text"] for sentence in text)
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    processor = CollapProcessor(extractor, tiny_tokenizer(words), "sentence")
    augmentation = StructureAugmentation(sentence_shuffle_probability=0.5)
    reader = SongReader(processor, make_model().config, augmentation=augmentation, with_sections=True)
    return SongDataset(rows, reader)


def train(folder: Path, name: str, contrastive_batch_size: int, micro_batch_size: int | None) -> None:
    """Two epochs; the gradients of each step go into `name.safetensors`, of each process its own."""
    songs = make_songs(folder)
    arguments = CollapTrainingArguments(
        output_dir=str(folder / "output"),
        contrastive_batch_size=contrastive_batch_size,
        micro_batch_size=micro_batch_size,
        section_loss_weight=SECTION_LOSS_WEIGHT,
        num_train_epochs=2,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        optim="sgd",
        max_grad_norm=0.0,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        use_cpu=True,
        disable_tqdm=True,
        remove_unused_columns=False,
    )
    model = make_model()
    file = folder / f"{name}-{arguments.process_index}-of-{arguments.world_size}.safetensors"
    callback = WriteGradients(model, file)
    collator = CollapDataCollator(songs.reader.processor)
    CollapTrainer(model, arguments, train_dataset=songs, data_collator=collator, callbacks=[callback]).train()


if __name__ == "__main__":
    torch.set_num_threads(1)
    for run in sys.argv[2:]:
        batch, micro = run.split("/")
        train(Path(sys.argv[1]), run.replace("/", "-"), int(batch), None if micro == "all" else int(micro))
    PartialState().destroy_process_group()
