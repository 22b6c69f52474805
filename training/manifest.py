# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Reading pairs of songs and texts: JSON lines, CSV, or any data set that `datasets` knows."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from datasets import Audio, Dataset, DatasetDict, load_dataset, load_from_disk

MANIFEST_SUFFIXES = (".jsonl", ".json", ".csv")
TEXT_COLUMNS = ("text", "texts")
MAX_PROBLEMS_SHOWN = 5


def load_manifest(
    path_or_dataset_name: str | Path, split: str | None = None, keep_extra_columns: bool = False
) -> Dataset:
    """
    Loads pairs of song and text as a `datasets.Dataset`.

    A manifest names one song a line: `{"audio": "songs/a.flac", "text": "A slow intro. Then ..."}`. The text is a
    string or a list of sentences; `texts` in its place is a list of several wordings, each a string or a list of
    sentences ([`sample_text`] draws one). A line may hold both, and other columns.

    Args:
        path_or_dataset_name (`str` or `Path`):
            A manifest (`.jsonl` or `.json` with one JSON object a line, or `.csv` with a header), a folder written by
            `Dataset.save_to_disk`, or what `datasets.load_dataset` takes (a name on the Hub, a local folder).
        split (`str`, *optional*):
            Split of a data set, as `load_dataset` takes it; needed if it has several. A manifest is one split.
        keep_extra_columns (`bool`):
            Whether to keep other columns than `audio`, `text` and `texts`. Each needs one type throughout.

    Returns:
        `datasets.Dataset` with `audio`, and `text` or `texts` or both. From a manifest `audio` is an absolute path,
        from a data set with an Audio column the dict `{"bytes", "path"}` of the undecoded file.

    Raises:
        ValueError: if something is not there: the manifest, a column, a file of audio, the text of a song, the choice
            of a split. Names the first few lines (from 1) that are at fault.
    """
    path = Path(path_or_dataset_name)
    if path.suffix.lower() in MANIFEST_SUFFIXES:
        if split is not None:
            raise ValueError(f"split={split!r} was given, but the manifest {path} is one split: leave split out.")
        return _load_manifest_file(path, keep_extra_columns)
    return _load_data_set(path_or_dataset_name, split, keep_extra_columns)


def sample_text(example: dict[str, Any], generator: torch.Generator | None = None) -> str | list[str]:
    """
    The text of one example; of several wordings (`texts`) one at random.

    Draws from torch's random numbers, because a `DataLoader` seeds those anew in each worker and each epoch.

    Args:
        example (`dict`): A row of [`load_manifest`].
        generator (`torch.Generator`, *optional*): Source of randomness in place of torch's global one.

    Returns:
        `str` or `list[str]`: the text, or its sentences.
    """
    if example.get("texts") is None:
        return example["text"]
    return example["texts"][int(torch.randint(len(example["texts"]), (), generator=generator))]


def _load_manifest_file(path: Path, keep_extra_columns: bool) -> Dataset:
    if not path.is_file():
        raise ValueError(f"path_or_dataset_name: there is no manifest {path}.")
    rows = list(_read_csv(path) if path.suffix.lower() == ".csv" else _read_json_lines(path))
    if not rows:
        raise ValueError(f"The manifest {path} has no songs.")
    # Built by columns, over the keys of all rows: `Dataset.from_list` drops what the first row lacks.
    names = list(dict.fromkeys(name for _, row in rows for name in row))
    _require_columns(names, path)

    problems = []
    folder = path.absolute().parent
    for line, row in rows:
        audio = row.get("audio")
        if not isinstance(audio, str) or not audio:
            problems.append(f"line {line}: audio must be a path, got {audio!r}")
        elif not (folder / audio).is_file():
            problems.append(f"line {line}: no file of audio at {folder / audio}")
        else:
            row["audio"] = str(folder / audio)  # an absolute path stays as it is
    problems += _text_problems(((f"line {line}", row) for line, row in rows), names)
    _raise_problems(problems, path)

    if not keep_extra_columns:
        names = [name for name in names if name in ("audio", *TEXT_COLUMNS)]
    columns = {name: [row.get(name) for _, row in rows] for name in names}
    return Dataset.from_dict({name: _check_one_type(name, values, path) for name, values in columns.items()})


def _read_json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
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


def _read_csv(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    # Not load_dataset("csv"): pandas turns a text such as "None" or "NA" into a missing value.
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.DictReader(lines)
        for row in reader:
            if None in row:
                raise ValueError(f"{path}, line {reader.line_num} has more cells than the header; quote the commas.")
            yield reader.line_num, row


def _load_data_set(name: str | Path, split: str | None, keep_extra_columns: bool) -> Dataset:
    folder = Path(name)
    if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():  # from save_to_disk
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

    _require_columns(data.column_names, name)
    for column, feature in data.features.items():
        if isinstance(feature, Audio):
            # The processor decodes: torchcodec, which `datasets` would use, needs FFmpeg on the machine.
            data = data.cast_column(column, Audio(decode=False))
    texts = data.select_columns([column for column in TEXT_COLUMNS if column in data.column_names])
    rows = ((f"row {number}", row) for number, row in enumerate(texts, start=1))
    _raise_problems(_text_problems(rows, texts.column_names), name)
    if not keep_extra_columns:
        data = data.select_columns(["audio", *texts.column_names])
    return data


def _require_columns(names: list[str], source: str | Path) -> None:
    if "audio" not in names or not set(TEXT_COLUMNS) & set(names):
        raise ValueError(f"{source} needs the columns 'audio' and 'text' (or 'texts'), it has {sorted(names)}.")


def _text_problems(rows: Iterator[tuple[str, dict[str, Any]]], names: list[str]) -> list[str]:
    problems = []
    for place, row in rows:
        if "text" in names and not _is_text(row.get("text")):
            problems.append(
                f"{place}: text must be a text or a list of sentences, none empty (several wordings belong in "
                f"'texts'), got {row.get('text')!r}"
            )
        if "texts" in names:
            texts = row.get("texts")
            if not isinstance(texts, list) or not texts or not all(_is_text(text) for text in texts):
                problems.append(f"{place}: texts must be a list of texts, none empty, got {texts!r}")
    return problems


def _is_text(text: Any) -> bool:
    sentences = text if isinstance(text, list) else [text]
    return bool(sentences) and all(isinstance(sentence, str) and sentence.strip() for sentence in sentences)


def _raise_problems(problems: list[str], source: str | Path) -> None:
    if not problems:
        return
    shown = [f"  {problem[:300]}" for problem in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"  and {len(problems) - len(shown)} more")
    raise ValueError("\n".join([f"{source} has {len(problems)} problem(s):", *shown]))


def _check_one_type(name: str, values: list[Any], path: Path) -> list[Any]:
    """The values, once Arrow has taken them: a column of a table has one type, strings and lists do not mix."""
    try:
        Dataset.from_dict({name: values})
    except (ValueError, TypeError) as error:  # Arrow's own errors are subclasses of these two
        advice = (
            "write every text of the manifest as a string, or every one as a list of sentences"
            if name in TEXT_COLUMNS
            else "give it one type, or leave it out by keep_extra_columns=False"
        )
        raise ValueError(f"The column {name!r} of {path} mixes types: {advice} ({error}).") from error
    return values


__all__ = ["load_manifest", "sample_text"]
