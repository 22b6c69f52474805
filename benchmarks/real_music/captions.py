# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""
Long captions of songs from machine labels: tags with their probabilities and the level, every few seconds.

A song is cut into sections by the novelty of tags and level. The facts of a section are what `tags.json` beside this
file takes as sure, how loud it is, and what changes; they are put into sentences by the phrases of a writer
(`train_words.json`, `other_words.json`). Each wording of a song has the same facts and as many sentences.
"""

import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from collap.captioning.sections import find_boundaries

FOLDER = Path(__file__).parent
TAGS = json.loads((FOLDER / "tags.json").read_text(encoding="utf-8"))
NAMES = {kind: [name for name, tag in TAGS.items() if tag["kind"] == kind] for kind in ("thing", "genre", "tempo")}
WORDS = {name: json.loads((FOLDER / f"{name}_words.json").read_text(encoding="utf-8")) for name in ("train", "other")}
NUM_WORDINGS = 6  # for training
MAX_SECTIONS = 12
KERNEL_S = 12.0  # four frames
SECTION_FACTS = ("thing", "genre", "tempo", "level", "moves")
QUIETEST_DB = -60.0
LEVEL_SCALE_DB = 10.0  # a change that weighs as much as a tag that comes or goes
LONGEST_MERGED_S = 60.0  # of neighbours with the same facts
LEVELS = ("much quieter", "quieter", "average", "louder", "much louder")  # than the song's mean
STEPS_DB = (-5.0, -1.5, 1.5, 4.0)  # between them
MOVE_DB = 4.0  # from the first to the last third of a section, or of a song
ALMOST = 0.7  # of a genre's least probability, where none is sure
GONE = 0.6  # of a tag's least probability: below, it is not only less sure than before
ABSENT = 0.02  # the largest mean probability of what is said to be absent
OFTEN = 0.3  # of the time: what is so often sure is said of the whole song


class Frames(NamedTuple):
    """Labels of `N` frames of a song."""

    times: np.ndarray  # (N, 2) s
    tags: np.ndarray  # (N, tags of tags.json), probabilities
    level_db: np.ndarray  # (N,)


def read_frames(track: dict[str, Any], names: Sequence[str]) -> Frames:
    """A line of `tracks.jsonl`, with the names of its tags; the probability of synonyms is that of the likeliest."""
    all_tags = np.zeros((len(track["tags"]), len(names)))
    for place, found in enumerate(track["tags"]):
        all_tags[place, [int(index) for index in found]] = np.array(list(found.values())) / 100
    tags = [all_tags[:, [name in tag["of"] for name in names]].max(1, initial=0) for tag in TAGS.values()]
    starts_s = np.arange(len(all_tags)) * track["frames_s"]
    times = np.stack((starts_s, np.append(starts_s[1:], track["duration_s"])), axis=1)
    return Frames(times, np.stack(tags, axis=1), np.maximum(track["level_db"], QUIETEST_DB))


def find_sections(frames: Frames) -> list[tuple[float, float]]:
    """Sections of 8 s or more, start and end in s. They are longer where there would be over [`MAX_SECTIONS`]."""
    features = np.concatenate((np.sqrt(frames.tags), frames.level_db[:, None] / LEVEL_SCALE_DB), axis=1)
    for least_s in (8.0, 10.0, 14.0, 20.0, 30.0, 45.0, 70.0, 100.0):
        sections = find_boundaries(features, frames.times, least_s, KERNEL_S)
        if len(sections) <= MAX_SECTIONS:
            break
    return sections


def find_moves(level_db: np.ndarray) -> list[str]:
    """Whether the level grows or fades, by the first and the last third."""
    third = max(1, len(level_db) // 3)
    change = level_db[-third:].mean() - level_db[:third].mean()
    return ["grows" if change > 0 else "fades"] if abs(change) >= MOVE_DB else []


def find_course(level_db: np.ndarray) -> str:
    """How the level goes over the whole song."""
    start, middle, end = (third.mean() for third in np.array_split(level_db, 3))
    if (middle - start) * (middle - end) > 0 and abs(2 * middle - start - end) >= MOVE_DB:
        return "arch" if middle > start else "dip"
    return (find_moves(level_db) or ["even" if level_db.std() < MOVE_DB else "contrasts"])[0]


def find_things(tags: dict[str, float]) -> dict[str, Any]:
    """What is sure by the mean probabilities of tags: up to four instruments and voices, two genres, the tempo."""
    sure = {name: value / TAGS[name]["least"] for name, value in tags.items() if value >= TAGS[name]["least"]}
    if sure.keys() & {"female voice", "male voice", "choir"}:
        sure.pop("voice", None)  # it is said more exactly
    likely = sorted(sure, key=lambda name: -sure[name])
    found = {kind: [name for name in likely if name in names] for kind, names in NAMES.items()}
    likeliest = max(NAMES["genre"], key=lambda name: tags[name] / TAGS[name]["least"])
    rest = [likeliest if tags[likeliest] >= ALMOST * TAGS[likeliest]["least"] else "other"]
    return {"thing": found["thing"][:4], "genre": found["genre"][:2] or rest, "tempo": found["tempo"][:1]}


def describe(frames: Frames) -> dict[str, Any]:
    """The facts of a song and of its `sections`, with the start, the end and the mean probabilities of each."""
    often = dict(zip(TAGS, np.quantile(frames.tags, 1 - OFTEN, axis=0).tolist(), strict=True))
    song = {**find_things(often), "course": find_course(frames.level_db), "level": [], "moves": []}
    song["sections"] = sections = []
    for start_s, end_s in find_sections(frames):
        sections.append(describe_section(frames, start_s, end_s))
        is_merged = len(sections) > 1 and end_s - sections[-2]["start_s"] <= LONGEST_MERGED_S
        if is_merged and all(sections[-2][name] == sections[-1][name] for name in SECTION_FACTS):
            sections[-2:] = [describe_section(frames, sections[-2]["start_s"], end_s)]
    for part in (song, *sections):
        part |= {"without": [], "new": [], "gone": []}
    for name in ("voice", "drums"):
        absent = [section for section in sections if section["tags"][name] < ABSENT]
        is_somewhere = any(section["tags"][name] >= TAGS[name]["least"] for section in sections)
        # Said once where it is true of the whole song, and of a section where another one is different.
        for part in [song] if len(absent) == len(sections) else absent if is_somewhere else []:
            part["without"].append(name)
    for before, section in itertools.pairwise(sections):
        section["new"] = find_gone(section, before)
        section["gone"] = find_gone(before, section)
    return song


def describe_section(frames: Frames, start_s: float, end_s: float) -> dict[str, Any]:
    """The facts of a part of a song, whatever is beside it."""
    inside = (frames.times[:, 0] >= start_s) & (frames.times[:, 0] < end_s)
    tags, level_db = dict(zip(TAGS, frames.tags[inside].mean(0).tolist(), strict=True)), frames.level_db[inside]
    section = {"start_s": start_s, "end_s": end_s, "tags": tags, "level_db": float(level_db.mean())}
    section["level"] = [LEVELS[int(np.searchsorted(STEPS_DB, level_db.mean() - frames.level_db.mean()))]]
    return {**section, **find_things(tags), "moves": find_moves(level_db)}


def find_gone(section: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Instruments and voices of `section` that `other` lacks."""
    return [name for name in section["thing"] if other["tags"][name] < GONE * TAGS[name]["least"]]


class Wording(NamedTuple):
    """Sentences about a song."""

    text: list[str]  # all
    sections: list[list[str]]  # those of each section
    queries: list[list[str]]  # for each section, one that does not say at which place it is


def write(song: dict[str, Any], writer: str, seed: str) -> Wording:
    """Puts the facts of a song into phrases of a writer that are drawn by a seed."""
    words, draw = WORDS[writer], random.Random(seed)
    wording = Wording([fill("song", song, words, draw), draw.choice(words["course"][song["course"]])], [], [])
    last = len(song["sections"]) - 1
    for place, section in enumerate(song["sections"]):
        kinds = ["first" if place == 0 else "last" if place == last else "next"]
        if section["new"] or section["gone"]:
            kinds.append("out" if not section["new"] else "swap" if section["gone"] else "in")
        wording.sections.append([fill(kind, section, words, draw) for kind in kinds])
        wording.queries.append([fill(kind, section, words, draw) for kind in ["alone", *kinds[1:]]])
        wording.text.extend(wording.sections[-1])
    return wording


def fill(kind: str, facts: dict[str, Any], words: dict[str, Any], draw: random.Random) -> str:
    """A sentence of some kind about a song or a section."""

    def name(kind: str, tags: list[str]) -> str:
        phrases = [draw.choice(words[kind][tag]) for tag in tags]
        return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if len(phrases) > 1 else phrases)

    genre = " ".join([name("tempo", facts["tempo"]), name("genre", facts["genre"])]).strip()
    what = draw.choice(words["what" if facts["thing"] else "what_bare"])
    what = what.format(genre=genre, things=name("thing", facts["thing"]))
    what += f", {name('without', facts['without'])}" if facts["without"] else ""
    level = ", ".join([name("level", facts["level"]), *filter(None, [name("moves", facts["moves"])])])
    new, gone = name("thing", facts["new"]), name("thing", facts["gone"])
    text = draw.choice(words[kind]).format(what=what, level=level, new=new, gone=gone)
    return text[0].upper() + text[1:]
