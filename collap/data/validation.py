# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""A validation report: every song of a manifest decoded to its end, every text tokenized."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from datasets import Dataset
from torch.utils.data import DataLoader

from collap.cli import HelpFormatter
from collap.data.audio_files import audio_name, audio_path
from collap.data.manifest import END_TOLERANCE_S, file_problem, read_manifest
from collap.files import MAX_SHOWN, atomic_write, first_few
from collap.processing.audio_loading_collap import load_songs
from collap.processing.feature_extraction_beats import SAMPLING_RATE
from collap.processing.processing_collap import CollapProcessor
from collap.progress import progress_bar

# Lengths in headers of files and in manifests are rounded: an issue is a difference of more than both of these.
LENGTH_TOLERANCE_S = 1.0
LENGTH_TOLERANCE = 0.01  # of the length

Found = Iterator[tuple[str, str]]  # kind and text of issues


@dataclass(frozen=True)
class RowIssue:
    """An issue in a row; a row may have several."""

    index: int  # of the row, from 0
    song: str  # its file, or its `song_id`
    kind: str  # to be counted, such as "audio is missing"
    issue: str


@dataclass(frozen=True)
class ValidationReport:
    """The issues of a manifest; `str` of it is the text for users, with rows counted from 1."""

    num_rows: int  # that were validated
    issues: Sequence[RowIssue]  # in the order of the rows
    manifest_issues: Sequence[str] = ()  # of the manifest and of rows that were not validated
    places: Sequence[str] = ()  # of the validated rows in the manifest; default: row 1, row 2, ...

    @property
    def is_valid(self) -> bool:
        return not self.issues and not self.manifest_issues

    def __str__(self) -> str:
        return self.text()

    def text(self, most: int = MAX_SHOWN) -> str:
        """The report with so many issues of each kind."""
        if self.is_valid:
            return f"All {self.num_rows} rows are valid."
        by_kind = {"the manifest, or a row, is refused": [*self.manifest_issues]} if self.manifest_issues else {}
        for row in self.issues:
            place = self.places[row.index] if self.places else f"row {row.index + 1}"
            by_kind.setdefault(row.kind, []).append(f"{place}, {row.song}: {row.issue}")
        of_manifest = f", and the manifest has {len(self.manifest_issues)}" if self.manifest_issues else ""
        lines = [f"{len({row.index for row in self.issues})} of {self.num_rows} rows have issues{of_manifest}:"]
        for kind, issues in sorted(by_kind.items(), key=lambda item: -len(item[1])):
            lines += [f"  {kind}: {len(issues)}", *(f"  {line}" for line in first_few(issues, most))]
        return "\n".join(lines)


def validate_manifest(
    manifest: str | Path,
    processor: CollapProcessor | None = None,
    split: str | None = None,
    num_workers: int = 0,
    truncate_songs: bool = False,
    truncate_texts: bool = False,
) -> ValidationReport:
    """
    Validates all rows of a manifest before a training or an evaluation starts.

    The report has all issues of the manifest, and those of the rows that are sound there. `manifest` and `split` are
    as in [`load_manifest`], other arguments as in [`find_issues`].

    Raises:
        ValueError: if there is no such manifest or split, or it is no manifest at all.
    """
    rows, places, issues = read_manifest(manifest, split, keep_extra_columns=False, check_audio=False)
    found = find_issues(rows, processor, num_workers, truncate_songs, truncate_texts)
    return ValidationReport(len(rows), found, issues, places)


def find_issues(
    rows: Sequence[Mapping[str, Any]],
    processor: CollapProcessor | None = None,
    num_workers: int = 0,
    truncate_songs: bool = False,
    truncate_texts: bool = False,
) -> list[RowIssue]:
    """
    Decodes every song to its end, tokenizes every wording, and collects everything that would stop or harm a training.

    What `processor` refuses is an issue. Other issues are broken files, files that end before their heads say, songs
    of zeros, sections after the end of the song, and a `duration_s` that is not the song's. Under `torchrun` or
    `accelerate launch` the rows are split between the processes, and each process gets the whole list.

    Args:
        rows (`Sequence` of mappings): From [`load_manifest`], with `check_audio=False` if files may be missing.
        processor ([`CollapProcessor`], *optional*): Of the model. Without it nothing is too long.
        num_workers (`int`): Worker processes that decode; 0 decodes in this one.
        truncate_songs, truncate_texts (`bool`): Whether those that are too long will be truncated, which is no issue.
    """
    state = PartialState()
    found = []
    with state.split_between_processes(list(range(len(rows)))) as indices:
        check = partial(_check_row, rows, processor, truncate_songs, truncate_texts)
        loader = DataLoader(list(indices), batch_size=None, num_workers=num_workers, collate_fn=check)
        for issues in progress_bar(loader, desc="Validating", unit="song", disable=not state.is_main_process):
            found += issues
    return sorted(gather_object(found), key=lambda row: row.index)


def find_text_issues(rows: Dataset, processor: CollapProcessor) -> list[RowIssue]:
    """The issues that [`find_issues`] finds in the texts alone: milliseconds a text, and no audio is loaded."""
    texts = progress_bar(rows.remove_columns("audio"), desc="Checking texts", unit="song", delay=5)
    found = [(index, issue) for index, row in enumerate(texts) for issue in _check_texts(row, processor, False)]
    return [RowIssue(index, audio_name(rows[index]["audio"]), *issue) for index, issue in found]


def _check_row(
    rows: Sequence[Mapping[str, Any]],
    processor: CollapProcessor | None,
    truncate_songs: bool,
    truncate_texts: bool,
    index: int,
) -> list[RowIssue]:
    """The issues of a row."""
    row = rows[index]
    audio = row["audio"]
    song = audio if isinstance(audio, str) else audio.get("path") or row.get("song_id") or "a song without a name"
    found = [*_check_audio(row, processor, truncate_songs), *_check_texts(row, processor, truncate_texts)]
    return [RowIssue(index, song, kind, issue) for kind, issue in found]


def _check_texts(row: Mapping[str, Any], processor: CollapProcessor | None, truncation: bool) -> Found:
    wordings = {"text": row.get("text")}
    wordings |= {f"texts[{number}]": text for number, text in enumerate(row.get("texts") or [])}
    for name, text in wordings.items():
        if processor is None or text is None:
            continue
        try:
            processor(text=[text], truncation=truncation)
        except (TypeError, ValueError) as error:
            advice = str(error).replace("pass truncation=True to cut it", "--truncate_texts cuts it")
            yield "text is refused", advice.replace("text[0]", name)


def _check_audio(row: Mapping[str, Any], processor: CollapProcessor | None, truncation: bool) -> Found:
    path = audio_path(row["audio"])
    if path is not None and (problem := file_problem(path)):
        yield "audio is missing", problem
        return
    try:
        (song,) = load_songs([row["audio"]])
    except (TypeError, ValueError) as error:
        # The loader gives the error of the decoder as the cause of its own.
        kind = "audio is refused" if error.__cause__ is None else "audio can't be decoded"
        yield kind, str(error).replace("audio[0]", "audio")
        return

    seconds = song.duration_s
    if song.problem is not None:
        yield "audio is cut off", song.problem
    duration_s = row.get("duration_s")
    if duration_s is not None and (_is_shorter(seconds, duration_s) or _is_shorter(duration_s, seconds)):
        issue = f"duration_s is {duration_s:.1f}, the audio has {seconds:.1f} s"
        yield "duration_s is not the length of the audio", issue
    if not torch.any(song.waveform):
        yield "audio is silent", f"all samples of its {seconds:.1f} s are 0"
    if processor is not None:
        try:
            processor.feature_extractor.load(song.waveform, truncation, sampling_rate=SAMPLING_RATE)
        except ValueError as error:
            yield "audio is too long", str(error)
    ends = [section["end_s"] for section in row.get("sections") or []]
    if late := [end_s for end_s in ends if end_s > seconds + END_TOLERANCE_S]:
        issue = f"{len(late)} section(s) up to {max(late):.1f} s, the audio has {seconds:.1f} s"
        yield "sections go beyond the end of the song", issue


def _is_shorter(seconds: float, than: float) -> bool:
    return than - seconds > max(LENGTH_TOLERANCE_S, LENGTH_TOLERANCE * than)


def validate(arguments: list[str]) -> int:
    """Prints the validation report of a manifest; the exit status is 1 if it has issues."""
    parser = ArgumentParser("collap validate", description=validate.__doc__, formatter_class=HelpFormatter)
    parser.add_argument("manifest", help="a manifest, a folder of songs with their texts beside them, or a data set")
    parser.add_argument("--model", help="folder or name on the Hub, to check the length of songs and texts too")
    parser.add_argument("--split", help="split of a data set")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that decode")
    parser.add_argument("--truncate_songs", action="store_true", help="too long songs are no issue")
    parser.add_argument("--truncate_texts", action="store_true", help="too long texts are no issue")
    given = parser.parse_args(arguments)
    processor = None if given.model is None else CollapProcessor.from_pretrained(given.model)
    report = validate_manifest(
        given.manifest, processor, given.split, given.num_workers, given.truncate_songs, given.truncate_texts
    )
    print(report)
    whole = report.text(most=sys.maxsize)
    if whole != str(report):
        # No .txt: in a folder of songs it would be taken for the text of one.
        file = Path(f"{Path(given.manifest).resolve().name}.issues.log")
        with atomic_write(file) as temporary:
            temporary.write_text(whole + "\n", encoding="utf-8")
        print(f"All issues are in {file}.")
    return int(not report.is_valid)
