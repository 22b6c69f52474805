# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The `collap` command: every command has a help, and an error is one line and an exit status."""

import os
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from transformers import HfArgumentParser

from collap import CollapConfig
from collap.cli import COMMANDS, HelpFormatter, main, run_script
from collap.data import validation
from collap.evaluation.evaluate import EvaluationArguments

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([name, "--help"])
    assert stopped.value.code == 0
    assert f"usage: collap {name}" in capsys.readouterr().out


def test_an_error_is_one_line(tmp_path, capsys):
    arguments = ["convert-beats", str(tmp_path / "nothing.pt"), str(tmp_path / "out")]
    assert main(arguments) == 1
    assert capsys.readouterr().err.count("\n") == 1
    with pytest.raises(FileNotFoundError):
        main(["--debug", *arguments])


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("train.py", "--output_dir out", "Give --train_manifest, --eval_manifest or both"),
        ("train.py", "--output_dir out --unknown 2", "Some specified arguments are not used"),  # by transformers
        ("finetune_peft.py", "--output_dir out --model_name_or_path model", "Give --train_manifest"),  # by the script
        ("extract_features.py", "--manifests a.jsonl --features out", "Give --model_name_or_path"),
        ("evaluate_retrieval.py", "--model_name_or_path model --output_dir out", "--manifest is required."),
        ("evaluate_retrieval.py", "--compare a.json", "[Errno 2] No such file or directory: 'a.json'"),
        ("prepare_data.py", "--set futga --data_dir nothing --output_dir out --options a=3", "futga: "),
    ],
)
def test_an_error_of_an_example_is_one_line(script, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [str(EXAMPLES / script), *arguments.split()])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert stopped.value.code.startswith(f"{script}: {message}")
    assert "\n" not in stopped.value.code


def test_other_errors_of_a_script_keep_their_traceback():
    with pytest.raises(ValueError, match="need at least one array"):
        run_script(lambda: np.stack([]))


def test_a_wrong_value_of_a_configuration_is_no_traceback():
    with pytest.raises(SystemExit) as stopped:
        run_script(lambda: CollapConfig(text_granularity="word"))
    assert "'text_granularity' expected one of ('document', 'sentence'), got word" in stopped.value.code


def _interrupt(*_):
    raise KeyboardInterrupt


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    monkeypatch.setattr(validation, "validate", _interrupt)
    assert main(["validate", "songs.jsonl"]) == 130
    assert capsys.readouterr().err == "collap validate: interrupted\n"
    with pytest.raises(SystemExit) as stopped:
        run_script(_interrupt)
    assert stopped.value.code == 130


def test_a_reader_that_ends_early_is_no_error(monkeypatch, capsys):
    """As `collap search ... | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    monkeypatch.setattr(validation, "validate", lambda _: print("a line that nobody reads"))
    with open(writer, "w") as stdout:
        monkeypatch.setattr(sys, "stdout", stdout)
        assert main(["validate", "songs.jsonl"]) == 1
    assert capsys.readouterr().err == ""


def test_help_says_what_an_option_does_that_was_made_of_another():
    help = " ".join(HfArgumentParser(EvaluationArguments, formatter_class=HelpFormatter).format_help().split())
    assert "--no_use_time, --no-use-time Same as --use_time false. --section_query" in help
    assert "(default: None)" not in help
    assert "Frames that are scored at a time; fewer take less memory. (default: 32768)" in help
