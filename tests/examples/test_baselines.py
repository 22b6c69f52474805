# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The baselines and the ablations that are trained on the songs of CoLLAP, on tiny models."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from tiny_models import CHUNK_LENGTH_S, audio_inputs, text_inputs, tiny_config
from tiny_tokenizer import tiny_tokenizer
from torch.nn.functional import normalize

from collap import CollapFeatureExtractor, CollapModel, CollapProcessor

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.append(str(EXAMPLES))  # last: examples/evaluate.py is not the library of that name
import train  # noqa: E402

from collap.baselines.mean_pooling import MeanPoolingCollap, load_collap  # noqa: E402

NOTES = ["low", "middle", "high", "noise"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A CoLLAP with sentences and time, and four songs."""
    folder = tmp_path_factory.mktemp("baselines")
    torch.manual_seed(0)
    CollapModel(tiny_config(text_granularity="sentence", temporal_position=True)).save_pretrained(folder / "collap")
    extractor = CollapFeatureExtractor(chunk_length_s=CHUNK_LENGTH_S)
    tokenizer = tiny_tokenizer("A song of sound. It ends with again.", " ".join(NOTES))
    CollapProcessor(extractor, tokenizer, text_granularity="sentence").save_pretrained(folder / "collap")
    lines = []
    for index, note in enumerate(NOTES):
        time = np.arange(16_000 + 3_000 * index) / 16_000
        soundfile.write(folder / f"{note}.wav", 0.3 * np.sin(2 * np.pi * 200 * 3**index * time), 16_000)
        lines.append({"audio": f"{note}.wav", "text": [f"A song of {note} sound.", f"It ends with {note} again."]})
    (folder / "songs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def train_collap(folder: Path, output: Path, *more: str, model_class: type[CollapModel] = CollapModel) -> dict:
    shared = [f"--model_name_or_path={folder / 'collap'}", f"--output_dir={output}", "--use_cpu", "--report_to=none"]
    shared += [f"--train_manifest={folder / 'songs.jsonl'}", f"--eval_manifest={folder / 'songs.jsonl'}"]
    shared += ["--num_train_epochs=2", "--learning_rate=0.01", "--save_strategy=no", "--disable_tqdm=true"]
    return train.main([*shared, *more], model_class)


@pytest.mark.parametrize(
    ("left_out", "largest"),
    [("kernel_weight", "temporal_weight"), ("temporal_weight", "kernel_weight")],
)
def test_ablations_are_fields_of_the_config(folder, tmp_path, left_out, largest):
    figures = train_collap(folder, tmp_path, f"--{left_out}=0")
    assert math.isfinite(figures["eval_loss"])
    assert figures["eval_gallery_size"] == 4
    model = CollapModel.from_pretrained(tmp_path)
    assert getattr(model.config, left_out) == 0
    assert getattr(model.config, largest) > 0
    before = CollapModel.from_pretrained(folder / "collap").state_dict()
    name = "text_projection.weight"
    assert not torch.equal(model.state_dict()[name], before[name])


class TestMeanPooling:
    def test_a_saved_one_is_loaded_as_one(self, folder, tmp_path):
        train_collap(folder, tmp_path, model_class=MeanPoolingCollap)
        assert type(load_collap(tmp_path)) is MeanPoolingCollap
        assert type(load_collap(folder / "collap")) is CollapModel

    def test_its_score_is_the_cosine_of_means(self, folder):
        model = load_collap(folder / "collap", kernel_stride=2)
        pooling = MeanPoolingCollap(model.config)
        pooling.load_state_dict(model.state_dict())
        pooling.eval()
        torch.manual_seed(1)
        with torch.no_grad():
            audio = pooling.get_audio_features(**audio_inputs([60, 150]))
            text = pooling.get_text_features(**text_inputs([5, 4, 6], [1, 2]))
            scores = pooling.similarity(audio, text)
        songs = [frames[mask].mean(0) for frames, mask in zip(audio.last_hidden_state, audio.frame_mask, strict=True)]
        texts = [text.query_embeds[:1].mean(0), text.query_embeds[1:].mean(0)]
        expected = normalize(torch.stack(songs), dim=-1) @ normalize(torch.stack(texts), dim=-1).T
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)
