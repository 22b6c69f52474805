# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
from collap.files import markdown_table


def test_names_to_the_left_and_figures_to_the_right():
    rows = [["", "R@1", "median rank"], ["ours", "7.5", "12"], ["a longer name", "", "3"]]
    assert markdown_table(rows).splitlines() == [
        "|               | R@1 | median rank |",
        "| ------------- | --: | ----------: |",
        "| ours          | 7.5 |          12 |",
        "| a longer name |     |           3 |",
    ]


def test_columns_are_wide_enough_for_the_rule():
    assert markdown_table([["a", "b"], ["c", "1"]]).splitlines() == [
        "| a   |   b |",
        "| --- | --: |",
        "| c   |   1 |",
    ]
