# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Tags of all usual formats under one name, and files that have none."""

import pytest
from tiny_library import write_tagged

from collap.search.tags import Tags, read_tags


@pytest.mark.parametrize("suffix", [".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wav"])
def test_every_format_has_the_same_tags(tmp_path, suffix):
    path = write_tagged(tmp_path / f"song{suffix}", 1.0, 0, title="Für Elise", artist="L. van B.", album="Bagatelles")
    assert read_tags(path) == Tags("Für Elise", "L. van B.", "Bagatelles")


def test_a_song_without_tags_has_the_name_of_its_file(tmp_path):
    assert read_tags(write_tagged(tmp_path / "01 intro.flac", 1.0, 0)) == Tags("01 intro")


def test_a_file_that_is_no_audio_has_its_name_too(tmp_path):
    (tmp_path / "text.mp3").write_text("hello")
    assert read_tags(tmp_path / "text.mp3") == Tags("text")
    assert read_tags(tmp_path / "missing.mp3") == Tags("missing")
