# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The model card that `collap publish` writes, and its checks: only metrics of the JSON, no gaps."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from peft import LoraConfig, get_peft_model
from publish_helpers import METRICS, TEXTS, contents, evaluation, save_trained, write
from safetensors.torch import load_file, save_file
from tiny_models import audio_inputs, text_inputs

from collap import CollapModel, CollapProcessor
from collap.hub.card import CardArguments, render_card
from collap.hub.checks import repository_problems

TAGS = ["collap", "audio", "music", "text-to-audio-retrieval", "sentence-transformers"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return save_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def written(trained, tmp_path_factory) -> Path:
    """A published folder without a problem; tests change copies of it."""
    return write(trained, tmp_path_factory.mktemp("written") / "songs", *evaluation(trained / "eval_results.json"))


def test_the_metadata_says_all_of_it(trained, tmp_path):
    options = "--license other --license_name my-terms --license_link https://example.org/terms --language en de"
    options += (
        " --datasets some/songs --base_model some/beats openai/whisper-tiny --evaluation_dataset_id some/test-songs"
    )
    told = [*evaluation(trained / "eval_results.json"), *options.split(), "--training_data", "Two songs."]
    folder = write(trained, tmp_path / "out", *told)
    card = ModelCard.load(folder / "README.md")
    metadata = card.data.to_dict()
    (index,) = metadata.pop("model-index")
    assert metadata.pop("metrics") == ["recall@1", "recall@5", "recall@10", "median_rank"]
    assert metadata == {
        "license": "other",
        "license_name": "my-terms",
        "license_link": "https://example.org/terms",
        "language": ["en", "de"],
        "library_name": "transformers",
        "pipeline_tag": "feature-extraction",
        "inference": False,
        "tags": [*TAGS, "arxiv:2410.02271"],
        "base_model": ["some/beats", "openai/whisper-tiny"],
        "datasets": ["some/songs"],
    }
    assert index["name"] == "out"
    assert all(
        result["dataset"] == {"type": "some/test-songs", "name": "Songs of mine"} for result in index["results"]
    )
    told = {
        f"eval_{result['task']['type'].replace('-retrieval', '').replace('-', '_')}_{metric['type']}": metric["value"]
        for result in index["results"]
        for metric in result["metrics"]
    }
    # Not the loss, which depends on the batch size, nor how long it took.
    assert told == {name: value for name, value in METRICS.items() if "recall" in name or "median" in name}
    assert "Two songs." in card.text
    assert "published under `my-terms`" in card.text


@pytest.mark.parametrize("granularity", ["sentence", "document"])
def test_the_card_says_what_to_type(tmp_path, granularity):
    folder = write(save_trained(tmp_path / "trained", granularity), tmp_path / "out")
    section = ModelCard.load(folder / "README.md").text.partition("## What to type")[2].partition("\n## ")[0]
    of_sentences = granularity == "sentence"  # in these models the order of the sentences counts, too
    assert ("each sentence becomes one vector" in section) == ("use_time=False" in section) == of_sentences
    assert ("The whole text becomes one vector" in section) != of_sentences
    assert "\n\n\n" not in section
    bullets = section.strip().rpartition("\n\n")[2]
    assert all(line.startswith(("- ", "  ")) for line in bullets.splitlines())


def test_no_metrics_but_those_of_the_json(written):
    section = ModelCard.load(written / "README.md").text.partition("## Evaluation")[2].partition("##")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "|" in line]
    assert rows[0] == ["Songs of mine", "recall@1", "recall@5", "recall@10", "median_rank", "gallery_size"]
    assert rows[2] == ["text → song", "46.9", "87.5", "96.9", "2", "32"]
    assert rows[3:] == [["song → text", "43.8", "75.0", "81.2", "1.5", "32"]]
    prose = "\n".join(line for line in section.splitlines() if "|" not in line)
    assert set(re.findall(r"\d+", prose)) == {"1"}  # "ranks count from 1"
    assert not re.search(r"\bNone\b|\bnan\b|Undefined", (written / "README.md").read_text())


def test_two_evaluations_keep_their_names(trained, tmp_path):
    """The model-index joins results of one data set id, so two data sets without an id must not share one."""
    other = tmp_path / "other.json"
    other.write_text(json.dumps({**METRICS, "eval_gallery_size": 7}))
    files = evaluation(trained / "eval_results.json", other, names=("Songs of mine", "Songs of yours"))
    folder = write(trained, tmp_path / "out", *files)
    card = ModelCard.load(folder / "README.md")
    names = [(result.dataset_name, result.dataset_type) for result in card.data.eval_results]
    assert names == [("Songs of mine", "songs-of-mine")] * 8 + [("Songs of yours", "songs-of-yours")] * 8
    assert "in a gallery of 7" in card.data.eval_results[-1].metric_name
    assert "| Songs of yours |" in card.text


NAMES = ("Songs, of mine", "Songs of mine!", "мои песни", "歌", "曲", "!", "?", "Other")


def test_names_that_differ_by_little_stay_apart(trained, tmp_path):
    """By their punctuation, or in letters that are not Latin."""
    files = []
    for index in range(len(NAMES)):
        files.append(tmp_path / f"{index}.json")
        files[-1].write_text(json.dumps({**METRICS, "eval_gallery_size": 100 + index}))
    card = ModelCard.load(write(trained, tmp_path / "out", *evaluation(*files, names=NAMES)) / "README.md")
    found = {(result.dataset_name, result.metric_name.split()[-1]) for result in card.data.eval_results}
    assert found == {(name, str(100 + index)) for index, name in enumerate(NAMES)}
    types = {result.dataset_name: result.dataset_type for result in card.data.eval_results}
    assert all(types.values())
    assert (types["Other"], types["мои песни"]) == ("other", "мои-песни")
    ids = ["--evaluation_dataset_id", *["some/songs"] * len(NAMES)]
    with pytest.raises(ValueError, match="evaluation_dataset_id must name different data sets"):
        write(trained, tmp_path / "merged", *evaluation(*files, names=NAMES), *ids)


@pytest.mark.parametrize(
    ("content", "names", "message"),
    [
        (None, ["a"], "must be a file of JSON"),
        ([1], ["a"], "must hold a JSON object, got a list"),
        ({"eval_loss": 1.0, "eval_gallery_size": 3}, ["a"], r"must hold metrics such as eval_text_to_audio_recall@1"),
        ({"eval_text_to_audio_recall@1": 1.0}, ["a"], "must hold eval_gallery_size"),
        ({**METRICS, "eval_audio_to_text_recall@1": float("nan")}, ["a"], "audio_to_text_recall@1 must be a number"),
        (METRICS, [], "evaluation_dataset must have one entry for each of the 1 evaluation_json"),
    ],
)
def test_a_bad_evaluation_is_refused(tmp_path, content, names, message):
    file = tmp_path / "eval_results.json"
    if content is not None:
        file.write_text(content if isinstance(content, str) else json.dumps(content))
    template = tmp_path / "card.md"
    template.write_text("---\n{{ card_data }}\n---\n")
    arguments = CardArguments(evaluation_json=[str(file)], evaluation_dataset=names)
    with pytest.raises(ValueError, match=message):
        render_card(template, "a/b", [], arguments)


def test_towers_of_the_hub_are_named_and_paths_are_not(trained, tmp_path):
    """A tower's configuration remembers where it was loaded from; a path on this machine is nobody's business."""
    folder = tmp_path / "trained"
    shutil.copytree(trained, folder)
    config = json.loads((folder / "config.json").read_text())
    config["music_config"]["_name_or_path"] = str(tmp_path / "my-beats")
    config["speech_config"]["_name_or_path"] = "openai/whisper-tiny"
    config["text_config"]["_name_or_path"] = str(tmp_path)
    (folder / "config.json").write_text(json.dumps(config))
    out = write(folder, tmp_path / "out")
    assert ModelCard.load(out / "README.md").data.base_model == ["openai/whisper-tiny"]
    assert str(tmp_path) not in "".join(path.read_text() for path in out.glob("*.json"))


CARD_FAULTS = [
    ("tags:", "license: other\ntags:", "license 'other' needs a license_name"),
    ("tags:", "license: 2\ntags:", "license must be the Hub's name of one licence"),
    ("tags:", "language: english\ntags:", "language must be an ISO code such as 'en', got 'english'"),
    ("tags:", "base_model: ./towers/beats\ntags:", "base_model must name a repository on the Hub"),
    ("(LICENSE)", "(LICENCE)", "links to 'LICENCE', which is not uploaded"),
    ("(LICENSE)", "(train.log)", "links to 'train.log', which is not uploaded"),
    ('("songs"', '("sons"', "loads 'sons', not 'songs'"),
]


@pytest.mark.parametrize(("old", "new", "problem"), CARD_FAULTS, ids=[fault[1][:30] for fault in CARD_FAULTS])
def test_a_fault_of_the_card_is_found(written, tmp_path, old, new, problem):
    folder = tmp_path / "songs"
    shutil.copytree(written, folder)
    assert repository_problems(folder, "songs") == []
    card = (folder / "README.md").read_text()
    assert old in card
    (folder / "README.md").write_text(card.replace(old, new, 1))
    (folder / "train.log").touch()
    problems = repository_problems(folder, "songs")
    assert any(problem in found for found in problems), problems


def forget_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    del config["auto_map"]
    (folder / "config.json").write_text(json.dumps(config))


def put_list(file: Path) -> None:
    file.write_text("[]")


def as_link(file: Path) -> None:
    file.symlink_to(file.rename(file.parent.parent / file.name))


def cut_weights(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "modeling_collap.py").unlink(), "config.json names modeling_collap.py"),
        (lambda folder: (folder / "LICENSE").unlink(), "LICENSE is missing"),
        (cut_weights, "model.safetensors can't be read"),
        (forget_code, "config.json has no auto_map"),
        (lambda folder: put_list(folder / "config.json"), "config.json must hold a JSON object, got a list"),
        (lambda folder: put_list(folder / "model.safetensors.index.json"), "index.json must hold a JSON object"),
        (lambda folder: as_link(folder / "model.safetensors"), "model.safetensors is missing, or a link"),
        (lambda folder: as_link(folder / "README.md"), "README.md is missing, or a link"),
        (
            lambda folder: as_link(folder / "modeling_collap.py"),
            "config.json names modeling_collap.py, which is missing",
        ),
    ],
)
def test_a_fault_of_the_folder_is_found(written, tmp_path, change, problem):
    folder = shutil.copytree(written, tmp_path / "songs")
    change(folder)
    assert problem in "; ".join(repository_problems(folder, "songs"))


def test_nothing_is_written_if_something_is_wrong(trained, tmp_path):
    before = contents(trained)
    with pytest.raises(ValueError, match=r"2 problem\(s\)"):  # all of them at once
        write(trained, tmp_path / "out", "--license", "other", "--language", "english")
    assert list(tmp_path.iterdir()) == []
    assert contents(trained) == before


def test_an_adapter_is_merged(trained, tmp_path):
    """What is published of an adapter is a whole model that gives what base and adapter gave."""
    torch.manual_seed(0)
    config = LoraConfig(target_modules=["query", "fc1"], modules_to_save=["text_model.projection"])
    adapted = get_peft_model(CollapModel.from_pretrained(trained), config).eval()
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted.save_pretrained(tmp_path / "adapter")
    batch = {**audio_inputs([100, 150]), **text_inputs([4, 5, 6], [1, 2])}
    with torch.no_grad():
        base_says = CollapModel.from_pretrained(trained).eval()(**batch).logits_per_audio
        expected = adapted(**batch).logits_per_audio
    assert (expected - base_says).abs().max() > 1e-2  # the adapter does something

    folder = write(tmp_path / "adapter", tmp_path / "out")
    assert not (folder / "adapter_config.json").exists()
    with torch.no_grad():
        merged = CollapModel.from_pretrained(folder).eval()(**batch).logits_per_audio
    torch.testing.assert_close(merged, expected, atol=1e-5, rtol=0)
    processor = CollapProcessor.from_pretrained(folder)
    assert processor(text=TEXTS)["input_ids"] == CollapProcessor.from_pretrained(trained)(text=TEXTS)["input_ids"]

    # Half an adapter is not published with fresh weights in the gap.
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    name = next(name for name in weights if "lora_B" in name)
    del weights[name]
    save_file(weights, tmp_path / "adapter" / "adapter_model.safetensors")
    with pytest.raises(ValueError, match="model must be a whole adapter"):
        write(tmp_path / "adapter", tmp_path / "half")
