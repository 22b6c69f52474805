# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Model, processor and arguments of a training fit each other, or one sentence names what does not."""

import os
import shutil
from pathlib import Path

import pytest
from publish_helpers import save_trained, write
from safetensors.torch import load_file, save_file
from tiny_models import tiny_beats_config, tiny_config, tiny_text_config
from tiny_tokenizer import tiny_tokenizer
from transformers import RobertaModel

from collap import BeatsModel, CollapConfig, CollapModel
from collap.baselines.mean_pooling import MeanPoolingCollap, load_config
from collap.training.arguments import ConfigArguments, ModelArguments
from collap.training.build import load_model


@pytest.fixture(scope="module")
def documents(tmp_path_factory) -> Path:
    return save_trained(tmp_path_factory.mktemp("documents"), "document")


def load(folder: Path, max_text_tokens: int | None = None, **config):
    model = ModelArguments(model_name_or_path=str(folder), max_text_tokens=max_text_tokens)
    return load_model(model, ConfigArguments(**config))


def test_what_is_given_counts_for_model_and_processor(documents, tmp_path):
    model, processor = load(documents, max_text_tokens=7, text_granularity="sentence", kernel_size=3)
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    model, processor = load(tmp_path)  # with nothing given the folder has to fit by itself
    assert (model.config.text_granularity, model.config.kernel_size) == ("sentence", 3)
    assert (processor.text_granularity, processor.max_text_tokens) == ("sentence", 7)


@pytest.mark.parametrize(
    "given",
    [
        {"chunk_length_s": 1.28},
        {"projection_dim": 8},
        {"temporal_position": True},
        {"logit_scale_init_value": 0.0},
        {"temporal_position": False},
    ],
    ids=lambda given: next(iter(given)),
)
def test_what_only_a_new_model_takes_is_refused(documents, given):
    with pytest.raises(ValueError, match=f"^--{next(iter(given))} make.* leave them out beside --model_name_or_path"):
        load(documents, **given)


def test_towers_beside_a_model_are_refused(documents):
    both = ModelArguments(model_name_or_path=str(documents), music_model="beats", text_model="roberta-base")
    with pytest.raises(ValueError, match=r"^--music_model and --text_model make a new model: leave them out"):
        load_model(both, ConfigArguments())


@pytest.mark.parametrize("tokens", [0, 63, 5000])
def test_a_limit_without_positions_is_refused(documents, tokens):
    """64 position embeddings of RoBERTa are 62 tokens."""
    with pytest.raises(ValueError, match=f"max_text_tokens is {tokens}, the text model takes 1 to 62"):
        load(documents, max_text_tokens=tokens)
    assert load(documents, max_text_tokens=62)[1].max_text_tokens == 62


def test_a_model_without_the_weights_of_beats_is_refused(documents, tmp_path):
    folder = shutil.copytree(documents, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    rest = {name: weight for name, weight in weights.items() if "music_model" not in name}
    save_file(rest, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=r"lacks \d+ weights of a CollapModel, such as audio_model\.music_model"):
        load(folder)


def test_a_model_of_another_class_is_refused(documents, tmp_path):
    folder = shutil.copytree(documents, tmp_path / "model")
    MeanPoolingCollap(tiny_config()).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"model' must hold a CollapModel, got a MeanPoolingCollap"):
        load(folder)


def test_towers_in_a_relative_folder_are_remembered_as_folders(tmp_path, monkeypatch):
    """`secret_user/beats` could be a repository on the Hub; from another folder nothing tells it from one."""
    monkeypatch.chdir(tmp_path)
    BeatsModel(tiny_beats_config()).save_pretrained("secret_user/beats")
    RobertaModel(tiny_text_config()).save_pretrained("secret_user/text")
    tiny_tokenizer("A choir sings.").save_pretrained("secret_user/text")
    towers = ModelArguments(music_model="secret_user/beats", text_model="secret_user/text")
    model, processor = load_model(towers, ConfigArguments(chunk_length_s=0.64))
    model.save_pretrained("model")
    processor.save_pretrained("model")
    config = CollapConfig.from_pretrained("model")
    names = config.music_config._name_or_path, config.text_config._name_or_path
    assert names == (str(tmp_path / "secret_user" / "beats"), str(tmp_path / "secret_user" / "text"))
    assert all(map(os.path.isabs, names))
    assert CollapModel.from_pretrained("model").config.music_config._name_or_path == names[0]

    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    published = write(tmp_path / "model", tmp_path / "published")
    assert not [path.name for path in published.iterdir() if b"secret_user" in path.read_bytes()]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    for name in (str(tmp_path / "typo"), "./typo", "models/of/mine"):
        with pytest.raises(ValueError, match=f"{name} must be a folder, or a name on the Hub, got neither"):
            load_config(name)
