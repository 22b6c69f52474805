# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Captions of FUTGA (arXiv 2407.20445): their sections and times, and captions of songs that are cut or reordered."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from collap.processing.sentence_splitting_collap import split_sentences

Pieces = list[tuple[float, float]]  # start and end in seconds

CLOCK_TOLERANCE_S = 1.0  # captions round to whole seconds
PERCENT_TOLERANCE = 0.01  # of the song, likewise

_CLOCK_TIME = r"(?<![\d:.])(?:\d{1,2}:)?\d{1,3}:[0-5]\d(?:\.\d+)?(?![\d:])"
_PERCENT = r"(?:100|\d{1,2}(?:\.\d+)?)"
# Where a range in percent is a time; "20-30% louder" is none.
_PLACE = r"(?:^|[(\[:|–—]|\b(?:[Ff]rom|[Bb]etween|[Aa]t|[Dd]uring))\s*(?:(?:about|around)\s+)?"
_SIGN = r"\s*(?:%|per ?cent)"
_UNTIL = r"\s*(?:-|–|—|to|until|till|through|and)\s*"
_TIMES = re.compile(
    rf"(?P<clock>{_CLOCK_TIME})(?:(?P<clock_to>{_UNTIL})(?P<clock_end>{_CLOCK_TIME}))?"
    rf"|(?P<place>{_PLACE})(?P<percent>{_PERCENT})(?P<percent_to>(?:{_SIGN})?{_UNTIL})(?P<percent_end>{_PERCENT})"
    rf"(?={_SIGN})"
)


class _TimesError(Exception):
    """Why the times of a caption are not used."""


def move_times(sentence: str, pieces: Pieces, owner: int | None, duration_s: float | None) -> str | None:
    """
    Rewrites the times in a sentence for a song that consists of pieces of another song.

    Clock times ("1:05", "0:14 to 0:32", "1:02:00") keep their format; ranges in percent ("from 20% to 40%") are
    rewritten too. Other percents ("50% louder", "20-30% louder") are seldom times and stay as they are.

    `pieces` are start and end in seconds, in the order of the new song. `owner` is the index of the piece that the
    sentence describes, preferred for a time on the border of two pieces; without it a single time at the end of the
    song is its length. Without `duration_s` no percents can be placed. Returns None if a time is in none of the
    pieces, or a range is not within one of them.
    """
    new_duration_s = sum(end - start for start, end in pieces)

    def move(match: re.Match) -> str:
        names = [name for name in ("clock", "clock_end", "percent", "percent_end") if match[name]]
        if match["clock"]:
            times = [_read_clock(match[name]) for name in names]
            is_length = owner is None and len(times) == 1 and duration_s is not None
            if is_length and abs(times[0] - duration_s) <= CLOCK_TOLERANCE_S:
                return _write_clock(new_duration_s, match["clock"])
            moved = _place(times, pieces, owner, CLOCK_TOLERANCE_S)
            told = [_write_clock(time, match[name]) for time, name in zip(moved, names, strict=True)]
        elif duration_s is None:
            raise _TimesError("percents of a song of unknown length")
        else:
            times = [float(match[name]) / 100 * duration_s for name in names]
            moved = _place(times, pieces, owner, PERCENT_TOLERANCE * duration_s)
            shares = [100 * time / new_duration_s for time in moved]
            told = [f"{share:.{_decimals(match[name])}f}" for share, name in zip(shares, names, strict=True)]
        return (match["place"] or "") + (match["clock_to"] or match["percent_to"] or "").join(told)

    try:
        return _TIMES.sub(move, sentence)
    except _TimesError:
        return None


def _place(times: Sequence[float], pieces: Pieces, owner: int | None, tolerance_s: float) -> list[float]:
    """Times of the song as times of the new song; a _TimesError if they are not all in one piece."""
    fitting = [
        number
        for number, (start, end) in enumerate(pieces)
        if start - tolerance_s <= times[0] and list(times) == sorted(times) and times[-1] <= end + tolerance_s
    ]
    if not fitting:
        raise _TimesError("times that are not all in one piece")
    # On a border a piece begins rather than ends.
    number = owner if owner in fitting else max(fitting, key=lambda number: pieces[number])
    start, end = pieces[number]
    before = sum(piece_end - piece_start for piece_start, piece_end in pieces[:number])
    return [before + min(max(time, start), end) - start for time in times]


def _read_clock(text: str) -> float:
    """Seconds of "m:ss" or "h:mm:ss"."""
    *larger, seconds = (float(number) for number in text.split(":"))
    return math.fsum(number * 60 ** (len(larger) - place) for place, number in enumerate(larger)) + seconds


def _write_clock(seconds: float, like: str) -> str:
    """Seconds in the format of another clock time: with hours or without, as many zeros and decimals."""
    decimals = _decimals(like)
    whole = round(seconds * 10**decimals)
    minutes, rest = divmod(whole, 60 * 10**decimals)
    parts = like.split(":")
    zeros = len(parts[0]) if parts[0].startswith("0") else 1  # the width to which the first number is padded
    width = 2 + decimals + (decimals > 0)
    clock = f"{rest / 10**decimals:0{width}.{decimals}f}"
    if len(parts) == 3:
        hours, minutes = divmod(minutes, 60)
        return f"{hours:0{zeros}d}:{minutes:02d}:{clock}"
    return f"{minutes:0{zeros}d}:{clock}"


def _decimals(text: str) -> int:
    return len(text.partition(".")[2])


TOLERANCE_S = 2.0  # clock times may overlap, or exceed the song, by so much; they are cut to fit
MAX_LABEL_WORDS = 8

_NUMBER = r"\d{1,3}(?:\.\d+)?"
_CLOCK = r"(?:\d{1,2}:)?\d{1,3}:\d{2}(?:\.\d+)?"
_PERCENT_SIGN = r"\s*(?:%|per ?cent\b)"
_SECONDS = r"\s*(?:s|secs?|seconds?)\b"
_ABOUT = r"(?:(?:about|around|approximately|approx\.|roughly)\s+)?"
_OF_SONG = r"(?:\s+(?:of|in|into|through)\s+(?:the\s+)?(?:song|track|piece|music))?"


def _range(to: str, suffix: str) -> str:
    """A range in one of the units, whose groups end with `suffix`: names of groups are unique in a pattern."""
    end = r"(?:the\s+)?end\b"
    return (
        r"(?<![\w:.%-])(?:"
        rf"(?P<clock{suffix}>{_CLOCK}){to}(?P<clock_end{suffix}>{_CLOCK}|{end})"
        rf"|(?P<percent{suffix}>{_NUMBER})(?:{_PERCENT_SIGN}{to}(?P<percent_last{suffix}>{end})"
        rf"|(?:{_PERCENT_SIGN})?{to}(?P<percent_end{suffix}>{_NUMBER}){_PERCENT_SIGN})"
        rf"|(?P<seconds{suffix}>{_NUMBER})(?:{_SECONDS})?{to}(?P<seconds_end{suffix}>{_NUMBER}){_SECONDS}"
        r")(?!\w|%|[:.]\d)"
    )


_TO = r"\s*(?:-|–|—|−|~|to|until|till|through)\s*"
_ANY = _range(_TO, "")
_ANY_AND = _range(r"\s*and\s*", "_and")
_SEPARATORS = r"\s*[:,|–—\])-]*\s*"
# Where a range may be; elsewhere it is none ("grows by 10-20%", "from the 80s-90s"). The first match counts.
_PLACES = [
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        # In brackets: "Intro (0:00 - 0:30): ..."
        rf"\s*[(\[]\s*(?:(?:from|at|time|times)\s*:?\s*)?{_ABOUT}{_ANY}{_OF_SONG}\s*[)\]]",
        # In a sentence: "From 10% to 30%, ...", "... between 0:30 and 1:05 ..."
        rf"\s*\b(?:from\s+{_ABOUT}{_ANY}|between\s+{_ABOUT}{_ANY_AND}){_OF_SONG},?",
        # At the start, followed by a label or a text: "0-18% - Intro: ...", "1:05-2:10 ..."
        rf"^{_ABOUT}{_ANY}{_OF_SONG}{_SEPARATORS}",
        # After a label: "Intro: 0% - 18%", "Verse 1 - 0:30 to 1:05: ..."
        rf"(?<=[\w.)])\s*[:|–—-]\s*{_ANY}(?=\s*(?:$|[:|–—.-]))",
        rf"(?<=\w)\s+{_ANY}(?=\s*:)",
    )
]
_MARKUP = re.compile(r"^\s*(?:>\s*)*(?:(?:[-*•+–]|\d{1,2}[.)]|#{1,6})\s+)*")
_TIME_LABEL = re.compile(
    r"^(?:(?:time|timing|timestamps?|duration|range|boundar(?:y|ies)|position|segment|section|part)\s*)*\d*\s*$", re.I
)
_NUMBERED = re.compile(r"^(?:segment|section|part)\s*\d+\s*:\s*(?=.)", re.I)  # has no more information than the times
_CLOSING = re.compile(r"^(?:overall|in (?:summary|conclusion|short|general)|to (?:summarize|sum up|conclude))\b", re.I)
_DECADES = re.compile(r"\b([2-9]0s\s*(?:-|–|—|to|and)\s*)(?=[2-9]0s\b)")
_FROM_ZERO_SECONDS = re.compile(rf"(?<![\d.:])0(?:{_SECONDS})?{_TO}{_NUMBER}\s*s\b")
_WORD_JOINER = "\u2060"  # has no width; a range with it inside does not match


@dataclass(frozen=True)
class ParsedCaption:
    """The sentences of a caption, without markup and times, and the sections that they describe."""

    sentences: list[str]  # the whole text
    sections: list[dict[str, Any]] | None  # start_s, end_s and text, a list of sentences; None with a problem
    unit: str | None = None  # "percent", "clock", "seconds" or "mixed"
    problem: str | None = None  # why there are no sections, in words that are the same for all captions


@dataclass
class _Part:
    """The text that follows a range, or the text before the first one."""

    unit: str | None = None
    start: str = ""
    end: str = ""
    label: str | None = None  # a heading that still needs its text
    sentences: list[str] = field(default_factory=list)


def parse_caption(caption: str, duration_s: float) -> ParsedCaption:
    """
    Sentences and sections of a caption.

    Headings become the beginning of their first sentence ("Intro: A guitar plays."), bullets become sentences, and
    time ranges are removed, so that the text has no times that an augmented song would not have. If one range cannot
    be trusted, none is: the caption then has no sections, and all its sentences. `duration_s` is the length of the
    song, for percents and to find ranges beyond its end.
    """
    parts, several = _split_parts(caption)
    sentences = [sentence for part in parts for sentence in part.sentences]
    if len(parts) > 1:  # sentences about the whole song after the last section ("Overall, ...") are not part of it
        last = parts[-1].sentences
        closing = [index for index, sentence in enumerate(last) if index > 0 and _CLOSING.match(sentence)]
        parts[-1].sentences = last[: closing[0]] if closing else last
    try:
        if several:
            raise _TimesError("several ranges in one sentence")
        if len(parts) == 1:
            raise _TimesError("no time ranges")
        sections = []
        for part in parts[1:]:
            start_s, end_s = _to_seconds(part, duration_s, sections[-1]["end_s"] if sections else 0.0)
            if not part.sentences:
                raise _TimesError("a section without text")
            sections.append({"start_s": start_s, "end_s": end_s, "text": part.sentences})
    except _TimesError as issue:
        return ParsedCaption(sentences, None, problem=str(issue))
    units = {part.unit for part in parts[1:]}
    return ParsedCaption(sentences, sections, units.pop() if len(units) == 1 else "mixed")


def has_time_ranges(caption: str) -> bool:
    """Whether a text has a time range where captions of FUTGA have them."""
    parts, several = _split_parts(caption)
    return len(parts) > 1 or several


def has_times(text: str) -> bool:
    """Whether a text has a clock time or a time range, so that it may be wrong of a song that is cut or reordered."""
    return _TIMES.search(text) is not None or has_time_ranges(text)


def _split_parts(caption: str) -> tuple[list[_Part], bool]:
    """The general part, a part for each range, and whether a sentence has more than one range."""
    text = re.sub(r"</?s>", " ", caption)
    text = text if "\n" in text else text.replace("\\n", "\n")
    if not _FROM_ZERO_SECONDS.search(text):
        text = _DECADES.sub(rf"\1{_WORD_JOINER}", text)  # "the 80s-90s" are no seconds, unless others begin at 0 s
    parts, several = [_Part()], False
    heading = None  # a line that only announces what follows
    for line in text.splitlines():
        line = _MARKUP.sub("", line.replace("**", "").replace("__", "").replace("`", "")).strip(" *_")
        if not any(character.isalnum() for character in line):
            continue
        for sentence in split_sentences(line):
            rest, matches = _take_ranges(sentence)
            if len(matches) > 1:
                several, rest = True, sentence
            is_whole_line = sentence == line.strip()
            if len(matches) == 1:
                _finish(parts[-1])
                parts.append(_Part(*matches[0]))
                label = rest.rstrip(" :–—-")
                if is_time := _TIME_LABEL.match(label):
                    label = heading or label.strip() or None
                if is_time or (is_whole_line and _is_label(rest, with_range=True)):
                    parts[-1].label, heading = label, None
                    continue
            elif is_whole_line and _is_label(rest, with_range=False):
                heading = rest.rstrip(" :")
                continue
            part = parts[-1]
            labels = [label for label in (part.label, heading) if label]
            part.sentences.append(_polish(": ".join([*labels, rest])))
            part.label = heading = None
    _finish(parts[-1])
    return parts, several


def _take_ranges(sentence: str) -> tuple[str, list[tuple[str, str, str]]]:
    """A sentence without its ranges, and of each its unit, start and end."""
    found = []
    for pattern in _PLACES:
        while match := pattern.search(sentence):
            groups = {name: value for name, value in match.groupdict().items() if value is not None}
            unit = next(iter(groups)).split("_")[0]
            start, end = groups.values()
            found.append((unit, start, end))
            joint = " " if match.start() and match.end() < len(sentence) else ""
            sentence = (sentence[: match.start()] + joint + sentence[match.end() :]).strip()
    if found:
        sentence = _NUMBERED.sub("", re.sub(r"\s+", " ", re.sub(r"\s+([:,.;!?])", r"\1", sentence)).strip(" ,"))
    return sentence if any(character.isalnum() for character in sentence) else "", found


def _is_label(rest: str, with_range: bool) -> bool:
    if len(rest.split()) > MAX_LABEL_WORDS:
        return False
    return rest.endswith(":") or (with_range and not rest.endswith((".", "!", "?")))


def _finish(part: _Part) -> None:
    """A heading without a text becomes the text of its section."""
    if part.label is not None and not part.sentences and not _TIME_LABEL.match(part.label):
        part.sentences.append(_polish(part.label))
    part.label = None


def _polish(sentence: str) -> str:
    sentence = sentence.replace(_WORD_JOINER, "").strip(" ,;–—-")
    sentence = sentence[0].upper() + sentence[1:] if sentence else sentence
    return sentence if sentence.endswith((".", "!", "?", '"', "…")) else sentence.rstrip(":") + "."


def _to_seconds(part: _Part, duration_s: float, before_s: float) -> tuple[float, float]:
    """Start and end of a section in seconds, or a _TimesError; `before_s` is where the one before it ended."""
    limit_s = duration_s + (0.0 if part.unit == "percent" else TOLERANCE_S)
    start_s, end_s = (_read_time(time, part.unit, duration_s) for time in (part.start, part.end))
    if end_s <= start_s:
        raise _TimesError("a range that is reversed")
    if end_s > limit_s + 1e-6 or start_s >= duration_s:
        raise _TimesError("a range beyond the end of the song")
    end_s = min(end_s, duration_s)
    if start_s < before_s - TOLERANCE_S or end_s <= before_s:
        raise _TimesError("ranges that overlap or are out of order")
    return round(max(start_s, before_s), 3), round(end_s, 3)


def _read_time(time: str, unit: str, duration_s: float) -> float:
    if "end" in time.lower():
        return duration_s
    if unit == "percent":
        return float(time) / 100 * duration_s
    if unit == "seconds":
        return float(time)
    if any(float(number) >= 60 for number in time.split(":")[1:]):
        raise _TimesError("a clock time that is none")
    return _read_clock(time)
