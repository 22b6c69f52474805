# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Damaged and hostile manifests: each fault is an issue with its line, the other rows are still looked at."""

import csv
import json
import os
import re
import tempfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
import soundfile

datasets = pytest.importorskip("datasets", reason="the manifest reader needs the extra 'train'")

from collap.cli import main  # noqa: E402 - after the skip
from collap.data.manifest import ManifestError, load_manifest, read_manifest  # noqa: E402 - after the skip
from collap.data.validation import validate_manifest  # noqa: E402 - after the skip

GOOD = '{"audio": "a.wav", "text": "A."}\n'


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two songs beside the manifests; the working folder has others of the same names."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    for name in ("songs", "elsewhere"):
        (tmp_path / name).mkdir()
        for song in ("a.wav", "b.wav"):
            soundfile.write(tmp_path / name / song, np.full(3200, 0.1), 16000)
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "songs"


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    return path


def issues_of(path, num_sound=None, **options):
    with pytest.raises(ManifestError) as error:
        load_manifest(path, **options)
    assert str(error.value).startswith(f"{path} has {len(error.value.issues)} issue(s):\n")
    if num_sound is not None:
        given = {"split": None, "keep_extra_columns": False, "check_audio": True} | options
        rows, places, _ = read_manifest(path, **given)
        assert len(rows) == len(places) == num_sound
    return error.value.issues


STRING_TYPES = [
    pyarrow.string(),
    pyarrow.large_string(),  # pandas 3
    pyarrow.string_view(),
    pyarrow.dictionary(pyarrow.int32(), pyarrow.string()),  # a category of pandas
    pyarrow.dictionary(pyarrow.int8(), pyarrow.large_string()),
]


@pytest.mark.parametrize("kind", STRING_TYPES, ids=str)
def test_paths_of_a_parquet_are_those_beside_it(folder, kind):
    path = folder / "songs.parquet"
    columns = {"audio": ["a.wav", str(folder / "b.wav")], "text": ["A.", "B."]}
    pyarrow.parquet.write_table(
        pyarrow.table({name: pyarrow.array(values).cast(kind) for name, values in columns.items()}), path
    )
    assert load_manifest(path).to_dict() == {**columns, "audio": [str(folder / "a.wav"), str(folder / "b.wav")]}


@pytest.mark.parametrize("kind", [pyarrow.string(), pyarrow.large_string()], ids=str)
@pytest.mark.parametrize("names", [["path"], ["bytes", "path"], ["path", "bytes"]])
def test_paths_in_structs_of_a_parquet_are_those_beside_it(folder, kind, names):
    path = folder / "songs.parquet"
    content = (folder / "a.wav").read_bytes()
    audio = [{"path": "a.wav", "bytes": None}, {"path": "b.wav", "bytes": content}]
    audio = [{name: song[name] for name in names} for song in audio]
    types = {"path": kind, "bytes": pyarrow.binary()}
    struct = pyarrow.struct([(name, types[name]) for name in names])
    pyarrow.parquet.write_table(pyarrow.table({"audio": pyarrow.array(audio, struct), "text": ["A.", "B."]}), path)
    first, second = load_manifest(path)["audio"]
    assert (first["path"], first.get("bytes")) == (str(folder / "a.wav"), None)
    if "bytes" in names:
        assert second == {"path": "b.wav", "bytes": content}  # a name only, nothing opens it
    else:
        assert second == {"path": str(folder / "b.wav")}


def test_paths_of_a_data_set_are_those_in_the_working_folder_at_load_time(folder, monkeypatch):
    for kind in ("string", "large_string"):
        features = datasets.Features({"audio": datasets.Value(kind), "text": datasets.Value(kind)})
        data = datasets.Dataset.from_dict({"audio": ["a.wav"], "text": ["A."]}, features=features)
        data.save_to_disk(folder / kind)
        loaded = load_manifest(folder / kind)
        assert loaded["audio"][:] == [str(folder.parent / "elsewhere" / "a.wav")]
    struct = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"audio": struct, "text": datasets.Value("string")})
    audio = {"bytes": None, "path": "a.wav"}
    datasets.Dataset.from_dict({"audio": [audio], "text": ["A."]}, features=features).save_to_disk(folder / "audio")
    files = sorted(os.listdir(folder / "audio"))
    loaded = load_manifest(folder / "audio")
    assert sorted(os.listdir(folder / "audio")) == files  # nothing is written into the data set
    monkeypatch.chdir(folder)
    assert loaded[0]["audio"]["path"] == str(folder.parent / "elsewhere" / "a.wav")


@pytest.mark.parametrize("with_bytes", [False, True])
def test_a_parquet_is_the_one_that_was_named_in_its_state_of_today(folder, with_bytes):
    def write_parquet(name, text):
        audio = {"bytes": b"RIFF", "path": "a.wav"} if with_bytes else "a.wav"
        pyarrow.parquet.write_table(pyarrow.table({"audio": [audio], "text": [text]}), folder / name)
        os.utime(folder / name, (10**9, 10**9))
        return folder / name

    write_parquet("songs1.parquet", "Another.")
    path = write_parquet("songs[1].parquet", "First.")
    assert load_manifest(path)["text"][:] == ["First."]
    write_parquet("songs[1].parquet", "Again.")  # as long, and of the same time
    assert load_manifest(path)["text"][:] == ["Again."]


def test_a_folder_of_tables_is_the_one_that_was_named(folder):
    for name in ("set1", "set[1]"):
        (folder / name).mkdir()
        row = {"audio": [str(folder / "a.wav")], "text": [name]}
        datasets.Dataset.from_dict(row).to_parquet(folder / name / "train.parquet")
    assert load_manifest(folder / "set1")["text"][:] == ["set1"]
    assert load_manifest(folder / "set[1]" / "train.parquet")["text"][:] == ["set[1]"]
    with pytest.raises(ValueError, match=r"set\[1\]: `datasets` takes .* for patterns: rename it"):
        load_manifest(folder / "set[1]")


def test_a_path_that_is_not_utf_8(folder):
    other = os.fsdecode(os.fsencode(folder) + b"/\xe9")
    os.mkdir(other)
    write(Path(other) / "songs.jsonl", GOOD)
    for path in (other, f"{other}/songs.jsonl"):
        with pytest.raises(ValueError, match=r"the path must be UTF-8, got '/.*/\\udce9"):
            load_manifest(path)


@pytest.mark.parametrize(
    ("line", "issue"),
    [
        (b'{"audio": "a.wav", "text": "na\xefve"}', r"line 2: it is not UTF-8, .*'\\udc(e9|ef)'"),
        ('{"audio": "a\\udce9.wav", "text": "A."}', r"line 2: it is not UTF-8, .*'\\udc(e9|ef)'"),
        ("[" * 100_000, "line 2 is not JSON: maximum recursion"),
        (
            '{"audio": "a.wav", "text": ' + "[" * 900 + "]" * 900 + "}",
            "line 2: (it is not UTF-8, or nested too deeply|text must be)",
        ),
        ('{"audio": "a.wav", "text": ' + "[" * 90 + "]" * 90 + "}", "line 2: text must be"),
        (
            '{"audio": "a.wav", "text": "A.", "duration_s": ' + "1" * 5000 + "}",
            "line 2 is not JSON: Exceeds the limit",
        ),
        ('{"audio": "a.wav", "text": "A.", "duration_s": 1' + "0" * 400 + "}", "line 2: duration_s must be seconds"),
        ('{"audio": "a.wav", "text": "A.", "duration_s": 1e999}', "line 2: duration_s must be seconds"),
        ('{"audio": "a.wav", "text": "A.", "duration_s": NaN}', "line 2: duration_s must be seconds"),
        ('{"audio": "a.wav", "text": "A.", "x": 1' + "0" * 400 + "}", "line 2: 'x' mixes types .*or is too large"),
        (
            '{"audio": "a.wav", "audio": "b.wav", "text": "A."}',
            r"line 2 is not JSON: a name is there twice, \['audio', 'audio', 'text'\]",
        ),
        (json.dumps({"audio": "a" * 300 + ".wav", "text": "A."}), r"line 2: no audio file \(File name too long\)"),
        ('{"audio": "a.wav\\u0000", "text": "A."}', "line 2: audio must be a path"),
        ('{"audio": "", "text": "A."}', "line 2: audio must be a path"),
        ('{"audio": ".", "text": "A."}', r"line 2: no audio file \(It is a folder\): "),
        ('{"audio": "fifo.wav", "text": "A."}', r"line 2: no audio file \(It is no regular file\): .*fifo.wav"),
        ('{"audio": "/dev/zero", "text": "A."}', r"line 2: no audio file \(It is no regular file\): /dev/zero"),
        ('{"audio": {"bytes": "abc"}, "text": "A."}', "line 2: bytes of audio are 'abc'"),
        ('{"audio": "a.wav", "text": "A.", "song_id": ""}', "line 2: song_id must be a text, not empty"),
        ('{"audio": "a.wav", "text": "A.", "song_id": " "}', "line 2: song_id must be a text, not empty"),
        (
            '{"audio": "a.wav", "text": "A.", "group": 1.5}',
            "line 2: group must be a text, not empty, or a whole number",
        ),
        ("\0\0\0", "line 2 is not JSON"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value[:60],
)
def test_a_bad_line_is_an_issue_and_the_others_are_looked_at(folder, line, issue):
    os.mkfifo(folder / "fifo.wav")
    line = line if isinstance(line, bytes) else line.encode()
    path = write(folder / "songs.jsonl", GOOD.encode() + line + b'\n{"audio": "b.wav", "text": ""}\n' + GOOD.encode())
    found = issues_of(path, keep_extra_columns=True)
    assert len(found) == 2
    assert all(one.isprintable() and len(one) <= 300 for one in found)  # of one line each
    (first,) = (one for one in found if not one.startswith("line 3: text must be"))
    assert re.match(issue, first)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("name", ["songs.jsonl", "songs.csv"])
def test_utf_16_is_named(folder, encoding, name):
    content = GOOD if name.endswith("jsonl") else "audio,text\na.wav,A.\n"
    (issue,) = issues_of(write(folder / name, content.encode(encoding)), num_sound=0)
    assert issue == "line 1 is not UTF-8, but UTF-16 or the like: write the file as UTF-8"
    assert len(load_manifest(write(folder / name, content.encode("utf-8-sig")))) == 1


def test_zeros_in_front_do_not_make_it_utf_16(folder):
    first, second = issues_of(write(folder / "songs.jsonl", f"\0\0\0\n{GOOD}{{"), num_sound=1)
    assert (first[:6], second[:6]) == ("line 1", "line 3")


@pytest.mark.parametrize(
    ("content", "issues", "num_sound"),
    [
        # The quote of line 2 would swallow lines 3 and 4.
        (b'a.wav,"A.\nb.wav,B.\nb.wav,C.\n', ["line 2: a quote is not closed"], 2),
        (b'a.wav,"A.\nb.wav,"B, b."\nb.wav,C.\n', ["line 2: a quote is not closed"], 2),
        (b'a.wav,A.\nb.wav,"B.\na.wav,C.\na.wav,D."\n', ["line 3: a quote is not closed, the row of 'a.wav'"], 1),
        (b'a.wav,A.\nb.wav,"B" b.\na.wav,C.\n', ["line 3: a quote is not closed, or one inside"], 2),
        (b"a.wav,A.\nb.wav,B\0b.\na.wav,C.\n", ["line 3 holds a NUL byte"], 2),
        (b"a.wav,A.\nb.wav\na.wav,C.\n", ["line 3 has 1 cells, the header has 2"], 2),
        (b"a.wav,A, b.\nb.wav,B.\n", ["line 2 has 3 cells, the header has 2: quote texts that contain commas"], 1),
        (b"a.wav,A\xe9.\nb.wav,\n", ["line 2: it is not UTF-8", "line 3: text must be"], 0),
    ],
)
def test_rows_of_a_csv_are_not_swallowed(folder, content, issues, num_sound):
    found = issues_of(write(folder / "songs.csv", b"audio,text\n" + content), num_sound)
    assert [issue[: len(start)] for issue, start in zip(found, issues, strict=True)] == issues


def test_many_open_quotes_of_a_csv_take_no_long_time(folder):
    # Within quotes and outside of them, each line ends with an open quote.
    issues = issues_of(write(folder / "songs.csv", "audio,text\n" + 'x",,"\n' * 20_000), num_sound=0)
    assert len(issues) == 100


@pytest.mark.parametrize("header", ["audio,text,text", "audio,text,", "audio,text,x,x"])
def test_each_column_of_a_csv_has_a_name_of_its_own(folder, header):
    cells = "a.wav,Slow, then fast" + ",x" * (header.count(",") - 2)
    (issue,) = issues_of(write(folder / "songs.csv", f"{header}\n{cells}\n"))
    assert issue.startswith("line 1: each column of the header needs a name of its own")


def test_a_csv_may_have_large_cells_of_several_lines_and_an_index_of_pandas(folder):
    limit = csv.field_size_limit()
    text = "A, b.\nVerse, then chorus\n" * 10_000
    path = folder / "songs.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["", "audio", "text"], [0, "a.wav", text], [1, "b.wav", 'A "b".']])
    assert load_manifest(path)["text"][:] == [text, 'A "b".']
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\0" * 100 + b"PAR1", b"no Parquet"])
def test_a_damaged_parquet_is_named(folder, content):
    path = write(folder / "songs.parquet", content)
    with pytest.raises(ValueError, match=rf"{path} cannot be read as Parquet: "):
        load_manifest(path)


def test_rows_of_a_parquet_that_are_no_utf_8(folder):
    path = folder / "songs.parquet"
    texts = pyarrow.array([b"A.", b"\xff", b"C."]).view(pyarrow.string())
    pyarrow.parquet.write_table(pyarrow.table({"audio": ["a.wav"] * 3, "text": texts}), path)
    (issue,) = issues_of(path, num_sound=2)
    assert issue.startswith("row 2: 'utf-8' codec can't decode")
    pyarrow.parquet.write_table(pyarrow.Table.from_arrays([texts] * 3, ["audio", "text", "text"]), path)
    with pytest.raises(ValueError, match=r"songs.parquet cannot be read as Parquet: Multiple matches .*Name\(text\)"):
        load_manifest(path)


def test_a_folder_with_files_that_are_none(folder):
    for name in ("a.txt", "b.json"):
        os.mkfifo(folder / name)
    os.mkfifo(folder / "c.wav")
    write(folder / "c.txt", "C.")
    (folder / "d.wav").symlink_to(folder / "nowhere.wav")
    soundfile.write(folder / "e.wav", np.zeros(160), 16000)
    write(folder / "e.txt", b"na\xefve")
    (folder / "link").symlink_to(folder.parent / "elsewhere")
    os.link(folder / "a.wav", os.fsencode(folder) + b"/f\xe9.wav")
    write(Path(os.fsdecode(os.fsencode(folder) + b"/f\xe9.txt")), "F.")
    os.link(folder / "a.wav", folder / "g.wav")
    write(folder / "g.txt", "G.")
    soundfile.write(folder / "h.wav", np.zeros(3200), 16000)
    write(folder / "h.txt", "H.")
    report = validate_manifest(folder)
    assert [(report.places[row.index], row.kind) for row in report.issues] == [("h.wav", "audio is silent")]
    issues = issues_of(folder, num_sound=2)
    assert issues == report.manifest_issues
    assert issues[-1].startswith(r"f\udce9.wav: it is not UTF-8, ")
    assert issues == [
        f"{folder / 'link'} is a link to a folder, which is not followed",
        f"no audio file (It is no regular file): {folder / 'a.txt'}",
        f"no audio file (It is no regular file): {folder / 'b.json'}",
        f"no audio file (It is no regular file): {folder / 'c.wav'}",
        f"no audio file (No such file or directory): {folder / 'd.wav'}",
        "e.txt: 'utf-8' codec can't decode byte 0xef in position 2: invalid continuation byte",
        issues[-1],
    ]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who may not open a folder")
def test_closed_folders_are_named():
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        (folder / "closed").mkdir(mode=0o700)
        for song in ("a", "closed/b"):
            soundfile.write(folder / f"{song}.wav", np.zeros(160), 16000)
            write(folder / f"{song}.txt", "A.")
        assert len(load_manifest(folder)) == 2
        path = write(folder / "songs.csv", "audio,text\nclosed/b.wav,B.\na.wav,A.\n")
        os.seteuid(65534)
        try:
            (of_rows,) = issues_of(path, num_sound=1)
            of_closed = issues_of(folder / "closed")
            os.seteuid(0)
            path.unlink()
            os.seteuid(65534)
            (of_folder,) = issues_of(folder, num_sound=1)
        finally:
            os.seteuid(0)
        assert of_rows == f"line 2: no audio file (Permission denied): {folder / 'closed' / 'b.wav'}"
        assert of_closed == [of_folder] == [f"[Errno 13] Permission denied: '{folder / 'closed'}'"]


def test_issues_of_the_manifest_and_of_the_audio_are_in_one_report(folder, capsys):
    write(folder / "broken.wav", "no music")
    soundfile.write(folder / "silent.wav", np.zeros(1600), 16000)
    os.mkfifo(folder / "fifo.wav")
    rows = [*["{"] * 7, *[json.dumps({"audio": f"gone{n}.wav", "text": "A."}) for n in range(6)]]
    rows += [json.dumps({"audio": name, "text": "A."}) for name in ("broken.wav", "silent.wav", "fifo.wav", "a.wav")]
    path = write(folder / "songs.jsonl", "\n".join(rows))
    report = validate_manifest(path)
    assert len(report.manifest_issues) == 7
    assert (report.num_rows, len(report.issues)) == (10, 9)
    assert main(["validate", str(path)]) == 1
    shown = capsys.readouterr().out
    start = (
        "9 of 10 rows have issues, and the manifest has 7:\n  the manifest, or a row, is refused: 7\n    line 1 is "
    )
    assert shown.startswith(start)
    assert "\n    and 2 more\n  audio is missing: 7\n    line 8, " in shown
    assert f"line 14, {folder / 'broken.wav'}: " in shown
    assert shown.endswith("All issues are in songs.jsonl.issues.log.\n")
    whole = (folder.parent / "elsewhere" / "songs.jsonl.issues.log").read_text()
    for line in range(1, 17):
        assert f"line {line} is not" in whole or f"line {line}, " in whole
    assert "more" not in whole
    # Few issues need no file.
    assert main(["validate", str(write(folder / "few.jsonl", GOOD + "{"))]) == 1
    assert "0 of 1 rows have issues, and the manifest has 1:" in capsys.readouterr().out
    assert not Path("few.jsonl.issues.log").exists()
