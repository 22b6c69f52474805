# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a row of a manifest has to be, and what is wrong with one that is not."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import soundfile
import torch
from accelerate import PartialState
from accelerate.utils import gather_object
from torch.utils.data import DataLoader, Dataset, IterableDataset
from tqdm.auto import tqdm

from collap.processing.audio_loading_collap import load_songs
from collap.processing.feature_extraction_beats import SAMPLING_RATE
from collap.processing.processing_collap import CollapProcessor

TEXT_COLUMNS = ("text", "texts")
ROW_COLUMNS = ("audio", *TEXT_COLUMNS, "song_id", "duration_s", "sections")
SECTION_KEYS = ("start_s", "end_s", *TEXT_COLUMNS)
END_TOLERANCE_S = 0.5  # a section may end so much later than its song: lengths of songs are rounded
MAX_PROBLEMS_SHOWN = 5


class ManifestError(ValueError):
    """
    What is wrong with a manifest.

    Args:
        message (`str`): Source, number of problems, and the first of them.
        problems (`Sequence[str]`): All of them, each with its line or row.
    """

    def __init__(self, message: str, problems: Sequence[str] = ()):
        super().__init__(message)
        self.problems = list(problems)


def check_row(
    row: dict[str, Any],
    names: Sequence[str],
    folder: Path | None = None,
    check_audio: bool = True,
    keep_extra_columns: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """
    A row in the form that training takes, and what is wrong with it.

    Args:
        row (`dict`): As it was read.
        names (`Sequence[str]`): The columns; a row has a text in each of `text` and `texts` that is among them.
        folder (`Path`, *optional*): What paths of audio are relative to. Without it they stay as they are.
        check_audio (`bool`): Whether the file of audio has to be there.
        keep_extra_columns (`bool`): Whether other columns, and other keys of sections, stay.

    Returns:
        `dict` and `list[str]`: the row, with `audio` absolute if it is a path in `folder`, `song_id` a string,
        `duration_s` a float, and sections with `start_s`, `end_s` and their texts; and the problems, none if all is
        well. A row with problems is not fit for use.
    """
    problems = _text_problems(row, names)
    checked = {name: row.get(name) for name in names if keep_extra_columns or name in ROW_COLUMNS}
    checked["audio"], found = _check_audio(row.get("audio"), folder, check_audio)
    problems += found
    if row.get("song_id") is not None:
        if isinstance(row["song_id"], bool) or not isinstance(row["song_id"], str | int):
            problems.append(f"song_id must be a text or a whole number, got {row['song_id']!r}")
        checked["song_id"] = str(row["song_id"])
    if row.get("duration_s") is not None:
        if not _is_time(row["duration_s"]) or row["duration_s"] == 0:
            problems.append(f"duration_s must be seconds, more than 0, got {row['duration_s']!r}")
        else:
            checked["duration_s"] = float(row["duration_s"])
    if row.get("sections") is not None and not problems:  # they are checked against the texts and the duration
        checked["sections"], found = _check_sections(row, keep_extra_columns)
        problems += found
    return checked, problems


def require_columns(names: Iterable[str], source: str | Path) -> None:
    """Raises a `ValueError` if there is no column of audio, or none of texts."""
    if "audio" not in names or not set(TEXT_COLUMNS) & set(names):
        raise ValueError(f"{source} needs the columns 'audio' and 'text' (or 'texts'), it has {sorted(names)}.")


def raise_problems(problems: Sequence[str], source: str | Path) -> None:
    """Raises one [`ManifestError`] for all problems, whose message shows the first of them; none for none."""
    if not problems:
        return
    shown = [f"  {problem[:300]}" for problem in problems[:MAX_PROBLEMS_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"  and {len(problems) - len(shown)} more")
    raise ManifestError("\n".join([f"{source} has {len(problems)} problem(s):", *shown]), problems)


def is_text(text: Any) -> bool:
    """Whether it is a string with words, or a list of such."""
    sentences = text if isinstance(text, list) else [text]
    return bool(sentences) and all(isinstance(sentence, str) and sentence.strip() for sentence in sentences)


def _text_problems(row: dict[str, Any], names: Sequence[str]) -> list[str]:
    problems = []
    if "text" in names and not is_text(row.get("text")):
        problems.append(
            "text must be a text or a list of sentences, none empty (several wordings belong in 'texts'), got "
            f"{row.get('text')!r}"
        )
    if "texts" in names:
        texts = row.get("texts")
        if not isinstance(texts, list) or not texts or not all(is_text(text) for text in texts):
            problems.append(f"texts must be a list of texts, none empty, got {texts!r}")
    return problems


def _check_audio(audio: Any, folder: Path | None, check_audio: bool) -> tuple[Any, list[str]]:
    """A path, or what a data set holds: a dict of `bytes` or `path`, or of an array."""
    if isinstance(audio, dict):
        path = audio.get("path")
        if audio.get("bytes") is not None or audio.get("array") is not None:
            return audio, []
        if not isinstance(path, str) or not path:
            return audio, ["audio has neither bytes nor a path"]
        missing = check_audio and not Path(path).is_file()
        return audio, [f"no file of audio at {path}"] if missing else []
    if not isinstance(audio, str) or not audio:
        return audio, [f"audio must be a path, got {audio!r}"]
    file = Path(audio) if folder is None else folder / audio  # an absolute path stays as it is
    missing = check_audio and not file.is_file()
    return str(file) if folder is not None else audio, [f"no file of audio at {file}"] if missing else []


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    )  # fmt: skip


def _check_sections(row: dict[str, Any], keep_extra_keys: bool) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """
    Sections that stand in the order of the text.

    They may overlap, or leave parts of the song out: a chorus that begins while the bridge fades is no fault, and what
    needs sections that follow each other (the structure augmentation) looks for itself.
    """
    sections = row["sections"]
    if not isinstance(sections, list) or not all(isinstance(section, dict) for section in sections):
        return None, [f"sections must be a list of objects with start_s, end_s and text, got {sections!r}"]
    column = "texts" if row.get("texts") is not None else "text"
    wordings = row["texts"] if column == "texts" else [row["text"]]
    whole = [_join(wording) for wording in wordings]
    positions = [0] * len(wordings)  # in each wording, where the sections so far have ended
    checked, problems = [], []
    for index, section in enumerate(sections):
        name = f"sections[{index}]"
        start_s, end_s = section.get("start_s"), section.get("end_s")
        duration_s = row.get("duration_s")
        if not _is_time(start_s) or not _is_time(end_s) or start_s >= end_s:
            problems.append(f"{name} must have start_s >= 0 and a later end_s, got {start_s!r} and {end_s!r}")
        elif duration_s is not None and end_s > duration_s + END_TOLERANCE_S:
            problems.append(f"{name} ends at {end_s:g} s, after the end of the song at duration_s={duration_s:g}")
        try:
            texts = _section_texts(section, column, wordings)
        except ValueError as error:
            problems.append(f"{name}{error}")
            continue
        for number, text in enumerate(texts):
            for sentence in text if isinstance(text, list) else [text]:
                position = whole[number].find(_join(sentence), positions[number])
                if position < 0:
                    place = "text" if column == "text" else f"texts[{number}]"
                    problems.append(f"{name}: {place} of the row does not hold {sentence!r}, in the sections' order")
                    break
                positions[number] = position + len(_join(sentence))
        times = {"start_s": start_s, "end_s": end_s, column: texts if column == "texts" else texts[0]}
        extra = {key: value for key, value in section.items() if keep_extra_keys and key not in SECTION_KEYS}
        checked.append({**times, **extra})
    if problems:
        return None, problems
    checked = [
        {**section, "start_s": float(section["start_s"]), "end_s": float(section["end_s"])} for section in checked
    ]
    return checked or None, []


def _section_texts(section: dict[str, Any], column: str, wordings: list[Any]) -> list[Any]:
    """What a section says, a text for each wording of the row; or a ValueError with the end of a message."""
    if section.get(column) is not None:
        texts = section["texts"] if column == "texts" else [section["text"]]
        if not isinstance(texts, list) or len(texts) != len(wordings) or not all(is_text(text) for text in texts):
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


# Lengths in heads of files and in manifests are rounded and estimated: what is more than both of these is a fault.
LENGTH_TOLERANCE_S = 1.0
LENGTH_TOLERANCE = 0.01  # of the length
UNKNOWN_BYTES = 2**31 - 2**16  # from here on, what a head says of its file's size means that it was not known
MAX_SHOWN = 5

MISSING = "audio is missing"
UNREADABLE = "audio can't be decoded"
CUT_OFF = "audio is cut off"
REFUSED = "audio is refused"
SILENT = "audio is silent"
TOO_LONG = "audio is too long"
OTHER_LENGTH = "duration_s is not the length of the audio"
SECTIONS = "sections go beyond the end of the song"
TEXT = "text is refused"


@dataclass(frozen=True)
class BadRow:
    """
    What is wrong with a row. A row with several faults has several of these.

    Args:
        index (`int`): Of the row, from 0.
        song (`str`): The file of the song, or its `song_id`.
        kind (`str`): One of nine kinds of faults, to be counted.
        problem (`str`): The fault itself.
    """

    index: int
    song: str
    kind: str
    problem: str


def find_bad_rows(
    rows: Sequence[Mapping[str, Any]],
    processor: CollapProcessor,
    num_workers: int = 0,
    truncate_songs: bool = False,
    truncate_texts: bool = False,
) -> list[BadRow]:
    """
    Decodes every song to its end and tokenizes every wording, and collects all that would stop a training or harm it.

    What `processor` refuses is found by asking it. Beside that: files that end before their heads say (of ogg, whose
    head does not say it, only where the row has `duration_s`), songs of nothing but zeros, sections after the end of
    the song, and lengths that are not the song's. Under `torchrun` or `accelerate launch` the processes share the
    rows, and each gets the whole list.

    Args:
        rows (`Sequence` of mappings): Of [`load_manifest`], with `check_audio=False` if files may be missing.
        processor ([`CollapProcessor`]): What is to take the songs and texts.
        num_workers (`int`): Worker processes that decode; 0 decodes in this one.
        truncate_songs, truncate_texts (`bool`): Whether those that are too long will be cut, and so are no fault.

    Returns:
        `list[BadRow]` in the order of the rows.

    Raises:
        TypeError: if the rows are a stream, whose end may be far.
    """
    if not hasattr(rows, "__getitem__") or isinstance(rows, IterableDataset):
        raise TypeError(f"rows must be read by index, got {type(rows).__name__}: load them without streaming.")
    state = PartialState()
    found = []
    with state.split_between_processes(list(range(len(rows)))) as mine:
        checked = DataLoader(
            _CheckedRows(rows, list(mine), processor, truncate_songs, truncate_texts),
            batch_size=None,
            num_workers=num_workers,
            collate_fn=_as_it_is,
        )
        for problems in tqdm(checked, desc="Validating", unit="song", disable=not state.is_main_process):
            found += problems
    return sorted(gather_object(found), key=lambda bad: bad.index)


def report(bad_rows: Sequence[BadRow], num_rows: int) -> str:
    """
    One text on all faults: how many of each kind, and the first few of them, with rows counted from 1.

    Args:
        bad_rows (`Sequence[BadRow]`): Of [`find_bad_rows`].
        num_rows (`int`): How many rows were tried.
    """
    if not bad_rows:
        return f"All {num_rows} rows are fine."
    by_kind: dict[str, list[BadRow]] = defaultdict(list)
    for bad in bad_rows:
        by_kind[bad.kind].append(bad)
    lines = [f"{len({bad.index for bad in bad_rows})} of {num_rows} rows have faults:"]
    for kind, members in sorted(by_kind.items(), key=lambda item: -len(item[1])):
        lines.append(f"  {kind}: {len(members)}")
        lines += [f"    row {bad.index + 1}, {bad.song}: {bad.problem}" for bad in members[:MAX_SHOWN]]
        if len(members) > MAX_SHOWN:
            lines.append(f"    and {len(members) - MAX_SHOWN} more")
    return "\n".join(lines)


class _CheckedRows(Dataset):
    """The faults of each of some rows, for a `DataLoader` to look for."""

    def __init__(
        self,
        rows: Sequence[Any],
        indices: list[int],
        processor: CollapProcessor,
        truncate_songs: bool,
        truncate_texts: bool,
    ):
        self.rows = rows
        self.indices = indices
        self.processor = processor
        self.truncate_songs = truncate_songs
        self.truncate_texts = truncate_texts

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, place: int) -> list[BadRow]:
        index = self.indices[place]
        row = self.rows[index]
        found = _check_decodable(row, self.processor, self.truncate_songs)
        found += _check_texts(row, self.processor, self.truncate_texts)
        return [BadRow(index, _name(row), kind, problem) for kind, problem in found]


def _as_it_is(value: Any) -> Any:
    return value


def _name(row: Mapping[str, Any]) -> str:
    audio = row["audio"]
    path = audio if isinstance(audio, str) else audio.get("path")
    return path or row.get("song_id") or "a song without a name"


def _check_texts(row: Mapping[str, Any], processor: CollapProcessor, truncation: bool) -> list[tuple[str, str]]:
    wordings = {"text": row.get("text")}
    wordings |= {f"texts[{number}]": text for number, text in enumerate(row.get("texts") or [])}
    found = []
    for name, text in wordings.items():
        if text is None:
            continue
        try:
            processor(text=[text], truncation=truncation)
        except (TypeError, ValueError) as error:
            found.append((TEXT, str(error).replace("text[0]", name)))
    return found


def _check_decodable(row: Mapping[str, Any], processor: CollapProcessor, truncation: bool) -> list[tuple[str, str]]:
    audio = row["audio"]
    file: str | BytesIO | None = audio if isinstance(audio, str) else audio.get("path")
    if not isinstance(audio, str) and audio.get("array") is not None:
        file = None
    elif not isinstance(audio, str) and audio.get("bytes") is not None:
        file = BytesIO(audio["bytes"])
    if isinstance(file, str) and not Path(file).is_file():
        return [(MISSING, f"there is no file {file}")]
    try:
        (song,) = load_songs([audio])
    except (TypeError, ValueError) as error:
        # The loader gives the decoder's error as the cause of its own.
        kind = REFUSED if error.__cause__ is None else UNREADABLE
        return [(kind, str(error).replace("audio[0]", "audio"))]

    found = []
    seconds = len(song.waveform) / SAMPLING_RATE
    if file is not None and _is_shorter(seconds, promised_s := _promised_length(file)):
        found.append((CUT_OFF, f"its head promises {promised_s:.1f} s, there are {seconds:.1f} s"))
    duration_s = row.get("duration_s")
    if duration_s is not None and (_is_shorter(seconds, duration_s) or _is_shorter(duration_s, seconds)):
        found.append((OTHER_LENGTH, f"duration_s is {duration_s:.1f}, the audio has {seconds:.1f} s"))
    if not torch.any(song.waveform):
        found.append((SILENT, f"all samples of its {seconds:.1f} s are 0"))
    try:
        processor.feature_extractor.load(song.waveform, SAMPLING_RATE, truncation=truncation)
    except ValueError as error:
        found.append((TOO_LONG, str(error)))
    late = [section["end_s"] for section in row.get("sections") or [] if section["end_s"] > seconds + END_TOLERANCE_S]
    if late:
        found.append((SECTIONS, f"{len(late)} section(s) up to {max(late):.1f} s, the audio has {seconds:.1f} s"))
    return found


def _is_shorter(seconds: float, than: float) -> bool:
    return than - seconds > max(LENGTH_TOLERANCE_S, LENGTH_TOLERANCE * than)


def _promised_length(file: str | BytesIO) -> float:
    """Seconds that the head of a file speaks of."""
    info = soundfile.info(file, verbose=True)
    seconds = info.duration
    # Of wav, aiff and the like libsndfile corrects the length to that of the file, and notes what the head says.
    for promised, there in re.findall(r": (\d+) \(should be (\d+)\)", info.extra_info):
        if int(there) > 0 and int(promised) < UNKNOWN_BYTES:
            seconds = max(seconds, info.duration * int(promised) / int(there))
    return seconds


__all__ = [
    "ROW_COLUMNS",
    "TEXT_COLUMNS",
    "BadRow",
    "ManifestError",
    "check_row",
    "find_bad_rows",
    "is_text",
    "raise_problems",
    "report",
    "require_columns",
]
