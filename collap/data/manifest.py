# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Reading pairs of songs and texts: manifests, folders of audio, or any data set that `datasets` knows."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow
import pyarrow.compute
import pyarrow.parquet
from datasets import (
    Audio,
    Dataset,
    DatasetDict,
    Features,
    IterableDataset,
    IterableDatasetDict,
    Value,
    load_dataset,
    load_from_disk,
)

from collap.data.audio_files import AUDIO_SUFFIXES, FOREIGN_AUDIO_SUFFIXES, find_audio_files, visible_files
from collap.data.validation import ROW_COLUMNS, TEXT_COLUMNS, check_row, raise_problems, require_columns

Row = dict[str, Any]

DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".tar", ".zip")
JSON_COLUMNS = ("texts", "sections")  # what a cell of a CSV holds as JSON
MOST_PARQUET_ROWS = 256  # at a time; a row may hold a song's bytes


def _read_json_lines(path: Path) -> Iterator[tuple[int, Row]]:
    """Number of the line, from 1, and row; empty lines are none."""
    # Not load_dataset("json"): it tells no line numbers and infers types from the first block of lines only.
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
    """Number of the row's last line, from 1, and row; `texts` and `sections` are JSON in their cells."""
    # Not load_dataset("csv"): pandas turns a text such as "None" or "NA" into a missing value.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            if None in row:
                raise ValueError(f"{path}, line {reader.line_num} has more cells than the header; quote the commas.")
            for name in (*JSON_COLUMNS, "song_id", "duration_s"):
                if name in row:
                    row[name] = _read_cell(row[name], name, f"{path}, line {reader.line_num}")
            yield reader.line_num, row


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the line, from 1, and row of a CSV or of JSON lines."""
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_json_lines(path)


def _read_cell(cell: str | None, name: str, place: str) -> Any:
    if not cell:
        return None
    try:
        if name in JSON_COLUMNS:
            return json.loads(cell)
        return float(cell) if name == "duration_s" else cell
    except ValueError as error:
        expected = "JSON" if name in JSON_COLUMNS else "a number"
        raise ValueError(f"{place}: {name} is not {expected}, got {cell!r:.80}: {error}.") from error


def count_parquet_row_groups(path: Path) -> int:
    """Row groups of a file, the parts of it that several workers can read at a time."""
    with pyarrow.parquet.ParquetFile(path) as file:
        return file.num_row_groups


def read_parquet(path: Path, row_groups: list[int]) -> Iterator[tuple[int, Row]]:
    """Number of the row in the file, from 1, and row."""
    with pyarrow.parquet.ParquetFile(path) as file:
        for group in row_groups:
            number = sum(file.metadata.row_group(before).num_rows for before in range(group))
            for batch in file.iter_batches(MOST_PARQUET_ROWS, row_groups=[group]):
                for row in batch.to_pylist():
                    number += 1
                    yield number, row


def is_audio_folder(folder: Path) -> bool:
    """Whether it holds audio and no tables: with `metadata.csv` or the like it is a data set for `datasets`."""
    suffixes = {path.suffix.lower() for path in visible_files(folder)}
    return not suffixes & set(DATA_SUFFIXES) and bool(suffixes & {*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES})


def read_audio_folder(folder: Path) -> tuple[list[tuple[str, Row]], list[str]]:
    """
    Songs with their texts beside them: `song.flac` and `song.txt`, or `song.json` with an object like a manifest's.

    Args:
        folder (`Path`): It and all folders in it are searched.

    Returns:
        Name and row of each song that has a text, and what does not go together: audio without a text, a text without
        audio, two texts of one song, one text of two songs, audio that soundfile does not read.
    """
    songs: dict[Path, list[Path]] = {}  # by their place without suffix
    texts: dict[Path, list[Path]] = {}
    for path in find_audio_files(folder, (*AUDIO_SUFFIXES, *FOREIGN_AUDIO_SUFFIXES)):
        songs.setdefault(path.with_suffix(""), []).append(path)
    for path in find_audio_files(folder, (".txt", ".json")):
        texts.setdefault(path.with_suffix(""), []).append(path)

    rows, problems = [], []
    for stem in sorted({*songs, *texts}):
        audio, sidecars = (
            [path.relative_to(folder).as_posix() for path in files.get(stem, [])] for files in (songs, texts)
        )
        if not sidecars:
            problems += [f"{name} has no text: expected {Path(name).stem}.txt or .json beside it" for name in audio]
        elif not audio:
            problems += [f"{name} has no audio of its name beside it" for name in sidecars]
        elif len(sidecars) > 1:
            problems.append(f"{audio[0]} has two texts: {' and '.join(sidecars)}")
        elif len(audio) > 1:
            problems.append(f"{sidecars[0]} is the text of several songs: {' and '.join(audio)}")
        elif songs[stem][0].suffix.lower() in FOREIGN_AUDIO_SUFFIXES:
            problems.append(f"{audio[0]} is of a format that soundfile does not read: convert it to flac, say")
        else:
            try:
                rows.append((audio[0], {**_read_sidecar(texts[stem][0]), "audio": audio[0]}))
            except ValueError as error:
                problems.append(f"{sidecars[0]}: {error}")
    return rows, problems


def _read_sidecar(path: Path) -> Row:
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".txt":
        return {"text": text.strip()}
    row = json.loads(text)
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object with text or texts, got {text.strip():.60}")
    return row


MOST_SHARDS = 64  # workers that can share a data set from the disk


def num_shards(data: Dataset) -> int:
    """Parts of a data set that workers share when it is streamed."""
    return max(1, min(MOST_SHARDS, len(data)))


def stream_manifest(path: Path, keep_extra_columns: bool, check_audio: bool) -> IterableDataset:
    """A manifest as a stream; several workers share the row groups of a Parquet file."""
    arguments = {"path": str(path.absolute()), "keep_extra_columns": keep_extra_columns, "check_audio": check_audio}
    if path.suffix.lower() == ".parquet":
        # Workers share the members of a list.
        arguments["row_groups"] = list(range(count_parquet_row_groups(path)))
    return IterableDataset.from_generator(_stream_rows, gen_kwargs=arguments)


def _stream_rows(
    path: str, keep_extra_columns: bool, check_audio: bool, row_groups: list[int] | None = None
) -> Iterator[dict[str, Any]]:
    source = Path(path)
    numbered = read_lines(source) if row_groups is None else read_parquet(source, row_groups)
    for number, row in numbered:
        names = [name for name in row if name not in TEXT_COLUMNS or row[name] is not None]
        require_columns(names, f"{path}, {_place(source)} {number}")
        row, problems = check_row(row, names, source.parent, check_audio, keep_extra_columns)
        raise_problems([f"{_place(source)} {number}: {problem}" for problem in problems], path)
        yield row


def _place(path: Path) -> str:
    return "row" if path.suffix.lower() == ".parquet" else "line"


class _UndecodedAudio(Audio):
    """The column of a stream: `datasets` asks for torchcodec there even if nothing is to be decoded."""

    def encode_example(self, value: str | bytes | dict[str, Any]) -> dict[str, Any]:
        if isinstance(value, str | bytes):
            value = {"path" if isinstance(value, str) else "bytes": value}
        return {"bytes": value.get("bytes"), "path": value.get("path")}


def stream_data_set(
    data: IterableDataset, source: str | Path, keep_extra_columns: bool, check_audio: bool
) -> IterableDataset:
    """A streamed data set with undecoded audio, each row of which is checked when its turn comes."""
    if data.column_names is None:
        raise ValueError(f"{source} does not say which columns it has: it can't be streamed.")
    require_columns(data.column_names, source)
    for column, feature in data.features.items():
        if isinstance(feature, Audio):
            data = data.cast_column(column, _UndecodedAudio(decode=False))
    names = [column for column in data.column_names if column in ROW_COLUMNS]
    if not keep_extra_columns:
        data = data.select_columns(names)

    def check(row: dict[str, Any], index: int) -> dict[str, Any]:
        audio = row["audio"]
        if isinstance(audio, dict) and audio.get("bytes") is None and "://" in (audio.get("path") or ""):
            with fsspec.open(audio["path"]) as file:  # a file of its own at the source, not yet fetched
                row = {**row, "audio": {"bytes": file.read(), "path": audio["path"]}}
        row, problems = check_row(row, list(row), None, check_audio, keep_extra_columns)
        # `datasets` counts rows from the start of what one worker reads.
        raise_problems([f"row {index + 1} of a worker's rows: {problem}" for problem in problems], source)
        return row

    changed = {"song_id": Value("string"), "duration_s": Value("float64")}
    features = Features({**data.features, **{name: changed[name] for name in names if name in changed}})
    return data.map(check, with_indices=True, features=None if "sections" in names else features)


MANIFEST_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MADE_ANEW = ("song_id", "duration_s", "sections")  # columns whose values [`check_row`] may write in another form


def load_manifest(
    path_or_dataset_name: str | Path,
    split: str | None = None,
    keep_extra_columns: bool = False,
    streaming: bool = False,
    check_audio: bool = True,
) -> Dataset | IterableDataset:
    """
    Loads pairs of song and text as a `datasets.Dataset`.

    A manifest names one song a line: `{"audio": "songs/a.flac", "text": "A slow intro. Then ..."}`. Its columns:
    - `audio`: path of the song, relative to the manifest; in a data set also a dict of its bytes, or an Audio column.
    - `text`: a string or a list of sentences; or `texts`: several wordings, each a string or a list of sentences
      (a training draws one); or both.
    - `song_id` (optional): rows with the same one are the same song. By default that is the audio.
    - `duration_s` (optional): length of the song in seconds.
    - `sections` (optional): a list of `{"start_s", "end_s", "text"}`, what of the text is heard when. In a row with
      `texts` a section has `texts` too, as many, what each wording says of it. The text of the row holds those of the
      sections in their order. Sections may overlap and need not cover the song. In place of their text they may have
      `sentences`, indices into the row's list of sentences (a list of indices for each wording of `texts`).

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
        streaming (`bool`):
            Whether to read the rows while they are used, for what does not fit on the disk or into memory. Each row is
            then checked when its turn comes. Several workers share the row groups of a Parquet file and the shards of
            a data set; JSON lines and CSV can be read by one only.
        check_audio (`bool`):
            Whether files of audio have to be there. [`find_bad_rows`] finds those that are not, among other faults.

    Returns:
        `datasets.Dataset`, or with `streaming` an `IterableDataset`, of the columns above that are there. `audio` is
        an absolute path, from a data set with an Audio column the dict `{"bytes", "path"}` of the undecoded file.

    Raises:
        ValueError: if something is not there: the manifest, a column, a file of audio, the text of a song, the choice
            of a split; if the audio and the texts of a folder do not go together; or if a section, length or id can't
            be one. A [`ManifestError`] names the first few lines or rows (from 1) that are at fault; its `problems`
            are all of them.
    """
    path = Path(path_or_dataset_name)
    is_manifest = path.suffix.lower() in MANIFEST_SUFFIXES
    is_folder = not is_manifest and path.is_dir() and not _was_saved_to_disk(path) and is_audio_folder(path)
    if split is not None and (is_manifest or is_folder):
        raise ValueError(f"split={split!r} was given, but the manifest {path} is one split: leave split out.")
    options = {"keep_extra_columns": keep_extra_columns, "check_audio": check_audio}
    if is_folder:
        rows, problems = read_audio_folder(path)
        data = _load_rows(rows, problems, path, path.absolute(), **options)
        return data.to_iterable_dataset(num_shards(data)) if streaming else data
    if not is_manifest:
        return _load_data_set(path_or_dataset_name, split, streaming, **options)
    if not path.is_file():
        raise ValueError(f"path_or_dataset_name: there is no manifest {path}.")
    if streaming:
        return stream_manifest(path, **options)
    if path.suffix.lower() == ".parquet":
        data = load_dataset("parquet", data_files=str(path), split="train")
        return _check_data_set(data, path, path.absolute().parent, **options)
    rows = [(f"line {line}", row) for line, row in read_lines(path)]
    return _load_rows(rows, [], path, path.absolute().parent, **options)


def _load_rows(
    rows: list[tuple[str, dict[str, Any]]],
    problems: list[str],
    source: Path,
    folder: Path,
    keep_extra_columns: bool,
    check_audio: bool,
) -> Dataset:
    """Rows with their places, and what was wrong before; all in memory, so that all faults are told at once."""
    if not rows and not problems:
        raise ValueError(f"The manifest {source} has no songs.")
    # Built by columns, over the keys of all rows: `Dataset.from_list` drops what the first row lacks.
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    if rows:
        require_columns(names, source)
    checked = []
    for place, row in rows:
        row, found = check_row(row, names, folder, check_audio, keep_extra_columns)
        checked.append(row)
        problems += [f"{place}: {problem}" for problem in found]
    raise_problems(problems, source)
    columns = {name: [row[name] for row in checked] for name in checked[0]}
    return Dataset.from_dict({name: _check_one_type(name, values, source) for name, values in columns.items()})


def _was_saved_to_disk(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _load_data_set(
    name: str | Path, split: str | None, streaming: bool, keep_extra_columns: bool, check_audio: bool
) -> Dataset | IterableDataset:
    if _was_saved_to_disk(Path(name)):
        data = load_from_disk(str(name))
        if split is not None and isinstance(data, DatasetDict):
            if split not in data:
                raise ValueError(f"split must be one of {sorted(data)} for {name}, got {split!r}.")
            data = data[split]
    else:
        data = load_dataset(str(name), split=split, streaming=streaming)
    if isinstance(data, DatasetDict | IterableDatasetDict):
        if len(data) > 1:
            raise ValueError(f"{name} has the splits {sorted(data)}: say which one by split.")
        data = next(iter(data.values()))
    if streaming:
        if isinstance(data, Dataset):
            data = data.to_iterable_dataset(num_shards(data))
        return stream_data_set(data, name, keep_extra_columns, check_audio)
    return _check_data_set(data, name, None, keep_extra_columns, check_audio)


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
    # Only columns that may change are made anew, so that songs' bytes are neither read nor copied.
    is_path = data.features["audio"] == Value("string")
    anew = {column: [] for column in names if column in MADE_ANEW or (column == "audio" and is_path)}
    problems, number = [], 0
    for table in data.select_columns(names).with_format("arrow").iter(1000):
        columns = {column: _to_list(table[column]) for column in names}
        for values in zip(*columns.values(), strict=True):
            number += 1
            row, found = check_row(
                dict(zip(names, values, strict=True)), names, folder, check_audio, keep_extra_columns
            )
            problems += [f"row {number}: {problem}" for problem in found]
            for column, kept in anew.items():
                kept.append(row[column])
    raise_problems(problems, source)
    order = data.column_names if keep_extra_columns else names
    for column, values in anew.items():
        data = data.remove_columns(column).add_column(column, _check_one_type(column, values, source))
    return data.select_columns(order)


def _to_list(column: pyarrow.ChunkedArray) -> list[Any]:
    """The values of a column; of songs' bytes only whether they are there."""
    kind = column.type
    if not (pyarrow.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}):
        return column.to_pylist()
    paths = pyarrow.compute.struct_field(column, "path").to_pylist()
    has_bytes = pyarrow.compute.is_valid(pyarrow.compute.struct_field(column, "bytes")).to_pylist()
    return [
        {"bytes": b"" if there else None, "path": path} for path, there in zip(paths, has_bytes, strict=True)
    ]  # fmt: skip


def _check_one_type(name: str, values: list[Any], source: str | Path) -> list[Any]:
    """The values, once Arrow has taken them: a column of a table has one type, strings and lists do not mix."""
    try:
        Dataset.from_dict({name: values})
    except (ValueError, TypeError) as error:  # Arrow's own errors are subclasses of these two
        advice = (
            "write every text as a string, or every one as a list of sentences"
            if name in (*TEXT_COLUMNS, "sections")
            else "give it one type, or leave it out by keep_extra_columns=False"
        )
        raise ValueError(f"The column {name!r} of {source} mixes types: {advice} ({error}).") from error
    return values


__all__ = [
    "is_audio_folder",
    "load_manifest",
    "num_shards",
    "read_audio_folder",
    "read_lines",
    "read_parquet",
    "stream_data_set",
    "stream_manifest",
]
