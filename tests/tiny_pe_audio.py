# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A tiny random PeAudioModel, or one of frames, with its processor, for tests."""

import torch
from tiny_clap import RATE
from tiny_tokenizer import tiny_tokenizer
from transformers import PeAudioConfig, PeAudioFeatureExtractor, PeAudioModel, PeAudioProcessor


def tiny_pe_audio(
    *texts: str, model_class: type[PeAudioModel] = PeAudioModel
) -> tuple[PeAudioModel, PeAudioProcessor]:
    """Model (in evaluation mode) with frames of 1 ms, and processor, whose tokenizer knows the words of `texts`."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(*texts)
    size = {"hidden_size": 16, "intermediate_size": 24, "num_attention_heads": 2}
    dac = {"model_type": "dac", "downsampling_ratios": [2, 4], "encoder_hidden_size": 2, "codebook_dim": 4}
    special = {"pad_token_id": 1, "cls_token_id": 0, "sep_token_id": 2, "bos_token_id": 0, "eos_token_id": 2}
    text = {"vocab_size": len(tokenizer), "num_hidden_layers": 2, "max_position_embeddings": 16, **special}
    config = PeAudioConfig(
        text_config={"model_type": "modernbert", **size, **text},
        audio_config={"dac_config": dac, "num_hidden_layers": 1, "head_dim": 8, **size},
    )
    model = model_class(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.add_(0.2 * torch.randn_like(weight))
        model.text_audio_logit_scale.fill_(3.0)
        model.text_audio_logit_bias.fill_(-1.0)
    return model, PeAudioProcessor(PeAudioFeatureExtractor(sampling_rate=RATE, hop_length=8), tokenizer)
