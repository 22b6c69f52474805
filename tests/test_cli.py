# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""The `collap` command: every command has a help, and an error is one line and an exit status."""

import pytest

from collap.cli import COMMANDS, main


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
