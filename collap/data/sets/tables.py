# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What the loaders of sets share: finding the owners' files, reading their tables, checking options and paths."""

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from collap.data.futga import read_table

Row = dict[str, str]

TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no", "")


def find_file(
    data_dir: str | Path, names: Sequence[str], folders: Sequence[str] = ("",), argument: str = "data_dir"
) -> Path:
    """
    One of the owners' files.

    Args:
        data_dir (`str` or `Path`): Folder of the files, or the file itself, by whatever name.
        names (`Sequence[str]`): What the file may be called, likeliest first.
        folders (`Sequence[str]`): Where in `data_dir` it may lie.
        argument (`str`): What `data_dir` is called by who calls, for the message.

    Raises:
        ValueError: if there is none, with what was looked for and what is there.
    """
    path = Path(data_dir)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"{argument}: there is no file or folder {path}.")
    for folder in folders:
        for name in names:
            if (path / folder / name).is_file():
                return path / folder / name
    there = sorted(file.name for file in path.iterdir() if file.is_file())
    raise ValueError(
        f"{argument}: {path} must hold {' or '.join(repr(name) for name in names)}, it holds "
        f"{', '.join(there[:10]) or 'no files'}{', ...' if len(there) > 10 else ''}."
    )


def find_audio_folder(data_dir: str | Path, audio_dir: str | Path | None, names: Sequence[str] = ("audio",)) -> Path:
    """The folder of songs: `audio_dir`, or the first of `names` in `data_dir` that is there, or else `data_dir`."""
    if audio_dir is not None:
        if not Path(audio_dir).is_dir():
            raise ValueError(f"audio_dir: there is no folder {audio_dir}.")
        return Path(audio_dir)
    folder = folder_of(data_dir)
    return next((folder / name for name in names if (folder / name).is_dir()), folder)


def folder_of(data_dir: str | Path) -> Path:
    """The folder itself, or that of a file."""
    return Path(data_dir) if Path(data_dir).is_dir() else Path(data_dir).parent


def read_rows(path: Path, columns: Iterable[str] = (), argument: str = "data_dir") -> list[Row]:
    """Rows of a CSV with a header, all cells as text, "" where there is none; a ValueError if a column is missing."""
    try:
        rows = read_table(path)
    except UnicodeDecodeError as error:
        raise ValueError(f"{argument}: {path} is not in UTF-8: {error}.") from error
    except csv.Error as error:
        raise ValueError(f"{argument}: {path} cannot be read as a CSV: {error}.") from error
    except ValueError as error:  # of the reader, which names its own argument
        raise ValueError(str(error).replace("csv_path", argument, 1)) from error
    lacking = [name for name in columns if name not in rows[0]]
    if lacking:
        raise ValueError(f"{argument}: {path} must have the columns {lacking} too, it has {list(rows[0])}.")
    return [{name: cell or "" for name, cell in row.items()} for row in rows]


def read_json(path: Path) -> Any:
    """The content of a file of JSON; a ValueError if it is none."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"data_dir: {path} is not JSON: {error}.") from error


def read_flag(cell: str, place: str) -> bool:
    """A cell that says yes or no; an empty one says no."""
    if cell.strip().lower() not in (*TRUE, *FALSE):
        raise ValueError(f"{place} must be True, False or empty, got {cell!r}.")
    return cell.strip().lower() in TRUE


def check_choice(name: str, value: Any, choices: Sequence[str]) -> str:
    """The value of an option; a ValueError if it is none of the choices."""
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return value


def check_inside(name: str, place: str) -> str:
    """A path of the owners' table; a ValueError if it would lead out of the folder that it is relative to."""
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.parts or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[\\/]", name) or "\0" in name:
        raise ValueError(f"{place} must be a path inside of the folder of audio, got {name!r}.")
    return name


def check_unique(ids: Iterable[str], what: str, path: Path) -> None:
    """Raises a ValueError if an id occurs twice."""
    seen: set[str] = set()
    for one in ids:
        if one in seen:
            raise ValueError(f"data_dir: {path} has the {what} {one!r} twice.")
        seen.add(one)


def hash_file(path: Path) -> dict[str, str]:
    """Name and SHA-256 of one of the owners' files, by which a result can say what it was made with."""
    return {"name": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


__all__ = [
    "Row",
    "check_choice",
    "check_inside",
    "check_unique",
    "find_audio_folder",
    "find_file",
    "folder_of",
    "hash_file",
    "read_flag",
    "read_json",
    "read_rows",
]
