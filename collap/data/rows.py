# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""What a row of a manifest must be."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from collap.files import first_few

TEXT_COLUMNS = ("text", "texts")
ROW_COLUMNS = ("audio", *TEXT_COLUMNS, "song_id", "duration_s", "sections")
SECTION_KEYS = ("start_s", "end_s", *TEXT_COLUMNS)
END_TOLERANCE_S = 0.5  # a section may end so much later than its song: lengths of songs are rounded


class ManifestError(ValueError):
    """
    Issues in the rows of a manifest.

    Args:
        message (`str`): Source, number of issues, and the first of them.
        issues (`Sequence[str]`): All of them, each with its line or row.
    """

    def __init__(self, message: str, issues: Sequence[str] = ()):
        super().__init__(message)
        self.issues = list(issues)


def raise_issues(issues: Sequence[str], source: str | Path) -> None:
    """Raises one [`ManifestError`] for all issues, whose message shows the first of them; does nothing for none."""
    if issues:
        shown = first_few([issue[:300] for issue in issues])
        raise ManifestError("\n".join([f"{source} has {len(issues)} issue(s):", *shown]), issues)


def require_columns(names: Iterable[str], source: str | Path) -> None:
    """Raises a `ValueError` if there is no column of audio, or none of texts."""
    if "audio" not in names or not set(TEXT_COLUMNS) & set(names):
        raise ValueError(f"{source} needs the columns 'audio' and 'text' (or 'texts'), it has {sorted(names)}.")


def check_row(
    row: dict[str, Any],
    names: Sequence[str],
    folder: Path | None = None,
    check_audio: bool = True,
    keep_extra_columns: bool = False,
) -> tuple[dict[str, Any], list[str]]:
    """
    A row in the form that training takes, and its issues.

    Args:
        row (`dict`): As it was read.
        names (`Sequence[str]`): The columns; a row has a text in each of `text` and `texts` that is among them.
        folder (`Path`, *optional*): What paths of audio are relative to. Without it they stay as they are.
        check_audio (`bool`): Whether the audio file has to exist.
        keep_extra_columns (`bool`): Whether other columns, and other keys of sections, stay.

    Returns:
        `dict` and `list[str]`: the row, with `audio` absolute if it is a path in `folder`, `song_id` a string,
        `duration_s` a float, and sections with `start_s`, `end_s` and their texts; and the issues. A row with issues
        must not be used.
    """
    checked = {name: row.get(name) for name in names if keep_extra_columns or name in ROW_COLUMNS}
    issues = []
    if "text" in names and not _is_text(row.get("text")):
        issues.append(
            "text must be a text or a list of sentences, none empty (several wordings belong in 'texts'), got "
            f"{row.get('text')!r}"
        )
    texts = row.get("texts")
    if "texts" in names and not (isinstance(texts, list) and texts and all(map(_is_text, texts))):
        issues.append(f"texts must be a list of texts, none empty, got {texts!r}")
    checked["audio"], found = _check_audio(row.get("audio"), folder, check_audio)
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
        checked["sections"], issues = _check_sections(row, keep_extra_columns)
    return checked, issues


def _is_text(text: Any) -> bool:
    sentences = text if isinstance(text, list) else [text]
    return bool(sentences) and all(isinstance(sentence, str) and sentence.strip() for sentence in sentences)


def _is_time(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and math.isfinite(value) and value >= 0


def _check_audio(audio: Any, folder: Path | None, check_audio: bool) -> tuple[Any, list[str]]:
    """A path, or what a data set holds: a dict of `bytes` or `path`, or of an array."""
    path = audio
    if isinstance(audio, dict):
        if audio.get("bytes") is not None or audio.get("array") is not None:
            return audio, []
        path = audio.get("path")
        if not isinstance(path, str) or not path:
            return audio, ["audio has neither bytes nor a path"]
    elif not isinstance(audio, str) or not audio:
        return audio, [f"audio must be a path, got {audio!r}"]
    elif folder is not None:
        audio = path = str(folder / audio)  # an absolute path stays as it is
    return audio, [f"no audio file at {path}"] if check_audio and not Path(path).is_file() else []


def _check_sections(row: dict[str, Any], keep_extra_keys: bool) -> tuple[list[dict[str, Any]] | None, list[str]]:
    """
    Sections in the order of the text.

    They may overlap, or leave parts of the song out: a chorus may begin while the bridge fades. The structure
    augmentation, which needs sections that follow each other, checks that itself.
    """
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
        text = {column: texts if column == "texts" else texts[0]}
        checked.append({"start_s": start_s, "end_s": end_s, **text, **extra})
    if issues:
        return None, issues
    for section in checked:
        section |= {"start_s": float(section["start_s"]), "end_s": float(section["end_s"])}
    return checked or None, []


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
