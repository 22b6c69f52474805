# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Fine-tunes a CoLLAP on songs of your own with LoRA: little memory, and a file of a few megabytes on disk.

    python examples/finetune_peft.py --model_name_or_path FOLDER_OR_NAME --train_manifest mine.jsonl \
        --eval_manifest others.jsonl --output_dir mine-lora

A manifest is a file of JSON lines, `{"audio": "a.flac", "text": "A slow intro. Then ..."}`. The towers stay as they
are; beside the layers of the towers that are named (`--lora_towers`) and in CoLLAP's own small layers something is
learnt. The folder then holds the adapter and the processor, and is loaded by its name alone, while the model that was
fine-tuned is where it was: `CollapModel.from_pretrained("mine-lora")`, `AutoProcessor.from_pretrained("mine-lora")`.
With `--merge` a whole model, which needs neither PEFT nor the other one, goes into `mine-lora/merged`.

Recall is measured before and after and printed side by side. All of `train.py`'s arguments on data and training work
too, such as `--features`, `--micro_batch_size`, `--bf16` or `--activation_checkpointing`; it runs under `accelerate
launch` and `torchrun` as well.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from peft import PeftModel, get_peft_model
from transformers import HfArgumentParser

from collap import CollapModel, CollapProcessor
from collap.cli import HelpFormatter
from collap.training.arguments import CollapTrainingArguments, DataArguments
from collap.training.build import ConfigArguments, ModelArguments, make_trainer, take_push_to_hub, train_and_evaluate
from collap.training.lora import lora_config

MERGED_FOLDER = "merged"


@dataclass
class LoraArguments:
    """What is fine-tuned, and how."""

    model_name_or_path: str = field(metadata={"help": "The CoLLAP to fine-tune: a folder, or a name on the Hub."})
    lora_towers: list[str] = field(
        default_factory=lambda: ["text"], metadata={"help": "Towers to put LoRA in: music, speech, text."}
    )
    lora_layers: list[str] = field(
        default_factory=lambda: ["attention", "mlp"], metadata={"help": "Layers to put it in: attention, mlp."}
    )
    lora_rank: int = field(default=8, metadata={"help": "Rank of LoRA's matrices."})
    lora_alpha: float = field(default=16.0, metadata={"help": "What LoRA learns counts alpha / rank times."})
    lora_dropout: float = field(default=0.0, metadata={"help": "Dropout on the input of LoRA's matrices."})
    merge: bool = field(default=False, metadata={"help": "Write a whole model into output_dir/merged, too."})
    encoder_batch_size: int | None = field(
        default=None, metadata={"help": "Chunks that an audio tower takes at a time. Default: as in the model."}
    )


@dataclass
class FinetuningArguments(CollapTrainingArguments):
    """Arguments of the training, with defaults for few songs; a higher learning rate soon costs other songs."""

    learning_rate: float = field(default=1e-4, metadata={"help": "The initial learning rate for AdamW."})
    num_train_epochs: float = field(default=20.0, metadata={"help": "Total number of training epochs to perform."})
    logging_strategy: str = field(default="epoch", metadata={"help": "When to log the loss."})
    save_strategy: str = field(default="epoch", metadata={"help": "When to save a checkpoint."})
    save_total_limit: int | None = field(default=1, metadata={"help": "Checkpoints to keep."})


def check(lora: LoraArguments, data: DataArguments, training: CollapTrainingArguments) -> None:
    """Raises a ValueError for what would be of no use, or would do harm."""
    if data.train_manifest is None:
        raise ValueError("Give --train_manifest: the songs to fine-tune on.")
    if data.streaming and data.eval_manifest is None:
        raise ValueError("--streaming needs --eval_manifest: a stream cannot be evaluated on, before and after.")
    audio_towers = [tower for tower in lora.lora_towers if tower != "text"]
    if data.features is not None and audio_towers:
        raise ValueError(
            f"--features holds what the audio towers gave before, so LoRA in them would learn nothing: leave "
            f"{' and '.join(audio_towers)} out of --lora_towers, or leave --features out."
        )
    if (Path(training.output_dir) / "config.json").is_file():
        raise ValueError(f"--output_dir {training.output_dir} holds a whole model; an adapter needs another folder.")


def make_table(before: dict[str, float], after: dict[str, float]) -> str:
    """The figures of two evaluations side by side."""
    rows = [("", "before", "after")]
    for name, value in before.items():
        if "recall@" in name:
            rows.append((name, f"{value:.1%}", f"{after[name]:.1%}"))
        elif name == "loss" or name.endswith("median_rank"):
            rows.append((name, f"{value:.4g}", f"{after[name]:.4g}"))
    width = max(len(name) for name, _, _ in rows)
    return "\n".join(f"  {name:<{width}}  {left:>8}  {right:>8}" for name, left, right in rows)


def write_merged(base_name_or_path: str, adapter_folder: Path, processor: CollapProcessor) -> Path:
    """Writes the model with its adapter merged into its weights, whole or not at all; returns its folder."""
    base = CollapModel.from_pretrained(base_name_or_path)
    merged = PeftModel.from_pretrained(base, adapter_folder).merge_and_unload()
    folder = adapter_folder / MERGED_FOLDER
    with tempfile.TemporaryDirectory(dir=adapter_folder, prefix="_") as unfinished:
        new, old = Path(unfinished) / "new", Path(unfinished) / "old"
        merged.save_pretrained(new)
        processor.save_pretrained(new)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
    return folder


def without_prefix(metrics: dict[str, float], prefix: str) -> dict[str, float]:
    return {name.removeprefix(f"{prefix}_"): value for name, value in metrics.items()}


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fine-tunes, evaluates, saves; returns the figures of the last evaluation."""
    parser = HfArgumentParser(
        (LoraArguments, DataArguments, FinetuningArguments),
        usage="python examples/finetune_peft.py --model_name_or_path MODEL --train_manifest FILE --output_dir FOLDER "
        "[arguments]",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    lora, data, training = parser.parse_args_into_dataclasses(arguments)
    check(lora, data, training)
    push_to_hub = take_push_to_hub(training)

    def put_lora_in(model: CollapModel) -> PeftModel:
        if hasattr(model, "peft_config"):
            raise ValueError(
                f"--model_name_or_path {lora.model_name_or_path} is an adapter of another model, not a whole model: "
                f"fine-tune what --merge writes into its folder {MERGED_FOLDER!r}."
            )
        return get_peft_model(
            model,
            lora_config(
                model,
                towers=lora.lora_towers,
                layers=lora.lora_layers,
                r=lora.lora_rank,
                lora_alpha=lora.lora_alpha,
                lora_dropout=lora.lora_dropout,
            ),
        )

    trainer = make_trainer(
        ModelArguments(model_name_or_path=lora.model_name_or_path),
        ConfigArguments(encoder_batch_size=lora.encoder_batch_size),
        data,
        training,
        prepare_model=put_lora_in,
    )
    evaluated_on, place = None, "the training songs (give --eval_manifest to see what it does to others)"
    if data.eval_manifest is None:
        trainer.eval_dataset = trainer.train_dataset
    else:
        evaluated_on = place = Path(data.eval_manifest).name
    trainable, total = trainer.model.get_nb_trainable_parameters()
    before = trainer.evaluate(metric_key_prefix="before")
    trainer.save_metrics("before", before)
    after = train_and_evaluate(trainer, push_to_hub, evaluated_on)
    if trainer.is_world_process_zero():
        folder = Path(training.output_dir)
        adapter = folder / "adapter_model.safetensors"
        print(f"\nOn {place}, {before['before_gallery_size']} in all:")
        print(make_table(without_prefix(before, "before"), without_prefix(after, "eval")))
        print(f"Trained: {trainable:,} of {total:,} parameters ({trainable / total:.2%}).")
        print(f"Adapter: {adapter}, {adapter.stat().st_size / 1e6:.3g} MB.")
        if lora.merge:
            merged = write_merged(lora.model_name_or_path, folder, trainer.processing_class)
            print(f"Merged model: {merged}")
    trainer.accelerator.wait_for_everyone()
    return after


if __name__ == "__main__":
    main()
