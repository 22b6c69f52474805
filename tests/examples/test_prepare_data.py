# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`examples/prepare_data.py` as a user runs it."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.data.sets import SETS

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "prepare_data.py"


def run(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


def test_a_table_of_futga_becomes_a_manifest(tmp_path):
    (tmp_path / "songs").mkdir()
    soundfile.write(tmp_path / "songs" / "-0abcDEF_12.flac", np.zeros(40 * 8000), 8000)
    caption = f"{'A song with a piano and drums. ' * 4}\n**0-50%:** Intro\n- A piano.\n**50-100%:** End\n- Drums."
    with (tmp_path / "table.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["Song ID", "words"], ["-0abcDEF_12", caption], ["-0abcDEF_13", caption]])
    folders = [
        "--data_dir",
        f"{tmp_path}/table.csv",
        "--audio_dir",
        f"{tmp_path}/songs",
        "--output_dir",
        f"{tmp_path}/out",
    ]
    result = run(
        "--set", "futga", *folders, "--options", "table=audioset_eval", "times=removed", "caption_column=null"
    )
    assert result.returncode == 0, result.stderr
    assert "ids from the column 'Song ID', captions from 'words'" in result.stderr
    assert "WARNING: futga audioset_eval: 1 of 2 songs have no usable audio" in result.stderr
    assert result.stdout == f"{tmp_path}/out/manifest.jsonl: 1 songs, 1 texts\n"
    row = json.loads((tmp_path / "out" / "manifest.jsonl").read_text())
    assert [section["end_s"] for section in row["sections"]] == [20.0, 40.0]
    assert json.loads((tmp_path / "out" / "provenance.json").read_text())["options"]["table"] == "audioset_eval"


def test_sets_are_listed_and_described():
    listed = run("--list").stdout.splitlines()
    assert [line.split()[0] for line in listed] == list(SETS)
    assert "Licence: CC BY-SA 4.0" in run("--describe", "song_describer").stdout
    assert "--set needs --data_dir and --output_dir" in run("--set", "futga").stderr
    assert (
        "--options must be given as NAME=VALUE"
        in run("--set", "futga", "--data_dir", ".", "--output_dir", ".", "--options", "kept").stderr
    )
