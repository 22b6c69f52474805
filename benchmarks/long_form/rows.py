# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The rows of the long-form benchmark: what is trained, with which arguments of examples/train.py, at which size."""

from dataclasses import dataclass, field

from ..questions import LONG_SPLITS

CHUNK_LENGTH_S = 2.58  # 16 time steps of BEATs: all of a song is encoded but 0.02 s a chunk
# Each kind of row has the learning rate that did best on the validation songs (docs/log.md).
DOCUMENT = {"learning_rate": 1.2e-3}
ONLY_KERNEL = {"kernel_weight": 1, "temporal_weight": 0}
ONLY_TEMPORAL = {"kernel_weight": 0, "temporal_weight": 1}
SENTENCES = {"text_granularity": "sentence", "learning_rate": 1.2e-3}
TIME = {"temporal_position": "true"}
SECTIONS = {"section_loss_weight": 1.0, "learning_rate": 2e-3}
OURS = SENTENCES | TIME | SECTIONS
# A pretrained text model learns at a rate of its own, in bfloat16, which takes less time.
FROZEN = {"trainable_text_layers": 0, "bf16": "true"}
TUNED = {"trainable_text_layers": 2, "text_learning_rate": 5e-4, "bf16": "true"}
LORA = {"lora_rank": 16, "text_learning_rate": 2e-3, "bf16": "true"}


@dataclass(frozen=True)
class Row:
    """One model of the benchmark."""

    title: str  # in the tables
    special: dict[str, float | str] = field(default_factory=dict)  # arguments of examples/train.py that are its own
    mean_pooling: bool = False  # whether it is CoLLAP's mean frame without attention
    is_main: bool = False  # whether it is trained with every seed, or with the first alone (an ablation)
    is_pretrained: bool = False  # whether its text model is --pretrained_text_model, or starts from random weights


ROWS = {
    "mean": Row("mean pooling", special=DOCUMENT, mean_pooling=True, is_main=True),
    "document": Row("document attention (the paper)", special=DOCUMENT, is_main=True),
    "document-no-kernel": Row("document, no kernel-wise alignment", special=DOCUMENT | ONLY_TEMPORAL),
    "document-no-temporal": Row("document, no temporal alignment", special=DOCUMENT | ONLY_KERNEL),
    "sentences": Row("sentence queries", special=SENTENCES),
    "sentences-time": Row("sentence queries, time", special=SENTENCES | TIME),
    "ours-new-text": Row("ours, text model from scratch", special=OURS, is_main=True),
    "ours-frozen": Row("ours, text model frozen", special=OURS | FROZEN, is_main=True, is_pretrained=True),
    "ours-lora": Row("ours, text model with LoRA", special=OURS | LORA, is_main=True, is_pretrained=True),
    "ours": Row("ours", special=OURS | TUNED, is_main=True, is_pretrained=True),
}


@dataclass(frozen=True)
class BenchmarkSize:
    """How much is trained."""

    num_songs: dict[str, int]  # of the corpus' splits where they differ from the corpus' own size
    num_pretraining_steps: int  # of each small encoder, on tags of crops
    num_epochs: int
    batch_size: int  # songs contrasted with each other


SIZES = {
    "small": BenchmarkSize(
        num_songs={"train": 960, "validation": 200, "validation_order": 60, **dict.fromkeys(LONG_SPLITS, 20)},
        num_pretraining_steps=1400,
        num_epochs=8,
        batch_size=16,
    ),
    "full": BenchmarkSize({}, num_pretraining_steps=20_000, num_epochs=20, batch_size=128),
}
