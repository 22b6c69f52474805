# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
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
