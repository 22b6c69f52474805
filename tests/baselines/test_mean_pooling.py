# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import torch
from tiny_models import audio_inputs, text_inputs, tiny_config
from torch.nn.functional import normalize

from collap import CollapModel
from collap.baselines.mean_pooling import MeanPoolingCollap, load_collap


def test_the_saved_class_is_loaded(tmp_path):
    for model_class in (CollapModel, MeanPoolingCollap):
        model_class(tiny_config()).save_pretrained(tmp_path / model_class.__name__)
        assert type(load_collap(str(tmp_path / model_class.__name__))) is model_class


def test_its_score_is_the_cosine_of_means():
    torch.manual_seed(1)
    model = MeanPoolingCollap(tiny_config(text_granularity="sentence", temporal_position=True)).eval()
    with torch.no_grad():
        audio = model.get_audio_features(**audio_inputs([60, 150]))
        text = model.get_text_features(**text_inputs([5, 4, 6], [1, 2]))
        scores = model.similarity(audio, text)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(model.similarity(audio, text), scores, rtol=0, atol=0)
    songs = [frames[mask].mean(0) for frames, mask in zip(audio.last_hidden_state, audio.frame_mask, strict=True)]
    texts = [text.query_embeds[:1].mean(0), text.query_embeds[1:].mean(0)]
    expected = normalize(torch.stack(songs), dim=-1) @ normalize(torch.stack(texts), dim=-1).T
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
