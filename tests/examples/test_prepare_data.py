# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/prepare_data.py`: a manifest from a table, and what it prints."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.data.sets import SETS


@pytest.fixture
def main(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2] / "examples"))
    import prepare_data

    return prepare_data.main


def test_a_table_of_futga_becomes_a_manifest(main, tmp_path, capsys, caplog):
    songs, out = tmp_path / "songs", tmp_path / "out"
    songs.mkdir()
    soundfile.write(songs / "-0abcDEF_12.flac", np.zeros(40 * 8000), 8000)
    caption = f"{'A song with a piano and drums. ' * 4}\n**0-50%:** Intro\n- A piano.\n**50-100%:** End\n- Drums."
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Song ID", "words"], ["-0abcDEF_12", caption], ["-0abcDEF_13", caption]])
    folders = ["--data_dir", str(tmp_path / "table.csv"), "--audio_dir", str(songs), "--output_dir", str(out)]
    options = ["table=audioset_eval"]
    with caplog.at_level(logging.INFO):
        main(["--set", "futga", *folders, "--options", *options])
    assert "ids from the column 'Song ID', captions from 'words'" in caplog.text
    assert "futga audioset_eval: 1 of 2 songs have no usable audio" in caplog.text
    assert capsys.readouterr().out == f"{out}/manifest.jsonl: 1 songs, 1 texts\n"
    row = json.loads((out / "manifest.jsonl").read_text())
    assert [section["end_s"] for section in row["sections"]] == [20.0, 40.0]
    assert json.loads((out / "provenance.json").read_text())["options"]["table"] == "audioset_eval"


def test_sets_are_listed_and_described(main, capsys):
    main(["--list"])
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(SETS)
    main(["--describe", "song_describer"])
    assert "Licence: CC BY-SA 4.0" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--set", "futga"])
    assert "--set needs --data_dir and --output_dir" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--options must be given as NAME=VALUE"):
        main(["--set", "futga", "--data_dir", ".", "--output_dir", ".", "--options", "kept"])
