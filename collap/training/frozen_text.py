# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A frozen text model encodes each sentence once, not in each epoch."""

import hashlib
from typing import Any

import torch
from torch import nn

from collap.modeling_collap.modeling_collap_base import has_sharded_layers, is_trainable
from collap.modeling_collap.modeling_collap_text import CollapTextModel

MAX_BYTES = 2**32  # in memory: 1 million sentences of 768 numbers in float32
BYTES_AROUND = 1024  # of a sentence: its key, its place in `known`, the head of its tensor (750 measured)


def encode_once(model: nn.Module, inputs: dict[str, Any], known: dict[bytes, torch.Tensor]) -> dict[str, Any]:
    """
    `inputs` with the `pooled_text_states` `(S, hidden)` of their sentences, if the text model of `model` is frozen.

    `known` gets those of new sentences, `(hidden,)` on the CPU, by a hash of their token ids without padding. Inputs
    with positions, embeddings or token types of their own are returned as they are.
    """
    text = getattr(model, "text_model", None)
    if not isinstance(text, CollapTextModel) or is_trainable(text.encoder) or has_sharded_layers(text.encoder):
        known.clear()  # the weights may change before it is frozen again
        return inputs
    has_types = "token_type_ids" in inputs and inputs["token_type_ids"].any()
    if has_types or {"position_ids", "inputs_embeds", "pooled_text_states"}.intersection(inputs):
        return inputs
    rows = {name: inputs[name] for name in ("input_ids", "attention_mask", "token_type_ids") if name in inputs}
    mask = rows.setdefault("attention_mask", torch.ones_like(rows["input_ids"]))  # (S, tokens)
    sentences = zip(rows["input_ids"].cpu(), mask.bool().cpu(), strict=True)
    keys = [hashlib.sha256(token_ids[is_real].numpy()).digest() for token_ids, is_real in sentences]
    if (len(known) + len(keys)) * (4 * text.config.text_config.hidden_size + BYTES_AROUND) > MAX_BYTES:
        known.clear()
    if new := {key: row for row, key in enumerate(keys) if key not in known}:
        rows = {name: value[list(new.values())] for name, value in rows.items()}
        with torch.no_grad():  # nothing that is trained: autocast may keep its weights without a gradient
            known |= zip(new, text.pool_sentences(**rows)[1].cpu(), strict=True)  # (new sentences, hidden)
    return inputs | {"pooled_text_states": torch.stack([known[key] for key in keys]).to(mask.device)}
