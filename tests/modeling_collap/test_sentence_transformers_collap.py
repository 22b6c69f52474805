# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What is taken from a text model of sentence-transformers beside its weights, and what is named as not used."""

import json

import pytest

from collap.modeling_collap import sentence_transformers_collap
from collap.modeling_collap.sentence_transformers_collap import find_text_pooling

COMMIT = "0" * 40


def write_model(folder, pooling, *more_kinds, prompts=None):
    """The JSON files of a model of sentence-transformers; the pooling does not lie where it usually does."""
    kinds = ["models.Transformer", "sentence_transformer.modules.pooling.Pooling", *more_kinds]
    modules = [
        {"path": f"part-{number}" if number else "", "type": f"sentence_transformers.{kind}"}
        for number, kind in enumerate(kinds)
    ]
    (folder / "part-1").mkdir()
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "part-1" / "config.json").write_text(json.dumps({"word_embedding_dimension": 384, **pooling}))
    if prompts is not None:
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"prompts": prompts}))
    return str(folder)


@pytest.fixture
def warnings(monkeypatch):
    """The warnings, as texts; transformers' own logger passes none on to pytest."""
    found = []
    monkeypatch.setattr(sentence_transformers_collap.logger, "warning", lambda text, *args: found.append(text % args))
    return found


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        (
            {"pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True, "pooling_mode_max_tokens": False},
            "mean",
        ),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, "first"),
        ({"pooling_mode_mean_sqrt_len_tokens": True}, "mean"),
        ({"pooling_mode_lasttoken": True, "include_prompt": True}, "last"),
        ({"pooling_mode": "mean"}, "mean"),
        ({"pooling_mode": ["cls"]}, "first"),
        ({"pooling_mode": "lasttoken"}, "last"),
    ],
)
def test_the_pooling_of_old_and_new_versions(tmp_path, warnings, pooling, expected):
    name = write_model(tmp_path, pooling, "models.Normalize", prompts={"query": "", "document": ""})
    assert find_text_pooling(name, None, {}) == expected
    assert find_text_pooling(name, "last", {}) == "last"  # what the user gives is used
    assert warnings == []


@pytest.mark.parametrize(
    ("pooling", "named"),
    [
        ({"pooling_mode_max_tokens": True}, "max_tokens"),
        ({"pooling_mode": "weightedmean"}, "weightedmean"),
        ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True}, "cls_token and mean_tokens"),
    ],
)
def test_other_poolings_are_refused_unless_one_is_given(tmp_path, pooling, named):
    name = write_model(tmp_path, pooling)
    with pytest.raises(ValueError, match=f"its own pooling is not supported: {named}"):
        find_text_pooling(name, None, {})
    assert find_text_pooling(name, "mean", {}) == "mean"


def test_what_is_not_used_is_named(tmp_path, warnings):
    name = write_model(tmp_path, {"pooling_mode": "mean"}, "base.modules.dense.Dense", prompts={"query": "query: "})
    assert find_text_pooling(name, None, {}) == "mean"
    dense, prompts = warnings
    assert dense.startswith(f"Dense of {name} is not used")
    assert prompts.endswith("which are not used: ['query: '].")


def test_other_models_have_no_pooling(tmp_path, warnings):
    assert find_text_pooling(str(tmp_path), None, {}) is None
    assert warnings == []


def test_a_name_of_the_hub_without_the_hub(tmp_path, warnings):
    hub = {"local_files_only": True, "cache_dir": str(tmp_path)}
    assert find_text_pooling("somebody/unknown", None, hub) is None
    (warning,) = warnings
    expected = "modules.json of %s is not in the cache, so its pooling is unknown offline: give text_pooling."
    assert warning == expected % "somebody/unknown"
    assert find_text_pooling("somebody/unknown", "mean", hub) == "mean"
    assert len(warnings) == 1
    # The model is there, but was loaded without sentence-transformers.
    repository = tmp_path / "models--somebody--known"
    (repository / "snapshots" / COMMIT).mkdir(parents=True)
    (repository / "snapshots" / COMMIT / "config.json").write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    assert find_text_pooling("somebody/known", None, hub) is None
    assert warnings[1:] == [expected % "somebody/known"]
    write_model(repository / "snapshots" / COMMIT, {"pooling_mode": "mean"})
    assert find_text_pooling("somebody/known", None, hub) == "mean"
    (repository / "snapshots" / COMMIT / "part-1" / "config.json").unlink()
    with pytest.raises(ValueError, match=r"text_pooling must be given for somebody/known, because part-1/config.json"):
        find_text_pooling("somebody/known", None, hub)
    assert find_text_pooling("somebody/known", "last", hub) == "last"
