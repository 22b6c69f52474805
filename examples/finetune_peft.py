# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
r"""
Fine-tunes a CoLLAP on songs of your own with LoRA: little memory, and a file of a few megabytes on disk.

    python examples/finetune_peft.py --model_name_or_path FOLDER_OR_NAME --train_manifest mine.jsonl \
        --eval_manifest others.jsonl --output_dir mine-lora

A manifest is a file of JSON lines, `{"audio": "a.flac", "text": "A slow intro. Then ..."}`. Trained are LoRA matrices
beside the layers of some towers (`--lora_towers`) and CoLLAP's own small layers; the towers do not change. The output
folder holds the adapter and the processor, and loads by its name while the base model is where it was:
`CollapModel.from_pretrained("mine-lora")`, `AutoProcessor.from_pretrained("mine-lora")`. With `--merge` a whole model,
which needs neither PEFT nor the base model, is written to `mine-lora/merged`.

Loss and recall are printed before and after. All arguments of `train.py` on data and training work too, such as
`--features`, `--micro_batch_size`, `--bf16` or `--activation_checkpointing`, and so do `accelerate launch` and
`torchrun`.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path

from peft import PeftModel, get_peft_model
from transformers import HfArgumentParser
from transformers.hf_argparser import HfArg

from collap import CollapModel
from collap.cli import HelpFormatter, run_script
from collap.files import markdown_table
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from collap.training.build import make_trainer, take_push_to_hub, train_and_evaluate
from collap.training.lora import lora_config


@dataclass
class LoraArguments:
    """Which model is fine-tuned, and its LoRA."""

    model_name_or_path: str = HfArg(help="The CoLLAP to fine-tune: a folder, or a name on the Hub.")
    lora_towers: list[str] = HfArg(default_factory=lambda: ["text"], help="Towers with LoRA: music, speech, text.")
    lora_rank: int = HfArg(default=8, help="Rank of the LoRA matrices.")
    lora_alpha: float = HfArg(default=16.0, help="Their product is scaled by alpha / rank.")
    lora_dropout: float = HfArg(default=0.0, help="Dropout on their input.")
    merge: bool = HfArg(default=False, help="Also write a whole model to output_dir/merged.")
    encoder_batch_size: int | None = HfArg(
        default=None, help="Chunks that an audio tower encodes at a time. Default: as in the model."
    )


@dataclass
class FinetuningArguments(CollapTrainingArguments):
    """Training arguments with defaults for few songs; a higher learning rate soon harms the retrieval of others."""

    learning_rate: float = HfArg(default=1e-4, help="The initial learning rate for AdamW.")
    num_train_epochs: float = HfArg(default=20.0, help="Total number of training epochs to perform.")
    logging_strategy: str = HfArg(default="epoch", help="When to log the loss.")
    save_strategy: str = HfArg(default="epoch", help="When to save a checkpoint.")
    save_total_limit: int | None = HfArg(default=1, help="Maximum number of checkpoints.")


def check(lora: LoraArguments, data: DataArguments, training: CollapTrainingArguments) -> None:
    """Raises a ValueError for arguments that do not go together."""
    if data.train_manifest is None:
        raise ValueError("Give --train_manifest: the songs to fine-tune on.")
    audio_towers = [tower for tower in lora.lora_towers if tower != "text"]
    if data.features is not None and audio_towers:
        raise ValueError(
            f"--features are cached outputs of the audio towers, so LoRA in them would not be trained: leave "
            f"{' and '.join(audio_towers)} out of --lora_towers, or leave --features out."
        )
    if (Path(training.output_dir) / "config.json").is_file():
        raise ValueError(f"--output_dir {training.output_dir} holds a whole model; an adapter needs another folder.")


def make_table(before: dict[str, float], after: dict[str, float]) -> str:
    """The metrics of two evaluations side by side."""
    rows = [("", "before", "after")]
    for name, value in before.items():
        name, new = name.removeprefix("before_"), after[name.replace("before_", "eval_", 1)]
        if "recall@" in name:
            rows.append((name, f"{value:.1%}", f"{new:.1%}"))
        elif name == "loss" or name.endswith("median_rank"):
            rows.append((name, f"{value:.4g}", f"{new:.4g}"))
    return markdown_table(rows)


def main(arguments: list[str] | None = None) -> dict[str, float]:
    """Fine-tunes, evaluates and saves; returns the metrics of the last evaluation."""
    parser = HfArgumentParser(
        (LoraArguments, DataArguments, FinetuningArguments),
        usage="python examples/finetune_peft.py --model_name_or_path MODEL --train_manifest FILE --output_dir FOLDER "
        "[arguments]",
        description=__doc__,
        formatter_class=HelpFormatter,
    )
    lora, data, training = parser.parse_args_into_dataclasses(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    check(lora, data, training)
    push_to_hub = take_push_to_hub(training)

    def add_lora(model: CollapModel) -> PeftModel:
        if hasattr(model, "peft_config"):
            raise ValueError(
                f"--model_name_or_path must be a whole model, got the adapter {lora.model_name_or_path}: fine-tune "
                "what --merge writes to its folder merged."
            )
        config = lora_config(model, lora.lora_towers, lora.lora_rank, lora.lora_alpha, lora.lora_dropout)
        return get_peft_model(model, config)

    model = ModelArguments(model_name_or_path=lora.model_name_or_path)
    config = ConfigArguments(encoder_batch_size=lora.encoder_batch_size)
    trainer = make_trainer(model, config, data, training, prepare_model=add_lora)
    if data.eval_manifest is None:
        trainer.eval_dataset = trainer.train_dataset
    before = trainer.evaluate(metric_key_prefix="before")
    trainer.save_metrics("before", before)
    evaluated_on = None if data.eval_manifest is None else Path(data.eval_manifest).name
    after = train_and_evaluate(trainer, push_to_hub, evaluated_on)
    if trainer.is_world_process_zero():
        folder = Path(training.output_dir)
        songs = evaluated_on or "the training songs (give --eval_manifest for the effect on others)"
        print(f"\nOn {songs}, {before['before_gallery_size']} in all:\n{make_table(before, after)}")
        trainable, total = trainer.model.get_nb_trainable_parameters()
        print(f"Trained: {trainable:,} of {total:,} parameters ({trainable / total:.2%}).")
        adapter = folder / "adapter_model.safetensors"
        print(f"Adapter: {adapter}, {adapter.stat().st_size / 1e6:.3g} MB.")
        if lora.merge:
            base = CollapModel.from_pretrained(lora.model_name_or_path)
            merged = PeftModel.from_pretrained(base, folder).merge_and_unload()
            merged.save_pretrained(folder / "merged")
            trainer.processing_class.save_pretrained(folder / "merged")
            print(f"Merged model: {folder / 'merged'}")
    trainer.accelerator.wait_for_everyone()
    return after


if __name__ == "__main__":
    run_script(main)
