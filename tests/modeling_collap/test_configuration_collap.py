# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The configuration of CoLLAP: defaults, derived numbers, errors, and the round trip through JSON."""

import math

import pytest
from huggingface_hub.errors import StrictDataclassError
from tiny_models import tiny_config
from transformers import (
    BertConfig,
    DebertaV2Config,
    GPT2Config,
    ModernBertConfig,
    MPNetConfig,
    RobertaConfig,
    T5Config,
)

from collap import CollapConfig


def test_defaults_are_the_papers_encoders():
    config = CollapConfig()
    assert (config.music_config.hidden_size, config.speech_config.d_model) == (768, 1280)
    assert config.text_config.model_type == "roberta"
    assert config.encoder_hidden_size == 2048
    assert config.frame_length_s == pytest.approx(0.16)
    assert config.frames_per_chunk == 187
    assert CollapConfig(frame_pooling=1).frames_per_chunk == 1500  # Whisper's, joined by index
    assert config.text_pooling == "first"


@pytest.mark.parametrize("absent", ["music_config", "speech_config"])
def test_an_absent_encoder_stays_absent_through_json(tmp_path, absent: str):
    config = tiny_config(**{absent: None})
    config.save_pretrained(tmp_path)
    reloaded = CollapConfig.from_pretrained(tmp_path)
    assert getattr(reloaded, absent) is None
    assert reloaded.to_dict() == config.to_dict()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"music_config": None, "speech_config": None}, "at least one audio encoder"),
        ({"kernel_size": 0}, "kernel_size must be at least 1, got 0"),
        (
            {"kernel_temperature": 1e-300},
            "kernel_temperature must be between 1e-6 and 1e6, got 1e-300",
        ),  # 0 in float32
        ({"temporal_temperature": math.inf}, "temporal_temperature must be between 1e-6 and 1e6, got inf"),
        ({"kernel_weight": math.inf}, "kernel_weight must be between 0 and 1e6, got inf"),
        ({"initializer_range": -1.0}, "initializer_range must be between 0 and 1e6, got -1.0"),
        ({"temporal_weight": -0.1}, "temporal_weight must be between 0 and 1e6, got -0.1"),
        ({"initializer_range": math.nan}, "initializer_range must be between 0 and 1e6, got nan"),
        ({"chunk_length_s": math.inf}, "multiple of 0.02 s, got inf"),
        ({"chunk_length_s": math.nan}, "multiple of 0.02 s, got nan"),
        ({"logit_scale_init_value": 14.3}, "logit_scale_init_value is the logarithm of the factor"),
        ({"logit_scale_init_value": -math.inf}, r"must be at most log\(100\) = 4.605 above or below 0.*got -inf"),
        ({"kernel_weight": 0.0, "temporal_weight": 0.0}, "both 0"),
        ({"num_time_features": 3}, "num_time_features must be even"),
        ({"temporal_position": True}, "text_granularity='sentence'"),
        ({"chunk_length_s": 0.65}, "multiple of 0.02 s, got 0.65"),
        ({"chunk_length_s": 0.16, "speech_config": None}, "must hold 16 fbank frames"),
        ({"chunk_length_s": 1.0}, "chunk_length_s must be 0.64"),
        (
            {"text_granularity": "sentence", "temporal_position": True, "time_query_heads": 3},
            "multiple of time_query_heads",
        ),
    ],
)
def test_bad_numbers_are_refused_by_name(changes: dict, message: str):
    with pytest.raises(StrictDataclassError, match=message):
        tiny_config(**changes)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        (RobertaConfig(max_position_embeddings=514), 512),  # the first token has position 2
        (MPNetConfig(max_position_embeddings=514), 512),
        (BertConfig(), 512),
        (GPT2Config(), 1024),
        (ModernBertConfig(), None),  # positions of queries relative to keys: no end
        (DebertaV2Config(position_biased_input=False, relative_attention=True), None),
        (T5Config(), None),
    ],
    ids=lambda value: getattr(value, "model_type", str(value)),
)
def test_tokens_that_the_text_model_has_positions_for(text, most: int | None):
    assert tiny_config(text_config=text).max_text_tokens == most
