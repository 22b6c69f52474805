# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Pairs of songs and texts: manifests, folders of audio, or any data set that `datasets` loads."""

import csv
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.compute
from datasets import Audio, Dataset, DatasetDict, Value, load_dataset, load_from_disk

from collap.data.audio_files import AUDIO_SUFFIXES, find_audio_files, visible_files
from collap.files import first_few

Row = dict[str, Any]
PlacedRow = tuple[str, Row]  # place, such as "line 3", and row

MANIFEST_SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet", ".arrow", ".tar", ".zip")
# How the cells of a CSV are read, and what they must be; empty ones are none.
CELL_TYPES = {
    "texts": (json.loads, "JSON"),
    "sections": (json.loads, "JSON"),
    "duration_s": (float, "a number"),
    "song_id": (str, "a text"),
}
TEXT_COLUMNS = ("text", "texts")
ROW_COLUMNS = ("audio", *TEXT_COLUMNS, "song_id", "duration_s", "sections")
SECTION_KEYS = ("start_s", "end_s", *TEXT_COLUMNS)
END_TOLERANCE_S = 0.5  # a section may end so much later than its song: lengths of songs are rounded


class ManifestError(ValueError):
    """Issues in the rows of a manifest, each with its line or row; the message has the first of them."""

    def __init__(self, issues: Sequence[str], source: str | Path):
        shown = first_few([issue[:300] for issue in issues])
        super().__init__("\n".join([f"{source} has {len(issues)} issue(s):", *shown]))
        self.issues = list(issues)


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
    suffix = path.suffix.lower()
    is_manifest = suffix in MANIFEST_SUFFIXES
    is_folder = not is_manifest and path.is_dir() and not _is_saved_data_set(path) and _is_audio_folder(path)
    if split is not None and (is_manifest or is_folder):
        raise ValueError(f"split={split!r} was given, but the manifest {path} is one split: leave split out.")
    if is_manifest and not path.is_file():
        raise ValueError(f"path_or_dataset_name: there is no manifest {path}.")
    folder = path.absolute() if is_folder else path.absolute().parent if is_manifest else None
    check = RowCheck(path_or_dataset_name, folder, keep_extra_columns, check_audio)
    if is_folder:
        return _load_rows(*_read_audio_folder(path), check)
    if suffix == ".csv":
        return _load_rows(list(_read_csv(path)), [], check)
    if suffix in (".jsonl", ".json"):
        return _load_rows(list(_read_json_lines(path)), [], check)
    if suffix == ".parquet":
        return _check_data_set(load_dataset("parquet", data_files=str(path), split="train"), check)
    return _check_data_set(_load_data_set(path_or_dataset_name, split), check)


def _read_json_lines(path: Path) -> Iterator[PlacedRow]:
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
            yield f"line {number}", row


def _read_csv(path: Path) -> Iterator[PlacedRow]:
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
            yield f"line {reader.line_num}", row


def _is_audio_folder(folder: Path) -> bool:
    """Whether it contains audio and no tables: with `metadata.csv` or the like it is a data set for `datasets`."""
    suffixes = {path.suffix.lower() for path in visible_files(folder)}
    return not suffixes & set(DATA_SUFFIXES) and bool(suffixes & set(AUDIO_SUFFIXES))


def _read_audio_folder(folder: Path) -> tuple[list[PlacedRow], list[str]]:
    """Name and row of each song that has a text beside it, and what does not belong together."""
    files: dict[Path, tuple[list[Path], list[Path]]] = {}  # audio files and texts by their path without suffix
    for index, suffixes in enumerate((AUDIO_SUFFIXES, (".txt", ".json"))):
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
        else:
            try:
                rows.append((audio[0], {**_read_text_file(paths[1][0]), "audio": audio[0]}))
            except ValueError as error:
                issues.append(f"{texts[0]}: {error}")
    return rows, issues


def _read_text_file(path: Path) -> Row:
    text = path.read_text(encoding="utf-8-sig").strip()
    row = {"text": text} if path.suffix.lower() == ".txt" else json.loads(text)
    if not isinstance(row, dict):
        raise ValueError(f"expected a JSON object with text or texts, got {text:.60}")
    return row


def _is_saved_data_set(folder: Path) -> bool:
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def _load_data_set(name: str | Path, split: str | None) -> Dataset:
    if _is_saved_data_set(Path(name)):
        data = load_from_disk(str(name))
        if split is not None and isinstance(data, DatasetDict):
            if split not in data:
                raise ValueError(f"split must be one of {sorted(data)} for {name}, got {split!r}.")
            return data[split]
    else:
        data = load_dataset(str(name), split=split)
    if isinstance(data, DatasetDict):
        if len(data) > 1:
            raise ValueError(f"{name} has the splits {sorted(data)}: say which one by split.")
        data = next(iter(data.values()))
    return data


@dataclass(frozen=True)
class RowCheck:
    """What rows are checked by; the names are those of [`load_manifest`]."""

    source: str | Path
    folder: Path | None  # what paths of audio are relative to; without it they stay as they are
    keep_extra_columns: bool
    check_audio: bool


def _load_rows(rows: list[PlacedRow], issues: list[str], check: RowCheck) -> Dataset:
    names = list(dict.fromkeys(name for _, row in rows for name in row))  # of all rows, not only of the first
    if rows or not issues:
        _require_columns(names, len(rows), check)
    columns = _check_rows(rows, names, issues, check)
    for name, values in columns.items():
        _check_one_type(name, values, check)
    return Dataset.from_dict(columns)


def _check_data_set(data: Dataset, check: RowCheck) -> Dataset:
    _require_columns(data.column_names, len(data), check)
    for column, feature in data.features.items():
        if isinstance(feature, Audio):
            # The processor decodes: torchcodec, which `datasets` would use, needs FFmpeg on the machine.
            data = data.cast_column(column, Audio(decode=False))
    names = [column for column in data.column_names if column in ROW_COLUMNS]

    def iterate() -> Iterator[PlacedRow]:
        number = 0
        for table in data.select_columns(names).with_format("arrow").iter(1000):
            for values in zip(*(_to_list(table[column]) for column in names), strict=True):
                number += 1
                yield f"row {number}", dict(zip(names, values, strict=True))

    order = data.column_names if check.keep_extra_columns else names
    is_path = data.features["audio"] == Value("string")
    for name, values in _check_rows(iterate(), names, [], check).items():
        # Texts do not change; songs' bytes are neither read nor copied.
        if name in ("song_id", "duration_s", "sections") or (name == "audio" and is_path):
            _check_one_type(name, values, check)
            data = data.remove_columns(name).add_column(name, values)
    return data.select_columns(order)


def _require_columns(names: Sequence[str], num_rows: int, check: RowCheck) -> None:
    if num_rows == 0:
        raise ValueError(f"The manifest {check.source} has no songs.")
    if "audio" not in names or not set(TEXT_COLUMNS) & set(names):
        raise ValueError(f"{check.source} needs the columns 'audio' and 'text' (or 'texts'), it has {sorted(names)}.")


def _check_rows(
    rows: Iterable[PlacedRow], names: Sequence[str], issues: list[str], check: RowCheck
) -> dict[str, list[Any]]:
    """The columns of the checked rows; raises one error for all issues, those known before included."""
    columns: dict[str, list[Any]] = {}
    for place, row in rows:
        checked, found = _check_row(row, names, check)
        issues += [f"{place}: {issue}" for issue in found]
        for name, value in checked.items():
            columns.setdefault(name, []).append(value)
    if issues:
        raise ManifestError(issues, check.source)
    return columns


def _to_list(column: pyarrow.ChunkedArray) -> list[Any]:
    """The values of a column; of songs' bytes only whether they are there."""
    kind = column.type
    if not (pyarrow.types.is_struct(kind) and {"bytes", "path"} <= {field.name for field in kind}):
        return column.to_pylist()
    paths = pyarrow.compute.struct_field(column, "path").to_pylist()
    has_bytes = pyarrow.compute.is_valid(pyarrow.compute.struct_field(column, "bytes")).to_pylist()
    return [{"bytes": b"" if there else None, "path": path} for path, there in zip(paths, has_bytes, strict=True)]


def _check_one_type(name: str, values: list[Any], check: RowCheck) -> None:
    try:
        Dataset.from_dict({name: values})
    except (ValueError, TypeError) as error:  # Arrow's own errors are subclasses of these two
        advice = "give it one type, or leave it out by keep_extra_columns=False"
        if name in (*TEXT_COLUMNS, "sections"):
            advice = "write every text as a string, or every one as a list of sentences"
        raise ValueError(f"The column {name!r} of {check.source} mixes types: {advice} ({error}).") from error


def _check_row(row: Row, names: Sequence[str], check: RowCheck) -> tuple[Row, list[str]]:
    """A row of these columns in the form that training takes, and its issues; with issues it must not be used."""
    checked = {name: row.get(name) for name in names if check.keep_extra_columns or name in ROW_COLUMNS}
    issues = []
    if "text" in names and not _is_text(row.get("text")):
        issues.append(
            "text must be a text or a list of sentences, none empty (several wordings belong in 'texts'), got "
            f"{row.get('text')!r}"
        )
    texts = row.get("texts")
    if "texts" in names and not (isinstance(texts, list) and texts and all(map(_is_text, texts))):
        issues.append(f"texts must be a list of texts, none empty, got {texts!r}")
    checked["audio"], found = _check_audio(row.get("audio"), check)
    issues += found
    song_id, duration_s = row.get("song_id"), row.get("duration_s")
    if song_id is not None:
        if isinstance(song_id, bool) or not isinstance(song_id, str | int):
            issues.append(f"song_id must be a text or a whole number, got {song_id!r}")
        checked["song_id"] = str(song_id)
    if duration_s is not None:
        if not _is_time(duration_s) or duration_s == 0:
            issues.append(f"duration_s must be seconds, more than 0, got {duration_s!r}")
        else:
            checked["duration_s"] = float(duration_s)
    if row.get("sections") is not None and not issues:  # they are compared with the texts and the duration
        checked["sections"], issues = _check_sections(row, check.keep_extra_columns)
    return checked, issues


def _is_text(text: Any) -> bool:
    sentences = text if isinstance(text, list) else [text]
    return bool(sentences) and all(isinstance(sentence, str) and sentence.strip() for sentence in sentences)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


def _check_audio(audio: Any, check: RowCheck) -> tuple[Any, list[str]]:
    """A path, or the dict of `bytes` and `path` that a data set has."""
    path = audio
    if isinstance(audio, dict):
        path = audio.get("path")
        if audio.get("bytes") is not None:
            return audio, []
        if not path:
            return audio, ["audio has neither bytes nor a path"]
    elif not isinstance(audio, str) or not audio:
        return audio, [f"audio must be a path, got {audio!r}"]
    elif check.folder is not None:
        audio = path = str(check.folder / audio)  # an absolute path stays as it is
    return audio, [f"no audio file at {path}"] if check.check_audio and not Path(path).is_file() else []


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
            issues.append(f"{name} must have start_s >= 0 and a later end_s, got {start_s!r} and {end_s!r}")
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
                    issues.append(f"{name}: {place} of the row does not contain {sentence!r}, in the sections' order")
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
        raise ValueError(f" must have {column!r}, as the row has, got only {sorted(section)}")
    indices = section["sentences"] if column == "texts" else [section["sentences"]]
    try:
        texts = [[wording[index] for index in chosen] for wording, chosen in zip(wordings, indices, strict=True)]
    except (TypeError, IndexError, ValueError) as error:
        raise ValueError(f".sentences must be indices of the row's sentences, got {section['sentences']!r}") from error
    if not all(isinstance(wording, list) for wording in wordings) or not all(texts):
        raise ValueError(".sentences needs one index at least, and a row whose text is a list of sentences")
    return texts


def _join(text: str | list[str]) -> str:
    return " ".join((text if isinstance(text, str) else " ".join(text)).split())
