# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Pairs of songs and texts: manifests, folders of audio, or any data set that `datasets` loads."""

import csv
import glob
import json
import os
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
from datasets import Audio, Dataset, DatasetDict, load_dataset, load_from_disk
from datasets.exceptions import DatasetsError

from collap.data.audio_files import AUDIO_SUFFIXES, list_folder
from collap.files import first_few
from collap.processing.audio_decoding_collap import check_file

Row = dict[str, Any]
PlacedRow = tuple[str, Row]  # place, such as "line 3", and row
PlacedRows = tuple[Sequence[Row], list[str]]  # rows, and the place of each
RowCheck = Callable[[Row, Sequence[str]], tuple[Row, list[str]]]  # of a row and the names of all columns: `_check_row`

MANIFEST_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".tar", ".zip")
TEXT_COLUMNS = ("text", "texts")
ROW_COLUMNS = ("audio", *TEXT_COLUMNS, "song_id", "duration_s", "sections", "group")
SECTION_KEYS = ("start_s", "end_s", *TEXT_COLUMNS)
END_TOLERANCE_S = 0.5  # a section may end so much later than its song: lengths of songs are rounded


class ManifestError(ValueError):
    """Issues in a manifest, each with its line or row; the message has the first of them, `issues` has all."""

    def __init__(self, issues: Sequence[str], source: str | Path):
        super().__init__("\n".join([f"{source} has {len(issues)} issue(s):", *first_few(issues)]))
        self.issues = issues


def load_manifest(
    path_or_dataset_name: str | Path,
    split: str | None = None,
    keep_extra_columns: bool = False,
    check_audio: bool = True,
) -> Dataset:
    """
    Loads pairs of song and text as a `datasets.Dataset`.

    A row of a manifest is a song: `{"audio": "songs/a.flac", "text": "A slow intro. Then ..."}`. Its columns:
    - `audio`: path of the song, relative to the manifest; in a data set a path, relative to the working folder, a dict
      of the bytes, or an Audio column.
    - `text`: a string or a list of sentences; or `texts`: several wordings, each a string or a list of sentences
      (training draws one); or both.
    - `song_id` (optional): rows with the same id are the same song. Default: the audio.
    - `duration_s` (optional): length of the song in seconds.
    - `group` (optional): training puts rows with the same group into the same batch, where they are hard negatives.
    - `sections` (optional): a list of `{"start_s", "end_s", "text"}`: which part of the text describes which part of
      the song. In a row with `texts` a section has as many `texts`, one for each wording. The text of the row contains
      the texts of the sections in their order. Sections may overlap and need not cover the song. Instead of a text
      they may have `sentences`, indices into the row's list of sentences (a list of indices for each of the `texts`).

    Each column has one type: all texts are strings, or all are lists.

    Args:
        path_or_dataset_name (`str` or `Path`): One of
            - a manifest: `.jsonl` or `.json` with one JSON object a line; `.csv` with a header, in which `texts` and
              `sections` are JSON and an empty cell is none; `.parquet`. Text is UTF-8, and read strictly;
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
        Audio column the dict `{"bytes", "path"}` of the undecoded file, whose path is absolute if it has no bytes.

    Raises:
        ValueError: if the manifest is missing, cannot be read or has no songs, or the choice of a split is missing.
        ManifestError: if rows have issues: all of them, with their lines or rows (from 1).
    """
    rows, _, issues = read_manifest(path_or_dataset_name, split, keep_extra_columns, check_audio)
    if issues:
        raise ManifestError(issues, path_or_dataset_name)
    return rows if isinstance(rows, Dataset) else Dataset.from_list(rows)


def read_manifest(
    path_or_dataset_name: str | Path, split: str | None, keep_extra_columns: bool, check_audio: bool
) -> tuple[Sequence[Row], list[str], list[str]]:
    """The rows without an issue, the place of each such as "line 3", and all issues; else as [`load_manifest`]."""
    path = Path(path_or_dataset_name)
    if any("\ud800" <= char <= "\udfff" for char in str(path.absolute())):  # as Python reads bytes that are not UTF-8
        raise ValueError(f"path_or_dataset_name: the path must be UTF-8, got {str(path.absolute())!a}.")
    suffix = path.suffix.lower()
    is_manifest = suffix in MANIFEST_SUFFIXES
    is_folder = not is_manifest and path.is_dir() and not _is_saved_data_set(path) and _is_audio_folder(path)
    if split is not None and (is_manifest or is_folder):
        raise ValueError(f"split={split!r} was given, but the manifest {path} is one split: leave split out.")
    if is_manifest and not path.is_file():
        raise ValueError(f"path_or_dataset_name: there is no manifest {path}.")
    folder = path.absolute() if is_folder else path.absolute().parent if is_manifest else Path.cwd()
    check = partial(_check_row, folder=folder, keep_extra_columns=keep_extra_columns, check_audio=check_audio)
    issues: list[str] = []
    if is_folder:
        rows, places = _check_list(list(_read_audio_folder(path, issues)), issues, check)
    elif is_manifest and suffix != ".parquet":
        read = _read_csv if suffix == ".csv" else _read_json_lines
        rows, places = _check_list(list(read(_read_lines(path, issues), issues)), issues, check)
    else:
        data = _load_data_set(path_or_dataset_name, split)
        rows, places = _check_data_set(data, issues, check, keep_extra_columns)
    if not rows and not issues:
        raise ValueError(f"The manifest {path_or_dataset_name} has no songs.")
    return rows, places, [_one_line(issue) for issue in issues]


def _one_line(issue: str) -> str:
    """An issue in 300 characters that can be printed: without line breaks, surrogates and the like."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in issue)[:300]


def _read_lines(path: Path, issues: list[str]) -> list[str]:
    """The lines of a file in UTF-8; other bytes become surrogates, so that only their rows are refused."""
    with path.open("rb") as file:
        start = file.read(4)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (start.count(0) == 2 and b"\0\0" not in start):
        issues.append("line 1 is not UTF-8, but UTF-16 or the like: write the file as UTF-8")
        return []
    with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        return file.readlines()


def _read_json(text: str) -> Any:
    """JSON; a ValueError also for what is nested too deeply and for repeated names, of which json takes the last."""
    try:
        return json.loads(text, object_pairs_hook=_unique_names)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error


def _unique_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(row := dict(pairs)) < len(pairs):
        raise ValueError(f"a name is there twice, {[name for name, _ in pairs]!r}")
    return row


def read_json_lines(path: Path) -> list[Row]:
    """The objects in a file of one JSON object a line; a [`ManifestError`] names the lines that are none."""
    issues: list[str] = []
    rows = [row for _, row in _read_json_lines(_read_lines(path, issues), issues)]
    if issues:
        raise ManifestError(list(map(_one_line, issues)), path)
    return rows


def _read_json_lines(lines: list[str], issues: list[str]) -> Iterator[PlacedRow]:
    # Not load_dataset("json"): it has no line numbers and infers types from the first block of lines only.
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = _read_json(line)
        except ValueError as error:
            issues.append(f"line {number} is {error}")
            continue
        if isinstance(row, dict):
            yield f"line {number}", row
        else:
            issues.append(f"line {number}: one JSON object a line is expected, got {row!r}")


CELL_READERS = {"texts": _read_json, "sections": _read_json, "duration_s": float, "song_id": str}


def _read_csv(lines: list[str], issues: list[str]) -> Iterator[PlacedRow]:
    # Not load_dataset("csv"): pandas turns a text such as "None" or "NA" into a missing value.
    limit = csv.field_size_limit(2**31 - 1)  # characters of a cell
    try:
        header, end = None, 0
        while end < len(lines):
            start, place = end, f"line {end + 1}"
            reader = csv.reader((lines[index] for index in range(start, len(lines))), strict=True)
            try:
                cells = next(reader)
            except csv.Error as error:
                where = f"{error}, line {start + reader.line_num}"
                issues.append(f"{place}: a quote is not closed, or one inside of quotes is not doubled ({where})")
                # The lines that the quote would swallow may be rows; to look again at each of many would take long.
                end = start + (1 if len(issues) < 100 else reader.line_num)
                continue
            end = start + reader.line_num
            if header is None and cells:
                header = cells
                # A column without a name would take what follows a comma in a text; the first may be pandas' index.
                if len(set(header)) < len(header) or "" in header[1:]:
                    issues.append(f"{place}: each column of the header needs a name of its own, got {header!r}")
                    return
            elif cells:
                row, found = _read_cells(cells, header, lines[start:end])
                issues += [f"{place}{issue}" for issue in found]
                if not found:
                    yield place, row
    finally:
        csv.field_size_limit(limit)


def _read_cells(cells: list[str], header: list[str], lines: list[str]) -> tuple[Row, list[str]]:
    """A row and its issues; `lines` are those that it is written in."""
    if "\0" in "".join(lines):
        return {}, [" holds a NUL byte"]
    if len(cells) != len(header):
        return {}, [f" has {len(cells)} cells, the header has {len(header)}: quote texts that contain commas"]
    for line in lines[1:]:
        # A quote that is not closed ends at the next row with quotes: the rows between are in one cell.
        inner = next(csv.reader([line]), [])
        song = dict(zip(header, inner, strict=False)).get("audio", "")
        if len(inner) == len(header) and Path(song).suffix.lower() in AUDIO_SUFFIXES:
            return {}, [f": a quote is not closed, the row of {song!r} is inside of it"]
    row: Row = dict(zip(header, cells, strict=True))
    found = []
    for name in row.keys() & CELL_READERS.keys():
        try:
            row[name] = CELL_READERS[name](row[name]) if row[name] else None
        except ValueError as error:
            found.append(f": {name}, {row[name]!r:.80}: {error}")
    return row, found


def _is_audio_folder(folder: Path) -> bool:
    """Whether it contains audio and no tables: with `metadata.csv` or the like it is a data set for `datasets`."""
    issues: list[str] = []
    suffixes = {path.suffix.lower() for path in list_folder(folder, lambda _, reason: issues.append(reason))}
    return not suffixes & set(DATA_SUFFIXES) and bool(suffixes & set(AUDIO_SUFFIXES) or issues)


def _read_audio_folder(folder: Path, issues: list[str]) -> Iterator[PlacedRow]:
    """Name and row of each song that has a text beside it; what does not belong together is an issue."""
    files: dict[Path, tuple[list[Path], list[Path]]] = {}  # audio files and texts by their path without suffix
    for path in list_folder(folder, lambda _, reason: issues.append(reason)):
        for index, suffixes in enumerate((AUDIO_SUFFIXES, (".txt", ".json"))):
            if path.suffix.lower() in suffixes:
                files.setdefault(path.with_suffix(""), ([], []))[index].append(path)
    for _, paths in sorted(files.items()):
        audio, texts = ([path.relative_to(folder).as_posix() for path in group] for group in paths)
        if problems := [problem for path in (*paths[0], *paths[1]) if (problem := file_problem(path))]:
            issues += problems
        elif not texts:
            issues += [f"{name} has no text: expected {Path(name).stem}.txt or .json beside it" for name in audio]
        elif not audio:
            issues += [f"{name} has no audio of its name beside it" for name in texts]
        elif len(texts) > 1:
            issues.append(f"{audio[0]} has two texts: {' and '.join(texts)}")
        elif len(audio) > 1:
            issues.append(f"{texts[0]} is the text of several songs: {' and '.join(audio)}")
        else:
            try:
                yield audio[0], {**_read_text_file(paths[1][0]), "audio": audio[0]}
            except (OSError, ValueError) as error:
                issues.append(f"{texts[0]}: {error}")


def _read_text_file(path: Path) -> Row:
    text = path.read_text(encoding="utf-8-sig").strip()
    row = {"text": text} if path.suffix.lower() == ".txt" else _read_json(text)
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object with text or texts, got {text:.60}")
    return row


def _is_saved_data_set(folder: Path) -> bool:
    return any(os.path.isfile(folder / name) for name in ("state.json", "dataset_dict.json"))


def _load_data_set(name: str | Path, split: str | None) -> Dataset:
    if Path(name).suffix.lower() == ".parquet":
        # By the time alone `datasets` tells whether its copy is that of the file.
        state = str(os.stat(name).st_ctime_ns)
        try:
            return load_dataset("parquet", state, data_files=glob.escape(os.path.abspath(name)), split="train")
        except (OSError, ValueError, pyarrow.ArrowException, DatasetsError) as error:
            raise ValueError(f"{name} cannot be read as Parquet: {error.__cause__ or error}.") from error
    if _is_saved_data_set(Path(name)):
        data = load_from_disk(str(name))
        if split is not None and isinstance(data, DatasetDict):
            if split not in data:
                raise ValueError(f"split must be one of {sorted(data)} for {name}, got {split!r}.")
            return data[split]
    elif Path(name).is_dir() and glob.has_magic(os.path.realpath(name)):
        raise ValueError(f"{name}: `datasets` takes *, ? and [ in the path of a folder for patterns: rename it.")
    else:
        data = load_dataset(str(name), split=split)
    if isinstance(data, DatasetDict):
        if len(data) > 1:
            raise ValueError(f"{name} has the splits {sorted(data)}: say which one by split.")
        data = next(iter(data.values()))
    return data


def _check_list(placed: list[PlacedRow], issues: list[str], check: RowCheck) -> PlacedRows:
    names = list(dict.fromkeys(name for _, row in placed for name in row))  # of all rows, not only of the first
    rows, places = _check_rows(placed, names, issues, check)
    for name in rows[0] if rows else ():
        _check_one_type(name, [row[name] for row in rows], places, issues)
    return rows, places


def _check_data_set(data: Dataset, issues: list[str], check: RowCheck, keep_extra_columns: bool) -> PlacedRows:
    for column, feature in data.features.items():
        if isinstance(feature, Audio):
            # The processor decodes: torchcodec, which `datasets` would use, needs FFmpeg on the machine.
            data = data.cast_column(column, Audio(decode=False))
    names = [column for column in data.column_names if column in ROW_COLUMNS]
    placed = list(_table_rows(data.select_columns(names), issues))
    rows, places = _check_rows(placed, data.column_names, issues, check)
    if not rows:
        return rows, places
    order = data.column_names if keep_extra_columns else names
    data = data.select([int(place.removeprefix("row ")) - 1 for place in places])
    audio, given = [row["audio"] for row in rows], dict(placed)
    changed = {"song_id", "duration_s", "sections", "group"}
    if isinstance(audio[0], str):
        changed.add("audio")
    elif audio != [given[place]["audio"] for place in places]:  # else the bytes of songs are neither read nor copied
        paths = [song.get("path") for song in audio]
        # In memory: it would write into the folder of the data set.
        options = {"with_indices": True, "keep_in_memory": True}
        data = data.map(lambda row, index: {"audio": {**row["audio"], "path": paths[index]}}, **options)
    for name in changed & set(names):
        data = data.remove_columns(name).add_column(name, [row[name] for row in rows])
    return data.select_columns(order), places


def _table_rows(data: Dataset, issues: list[str]) -> Iterator[PlacedRow]:
    """The rows of a data set; of songs' bytes only whether they are there."""
    number = 0
    for table in data.with_format("arrow").iter(1000):
        if "audio" in table.column_names and pyarrow.types.is_struct(table["audio"].type):
            songs = table["audio"]
            parts = {field.name: pyarrow.compute.struct_field(songs, field.name) for field in songs.type}
            if "bytes" in parts:
                parts["bytes"] = pyarrow.compute.if_else(parts["bytes"].is_valid(), b"", None)
            songs = pyarrow.compute.make_struct(*parts.values(), field_names=list(parts))
            table = table.set_column(table.column_names.index("audio"), "audio", songs)
        for index in range(len(table)):
            number += 1
            try:
                yield f"row {number}", table.slice(index, 1).to_pylist()[0]
            except ValueError as error:  # text that is not UTF-8
                issues.append(f"row {number}: {error}")


def _check_rows(placed: list[PlacedRow], names: Sequence[str], issues: list[str], check: RowCheck) -> PlacedRows:
    """The rows that have no issue, and their places."""
    if placed and ("audio" not in names or not set(TEXT_COLUMNS) & set(names)):
        issues.append(f"it needs the columns 'audio' and 'text' (or 'texts'), it has {sorted(names)}")
        return [], []
    rows, places = [], []
    for place, row in placed:
        checked, found = check(row, names)
        issues += [f"{place}: {issue}" for issue in found]
        if not found:
            rows.append(checked)
            places.append(place)
    return rows, places


def _check_one_type(name: str, values: list[Any], places: list[str], issues: list[str]) -> None:
    def is_mixed(number: int) -> bool:
        try:
            return not Dataset.from_dict({name: values[:number]})
        except (ValueError, TypeError, OverflowError, RecursionError, pyarrow.ArrowException):
            return True

    if is_mixed(len(values)):
        first = bisect_left(range(1, len(values)), True, key=is_mixed)
        advice = "give it one type, or leave it out by keep_extra_columns=False"
        if name in (*TEXT_COLUMNS, "sections"):
            advice = "write every text as a string, or every one as a list of sentences"
        issues.append(f"{places[first]}: {name!r} mixes types with the rows before, or is too large: {advice}")


def _check_row(
    row: Row, names: Sequence[str], folder: Path, keep_extra_columns: bool, check_audio: bool
) -> tuple[Row, list[str]]:
    """A row of these columns in the form that training takes, and its issues; with issues it must not be used."""
    try:
        json.dumps(row, ensure_ascii=False, default=str).encode()
    except (UnicodeEncodeError, RecursionError) as error:
        return {}, [f"it is not UTF-8, or nested too deeply ({error})"]
    checked = {name: row.get(name) for name in names if keep_extra_columns or name in ROW_COLUMNS}
    issues = []
    if "text" in names and not _is_text(row.get("text")):
        what = "a text or a list of sentences, none empty (several wordings belong in 'texts')"
        issues.append(f"text must be {what}, got {row.get('text')!r}")
    texts = row.get("texts")
    if "texts" in names and not (isinstance(texts, list) and texts and all(map(_is_text, texts))):
        issues.append(f"texts must be a list of texts, none empty, got {texts!r}")
    checked["audio"], found = _check_audio(row.get("audio"), folder, check_audio)
    issues += found
    for name in ("song_id", "group"):
        if (value := row.get(name)) is not None:
            # Empty ids would make all of their songs one.
            if isinstance(value, bool) or not isinstance(value, str | int) or not str(value).strip():
                issues.append(f"{name} must be a text, not empty, or a whole number, got {value!r}")
            checked[name] = str(value)
    duration_s = row.get("duration_s")
    if duration_s is not None:
        if not _is_time(duration_s) or duration_s == 0:
            issues.append(f"duration_s must be seconds, more than 0, got {duration_s!r}")
        else:
            checked["duration_s"] = float(duration_s)
    if row.get("sections") is not None and not issues:  # they are compared with the texts and the duration
        checked["sections"], issues = _check_sections(row, keep_extra_columns)
    return checked, issues


def _is_text(text: Any) -> bool:
    sentences = text if isinstance(text, list) else [text]
    return bool(sentences) and all(isinstance(sentence, str) and sentence.strip() for sentence in sentences)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 <= value <= sys.float_info.max  # a whole number may be too large for a float


def _check_audio(audio: Any, folder: Path, check_audio: bool) -> tuple[Any, list[str]]:
    """An absolute path, or the dict of `bytes` and `path` that a data set has."""
    is_dict = isinstance(audio, dict)
    if is_dict and audio.get("bytes") is not None:
        return audio, [] if isinstance(audio["bytes"], bytes) else [f"bytes of audio are {audio['bytes']!r}"]
    path = audio.get("path") if is_dict else audio
    if is_dict and path is None:
        return audio, ["audio has neither bytes nor a path"]
    if not isinstance(path, str) or not path or "\0" in path:
        return audio, [f"audio must be a path, got {path!r}"]
    path = str(folder / path)  # an absolute path stays as it is
    problem = file_problem(path) if check_audio else None
    return {**audio, "path": path} if is_dict else path, [problem] if problem else []


def file_problem(path: str | Path) -> str | None:
    """Why a path is not a file that can be opened; FIFOs and devices would block, or never end."""
    try:
        check_file(path)
    except (OSError, ValueError) as error:
        return f"no audio file ({getattr(error, 'strerror', error)}): {path}"
    return None


def _check_sections(row: dict[str, Any], keep_extra_keys: bool) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """Sections in the order of the text; that they follow each other in time is checked by who needs it."""
    sections = row["sections"]
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        return None, [f"sections must be a list of objects with start_s, end_s and text, got {sections!r}"]
    column = "texts" if row.get("texts") is not None else "text"
    wordings = row["texts"] if column == "texts" else [row["text"]]
    whole = [_join(wording) for wording in wordings]
    positions = [0] * len(wordings)  # in each wording, where the sections so far have ended
    duration_s = row.get("duration_s")
    checked, issues = [], []
    for index, section in enumerate(sections):
        name = f"sections[{index}]"
        start_s, end_s = section.get("start_s"), section.get("end_s")
        if not _is_time(start_s) or not _is_time(end_s) or start_s >= end_s:
            issues.append(f"{name} must have start_s >= 0 and a later end_s, got {start_s!r:.40} and {end_s!r:.40}")
        elif duration_s is not None and end_s > duration_s + END_TOLERANCE_S:
            issues.append(f"{name} ends at {end_s:g} s, after the end of the song at duration_s={duration_s:g}")
        try:
            texts = _section_texts(section, column, wordings)
        except ValueError as error:
            issues.append(f"{name}{error}")
            continue
        for number, text in enumerate(texts):
            for sentence in text if isinstance(text, list) else [text]:
                position = whole[number].find(_join(sentence), positions[number])
                if position < 0:
                    place = "text" if column == "text" else f"texts[{number}]"
                    issues.append(f"{name}: {place} of the row does not contain {sentence!r:.80}, in their order")
                    break
                positions[number] = position + len(_join(sentence))
        extra = {key: value for key, value in section.items() if keep_extra_keys and key not in SECTION_KEYS}
        text = texts if column == "texts" else texts[0]
        if not issues:
            checked.append({"start_s": float(start_s), "end_s": float(end_s), column: text, **extra})
    return checked or None, issues


def _section_texts(section: dict[str, Any], column: str, wordings: list[Any]) -> list[Any]:
    """The text of a section for each wording of the row; or a ValueError with the end of a message."""
    if section.get(column) is not None:
        texts = section["texts"] if column == "texts" else [section["text"]]
        if not isinstance(texts, list) or len(texts) != len(wordings) or not all(map(_is_text, texts)):
            expected = f"a list of {len(wordings)} texts, as the row's" if column == "texts" else "a text, not empty"
            raise ValueError(f".{column} must be {expected}, got {section[column]!r}")
        return texts
    if section.get("sentences") is None:
        raise ValueError(f" must have {column!r}, as the row has, got only {sorted(section)!r}")
    indices = section["sentences"] if column == "texts" else [section["sentences"]]
    try:
        if any(index < 0 for chosen in indices for index in chosen):  # Python would count from the end
            raise IndexError
        texts = [[wording[index] for index in chosen] for wording, chosen in zip(wordings, indices, strict=True)]
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f".sentences must be indices of the row's sentences, got {section['sentences']!r}") from error
    if not all(isinstance(wording, list) for wording in wordings) or not all(texts):
        raise ValueError(".sentences needs one index at least, and a row whose text is a list of sentences")
    return texts


def _join(text: str | list[str]) -> str:
    return " ".join((text if isinstance(text, str) else " ".join(text)).split())
