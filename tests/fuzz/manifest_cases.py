# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Manifests that are right in unusual ways, wrong in one line, or damaged anywhere."""

import csv
import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import soundfile

from collap.data.manifest import ManifestError, load_manifest
from collap.data.validation import validate_manifest

from .runner import Case, Fault, refusal

Row = dict[str, Any]
TEXTS = (
    "A slow intro. Then drums.",
    "pok\u00e9, \u4e2d\u6587 \U0001f3b5",
    'He said "go"',
    "NA",
    "None",
    "a\u2028b\x85c",
    "x" * 200,
)


def manifest_case(case: Case) -> str:
    # The working folder has other songs of the same names, which must never be taken.
    Path("data/songs").mkdir(parents=True)
    Path("songs").mkdir()
    make = case.choose((_json_lines, _json_lines, _csv, _csv, _parquet, _audio_folder))
    case.note(make.__name__)
    return make(case)


def _make_songs(case: Case, number: int) -> list[str]:
    stems = ("a", "b c", "pok\u00e9", "#1", "100%", "x,y", "n\u0303")
    names = [f"songs/{case.choose(stems)}{index}.wav" for index in range(number)]
    soundfile.write("songs/one.wav", 0.1 * case.noise.standard_normal(8000), 16_000)
    for name in names:
        for folder in (".", "data"):
            if not Path(folder, name).exists():
                os.link("songs/one.wav", Path(folder, name))
    return names


def _make_rows(case: Case) -> list[Row]:
    names = _make_songs(case, case.choose((1, 2, 3, 5, 8)))
    columns = {name for name in ("song_id", "duration_s", "sections") if case.random.random() < 0.4}
    column, as_list = case.choose(("text", "text", "texts")), case.random.random() < 0.3
    rows = []
    for index, name in enumerate(names):
        text = [case.choose(TEXTS), "The end."] if as_list else case.choose(TEXTS)
        row: Row = {"audio": name, column: text if column == "text" else [text, text]}
        if "song_id" in columns:
            row["song_id"] = f"song {index}"
        if "duration_s" in columns:
            row["duration_s"] = 0.5
        if "sections" in columns:
            row["sections"] = [{"start_s": 0.0, "end_s": 0.4, column: row[column]}]
        rows.append(row)
    return rows


def _load(path: str, *names: str) -> tuple[Any, str | None]:
    """The rows or the message, in which a ManifestError has all its issues."""

    def load() -> list[Row]:
        try:
            return load_manifest(path).to_list()
        except ManifestError as error:
            first = str(error).splitlines()[0]
            raise ValueError("\n".join([first, *error.issues])[:4900]) from error

    rows, message = refusal(load, *names)
    if rows is not None and any(row.get("song_id") == "" for row in rows):
        raise Fault("an empty song_id, by which all such songs are one")
    return rows, message


def _same(rows: list[Row], truth: list[Row]) -> None:
    if len(rows) != len(truth):
        raise Fault(f"{len(rows)} rows of {len(truth)}")
    for row, true in zip(rows, truth, strict=True):
        audio = row["audio"]["path"] if isinstance(row["audio"], dict) else row["audio"]
        if not os.path.isabs(audio) or not os.path.samefile(os.path.dirname(audio), "data/songs"):
            raise Fault(f"another song: {audio}")
        for name in true.keys() - {"audio", "sections"}:
            if row[name] != true[name]:
                raise Fault(f"{name} is {row[name]!r:.200}, not {true[name]!r:.200}")
        if os.path.basename(audio) != os.path.basename(true["audio"]):
            raise Fault(f"another song: {audio}")
        if len(row.get("sections") or []) != len(true.get("sections") or []):
            raise Fault(f"sections: {row.get('sections')}")


def _wrong_value(case: Case) -> tuple[str, Any]:
    """A column and a value that a row must not have."""
    os.mkfifo("data/songs/pipe.wav")
    os.mkdir("data/songs/folder.wav")
    deep: Any = []
    for _ in range(200):
        deep = [deep]
    values: dict[str, tuple[Any, ...]] = {
        "audio": (
            None, "", 5, True, ["a"], {}, {"path": None}, "songs/missing.wav", "songs/pipe.wav", "songs/folder.wav",
            ".", "/dev/zero", f"songs/{'a' * 300}.wav", "a/" * 3000, "songs/a\0.wav", "\ud800.wav", "~/a.wav",
        ),
        "text": (None, "", "  \n", 5, {}, [""], [None], [["a"]], deep, "a\ud800b"),
        "texts": ([], "a", [1], [[]], ["\udfff"]),
        "song_id": ("", " ", True, 1.5, [], {}),
        "duration_s": (0, -1, "long", float("nan"), float("inf"), 10**400, True, [1]),
        "sections": (
            "a", [1], {}, [[]], [{}], [deep], [{"start_s": 0, "end_s": 10**400}],
            [{"start_s": 0, "end_s": 1, "text": "not there"}], [{"start_s": "0", "end_s": 1, "text": "a"}],
            [{"start_s": 0, "end_s": 1, "sentences": [10**30]}], [{"start_s": 1, "end_s": 0.5, "text": "a"}],
            [{"start_s": 0, "end_s": float("nan"), "text": "a"}],
        ),
    }  # fmt: skip
    column = case.choose([name for name, wrong in values.items() for _ in wrong])
    return column, case.choose(values[column])


def _spoil(case: Case, rows: list[Row]) -> set[int]:
    """Makes one or two rows wrong; their indices."""
    spoiled = set(case.random.sample(range(len(rows)), min(len(rows), case.choose((1, 1, 2)))))
    column, value = _wrong_value(case)
    case.note(f"{column}: {value!r:.100} in the rows {spoiled}")
    for index in spoiled:
        rows[index][column] = value
        if column == "sections":
            rows[index].pop("texts", None)
            rows[index]["text"] = "a"
    return spoiled


def _expect_lines(message: str | None, lines: set[int], kind: str = "line") -> str:
    if message is None:
        raise Fault("it was loaded")
    if missing := [line for line in sorted(lines) if not re.search(rf"{kind} {line}\b", message)]:
        raise Fault(f"the {kind}s {missing} are not named: {message[:800]}")
    return "refused"


def _json_lines(case: Case) -> str:
    rows = _make_rows(case)
    path = f"data/{case.choose(('m.jsonl', 'm.json', 'M.JSONL'))}"
    name = os.path.basename(path)
    how = case.choose(["right"] * 2 + ["wrong row"] * 3 + ["wrong line"] * 2 + ["damaged", "whole file"], "how")
    if how == "right":
        variants = (
            "plain",
            "bom",
            "crlf",
            "blank",
            "no end",
            "escaped",
            "extra",
            "absolute",
            "dots",
            "long",
            "ids",
            "dict",
        )
        variant = case.choose(variants, "variant")
        truth = [dict(row) for row in rows]
        if variant == "extra":
            rows[-1]["more"] = {"a": [1, None]}
        if variant == "ids":
            rows, truth = (
                [{**row, "song_id": kind(number)} for number, row in enumerate(rows)] for kind in (int, str)
            )
        if variant == "long":
            for row in (*rows, *truth):
                row.pop("texts", None)
                row.pop("sections", None)
                row["text"] = "long " * 60_000
        changes = {"absolute": lambda audio: os.path.abspath(f"data/{audio}"), "dict": lambda audio: {"path": audio}}
        change = changes.get(variant, lambda audio: f"./songs/../{audio}" if variant == "dots" else audio)
        rows = [{**row, "audio": change(row["audio"])} for row in rows]
        text = {"blank": "\n\n", "crlf": "\r\n"}.get(variant, "\n").join(
            json.dumps(row, ensure_ascii=variant == "escaped") for row in rows
        )
        Path(path).write_bytes(b"\xef\xbb\xbf" * (variant == "bom") + (text + "\n" * (variant != "no end")).encode())
        loaded, message = _load(path, name)
        if message is not None and variant != "dict":
            raise Fault(message)
        if loaded is not None:
            _same(loaded, truth)
            _validate(case, path, is_valid=True)
        return "whole" if loaded is not None else "refused"
    if how == "wrong row":
        spoiled = _spoil(case, rows)
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
        loaded, message = _load(path, name)
        if loaded is not None and any("song_id" in row and not str(row["song_id"]).strip() for row in rows):
            return "whole"  # an empty id may be none
        _validate(case, path, is_valid=False)
        return _expect_lines(message, {index + 1 for index in spoiled})
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    if how == "wrong line":
        wrong = (
            b"[" * 100_000, b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", b'{"a": ' + b"9" * 5000 + b"}",
            b"[1, 2]", b"1", b"null", b'"a"', b"{", b"\0\0\0", b"{'audio': 'a.wav'}", b'{"audio": NaN}',
            b'{"audio": "a.wav", "text": "a"', b'{"audio": "a.wav" "text": "b"}', b'{"audio": "\xff", "text": "a"}',
            "pok\u00e9".encode("latin-1"), b"audio,text",
            b'{"audio": "songs/x.wav", "audio": ' + json.dumps(rows[0]["audio"]).encode() + b', "text": "a"}',
            lines[0] + lines[0], b"\x1e" + lines[0], lines[0].replace(b'"audio"', b'"Audio"'), lines[0] + b",",
        )  # fmt: skip
        place, content = case.random.randint(0, len(lines)), case.choose(wrong)
        case.note(f"{content[:80]!r} in line {place + 1}")
        lines.insert(place, content)
        numbers = {place + 1}
        if case.random.random() < 0.3:
            lines.append(b"{")
            numbers.add(len(lines))
        Path(path).write_bytes(b"\n".join(lines) + b"\n")
        return _expect_lines(_load(path, name)[1], numbers)
    content = b"\n".join(lines) + b"\n"
    if how == "damaged":
        return _load_damaged(case, path, content, len(rows))
    return _expect_refused(case, path, content)


def _load_damaged(case: Case, path: str, content: bytes, num_rows: int) -> str:
    if len(content) > 100_000:
        return "whole"
    damaged = case.damage(content)
    Path(path).write_bytes(damaged)
    loaded, message = _load(path, os.path.basename(path))
    if loaded is not None and len(loaded) < num_rows and len(damaged) == len(content):
        raise Fault(f"{len(loaded)} rows of {num_rows}")
    return "refused" if message else "whole"


def _expect_refused(case: Case, path: str, content: bytes) -> str:
    """The file as a whole is no manifest."""
    contents = {
        "empty": b"", "blank": b" \n\n", "noise": case.noise.bytes(2000), "zeros": bytes(1000),
        "page": b"<html>\n</html>\n", "gzip": b"\x1f\x8b\x08\0" + case.noise.bytes(100),
        "pretty": b"[\n  {\n" + content, "array": b"[" + content + b"]",
        "UTF-16": content.decode().encode("utf-16"), "UTF-32": content.decode().encode("utf-32"),
    }  # fmt: skip
    kind = case.choose([*contents, "folder", "pipe", "missing", "dangling", "device"], "content")
    if kind == "folder":
        os.mkdir(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind in ("dangling", "device"):
        os.symlink("/dev/zero" if kind == "device" else "missing", path)
    elif kind in contents:
        Path(path).write_bytes(contents[kind])
    _, message = _load(path, os.path.basename(path))
    if message is None:
        raise Fault("it was loaded")
    return "refused"


def _validate(case: Case, path: str, is_valid: bool) -> None:
    if case.random.random() < 0.3:
        case.note("validated")
        report, message = refusal(lambda: validate_manifest(path), os.path.basename(path))
        if (message is not None and is_valid) or (report is not None and report.is_valid != is_valid):
            raise Fault(f"validated: {message or report}")


def _csv(case: Case) -> str:
    rows = _make_rows(case)
    how = case.choose(["right"] * 3 + ["wrong row"] * 2 + ["wrong cell"] * 2 + ["damaged", "whole file"], "how")
    path = "data/m.csv"
    if how == "wrong row":
        _spoil(case, rows)
    columns = list(dict.fromkeys(name for row in rows for name in row))

    def cell(name: str, value: Any) -> str:
        return json.dumps(value) if name in ("texts", "sections") else "" if value is None else str(value)

    if any(isinstance(row.get("text"), list) for row in rows):  # text of a CSV is one text
        for row in rows:
            row.pop("sections", None)
            if "text" in row:
                row["text"] = str(row["text"])
        columns = [name for name in columns if name != "sections"]

    def write(end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator=end, quoting=quoting)
        writer.writerow(columns)
        writer.writerows([cell(name, row.get(name)) for name in columns] for row in rows)
        return text.getvalue()

    if how == "right":
        variant = case.choose(("plain", "bom", "crlf", "quoted", "lines", "long", "cr", "spaces"), "variant")
        if variant in ("lines", "long"):
            for row in rows:
                row.pop("texts", None)
                row["text"] = "first\nsecond\r\n\nthird" if variant == "lines" else "long " * 30_000
                row.pop("sections", None)
            columns = list(rows[0])
        quoting = csv.QUOTE_ALL if variant == "quoted" else csv.QUOTE_MINIMAL
        text = write({"crlf": "\r\n", "cr": "\r"}.get(variant, "\n"), quoting)
        if variant == "spaces":
            text = text.replace("audio,", "audio ,", 1)
        Path(path).write_bytes(b"\xef\xbb\xbf" * (variant == "bom") + text.encode())
        loaded, message = _load(path, "m.csv")
        if message is not None and variant not in ("long", "cr", "spaces"):
            raise Fault(message)
        if message is not None and variant == "long" and "line" not in message:
            raise Fault(f"no line: {message}")
        if loaded is not None:
            _same(loaded, rows)
        return "refused" if message else "whole"
    if how == "wrong row":
        Path(path).write_bytes(write().encode("utf-8", "surrogatepass"))
        loaded, message = _load(path, "m.csv")
        # What is no text becomes one in a CSV, and an empty cell is none.
        if loaded is not None and len(loaded) != len(rows):
            raise Fault(f"{len(loaded)} rows of {len(rows)}")
        return "refused" if message else "whole"
    if how == "wrong cell":
        lines = [line for line in write(quoting=csv.QUOTE_ALL).splitlines() if line]
        if len(lines) != len(rows) + 1:
            return "whole"  # a text of several lines
        place = case.random.randrange(1, len(lines))
        wrong: dict[str, Callable[[str], str]] = {
            "unclosed quote": lambda line: line[:-1],
            "unclosed first quote": lambda line: line.replace('",', ",", 1),
            "quote inside": lambda line: line.replace('",', 'x"y",', 1),
            "more cells": lambda line: line + ",x,y",
            "fewer cells": lambda line: line[: line.index('",') + 1],
            "bad bytes": lambda line: line[:-1] + '\udcff"',
            "long cell": lambda line: f'{line},"{"y" * 140_000}"',
        }
        kind = case.choose(list(wrong), "wrong")
        lines[place] = wrong[kind](lines[place])
        Path(path).write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
        return _expect_lines(_load(path, "m.csv", "line ")[1], set())
    content = write().encode()
    if how == "damaged":
        return _load_damaged(case, path, content, len(rows))
    return _expect_refused(case, path, content)


def _parquet(case: Case) -> str:
    rows = _make_rows(case)
    how = case.choose(["right"] * 3 + ["wrong"] + ["damaged"] * 2 + ["whole file"], "how")
    path, spoiled = "data/m.parquet", set()
    if how == "wrong":
        index = case.random.randrange(len(rows))
        wrong = [("audio", value) for value in (None, "", "songs/missing.wav", "a" * 300, "a\0b")]
        wrong += [("text", None), ("text", ""), ("song_id", ""), ("duration_s", -1.0)]
        column, value = case.choose(wrong)
        case.note(f"{column}: {value!r:.50} in row {index + 1}")
        for row in rows:
            if column == "text":
                row.pop("texts", None)
                row["text"] = row.get("text", "a")
                row.pop("sections", None)
            row.setdefault(column, "x" if column == "song_id" else 0.5)
        rows[index][column] = value
        spoiled = {index + 1}
    table = pyarrow.Table.from_pylist(rows)
    kinds = {"string": pyarrow.string(), "large_string": pyarrow.large_string(), "string_view": pyarrow.string_view()}
    kinds["dictionary"] = pyarrow.dictionary(pyarrow.int32(), pyarrow.string())
    more = ["large_string", "struct", "bytes", "binary", "ints"] if how == "right" else []
    kind = case.choose([*kinds, *more], "audio as")
    place = table.column_names.index("audio")
    audio = table["audio"]
    if kind == "struct":
        column = pyarrow.array([{"bytes": None, "path": row["audio"]} for row in rows])
    elif kind == "bytes":
        column = pyarrow.array([{"bytes": Path("songs/one.wav").read_bytes(), "path": row["audio"]} for row in rows])
    elif kind == "binary":
        column = pyarrow.array([row["audio"].encode() for row in rows])
    elif kind == "ints":
        column = pyarrow.array(range(len(rows)))
    else:
        column = audio.cast(kinds[kind])
    table = table.set_column(place, "audio", column)
    if how == "right" and isinstance(rows[0].get("text"), str) and case.random.random() < 0.5:
        place = table.column_names.index("text")
        table = table.set_column(place, "text", table["text"].cast(pyarrow.large_string()))
    compression = case.choose(("none", "snappy", "zstd"))
    pyarrow.parquet.write_table(table, path, row_group_size=case.choose((1, 2, 100)), compression=compression)
    if how in ("right", "wrong"):
        loaded, message = _load(path, "m.parquet")
        if kind == "bytes" and loaded is not None:
            if len(loaded) != len(rows) or any(row["audio"]["bytes"] is None for row in loaded):
                raise Fault("rows or bytes are missing")
            return "whole"
        if how == "wrong":
            if loaded is not None and column == "song_id":  # an empty id may be none
                return "whole"
            return _expect_lines(message, spoiled, "row")
        if message is not None and kind not in ("struct", "binary", "ints", "string_view", "dictionary"):
            raise Fault(message)
        if loaded is not None:
            _same(loaded, rows)
        return "refused" if message else "whole"
    content = Path(path).read_bytes()
    Path(path).unlink()
    if how == "damaged":
        damaged = (
            content[: case.random.randrange(len(content))] if case.random.random() < 0.3 else case.damage(content)
        )
        Path(path).write_bytes(damaged)
        loaded, message = _load(path, "m.parquet")
        if loaded is not None and len(loaded) < len(rows) and len(damaged) == len(content):
            raise Fault(f"{len(loaded)} rows of {len(rows)}")
        return "refused" if message else "whole"
    return _expect_refused(case, path, b"PAR1PAR1")


def _audio_folder(case: Case) -> str:
    """Songs with texts beside them."""
    rows = _make_rows(case)
    as_json = case.random.random() < 0.5
    for row in rows:
        row.pop("sections", None)
        if not as_json:
            row["text"] = row["text"] if isinstance(row.get("text"), str) else "a"
            for name in ("texts", "song_id", "duration_s"):
                row.pop(name, None)
        beside = Path("data", row["audio"]).with_suffix(".json" if as_json else ".txt")
        own = {name: value for name, value in row.items() if name != "audio"}
        beside.write_text(json.dumps(own) if as_json else row["text"], newline="")
    last = Path("data", rows[-1]["audio"])
    text = last.with_suffix(".json" if as_json else ".txt")

    as_text = text.with_suffix(".json").write_text

    def change(values: Row) -> None:
        known = {name: value for name, value in values.items() if name == "audio" or name in own}
        as_text(json.dumps({**own, **known}))

    wrong: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "hidden": lambda: Path("data/songs/.a.wav").write_bytes(b""),
        "no text": text.unlink,
        "no audio": last.unlink,
        "empty text": lambda: text.write_text(" \n"),
        "other encoding": lambda: text.write_bytes("pok\u00e9".encode("utf-16")),
        "bad bytes": lambda: text.write_bytes(b'{"text": "\xff"}'),
        "deep": lambda: as_text("[" * 100_000),
        "number": lambda: as_text("9" * 5000),
        "surrogate": lambda: change({"text": "\ud800", "texts": ["\ud800"]}),
        "other audio": lambda: change({"audio": "songs/one.wav"}),
        "two texts": lambda: last.with_suffix(".txt" if as_json else ".json").write_text("a"),
        "two songs": lambda: os.link(last, last.with_suffix(".flac")),
        "text is a folder": lambda: (text.unlink(), text.mkdir()),
        "text is a device": lambda: (text.unlink(), text.symlink_to("/dev/zero")),
        "text is a loop": lambda: (text.unlink(), text.symlink_to(text.name)),
        "audio is a pipe": lambda: (last.unlink(), os.mkfifo(last)),
        "audio is dangling": lambda: (last.unlink(), last.symlink_to("missing")),
        "odd name": lambda: (os.link(last, b"data/songs/\xff.wav"), Path("data/songs/\udcff.txt").write_text("a")),
        "folder loop": lambda: Path("data/songs/loop").symlink_to("..", target_is_directory=True),
    }
    kind = case.choose(["nothing", "nothing", *wrong], "wrong")
    wrong[kind]()
    loaded, message = _load("data", "data")
    if loaded is not None and kind in ("nothing", "hidden", "folder loop"):
        _same(sorted(loaded, key=lambda row: row["audio"]), sorted(rows, key=lambda row: row["audio"]))
        return "whole"
    if loaded is not None and kind in ("other audio", "odd name"):
        folders = [Path(row["audio"]).parent for row in loaded]
        if len(loaded) != len(rows) + (kind == "odd name") or not all(
            Path("data/songs").samefile(one) for one in folders
        ):
            raise Fault(f"other rows: {loaded}"[:500])
        return "whole"
    if message is None or kind == "nothing":
        raise Fault(message or "it was loaded")
    if kind not in ("odd name", "folder loop") and last.stem not in message:
        raise Fault(f"{last.stem} is not named: {message}")
    return "refused"
