# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What all parts of the package write: files as a whole or not at all, tables, shortened lists, versions."""

import json
import os
import platform
import shlex
import sys
import tempfile
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from transformers.utils import cached_file

MAX_SHOWN = 5


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """
    Gives a temporary path beside `path` to write to, and renames it when the block ends without an error.

    A file that is there is replaced at once or not at all, also if the process is killed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Of this call alone, whatever other threads and machines write. The suffix stays: savefig and the like go by it.
    temporary = path.with_name(f".{uuid.uuid4().hex}.tmp{path.suffix}")
    try:
        yield temporary
        flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def find_model_file(name_or_path: str | Path, name: str) -> str | None:
    """A file in the folder of a model or in its Hub repository; None if there is none."""
    quietly = {f"_raise_exceptions_for_{problem}": False for problem in ("missing_entries", "connection_errors")}
    return cached_file(str(name_or_path), name, **quietly)


def read_object(file: Path) -> dict[str, Any]:
    """The object in a file of JSON; a ValueError if there is something else in it."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{file.name} must hold a JSON object, got a {type(content).__name__}")
    return content


@contextmanager
def whole_folder(output_dir: str | Path) -> Iterator[Path]:
    """Gives a temporary folder to write to, which becomes `output_dir` when the block ends without an error."""
    output = Path(output_dir)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise ValueError(f"output_dir must not exist or be an empty folder, got {str(output_dir)!r}.")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".publish-") as temporary:
        folder = Path(temporary) / output.name
        folder.mkdir()
        yield folder
        if output.exists():
            output.rmdir()  # empty, as was checked; not every system renames onto a folder
        flush(*folder.rglob("*"))
        folder.rename(output)


def flush(*paths: Path) -> None:
    """Brings files to the disk. A full disk of another machine, or a quota, may be reported only here."""
    for path in paths if os.name != "nt" else ():  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_json(path: str | Path, content: Any) -> None:
    """Writes a JSON file, and its folder if it is missing, by [`atomic_write`]."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_jsonl(path: str | Path, rows: Iterable[Any]) -> None:
    """Writes a file of a JSON object a line, by [`atomic_write`]; one that has this content already stays as it is."""
    path, content = Path(path), "".join(json.dumps(row) + "\n" for row in rows).encode()
    if not path.is_file() or path.read_bytes() != content:
        with atomic_write(path) as temporary:
            temporary.write_bytes(content)


def first_few(lines: Sequence[str], most: int = MAX_SHOWN) -> list[str]:
    """The first lines of a list, indented, and how many more there are."""
    shown = [f"  {line}" for line in lines[:most]]
    return [*shown, f"  and {len(lines) - most} more"] if len(lines) > most else shown


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """
    A Markdown table whose first row is the heading: the first column to the left, numbers to the right.

    Returns:
        `str`: lines without a newline at the end.
    """
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(cells)} |")
    rule = ["-" * (width - 1) + (":" if place else "-") for place, width in enumerate(widths)]
    lines.insert(1, f"| {' | '.join(rule)} |")
    return "\n".join(lines)


def this_command() -> str:
    """The command that started this process, as it can be given to a shell again."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None and spec.name != "__main__":  # python -m
        return shlex.join(["python", "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]])
    return shlex.join(["python", *sys.argv])


def library_versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of Python and of those packages that are installed."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions
