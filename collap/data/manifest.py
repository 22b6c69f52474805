# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Pairs of songs and texts: manifests, folders of audio, or any data set that `datasets` loads."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
from datasets import Audio, Dataset, DatasetDict, Value, load_dataset, load_from_disk

from collap.data.audio_files import AUDIO_SUFFIXES, FOREIGN_AUDIO_SUFFIXES, find_audio_files, visible_files
from collap.data.rows import ROW_COLUMNS, TEXT_COLUMNS, check_row, raise_issues, require_columns

Row = dict[str, Any]
PlacedRows = Iterable[tuple[str, Row]]  # place, such as "line 3", and row

MANIFEST_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".tar", ".zip")
# How the cells of a CSV are read, and what they must be; empty ones are none.
CELL_TYPES = {
    "texts": (json.loads, "JSON"),
    "sections": (json.loads, "JSON"),
    "duration_s": (float, "a number"),
    "song_id": (str, "a text"),
}
CHECKED_COLUMNS = ("song_id", "duration_s", "sections")  # columns whose values [`check_row`] may change


def load_manifest(
    path_or_dataset_name: str | Path,
    split: str | None = None,
    keep_extra_columns: bool = False,
    check_audio: bool = True,
) -> Dataset:
    """
    Loads pairs of song and text as a `datasets.Dataset`.

    A row of a manifest is a song: `{"audio": "songs/a.flac", "text": "A slow intro. Then ..."}`. Its columns:
    - `audio`: path of the song, relative to the manifest; in a data set also a dict of its bytes, or an Audio column.
    - `text`: a string or a list of sentences; or `texts`: several wordings, each a string or a list of sentences
      (training draws one); or both.
    - `song_id` (optional): rows with the same id are the same song. Default: the audio.
    - `duration_s` (optional): length of the song in seconds.
    - `sections` (optional): a list of `{"start_s", "end_s", "text"}`: which part of the text describes which part of
      the song. In a row with `texts` a section has as many `texts`, one for each wording. The text of the row contains
      the texts of the sections in their order. Sections may overlap and need not cover the song. Instead of a text
      they may have `sentences`, indices into the row's list of sentences (a list of indices for each of the `texts`).

    Each column has one type: all texts are strings, or all are lists.

    Args:
        path_or_dataset_name (`str` or `Path`): One of
            - a manifest: `.jsonl` or `.json` with one JSON object a line; `.csv` with a header, in which `texts` and
              `sections` are JSON; `.parquet`;
            - a folder of audio, with `song.txt` or `song.json` (an object with the columns above) beside `song.flac`;
            - a folder written by `Dataset.save_to_disk`;
            - what `datasets.load_dataset` takes: a name on the Hub, a local folder with tables in it.
        split (`str`, *optional*):
            Split of a data set, as `load_dataset` takes it; needed if it has several. A manifest is one split.
        keep_extra_columns (`bool`):
            Whether to keep other columns than these, and other keys of sections. Each needs one type throughout.
        check_audio (`bool`):
            Whether audio files have to exist. [`validate_manifest`] reports those that do not, with all other issues.

    Returns:
        `datasets.Dataset` of the columns above that are there. `audio` is an absolute path, or from a data set with an
        Audio column the dict `{"bytes", "path"}` of the undecoded file.

    Raises:
        ValueError: if a manifest, a column or a choice of a split is missing, or a column mixes types.
        ManifestError: if rows have issues; the message has the first of them with their lines or rows (from 1), the
            attribute `issues` has all.
    """
    path = Path(path_or_dataset_name)
    is_manifest = path.suffix.lower() in MANIFEST_SUFFIXES
    is_folder = not is_manifest and path.is_dir() and not _is_saved_data_set(path) and _is_audio_folder(path)
    if split is not None and (is_manifest or is_folder):
        raise ValueError(f"split={split!r} was given, but the manifest {path} is one split: leave split out.")
    if is_manifest and not path.is_file():
        raise ValueError(f"path_or_dataset_name: there is no manifest {path}.")
    options = {"keep_extra_columns": keep_extra_columns, "check_audio": check_audio}
    if is_folder:
        rows, issues = _read_audio_folder(path)
        return _load_rows(rows, path, path.absolute(), issues, **options)
    folder = path.absolute().parent if is_manifest else None
    if is_manifest and path.suffix.lower() != ".parquet":
        rows = _read_csv(path) if path.suffix.lower() == ".csv" else _read_json_lines(path)
        return _load_rows([(f"line {number}", row) for number, row in rows], path, folder, [], **options)
    if is_manifest:
        data = load_dataset("parquet", data_files=str(path), split="train")
    else:
        data = _load_data_set(path_or_dataset_name, split)
    return _check_data_set(data, path_or_dataset_name, folder, **options)


def _read_json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Number of the line, from 1, and row; empty lines are none."""
    # Not load_dataset("json"): it has no line numbers and infers types from the first block of lines only.
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path}, line {number} is not JSON: {error}.") from error
            if not isinstance(row, dict):
                raise ValueError(f"{path}, line {number}: one JSON object a line is expected, got {line.strip():.60}.")
            yield number, row


def _read_csv(path: Path) -> Iterator[tuple[int, Row]]:
    """Number of the row's last line, from 1, and row."""
    # Not load_dataset("csv"): pandas turns a text such as "None" or "NA" into a missing value.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            place = f"{path}, line {reader.line_num}"
            if None in row:
                raise ValueError(f"{place} has more cells than the header; quote the commas.")
            for name in row.keys() & CELL_TYPES.keys():
                read, expected = CELL_TYPES[name]
                try:
                    row[name] = read(row[name]) if row[name] else None
                except ValueError as error:
                    raise ValueError(f"{place}: {name} is not {expected}, got {row[name]!r:.80}: {error}.") from error
            yield reader.line_num, row


def _is_audio_folder(folder: Path) -> bool:
    """Whether it contains audio and no tables: with `metadata.csv` or the like it is a data set for `datasets`."""
    suffixes = {path.suffix.lower() for path in visible_files(folder)}
    return not suffixes & set(DATA_SUFFIXES) and bool(suffixes & {*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES})


def _read_audio_folder(folder: Path) -> tuple[list[tuple[str, Row]], list[str]]:
    """Name and row of each song that has a text beside it, and what does not belong together."""
    files: dict[Path, tuple[list[Path], list[Path]]] = {}  # audio files and texts by their path without suffix
    for index, suffixes in enumerate(((*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES), (".txt", ".json"))):
        for path in find_audio_files(folder, suffixes):
            files.setdefault(path.with_suffix(""), ([], []))[index].append(path)
    rows, issues = [], []
    for _, paths in sorted(files.items()):
        audio, texts = ([path.relative_to(folder).as_posix() for path in group] for group in paths)
        if not texts:
            issues += [f"{name} has no text: expected {Path(name).stem}.txt or .json beside it" for name in audio]
        elif not audio:
            issues += [f"{name} has no audio of its name beside it" for name in texts]
        elif len(texts) > 1:
            issues.append(f"{audio[0]} has two texts: {' and '.join(texts)}")
        elif len(audio) > 1:
            issues.append(f"{texts[0]} is the text of several songs: {' and '.join(audio)}")
        elif paths[0][0].suffix.lower() in FOREIGN_AUDIO_SUFFIXES:
            issues.append(f"{audio[0]} has a format that cannot be decoded: convert it, for example to flac")
        else:
            try:
                rows.append((audio[0], {**_read_text_file(paths[1][0]), "audio": audio[0]}))
            except ValueError as error:
                issues.append(f"{texts[0]}: {error}")
    return rows, issues


def _read_text_file(path: Path) -> Row:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".txt":
        return {"text": text.strip()}
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object with text or texts, got {text.strip():.60}")
    return row


def _is_saved_data_set(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _load_data_set(name: str | Path, split: str | None) -> Dataset:
    if _is_saved_data_set(Path(name)):
        data = load_from_disk(str(name))
        if split is not None and isinstance(data, DatasetDict):
            if split not in data:
                raise ValueError(f"split must be one of {sorted(data)} for {name}, got {split!r}.")
            data = data[split]
    else:
        data = load_dataset(str(name), split=split)
    if isinstance(data, DatasetDict):
        if len(data) > 1:
            raise ValueError(f"{name} has the splits {sorted(data)}: say which one by split.")
        data = next(iter(data.values()))
    return data


def _load_rows(
    rows: list[tuple[str, Row]],
    source: Path,
    folder: Path,
    issues: list[str],
    keep_extra_columns: bool,
    check_audio: bool,
) -> Dataset:
    if not rows and not issues:
        raise ValueError(f"The manifest {source} has no songs.")
    names = list(dict.fromkeys(name for _, row in rows for name in row))  # of all rows, not only of the first
    if rows:
        require_columns(names, source)
    columns = _check_rows(rows, names, source, folder, issues, keep_extra_columns, check_audio)
    for name, values in columns.items():
        _check_one_type(name, values, source)
    return Dataset.from_dict(columns)


def _check_data_set(
    data: Dataset, source: str | Path, folder: Path | None, keep_extra_columns: bool, check_audio: bool
) -> Dataset:
    """A data set with all its rows checked; `folder` is what its paths are relative to."""
    if len(data) == 0:
        raise ValueError(f"The manifest {source} has no songs.")
    require_columns(data.column_names, source)
    for column, feature in data.features.items():
        if isinstance(feature, Audio):
            # The processor decodes: torchcodec, which `datasets` would use, needs FFmpeg on the machine.
            data = data.cast_column(column, Audio(decode=False))
    names = [column for column in data.column_names if column in ROW_COLUMNS]

    def iterate() -> Iterator[tuple[str, Row]]:
        number = 0
        for table in data.select_columns(names).with_format("arrow").iter(1000):
            for values in zip(*(_to_list(table[column]) for column in names), strict=True):
                number += 1
                yield f"row {number}", dict(zip(names, values, strict=True))

    columns = _check_rows(iterate(), names, source, folder, [], keep_extra_columns, check_audio)
    order = data.column_names if keep_extra_columns else names
    is_path = data.features["audio"] == Value("string")
    for name, values in columns.items():  # songs' bytes are neither read nor copied
        if name in CHECKED_COLUMNS or (name == "audio" and is_path):
            _check_one_type(name, values, source)
            data = data.remove_columns(name).add_column(name, values)
    return data.select_columns(order)


def _check_rows(
    rows: PlacedRows,
    names: list[str],
    source: str | Path,
    folder: Path | None,
    issues: list[str],
    keep_extra_columns: bool,
    check_audio: bool,
) -> dict[str, list[Any]]:
    """The columns of the checked rows; raises one error for all issues, those known before included."""
    columns: dict[str, list[Any]] = {}
    for place, row in rows:
        row, found = check_row(row, names, folder, check_audio, keep_extra_columns)
        issues += [f"{place}: {issue}" for issue in found]
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    raise_issues(issues, source)
    return columns


def _to_list(column: pyarrow.ChunkedArray) -> list[Any]:
    """The values of a column; of songs' bytes only whether they are there."""
    kind = column.type
    if not (pyarrow.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}):
        return column.to_pylist()
    paths = pyarrow.compute.struct_field(column, "path").to_pylist()
    has_bytes = pyarrow.compute.is_valid(pyarrow.compute.struct_field(column, "bytes")).to_pylist()
    return [{"bytes": b"" if there else None, "path": path} for path, there in zip(paths, has_bytes, strict=True)]


def _check_one_type(name: str, values: list[Any], source: str | Path) -> None:
    try:
        Dataset.from_dict({name: values})
    except (ValueError, TypeError) as error:  # Arrow's own errors are subclasses of these two
        advice = (
            "write every text as a string, or every one as a list of sentences"
            if name in (*TEXT_COLUMNS, "sections")
            else "give it one type, or leave it out by keep_extra_columns=False"
        )
        raise ValueError(f"The column {name!r} of {source} mixes types: {advice} ({error}).") from error


__all__ = ["load_manifest"]
