# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A frozen text model encodes each sentence once, not in each epoch."""

from typing import Any

import torch
from torch import nn

from collap.modeling_collap.modeling_collap_base import has_sharded_layers, is_trainable
from collap.modeling_collap.modeling_collap_text import CollapTextModel, pool_tokens

from .loss import TEXT_ROWS

MAX_NUMBERS = 2**30  # in memory: in float32 4 GiB, 1.4 million sentences of 768 numbers


def encode_once(model: nn.Module, inputs: dict[str, Any], known: dict[bytes, torch.Tensor]) -> dict[str, Any]:
    """
    `inputs` with the `pooled_text_states` `(S, hidden)` of their sentences, if the text model of `model` is frozen.

    `known` gets those of new sentences, `(hidden,)` on the CPU, by their token ids without padding.
    """
    text = getattr(model, "text_model", None)
    if not isinstance(text, CollapTextModel) or is_trainable(text.encoder) or has_sharded_layers(text.encoder):
        return inputs
    rows = {name: inputs[name] for name in TEXT_ROWS if name in inputs}
    mask = rows.setdefault("attention_mask", torch.ones_like(rows["input_ids"]))  # (S, tokens)
    sentences = zip(rows["input_ids"].cpu(), mask.bool().cpu(), strict=True)
    keys = [token_ids[is_real].numpy().tobytes() for token_ids, is_real in sentences]
    if len(known) * text.config.text_config.hidden_size > MAX_NUMBERS:
        known.clear()
    if new := {key: row for row, key in enumerate(keys) if key not in known}:
        rows = {name: value[list(new.values())] for name, value in rows.items()}
        with torch.no_grad():
            states = text(**rows).last_hidden_state  # (new sentences, tokens, hidden)
        known |= zip(new, pool_tokens(states, rows["attention_mask"], text.config.text_pooling).cpu(), strict=True)
    return inputs | {"pooled_text_states": torch.stack([known[key] for key in keys]).to(mask.device)}
