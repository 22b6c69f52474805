# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
import json
import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from collap.files import first_few, library_versions, markdown_table, write_json


def test_json_is_written_whole_or_not_at_all(tmp_path):
    file = tmp_path / "new" / "folder" / "x.json"
    write_json(file, {"title": "Für Elise", "seeds": [0]})
    assert file.read_text(encoding="utf-8") == '{\n  "title": "Für Elise",\n  "seeds": [\n    0\n  ]\n}\n'
    before = file.read_bytes()
    with pytest.raises(TypeError):
        write_json(file, {"title": object()})
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["x.json"]


def test_threads_write_the_same_file_at_once(tmp_path):
    file = tmp_path / "x.json"
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda number: write_json(file, [number] * 1000), range(200)))
    (number,) = set(json.loads(file.read_text()))
    assert number in range(200)
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    """And others may read it."""
    file, flushed = tmp_path / "x.json", []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append((os.fstat(descriptor).st_ino, file.exists())))
    write_json(file, {})
    assert flushed == [(file.stat().st_ino, False)]
    (tmp_path / "plain").touch()
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_tables_have_names_to_the_left_and_numbers_to_the_right():
    rows = [["", "R@1", "median rank"], ["ours", "7.5", "12"], ["a longer name", "", "3"]]
    assert markdown_table(rows).splitlines() == [
        "|               | R@1 | median rank |",
        "| ------------- | --: | ----------: |",
        "| ours          | 7.5 |          12 |",
        "| a longer name |     |           3 |",
    ]
    assert markdown_table([["a", "b"], ["c", "1"]]).splitlines()[1] == "| --- | --: |"


def test_long_lists_are_shortened():
    assert first_few(["a", "b", "c"], most=2) == ["  a", "  b", "  and 1 more"]
    assert first_few(["a", "b"], most=2) == ["  a", "  b"]


def test_versions_are_those_of_installed_packages():
    versions = library_versions(["numpy", "no-such-package"])
    assert list(versions) == ["python", "numpy"]
    assert versions["numpy"] == np.__version__
