# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""docs/training.md: its first section runs, and what it names exists."""

import dataclasses
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from publish_helpers import save_trained

from collap.hub.card import CardArguments
from collap.hub.dataset import DatasetArguments, DatasetCardArguments
from collap.hub.push import PublishArguments
from collap.training.arguments import CollapTrainingArguments, ConfigArguments, DataArguments, ModelArguments
from examples.extract_features import ExtractArguments
from examples.finetune_peft import FinetuningArguments, LoraArguments

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
FIRST_SECTION = TEXT.partition("\n## Ten minutes")[2].partition("\n## ")[0]


def blocks(language: str, text: str = TEXT) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
def test_the_first_section_runs_as_it_stands(tmp_path):
    """With a tiny model in the place of the demo's, and tones for songs."""
    save_trained(tmp_path / "demo" / "models" / "sentences")
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    (tmp_path / "my-songs").mkdir()
    (listing,) = blocks("text", FIRST_SECTION)
    for index, line in enumerate(listing.splitlines()):
        song, text_file, text = re.split(r" {2,}", line)
        waveform = np.sin(np.arange(44_100 * 2) * 0.02 * 3**index) / 3
        soundfile.write(tmp_path / song, waveform, 44_100)
        (tmp_path / text_file).write_text(text)

    commands = [
        line for block in blocks("bash", FIRST_SECTION) for line in block.replace("\\\n", " ").splitlines() if line
    ]
    assert commands[:2] == ["make demo", "source .venv/bin/activate"]
    (snippet,) = blocks("python", FIRST_SECTION)
    programs = {"python": [sys.executable], "collap": [sys.executable, "-m", "collap"]}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    outputs = []
    for name, *arguments in [*map(shlex.split, commands[2:]), ["python", "-c", snippet]]:
        run = subprocess.run(
            [*programs[name], *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )
        assert run.returncode == 0, f"{name} {arguments}\n{run.stderr[-4000:]}"
        outputs.append(run.stdout)
    assert len(outputs) == 4
    assert "3 songs encoded" in outputs[1]
    assert "before" in outputs[2]
    assert sorted(re.findall(r"my-songs/\w+\.\w+", outputs[3])) == sorted(
        re.findall(r"my-songs/\w+\.(?!txt)\w+", listing)
    )


def names(*classes: type) -> set[str]:
    return {field.name for cls in classes for field in dataclasses.fields(cls)}


MODEL = (ModelArguments, ConfigArguments)
ARGUMENTS = {
    "examples/train.py": names(*MODEL, DataArguments, CollapTrainingArguments),
    "examples/finetune_peft.py": names(LoraArguments, DataArguments, FinetuningArguments),
    "examples/extract_features.py": names(ExtractArguments, *MODEL),
    "collap publish ": names(PublishArguments, CardArguments),
    "collap publish-dataset ": names(DatasetArguments, DatasetCardArguments),
}


def test_the_arguments_of_its_commands_exist():
    for block in blocks("bash"):
        towers = "".join(re.findall(r'TOWERS="(.*?)"', block))
        for command in block.replace("\\\n", " ").replace("$TOWERS", towers).splitlines():
            for program, known in ARGUMENTS.items():
                if program in command:
                    assert set(re.findall(r"--(\w+)", command.partition(program)[2])) <= known, command


def test_what_it_names_exists():
    for file, test in re.findall(r"(tests/\S+\.py)::(\w+)", TEXT):
        assert f"def {test}(" in (REPOSITORY / file).read_text(encoding="utf-8"), f"{file}::{test}"
    for target in re.findall(r"\]\(([^)#\s]+)\)", TEXT):
        assert target.startswith("http") or (REPOSITORY / "docs" / target).exists(), target
    for file in re.findall(r"`((?:examples|benchmarks|tests)/[\w/.-]+\.\w+)", TEXT):
        assert (REPOSITORY / file).exists(), file
    headings = re.findall(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([\w-]+)\)", TEXT)) <= anchors
