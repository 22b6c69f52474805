# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Manifests that are right in unusual ways, wrong in some lines, or damaged anywhere."""

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import soundfile

from collap.data.manifest import ManifestError, load_manifest
from collap.data.validation import validate_manifest

from .runner import Case, Fault, refusal

Row = dict[str, Any]
NAMES = ("a", "b c", "pok\u00e9", "#1", "100%", "x,y", "n\u0303")
TEXTS = (
    "A slow intro. Then drums.",
    "\u4e2d\u6587 \U0001f3b5",
    'He said "go"',
    "NA",
    "None",
    "a\u2028b\x85c",
    "x" * 200,
)
WHOLE, REFUSED = ("whole",), ("refused",)
EITHER = WHOLE + REFUSED


def manifest_case(case: Case) -> str:
    # The working folder has other songs of the same names, which must never be taken.
    Path("data/songs").mkdir(parents=True)
    Path("songs").mkdir()
    return case.choose((_json_lines, _json_lines, _csv, _csv, _parquet, _audio_folder), "manifest")(case)


def _make_rows(case: Case) -> list[Row]:
    soundfile.write("songs/one.wav", 0.1 * case.noise.standard_normal(8000), 16_000)
    columns = {name for name in ("song_id", "duration_s", "sections") if case.random.random() < 0.4}
    column, is_list = case.choose(("text", "text", "texts")), case.random.random() < 0.3
    rows = []
    for index in range(case.choose((1, 2, 3, 5, 8))):
        name = f"songs/{case.choose(NAMES)}{index}.wav"
        os.link("songs/one.wav", name)
        os.link("songs/one.wav", f"data/{name}")
        text = [case.choose(TEXTS), "The end."] if is_list else case.choose(TEXTS)
        row: Row = {"audio": name, column: text if column == "text" else [text, text]}
        values = {
            "song_id": f"song {index}",
            "duration_s": 0.5,
            "sections": [{"start_s": 0.0, "end_s": 0.4, column: row[column]}],
        }
        rows.append({**row, **{name: values[name] for name in values if name in columns}})
    return rows


def _with_text(row: Row, text: str) -> Row:
    return {**{name: value for name, value in row.items() if name not in ("texts", "sections")}, "text": text}


def _load(path: str) -> tuple[list[Row] | None, str | None]:
    """The rows, or the message, in which a ManifestError has all its issues."""

    def load() -> list[Row]:
        try:
            return load_manifest(path).to_list()
        except ManifestError as error:
            first = str(error).splitlines()[0]
            raise ValueError("\n".join([first, *error.issues])[:4900]) from error

    rows, message = refusal(load, os.path.basename(path))
    if rows is not None and any(row.get("song_id") == "" for row in rows):
        raise Fault("an empty song_id, by which all such songs are one")
    return rows, message


def _judge(path: str, truth: list[Row] | None, allowed: tuple[str, ...], places: Iterable[str] = ()) -> str:
    """Loads a manifest: its rows are the true ones, or all places, such as `line 3`, are named."""
    rows, message = _load(path)
    outcome = "refused" if rows is None else "whole"
    if outcome not in allowed:
        raise Fault(f"{outcome}: {message or rows}"[:800])
    if message is not None:
        if missing := [place for place in places if not re.search(rf"({place})\b", message)]:
            raise Fault(f"not named: {missing}: {message[:800]}")
    elif truth is not None:
        _compare(rows, truth)
    return outcome


def _compare(rows: list[Row], truth: list[Row]) -> None:
    if len(rows) != len(truth):
        raise Fault(f"{len(rows)} rows of {len(truth)}")
    for row, true in zip(rows, truth, strict=True):
        audio = row["audio"]["path"] if isinstance(row["audio"], dict) else row["audio"]
        is_right = os.path.isabs(audio) and os.path.samefile(os.path.dirname(audio), "data/songs")
        if not is_right or os.path.basename(audio) != os.path.basename(true["audio"]):
            raise Fault(f"another song: {audio}, not {true['audio']}")
        for name in true.keys() - {"audio", "sections"}:
            if row[name] != true[name]:
                raise Fault(f"{name} is {row[name]!r:.200}, not {true[name]!r:.200}")
        if len(row.get("sections") or []) != len(true.get("sections") or []):
            raise Fault(f"sections: {row.get('sections')}")


def _judge_damaged(case: Case, path: str, content: bytes, num_rows: int) -> str:
    """Anything may have changed, but a row is not lost in silence where no byte was."""
    damaged = case.damage(content)
    if case.random.random() < 0.2:
        damaged = damaged[: case.random.randrange(len(damaged))]
    Path(path).write_bytes(damaged)
    rows, _ = _load(path)
    if rows is not None and len(rows) < num_rows and len(damaged) == len(content):
        raise Fault(f"{len(rows)} rows of {num_rows}")
    return "refused" if rows is None else "whole"


def _judge_other_file(case: Case, path: str, content: bytes) -> str:
    """The file as a whole is no manifest."""
    contents = {
        "empty": b"", "blank": b" \n\n", "noise": case.noise.bytes(2000), "zeros": bytes(1000),
        "page": b"<html>\n</html>\n", "gzip": b"\x1f\x8b\x08\0" + case.noise.bytes(100),
        "pretty": b"[\n  {\n" + content, "array": b"[" + content + b"]",
        "UTF-16": content.decode().encode("utf-16"), "UTF-32": content.decode().encode("utf-32"),
    }  # fmt: skip
    makes: dict[str, Callable[[], object]] = {
        "folder": lambda: os.mkdir(path),
        "pipe": lambda: os.mkfifo(path),
        "dangling": lambda: os.symlink("missing", path),
        "device": lambda: os.symlink("/dev/zero", path),
        "missing": lambda: None,
    }
    kind = case.choose([*contents, *makes], "file")
    makes.get(kind, lambda: Path(path).write_bytes(contents[kind]))()
    return _judge(path, None, REFUSED)


def _validate(case: Case, path: str, outcome: str) -> None:
    if case.random.random() < 0.3:
        case.note("validated")
        report, message = refusal(lambda: validate_manifest(path), os.path.basename(path))
        if (report is not None and report.is_valid) != (outcome == "whole"):
            raise Fault(f"validated: {message or report}")


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


def _spoil(case: Case, rows: list[Row]) -> tuple[set[int], tuple[str, ...]]:
    """Makes one or two rows wrong: their numbers, and what may come of it."""
    spoiled = set(case.random.sample(range(len(rows)), min(len(rows), case.choose((1, 1, 2)))))
    column, value = _wrong_value(case)
    case.note(f"{column}: {value!r:.100} in the rows {spoiled}")
    for index in spoiled:
        rows[index] = {**(_with_text(rows[index], "a") if column == "sections" else rows[index]), column: value}
    is_empty_id = column == "song_id" and not str(value).strip()  # which may be none
    return {index + 1 for index in spoiled}, EITHER if is_empty_id else REFUSED


def _json_lines(case: Case) -> str:
    rows = _make_rows(case)
    path = f"data/{case.choose(('m.jsonl', 'm.json', 'M.JSONL'))}"
    how = case.choose(["right"] * 2 + ["wrong row"] * 3 + ["wrong line"] * 2 + ["damaged", "other file"], "how")
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in rows]
    if how == "right":
        truth, end, start = rows, "\n", b""
        variant = case.choose(
            ("bom", "crlf", "blank", "extra", "absolute", "dots", "dict", "long", "numbers"), "variant"
        )
        if variant == "extra":
            rows = [*rows[:-1], {**rows[-1], "more": {"a": [1, None]}}]
        elif variant == "numbers":
            rows = [{**row, "song_id": number} for number, row in enumerate(rows)]
            truth = [{**row, "song_id": str(row["song_id"])} for row in rows]
        elif variant == "long":
            rows = truth = [_with_text(row, "long " * 60_000) for row in rows]
        elif variant in ("absolute", "dots", "dict"):
            changes = {"absolute": os.path.abspath("data") + "/{}", "dots": "./songs/../{}", "dict": "{}"}
            paths = [changes[variant].format(row["audio"]) for row in rows]
            rows = [
                {**row, "audio": {"path": name} if variant == "dict" else name}
                for row, name in zip(rows, paths, strict=True)
            ]
        else:
            start, end = {"bom": (b"\xef\xbb\xbf", "\n"), "crlf": (b"", "\r\n"), "blank": (b"\n", "\n\n")}[variant]
        text = end.join(json.dumps(row, ensure_ascii=case.random.random() < 0.5) for row in rows)
        Path(path).write_bytes(start + text.encode() + case.choose((b"\n", b"")))
        outcome = _judge(path, truth, EITHER if variant == "dict" else WHOLE)
        _validate(case, path, outcome)
        return outcome
    if how == "wrong row":
        numbers, allowed = _spoil(case, rows)
        Path(path).write_text("".join(json.dumps(row) + "\n" for row in rows))
        outcome = _judge(path, None, allowed, [f"line {number}" for number in numbers])
        if allowed == REFUSED:
            _validate(case, path, outcome)
        return outcome
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
        lines = [*lines[:place], content, *lines[place:], b"{"]
        Path(path).write_bytes(b"\n".join(lines) + b"\n")
        return _judge(path, None, REFUSED, [f"line {place + 1}", f"line {len(lines)}"])
    content = b"\n".join([*lines, b""])
    if how == "damaged":
        return _judge_damaged(case, path, content, len(rows))
    return _judge_other_file(case, path, content)


def _write_csv(rows: list[Row], end: str = "\n", quoting: int = csv.QUOTE_MINIMAL) -> str:
    def cell(name: str, value: Any) -> str:
        return json.dumps(value) if name in ("texts", "sections") else "" if value is None else str(value)

    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=end, quoting=quoting)
    writer.writerow(columns)
    writer.writerows([cell(name, row.get(name)) for name in columns] for row in rows)
    return text.getvalue()


def _csv(case: Case) -> str:
    rows, path = _make_rows(case), "data/m.csv"
    if any(isinstance(row.get("text"), list) for row in rows):  # a text of a CSV is one text
        rows = [_with_text(row, " ".join(row["text"])) for row in rows]
    how = case.choose(["right"] * 3 + ["wrong row"] * 2 + ["wrong cell"] * 2 + ["damaged", "other file"], "how")
    if how == "right":
        variant = case.choose(("plain", "bom", "crlf", "quoted", "lines", "long", "cr", "spaces"), "variant")
        if variant in ("lines", "long"):
            text = "first\nsecond\r\n\nthird" if variant == "lines" else "long " * 30_000
            rows = [_with_text(row, text) for row in rows]
        end = {"crlf": "\r\n", "cr": "\r"}.get(variant, "\n")
        text = _write_csv(rows, end, csv.QUOTE_ALL if variant == "quoted" else csv.QUOTE_MINIMAL)
        if variant == "spaces":
            text = text.replace("audio,", "audio ,", 1)
        Path(path).write_bytes(b"\xef\xbb\xbf" * (variant == "bom") + text.encode())
        return _judge(path, rows, EITHER if variant in ("long", "cr", "spaces") else WHOLE)
    if how == "wrong row":
        _spoil(case, rows)
        Path(path).write_bytes(_write_csv(rows).encode("utf-8", "surrogatepass"))
        loaded, _ = _load(path)
        # What is no text becomes one in a CSV, and an empty cell is none.
        if loaded is not None and len(loaded) != len(rows):
            raise Fault(f"{len(loaded)} rows of {len(rows)}")
        return "whole" if loaded is not None else "refused"
    if how == "wrong cell":
        lines = _write_csv(rows, quoting=csv.QUOTE_ALL).split("\n")[:-1]
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
        lines[place] = wrong[case.choose(list(wrong), "wrong")](lines[place])
        Path(path).write_bytes("\n".join([*lines, ""]).encode("utf-8", "surrogateescape"))
        return _judge(path, None, REFUSED, [r"line \d+"])
    content = _write_csv(rows).encode()
    if how == "damaged":
        return _judge_damaged(case, path, content, len(rows))
    return _judge_other_file(case, path, content)


def _parquet(case: Case) -> str:
    rows, path = _make_rows(case), "data/m.parquet"
    how = case.choose(["right"] * 3 + ["wrong"] + ["damaged"] * 2 + ["other file"], "how")
    if how == "wrong":
        values = {
            "audio": (None, "", "songs/missing.wav", "a" * 300, "a\0b"),
            "text": (None, ""),
            "duration_s": (-1.0,),
        }
        column = case.choose(list(values), "column")
        rows = [{"duration_s": 0.5, **_with_text(row, "a")} for row in rows]
        place = case.random.randrange(len(rows))
        rows[place][column] = case.choose(values[column])
    table = pyarrow.Table.from_pylist(rows)
    names = [row["audio"] for row in rows]
    content = Path("songs/one.wav").read_bytes()
    audio: dict[str, Callable[[], Any]] = {
        "string": lambda: pyarrow.array(names),
        "large string": lambda: pyarrow.array(names, pyarrow.large_string()),
        "string view": lambda: pyarrow.array(names, pyarrow.string_view()),
        "dictionary": lambda: pyarrow.array(names).dictionary_encode(),
        "struct": lambda: pyarrow.array([{"bytes": None, "path": name} for name in names]),
        "bytes": lambda: pyarrow.array([{"bytes": content, "path": name} for name in names]),
        "binary": lambda: pyarrow.array([name.encode() for name in names]),
        "numbers": lambda: pyarrow.array(range(len(rows))),
    }
    kind = case.choose(list(audio) if how == "right" else ["string", "large string"], "audio as")
    table = table.set_column(table.column_names.index("audio"), "audio", audio[kind]())
    if "text" in table.column_names and table["text"].type == pyarrow.string() and case.random.random() < 0.5:
        text = table["text"].cast(pyarrow.large_string())
        table = table.set_column(table.column_names.index("text"), "text", text)
    compression = case.choose(("none", "snappy", "zstd"))
    pyarrow.parquet.write_table(table, path, row_group_size=case.choose((1, 2, 100)), compression=compression)
    if how == "wrong":
        return _judge(path, None, REFUSED, [f"row {place + 1}"])
    if how == "right" and kind == "bytes":
        loaded, message = _load(path)
        if message or len(loaded) != len(rows) or any(row["audio"]["bytes"] != content for row in loaded):
            raise Fault(f"rows or bytes are missing: {message}")
        return "whole"
    if how == "right":
        return _judge(path, rows, WHOLE if kind in ("string", "large string") else EITHER)
    content = Path(path).read_bytes()
    Path(path).unlink()
    return (
        _judge_damaged(case, path, content, len(rows)) if how == "damaged" else _judge_other_file(case, path, b"PAR1")
    )


def _audio_folder(case: Case) -> str:
    """Songs with texts beside them."""
    rows = _make_rows(case)
    suffix = case.choose((".json", ".txt"))
    if suffix == ".txt":
        rows = [{"audio": row["audio"], "text": case.choose(TEXTS)} for row in rows]
    for row in rows:
        own = {name: value for name, value in row.items() if name != "audio"}
        beside = json.dumps(own) if suffix == ".json" else own["text"]
        Path("data", row["audio"]).with_suffix(suffix).write_text(beside, newline="")
    last = Path("data", rows[-1]["audio"])
    text, as_json = last.with_suffix(suffix), last.with_suffix(".json").write_text
    column = "texts" if "texts" in own else "text"
    wrong: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "hidden": lambda: Path("data/songs/.a.wav").write_bytes(b""),
        "no text": text.unlink,
        "no audio": last.unlink,
        "empty text": lambda: text.write_text(" \n"),
        "other encoding": lambda: text.write_bytes("pok\u00e9".encode("utf-16")),
        "bad bytes": lambda: text.write_bytes(b'{"text": "\xff"}'),
        "deep": lambda: as_json("[" * 100_000),
        "number": lambda: as_json("9" * 5000),
        "surrogate": lambda: as_json(json.dumps({column: "\ud800"})),
        "other audio": lambda: as_json(json.dumps({**own, "audio": "songs/one.wav"})),
        "two texts": lambda: last.with_suffix(".txt" if suffix == ".json" else ".json").write_text("a"),
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
    if kind == "odd name":
        rows.append({"audio": "songs/\udcff.wav", "text": "a"})
    rows = sorted(rows, key=lambda row: Path(row["audio"]).with_suffix(""))
    allowed = {"nothing": WHOLE, "hidden": WHOLE}.get(kind, REFUSED)
    if kind in ("folder loop", "other audio", "odd name"):
        return _judge("data", rows, EITHER)
    if kind == "no audio" and len(rows) == 1:  # a folder without any audio is a data set
        return _judge("data", rows, allowed)
    # Without its only song it is no folder of audio.
    return _judge("data", rows, allowed, [re.escape(last.stem) if len(rows) > 1 else "audio|" + re.escape(last.stem)])
