# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`push_to_hub()` of a model and of a processor uploads what `collap publish` writes, the code with it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from publish_helpers import contents, save_trained, write
from tiny_models import tiny_beats_config

from collap import BeatsFeatureExtractor, BeatsModel, CollapModel, CollapProcessor, CollapTextModel

REPOSITORY = Path(__file__).resolve().parents[2]
# transformers makes a card of its own; a licence is the publisher's to give.
ONLY_PUBLISHED = {"README.md", "LICENSE"}

FROM_A_WHEEL = """
import sys
import collap
print(collap.__file__)
collap.CollapModel.from_pretrained(sys.argv[1]).push_to_hub("songs")
collap.CollapProcessor.from_pretrained(sys.argv[1]).push_to_hub("songs")
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return save_trained(tmp_path_factory.mktemp("trained"))


def published(model: Path, folder: Path) -> dict[str, bytes]:
    """What `collap publish` writes, without card and licence."""
    return {name: data for name, data in contents(write(model, folder)).items() if name not in ONLY_PUBLISHED}


def pushed(hub, repository: str = "somebody/songs") -> dict[str, bytes]:
    return {name: data for name, data in hub.files[repository].items() if name not in ONLY_PUBLISHED}


def test_model_and_processor_push_what_publish_writes(hub, trained, tmp_path):
    model, processor = CollapModel.from_pretrained(trained), CollapProcessor.from_pretrained(trained)
    model.config.text_config._name_or_path = str(trained)  # as of a model built from towers in folders
    model.config.speech_config._name_or_path = "openai/whisper-tiny"
    model.save_pretrained(tmp_path / "before")
    processor.save_pretrained(tmp_path / "before")

    model.push_to_hub("songs")
    assert b"library_name: transformers" in hub.files["somebody/songs"]["README.md"]
    processor.push_to_hub("songs")
    config = pushed(hub)["config.json"].decode()
    assert str(trained) not in config
    assert '"openai/whisper-tiny"' in config
    shutil.copy(trained / "processor_config.json", tmp_path / "before")
    assert pushed(hub) == published(tmp_path / "before", tmp_path / "out")

    # The next save is as the one before: no code, no word of it, and the names of the towers as they were.
    model.save_pretrained(tmp_path / "after")
    processor.save_pretrained(tmp_path / "after")
    assert contents(tmp_path / "after") == contents(tmp_path / "before")
    assert not list((tmp_path / "after").glob("*.py"))


def test_saving_with_push_to_hub_does_the_same(hub, trained, tmp_path):
    CollapModel.from_pretrained(trained).save_pretrained(str(tmp_path / "songs"), push_to_hub=True)
    CollapProcessor.from_pretrained(trained).save_pretrained(str(tmp_path / "songs"), push_to_hub=True)
    assert pushed(hub) == published(trained, tmp_path / "out")


def test_what_lies_in_the_folder_is_not_pushed(hub, trained, tmp_path):
    """Nor is a link followed. transformers pushes what it has just written."""
    folder = tmp_path / "songs"
    (folder / "checkpoint-5").mkdir(parents=True)
    for name in (".env", "checkpoint-5/training_args.bin", "optimizer.pt", "train.log"):
        (folder / name).write_text("secret")
    (folder / "host").symlink_to("/etc/hostname")
    CollapModel.from_pretrained(trained).save_pretrained(str(folder), push_to_hub=True)
    CollapProcessor.from_pretrained(trained).save_pretrained(str(folder), push_to_hub=True)
    assert pushed(hub) == published(trained, tmp_path / "out")
    with pytest.raises(ValueError, match=r"[Rr]epo"):
        CollapModel.from_pretrained(trained).push_to_hub("../../etc/x")


def test_an_unfrozen_encoder_is_pushed_as_such(hub, trained):
    model = CollapModel.from_pretrained(trained)
    model.audio_model.music_model.requires_grad_(True)
    model.push_to_hub("songs")
    config = json.loads(pushed(hub)["config.json"])
    assert (config["freeze_music_model"], config["freeze_speech_model"]) == (False, True)


def test_a_half_pushes_its_code(hub, trained, tmp_path):
    """And names no other: the folder it was loaded from has the code of the whole model."""
    CollapTextModel.from_pretrained(write(trained, tmp_path / "out")).push_to_hub("texts")
    files = pushed(hub, "somebody/texts")
    expected = {
        "AutoConfig": "configuration_collap.CollapConfig",
        "AutoModelForTextEncoding": "modeling_collap_text.CollapTextModel",
    }
    assert json.loads(files["config.json"])["auto_map"] == expected
    assert {"modeling_collap_text.py", "modeling_collap_base.py", "configuration_collap.py"} <= set(files)
    assert "modeling_collap_audio.py" not in files


def test_beats_pushes_its_code(hub, tmp_path):
    model, extractor = BeatsModel(tiny_beats_config()), BeatsFeatureExtractor()
    model.save_pretrained(tmp_path / "beats")
    extractor.save_pretrained(tmp_path / "beats")
    model.push_to_hub("beats")
    extractor.push_to_hub("beats")
    assert pushed(hub, "somebody/beats") == published(tmp_path / "beats", tmp_path / "out")


@pytest.mark.slow
def test_it_pushes_from_an_installed_package(hub, trained, tmp_path):
    """The two folders of this checkout lie inside of the package there."""
    shutil.copytree(REPOSITORY / "collap", tmp_path / "site" / "collap")
    for inner in ("modeling_collap", "processing"):
        shutil.copytree(REPOSITORY / inner, tmp_path / "site" / "collap" / inner)
    run = subprocess.run(
        [sys.executable, "-c", FROM_A_WHEEL, str(trained)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site"), "HF_HOME": str(tmp_path / "home")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    assert Path(run.stdout.splitlines()[0]).is_relative_to(tmp_path / "site")
    assert pushed(hub) == published(trained, tmp_path / "out")
