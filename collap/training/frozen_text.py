# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The sentences that a frozen text model has encoded, so that no epoch encodes them again."""

from typing import Any

import torch
from torch import nn

from collap.modeling_collap.modeling_collap_base import has_sharded_layers, is_trainable
from collap.modeling_collap.modeling_collap_text import CollapTextModel, pool_tokens

from .loss import TEXT_ROWS

MAX_NUMBERS = 2**30  # 4 GiB in float32: 1.4 million sentences of 768 numbers


class FrozenText:
    """Keeps the pooled vector of each distinct sentence in the memory of the CPU, as precise as it was computed."""

    def __init__(self) -> None:
        self.vectors: dict[bytes, torch.Tensor] = {}  # of the token ids of a sentence, without padding: (hidden,)

    def encode(self, model: nn.Module, inputs: dict[str, Any]) -> dict[str, torch.Tensor]:
        """`inputs` with their `pooled_text_states` `(S, hidden)` if the text model of `model` is frozen."""
        text = getattr(model, "text_model", None)
        if not isinstance(text, CollapTextModel) or is_trainable(text.encoder) or has_sharded_layers(text.encoder):
            return inputs
        rows = {name: inputs[name] for name in TEXT_ROWS if name in inputs}
        mask = rows.setdefault("attention_mask", torch.ones_like(rows["input_ids"]))  # (S, tokens)
        sentences = zip(rows["input_ids"].cpu(), mask.bool().cpu(), strict=True)
        keys = [token_ids[is_real].numpy().tobytes() for token_ids, is_real in sentences]
        if len(self.vectors) * text.config.text_config.hidden_size > MAX_NUMBERS:
            self.vectors.clear()
        if new := {key: row for row, key in enumerate(keys) if key not in self.vectors}:
            rows = {name: value[list(new.values())] for name, value in rows.items()}
            with torch.no_grad():
                states = text(**rows).last_hidden_state  # (new sentences, tokens, hidden)
            pooled = pool_tokens(states, rows["attention_mask"], text.config.text_pooling)
            self.vectors |= zip(new, pooled.cpu(), strict=True)
        return inputs | {"pooled_text_states": torch.stack([self.vectors[key] for key in keys]).to(mask.device)}
