# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Pushing with huggingface_hub's own client, to a stand-in for the Hub on the loopback (see hub_server.py).

What arrives there is the folder (test_publish.py loads it); an error gives its reason, and nothing is lost. It shows
that our calls of the client are right. It can't show how the Hub itself answers.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hub_server import READ_TOKEN, TOKEN, serve_hub
from publish_helpers import TEXTS, contents, save_trained, write

from collap.hub.card import CardArguments
from collap.hub.push import publish, publish_model, push_repository
from collap.training.arguments import CollapTrainingArguments
from collap.training.build import take_push_to_hub

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return save_trained(tmp_path_factory.mktemp("trained"))


@pytest.fixture
def folder(trained, tmp_path) -> Path:
    """A folder that is ready to be pushed as somebody/songs."""
    return write(trained, tmp_path / "out", "--repo_id", "somebody/songs")


def test_what_was_looked_at_is_pushed_as_it_is(hub, folder):
    """Write, read the card, change it by hand, push: in two commands."""
    card = (folder / "README.md").read_text() + "\nBy hand.\n"
    (folder / "README.md").write_text(card)
    with pytest.raises(ValueError, match="Without --model the folder is not changed"):
        publish(["--output_dir", str(folder), "--repo_id", "somebody/songs", "--license", "mit"])
    with pytest.raises(ValueError, match="loads 'somebody/songs', not 'somebody/others'"):
        publish(["--output_dir", str(folder), "--repo_id", "somebody/others"])
    assert hub.requests == []
    publish(["--output_dir", str(folder), "--repo_id", "somebody/songs"])
    assert hub.files["somebody/songs"] == contents(folder)
    assert hub.files["somebody/songs"]["README.md"].decode() == card
    assert hub.commits["somebody/songs"] == 1  # whole or not at all


def test_a_repository_that_is_there_is_taken(hub, folder):
    """Pushed twice it is no error and no second commit; files of others in the repository stay."""
    push_repository(folder, "somebody/songs")
    hub.files["somebody/songs"]["demo.md"] = b"of somebody else"
    push_repository(folder, "somebody/songs")
    assert (hub.commits["somebody/songs"], len(hub.stored)) == (1, 1)
    (folder / "LICENSE").write_text("Another one.")
    push_repository(folder, "somebody/songs")
    assert hub.files["somebody/songs"] == {**contents(folder), "demo.md": b"of somebody else"}
    assert hub.commits["somebody/songs"] == 2


def test_nothing_else_is_uploaded(hub, folder, tmp_path, caplog):
    """What a training, a person or an attack leaves in the folder stays there; the card's picture goes with it."""
    expected = contents(folder)
    (folder / ".env").write_text("HF_TOKEN=hf_secret")
    (folder / "checkpoint-5").mkdir()
    for name in (
        "checkpoint-5/training_args.bin",
        "checkpoint-5/config.json",
        "optimizer.pt",
        "train.log",
        "train.py",
    ):
        (folder / name).write_text("secret")
    for name in ("other.png", "__init__.py", "model.safetensors.bak", "pytorch_model.bin"):
        (folder / name).write_text("secret")
    (folder / "generation_config.json").symlink_to("/etc/hostname")  # a name that is on the list
    (folder / "vocab.txt").symlink_to(tmp_path)
    (folder / "ranks.png").write_bytes(b"a picture")
    card = (folder / "README.md").read_text() + "\n![Ranks](ranks.png) ![Host](host.png) by hand\n"
    (folder / "host.png").symlink_to("/etc/hostname")
    (folder / "README.md").write_text(card)
    with pytest.raises(ValueError, match=r"README\.md links to 'host\.png', which is not uploaded"):
        publish(["--output_dir", str(folder), "--repo_id", "somebody/songs"])
    (folder / "README.md").write_text(card := card.replace(" ![Host](host.png)", ""))
    with caplog.at_level("INFO"):
        publish(["--output_dir", str(folder), "--repo_id", "somebody/songs"])
    assert hub.files["somebody/songs"] == {**expected, "README.md": card.encode(), "ranks.png": b"a picture"}
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Not uploaded")]
    assert line.partition(": ")[2] == (
        ".env, __init__.py, checkpoint-5, generation_config.json, host.png, model.safetensors.bak, optimizer.pt, "
        "other.png, pytorch_model.bin, train.log, train.py, vocab.txt"
    )


@pytest.mark.parametrize(
    "name", ["../../etc/x", "a/b/c", "somebody/..", "some body/songs", "somebody/songs--1", "/etc"]
)
def test_what_is_no_name_of_a_repository_is_refused(hub, trained, folder, tmp_path, name):
    """Also where nothing is sent."""
    for given in (["--model", str(trained), "--output_dir", str(tmp_path / "new")], ["--output_dir", str(folder)]):
        for more in (["--dry_run"], []):
            with pytest.raises(ValueError, match=r"[Rr]epo"):
                publish([*given, "--repo_id", name, *more])
    with pytest.raises(ValueError, match=r"[Rr]epo"):
        push_repository(folder, name)
    training = CollapTrainingArguments(str(tmp_path), contrastive_batch_size=2, push_to_hub=True, hub_model_id=name)
    with pytest.raises(ValueError, match=r"[Rr]epo"):
        take_push_to_hub(training)
    assert not (tmp_path / "new").exists()
    assert hub.requests == []


@pytest.mark.parametrize(
    ("token", "repo_id", "message"),
    [
        ("hf_wrong", "somebody/songs", r"there is no token, or it is not valid \(401\).*hf auth login"),
        (READ_TOKEN, "somebody/songs", r"the token has no write access to somebody/songs \(403\)"),
        (TOKEN, "another/songs", r"the token has no write access to another/songs \(403\)"),
    ],
)
def test_a_token_that_does_not_do(hub, trained, tmp_path, monkeypatch, token, repo_id, message):
    monkeypatch.setenv("HF_TOKEN", token)
    arguments = ["--model", str(trained), "--output_dir", str(tmp_path / "out"), "--repo_id", repo_id]
    with pytest.raises(RuntimeError, match=rf"{repo_id} was not published: {message}.*Try again by") as raised:
        publish(arguments)
    assert token not in str(raised.value)
    assert hub.files == {}

    # What was written is there; the command that the message names goes on with it.
    before = contents(tmp_path / "out")
    again = re.search(r"`collap publish (.*)`", str(raised.value)).group(1).split()
    if repo_id == "somebody/songs":
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        publish(again)
        assert hub.files["somebody/songs"] == before
    assert contents(tmp_path / "out") == before


def test_a_failure_in_the_middle(hub, folder):
    """The weights arrive, then the commit fails: nothing is there; the second time only the commit is left to do."""
    before = contents(folder)
    hub.failures["POST /api/models/somebody/songs/commit"] = [500]
    with pytest.raises(RuntimeError, match=r"somebody/songs was not published: the Hub answered 500.* is unchanged"):
        push_repository(folder, "somebody/songs")
    assert contents(folder) == before
    assert (hub.files["somebody/songs"], len(hub.stored)) == ({}, 1)

    hub.requests.clear()
    push_repository(folder, "somebody/songs")
    assert hub.files["somebody/songs"] == before
    assert not [request for request in hub.requests if request.startswith("PUT")]


def test_at_the_end_of_a_training_run(hub, trained):
    """`publish_model` takes the name as the Trainer does, without a user, and leaves the run's folder as it was."""
    before = contents(trained)
    card = CardArguments(evaluation_json=[str(trained / "eval_results.json")], evaluation_dataset=["Mine"])
    hub.failures["POST /api/models/somebody/songs/commit"] = [500]
    with pytest.raises(RuntimeError, match=rf"Try again by `collap publish --model {trained} "):
        publish_model(trained, "songs", card, token=TOKEN, private=True)
    assert contents(trained) == before

    address = publish_model(trained, "songs", card, token=TOKEN, private=True)
    assert hub.private["somebody/songs"]
    assert address.startswith(f"{hub.endpoint}/somebody/songs/commit/")
    assert contents(trained) == before
    files = hub.files["somebody/songs"]
    assert 'from_pretrained("somebody/songs"' in files["README.md"].decode()
    assert b"model-index" in files["README.md"]
    assert {"modeling_collap.py", "processor_config.json", "model.safetensors", "LICENSE"} <= set(files)

    with pytest.raises(RuntimeError, match=r"songs was not published: there is no token, or .* \(401\)"):
        publish_model(trained, "songs", card, token="hf_wrong")


def test_a_name_to_push_to_is_needed(hub, trained, tmp_path):
    for given in ([], ["--repo_id", "songs"]):
        with pytest.raises(ValueError, match="repo_id must be USER/NAME to push"):
            publish(["--model", str(trained), "--output_dir", str(tmp_path / "out"), *given])
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_train_pushes_what_publish_makes(trained, tmp_path):
    """`train.py --push_to_hub`: one commit with the model as published, none of the Trainer's own beside it."""
    lines = []
    for index, text in enumerate(TEXTS):
        soundfile.write(tmp_path / f"{index}.wav", np.sin(np.arange(20_000) * (0.1 + index)) / 3, 16_000)
        lines.append(json.dumps({"audio": f"{index}.wav", "text": text}))
    (tmp_path / "songs.jsonl").write_text("\n".join(lines))
    arguments = {
        "model_name_or_path": trained,
        "train_manifest": tmp_path / "songs.jsonl",
        "eval_manifest": tmp_path / "songs.jsonl",
        "output_dir": tmp_path / "run",
        "num_train_epochs": 2,
        "save_strategy": "epoch",
        "hub_model_id": "songs",
        "hub_token": TOKEN,
        "report_to": "none",
    }
    with serve_hub() as hub:
        command = [sys.executable, str(REPOSITORY / "examples" / "train.py"), "--push_to_hub", "--use_cpu"]
        run = subprocess.run(
            [*command, *(f"--{name}={value}" for name, value in arguments.items())],
            env={**os.environ, "OMP_NUM_THREADS": "1", **hub.environment(), "HF_HOME": str(tmp_path / "home")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr[-4000:]
    files = hub.files["somebody/songs"]
    assert hub.commits["somebody/songs"] == 1
    assert {"modeling_collap.py", "processor_config.json", "LICENSE"} <= set(files)
    assert not [name for name in files if name.endswith(".bin") or "checkpoint" in name]
    assert b"name: songs.jsonl" in files["README.md"]  # the data set of the evaluation
    assert TOKEN.encode() not in b"".join(files.values())
    assert files["model.safetensors"] == (tmp_path / "run" / "model.safetensors").read_bytes()
