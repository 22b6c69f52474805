# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""`collap index` and `collap search`, from a folder of songs to a moment."""

import json

import pytest
from tiny_library import save_tiny_model, write_tagged

from collap.cli import main


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("songs")
    for number, suffix in enumerate((".mp3", ".flac", ".ogg")):
        write_tagged(folder / f"{number}{suffix}", 3.0, number, title=f"Song {number}", artist="Ann" * (number == 0))
    (folder / "text.mp3").write_text("hello")
    return folder


@pytest.fixture(scope="module")
def index(tmp_path_factory, model, songs) -> str:
    folder = str(tmp_path_factory.mktemp("index") / "index")
    assert main(["index", str(songs), "--model", model, "--index", folder]) == 0
    return folder


def run(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 0
    return capsys.readouterr().out


def fail(capsys, *arguments: str) -> str:
    assert main([*arguments]) == 1
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"collap {arguments[0]}: ")
    return error


def test_an_update_says_what_has_changed_and_what_failed(index, songs, capsys):
    assert "3 songs in 4 files: 0 new, 0 changed, 0 moved, 0 gone, 1 failed." in run(capsys, "index", "--index", index)
    failed = run(capsys, "index", "--index", index, "--failed").splitlines()
    assert failed[0].startswith(f"{songs / 'text.mp3'}: it is no file of audio")
    assert len(failed) == 1


def test_an_answer_for_people(index, songs, capsys):
    lines = run(capsys, "search", "A slow piano. Then drums.", "--index", index, "--top", "2").splitlines()
    assert len(lines) == 2 * 4
    assert lines[0].startswith("  1. ")
    assert "(0:03)  score " in lines[0]
    assert lines[1].strip().startswith(str(songs))
    assert lines[2].startswith("     0:00-0:0")
    assert lines[2].endswith("A slow piano.")
    named = run(capsys, "search", "A slow piano. Then drums.", "--index", index, "--artist", "ann")
    assert named.startswith("  1. Ann - Song 0  (0:03)")


def test_an_answer_for_programs(index, capsys):
    answer = json.loads(run(capsys, "search", "drums", "--index", index, "--json", "--not", "a choir"))
    assert (answer["num_songs"], answer["is_match"], answer["damaged"]) == (3, None, [])
    first = answer["matches"][0]
    assert {"id", "path", "title", "artist", "album", "duration_s", "score", "probability", "spans"} <= set(first)
    assert set(first["spans"][0]) == {"sentence", "start_s", "end_s", "score"}


def test_a_split_sentence_is_said(index, capsys):
    lines = run(capsys, "search", "A slow piano, then drums", "--index", index, "--top", "1").splitlines()
    assert lines[0] == "Split at its clauses: A slow piano, then drums"
    assert [line.split("  ")[-1] for line in lines[3:]] == ["A slow piano", "then drums"]


def test_what_is_excluded_may_stand_in_front(index, capsys):
    answers = [
        run(capsys, "search", *arguments, "--index", index)
        for arguments in (["--not", "a choir", "drums"], ["drums", "--not", "a choir"])
    ]
    assert answers[0] == answers[1]


def test_a_playlist_and_a_picture(index, songs, tmp_path, capsys):
    files = {name: str(tmp_path / name) for name in ("list.m3u", "best.png")}
    run(capsys, "search", "drums", "--index", index, "--m3u", files["list.m3u"], "--explain", files["best.png"])
    lines = (tmp_path / "list.m3u").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    assert sorted(lines[1::2]) == ["#EXTINF:3,Ann - Song 0", "#EXTINF:3,Song 1", "#EXTINF:3,Song 2"]
    assert set(lines[2::2]) == {str(songs / f"{name}") for name in ("0.mp3", "1.flac", "2.ogg")}
    assert (tmp_path / "best.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("query", [["drums", "--explain", "x.foo"], ["--like", "a.wav", "--explain", "best.png"]])
def test_what_cannot_be_drawn_is_said_before_the_search(index, query, capsys):
    with pytest.raises(SystemExit):
        main(["search", *query, "--index", index])
    message = "--explain needs a description, and the name of a picture (.png, .jpg, .pdf, .svg)"
    assert message in capsys.readouterr().err


def test_an_answer_is_printed_also_if_a_file_cannot_be_written(index, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["search", "drums", "--index", index, "--m3u", str(tmp_path / "file" / "list.m3u")]) == 1
    assert capsys.readouterr().out.startswith("  1. ")


def test_audio_as_query(index, songs, capsys):
    part = run(capsys, "search", "--like", str(songs / "1.flac"), "--from", "0:01", "--to", "2.5", "--index", index)
    assert part.startswith("  1. Song 1")
    assert part.splitlines()[2].endswith("1.flac")


def test_filters_that_leave_nothing(index, capsys):
    assert run(capsys, "search", "drums", "--index", index, "--album", "none") == "No song is left by the filters.\n"


def test_errors_are_one_line(index, songs, tmp_path, capsys):
    assert "has no songs.sqlite" in fail(capsys, "search", "drums", "--index", str(tmp_path))
    assert "nothing to search for" in fail(capsys, "search", "--index", index)
    assert "text.mp3" in fail(capsys, "search", "--like", str(songs / "text.mp3"), "--index", index)
    assert "is neither a file nor a folder" in fail(capsys, "index", "--index", index, "--remove", str(tmp_path))
    missing = fail(capsys, "index", str(tmp_path / "nowhere"), "--index", index)
    assert "nowhere is no folder of songs" in missing
    assert "--from and --to (like_span_s) need the audio of --like" in fail(
        capsys, "search", "drums", "--from", "1:00", "--index", index
    )
    moved = fail(capsys, "search", "drums", "--index", index, "--model", "demo/models/none")
    assert "demo/models/none is not there" in moved


@pytest.mark.parametrize("time", ["1:2:3:4", "-3", "one", "1:xx"])
def test_a_time_that_is_none(index, time, capsys):
    with pytest.raises(SystemExit):
        main(["search", "--like", "a.wav", f"--from={time}", "--index", index])
    assert "expected a time such as 80, 1:20 or 1:01:20" in capsys.readouterr().err


def test_a_second_model_needs_rebuild(index, model, tmp_path, capsys):
    other = save_tiny_model(tmp_path / "other", projection_dim=12)
    assert main(["index", "--index", index, "--model", other]) == 1
    assert "projection_dim: 16 in the index, 12 here" in capsys.readouterr().err
    for folder, option in ((index, ["--rebuild"]), (index, ["--precision", "int8"]), ("new", ["--milvus", "a.db"])):
        with pytest.raises(SystemExit):
            main(["index", "--index", folder, *option])
        assert "need --model: they are for a new index" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [["--failed", "--rebuild"], ["--failed", "--remove", "a"], ["folder", "--remove", "a"]]
)
def test_options_that_do_nothing_else(options, capsys):
    with pytest.raises(SystemExit):
        main(["index", "--index", "none", *options])
    assert "--failed and --remove do nothing else" in capsys.readouterr().err
