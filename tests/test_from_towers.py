# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""One call makes a model and the processor that fits it."""

import json
import shutil

import numpy as np
import pytest
import torch
from tiny_models import tiny_beats_config, tiny_text_config, tiny_whisper_config
from tiny_tokenizer import tiny_tokenizer
from transformers import AutoModel, WhisperModel

from collap import BeatsModel, CollapModel, from_towers


@pytest.fixture(scope="module")
def towers(tmp_path_factory):
    """Folders of a tiny BEATs, a Whisper with 128 mel bins, and a text model with its tokenizer."""
    folder = tmp_path_factory.mktemp("towers")
    BeatsModel(tiny_beats_config()).save_pretrained(folder / "music")
    WhisperModel(tiny_whisper_config(num_mel_bins=128)).save_pretrained(folder / "speech")
    AutoModel.from_config(tiny_text_config()).save_pretrained(folder / "text")
    tiny_tokenizer("a choir sings", "drums set in").save_pretrained(folder / "text")
    return {name: str(folder / name) for name in ("music", "speech", "text")}


@pytest.mark.parametrize("absent", [None, "music", "speech"])
def test_the_model_takes_what_its_processor_makes(towers, absent):
    model, processor = from_towers(**{**towers, **({absent: None} if absent else {})}, text_granularity="sentence")
    assert type(model) is CollapModel
    inputs = processor(
        text=[["a choir sings", "drums set in"], ["drums"]],
        audio=[np.random.default_rng(0).uniform(-0.5, 0.5, 20_000)],
        sampling_rate=16_000,
        return_tensors="pt",
    )
    assert ("fbank_features" in inputs, "input_features" in inputs) == (absent != "music", absent != "speech")
    with torch.no_grad():
        logits = model(**inputs).logits_per_audio
    assert logits.shape == (1, 2)
    assert logits.isfinite().all()


def test_options(towers):
    class Other(CollapModel):
        pass

    model, processor = from_towers(
        **towers, max_text_tokens=7, model_class=Other, kernel_size=5, dtype="bfloat16", local_files_only=True
    )
    assert type(model) is Other
    assert (model.config.kernel_size, model.config.chunk_length_s, model.dtype) == (5, 0.64, torch.bfloat16)
    extractor = processor.feature_extractor
    assert (processor.max_text_tokens, extractor.chunk_length_s, extractor.num_speech_mel_bins) == (7, 0.64, 128)
    with pytest.raises(TypeError, match="hop_size"):
        from_towers(**towers, hop_size=5)


def test_the_pooling_of_sentence_transformers(towers, tmp_path):
    folder = tmp_path / "text"
    shutil.copytree(towers["text"], folder)
    pooling = {"path": "pooling", "type": "sentence_transformers.models.Pooling"}
    (folder / "modules.json").write_text(json.dumps([pooling]))
    (folder / "pooling").mkdir()
    (folder / "pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    chosen = {None: "mean", "first": "first"}
    for given, expected in chosen.items():
        model, _ = from_towers(**{**towers, "text": str(folder)}, text_pooling=given)
        assert model.config.text_pooling == expected
    assert from_towers(**towers)[0].config.text_pooling == "first"


def test_a_text_model_with_the_tokenizer_of_another_is_refused(towers, tmp_path):
    text = tiny_text_config()
    text.vocab_size = 6  # of the tokenizer's ten
    AutoModel.from_config(text).save_pretrained(tmp_path)
    tiny_tokenizer("a choir sings", "drums set in").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="token ids go up to 9, vocab_size of the model is 6"):
        from_towers(**{**towers, "text": str(tmp_path)})
