# Copyright 2026 The CoLLAP package developers. Licensed under the Apache License, Version 2.0.
"""Builds the song corpus: what it is made of, the lines of its manifests, and the build itself."""

import hashlib
import json
import lzma
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from multiprocessing import get_context, parent_process
from pathlib import Path

import soundfile
from tqdm import tqdm

from .audio import place_words, play_song
from .captions import ALWAYS_TOLD, CaptionWriter
from .plan import (
    FREEHAND,
    GROUP_SIZE,
    GROUPED_SPLITS,
    SAMPLING_RATE,
    SPLITS,
    TRAINING_SPLITS,
    CorpusSize,
    Section,
    Song,
    draw_song,
    freehand_tags,
    held_out_pairs,
    random_stream,
    read_freehand,
    stream_of,
)
from .tags import ACCOMPANIMENTS, LEADS, TAGS

CORPUS_FILE = "corpus.json"  # lies in the folder of a corpus and says what it was made with
CORPUS_VERSION = 1  # of the songs and captions that the same arguments give; raised when any of them changes
CLOCK_TIMES_VERSION = 2  # the same for corpora with `clock_times`, whose captions have changed once
GERMAN_VERSION = 2  # the same for corpora with `german`
TEST_COLUMNS = ("clock", "tags", "paraphrase by three", "validation")  # groups of columns that `test_columns` adds
DEFAULT_SPLITS = ("train", "validation", "content", "order")
NUM_TRAINING_WORDINGS = 16
TEXTS = Path(__file__).parent / "texts"
PARAPHRASES, GERMAN = "paraphrases", "german"  # the stored texts, by the beginnings of their files' names


@dataclass(frozen=True)
class Recipe:
    """What to make.

    Args:
        size (`CorpusSize`): numbers of songs, their lengths and instruments.
        seed (`int`): another one gives another corpus.
        splits (`tuple[str, ...]`): which to make.
        clock_times (`bool`): whether all captions tell each section's times.
        clock_share (`float`): share of the training captions that tell them (without `clock_times`).
        test_columns (`bool`): whether test songs also get captions with clock times and paraphrases, and record which
            tags each text tells; and validation songs paraphrases by another writer.
        german (`bool`): whether all songs also get captions in German.
        structures: section layouts for the split "structures", as `read_structures` gives them.

    Raises:
        ValueError: if one of them is out of range.
    """

    size: CorpusSize
    seed: int = 0
    splits: tuple[str, ...] = DEFAULT_SPLITS
    clock_times: bool = False
    clock_share: float = 0.0
    test_columns: bool = False
    german: bool = False
    structures: tuple[tuple[tuple[str, float], ...], ...] = ()

    def arguments(self) -> dict:
        """The recipe as it is written to `corpus.json` (the structures by their hash)."""
        size = asdict(self.size)
        size["num_songs"] = {split: self.size.num_songs[split] for split in self.splits}
        arguments = {
            "version": CLOCK_TIMES_VERSION if self.clock_times else CORPUS_VERSION,
            "size": size,
            "seed": self.seed,
            "splits": list(self.splits),
            "clock_times": self.clock_times,
            "structures": _hash(json.dumps(self.structures).encode()) if self.structures else None,
        }
        # Left out as long as they change nothing: folders that were made before they came stay valid.
        later = {
            "clock_share": self.clock_share,
            "test_columns": [*TEST_COLUMNS] if self.test_columns else None,
            "german": GERMAN_VERSION if self.german else None,
            "freehand": _hash(FREEHAND.read_bytes()) if "freehand" in self.splits else None,
        }
        return arguments | {name: value for name, value in later.items() if value}

    def check(self) -> None:
        """Raises the errors above; a build calls it before it writes anything."""
        if self.seed < 0:
            raise ValueError(f"`seed` must not be negative, got {self.seed}")
        if not 0 <= self.clock_share <= 1:
            raise ValueError(f"`clock_share` must lie in [0, 1], got {self.clock_share}")
        for split in self.splits:
            if split not in SPLITS:
                raise ValueError(f"`splits` must be among {SPLITS}, got {split!r}")
            count = self.size.num_songs.get(split, 0)
            if count < 1:
                raise ValueError(f"`num_songs` must name at least one song of the split {split!r}, got {count}")
            if split in GROUPED_SPLITS and count % GROUP_SIZE:
                raise ValueError(
                    f"`num_songs` of {split!r} must be a multiple of {GROUP_SIZE} (its groups), got {count}"
                )
        if "structures" in self.splits and not self.structures:
            raise ValueError(
                "the split 'structures' needs `structures`: the file with the section layouts of real songs"
            )
        if "freehand" in self.splits:
            if self.size.num_songs["freehand"] > len(freehand_tags()):
                raise ValueError(
                    f"`num_songs` of 'freehand' can be {len(freehand_tags())} at most, as many as there are "
                    f"descriptions, got {self.size.num_songs['freehand']}"
                )
            leads = {"none", *list(LEADS)[: self.size.num_leads]}
            accompaniments = set(list(ACCOMPANIMENTS)[: self.size.num_accompaniments])
            if any(
                tags["lead"] not in leads or tags["accompaniment"] not in accompaniments for tags in freehand_tags()
            ):
                raise ValueError("`size` lacks instruments that the descriptions of the split 'freehand' name")
        if "instrument_pairs" in self.splits and not held_out_pairs(self.size):
            raise ValueError(
                "`size`: no pair of its instruments is held out: the split 'instrument_pairs' has no songs"
            )


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def describe_song(song: Song, audio: str, recipe: Recipe) -> dict:
    """The line of the manifest of one song, as README.md documents it.

    Args:
        song (`Song`): the song.
        audio (`str`): its file, as the manifest is to name it.
        recipe (`Recipe`): of the corpus.

    Returns:
        `dict`: what depends on the arguments only.
    """
    bounds = song.section_bounds
    line = {
        "audio": audio,
        "duration_s": bounds[-1][1] / SAMPLING_RATE,
        "tempo_bpm": song.beats_per_minute,
        "group": song.group,
        "sections": [
            {
                "start_s": start / SAMPLING_RATE,
                "end_s": end / SAMPLING_RATE,
                "label": section.label,
                "tags": song.tags(section),
                "words": _spoken(song, section),
            }
            for section, (start, end) in zip(song.sections, bounds, strict=True)
        ],
    }
    if song.split == "train":
        _add_training_captions(line, song, recipe)
    else:
        _add_texts(line, song, recipe, {"seen": ""} if song.split in TRAINING_SPLITS else {"seen": "", "new": "_new"})
        if recipe.test_columns:
            add_stored_texts(line, PARAPHRASES, song.split, song.index)
        if song.split == "freehand":
            _add_freehand(line, read_freehand()[song.index])
    if recipe.german:
        add_stored_texts(line, GERMAN, song.split, song.index)
    return line


def _writer(song: Song, recipe: Recipe, purpose: str, wording: str = "seen", clock_times: bool | None = None):
    rng = random_stream(recipe.seed, song.stream, song.index, purpose)
    return CaptionWriter(wording, rng, recipe.clock_times if clock_times is None else clock_times)


def _add_training_captions(line: dict, song: Song, recipe: Recipe) -> None:
    captions = []
    for number in range(NUM_TRAINING_WORDINGS):
        # Every fourth for a share of 1/4.
        told = int((number + 1) * recipe.clock_share) > int(number * recipe.clock_share)
        writer = _writer(song, recipe, f"caption {number}", clock_times=recipe.clock_times or told)
        captions.append(writer.write(song))
    line["texts"] = [caption.sentences for caption in captions]
    for place, entry in enumerate(line["sections"]):
        entry["sentences"] = [caption.section_sentences[place] for caption in captions]


def _add_texts(line: dict, song: Song, recipe: Recipe, wordings: dict[str, str]) -> None:
    """Adds a caption and a query a section in each wording, in columns with its suffix."""
    with_test_columns = recipe.test_columns and song.split not in TRAINING_SPLITS
    for wording, suffix in wordings.items():
        purpose = f"caption {wording}"
        caption = _writer(song, recipe, purpose, wording).write(song)
        line[f"text{suffix}"] = caption.sentences
        if with_test_columns:
            # The same random stream gives the same sentences, so nothing but the times differs from the caption above.
            line[f"text{suffix}_clock"] = _writer(song, recipe, purpose, wording, True).write(song).sentences
        for place, entry in enumerate(line["sections"]):
            query = _writer(song, recipe, f"query {wording} {place}", wording).query(song.sections[place])
            entry[f"sentences{suffix}"] = caption.section_sentences[place]
            entry[f"query{suffix}"] = query.sentences
            if with_test_columns:
                entry[f"text_tags{suffix}"] = caption.section_tags[place]
                entry[f"query_tags{suffix}"] = query.tags


def add_stored_texts(line: dict, kind: str, split: str, index: int) -> bool:
    """Adds the columns of a song that are stored in the folder texts/, if they are there.

    Args:
        line (`dict`): the song's line of the manifest; it is changed.
        kind (`str`): "paraphrases" or "german".
        split (`str`), index (`int`): of the song.

    Returns:
        `bool`: whether there are texts of this very song: of this split and number, with the same labels and tags.
    """
    stored = _stored_texts(kind).get((stream_of(split), index, _plan_hash(line)))
    if stored is None:
        return False
    line.update(stored["columns"])
    for entry, columns in zip(line["sections"], stored["sections"], strict=True):
        entry.update(columns)
        if kind == PARAPHRASES:
            # At least these: some queries also tell the key, the mode or the tempo.
            entry["text_tags_paraphrase"] = entry["query_tags_paraphrase"] = _surely_told(entry["tags"])
    return True


@cache
def _stored_texts(kind: str) -> dict[tuple[str, int, str], dict]:
    """Stored texts by split, number and plan of the song; texts/README.md documents the files."""
    found = {}
    for path in sorted(TEXTS.glob(f"{kind}_*.jsonl.xz")):
        with lzma.open(path, "rt", encoding="utf-8") as lines:
            for stored in map(json.loads, lines):
                found[stored["split"], stored["song"], stored["plan"]] = stored
    return found


def _plan_hash(line: dict) -> str:
    """Tells songs apart that have the same split and number, but another seed or other instruments."""
    plan = [[section["label"], *(section["tags"][tag] for tag in TAGS)] for section in line["sections"]]
    return _hash(json.dumps(plan).encode())


def _add_freehand(line: dict, described: dict) -> None:
    """Adds the description written by hand to the one section that it describes."""
    (entry,) = [entry for entry in line["sections"] if entry["tags"] == described["tags"]]
    entry["query_freehand"] = described["text"]
    entry["query_tags_freehand"] = _surely_told(entry["tags"])


def _surely_told(tags: dict[str, str]) -> list[str]:
    """What every text of another writer tells: that nobody speaks may be left unsaid."""
    return [*ALWAYS_TOLD] if tags["voice"] == "none" else [*ALWAYS_TOLD, "voice"]


def _spoken(song: Song, section: Section) -> str:
    if section.voice == "none":
        return ""
    return " ".join(word for word, _ in place_words(section.theme_seed, section.num_bars, song.beats_per_minute))


def build_corpus(output_dir: str | Path, recipe: Recipe, num_processes: int = 1, progress: bool = True) -> Path:
    """Makes (or finishes) a corpus.

    Args:
        output_dir (`str` or `Path`): folder of the corpus; made if it is not there.
        recipe (`Recipe`): what to make.
        num_processes (`int`): processes that share the songs; the result does not depend on it.
        progress (`bool`): whether to show a progress bar.

    Returns:
        `Path`: the folder, with `{split}.jsonl`, `audio/{split}/{index}.wav` and `corpus.json`.

    Raises:
        ValueError: if an argument is out of range, or the folder holds a corpus made with other arguments.
    """
    if num_processes < 1:
        raise ValueError(f"`num_processes` must be at least 1, got {num_processes}")
    recipe.check()
    output_dir = Path(output_dir)
    arguments = recipe.arguments()
    record = _read_record(output_dir, arguments)
    jobs = [(split, index) for split in recipe.splits for index in range(recipe.size.num_songs[split])]
    if record.get("finished") and all((output_dir / name).is_file() for name in _files(recipe, jobs)):
        return output_dir
    for split in recipe.splits:
        (output_dir / "audio" / split).mkdir(parents=True, exist_ok=True)
    _write_text(output_dir / CORPUS_FILE, json.dumps({"arguments": arguments, "finished": False}, indent=2))
    make = partial(make_song, output_dir, recipe)
    with tqdm(total=len(jobs), unit="song", desc="song corpus", disable=not progress) as bar:
        lines: dict[str, list[str]] = {split: [] for split in recipe.splits}

        def collect(results) -> None:
            for (split, _), line in zip(jobs, results, strict=True):
                lines[split].append(line)
                bar.update()

        if num_processes == 1:
            collect(map(make, jobs))
        else:
            # "spawn": the caller may have threads (torch), which a forked process would not survive.
            spawn = get_context("spawn")
            with ProcessPoolExecutor(num_processes, mp_context=spawn, initializer=_leave_with_parent) as pool:
                try:
                    collect(pool.map(make, jobs, chunksize=4))
                except BaseException:  # also Ctrl-C: without this the pool would first render all that is left
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
    for leftover in output_dir.rglob("*.unfinished"):  # of a build that was killed
        leftover.unlink(missing_ok=True)
    for split in recipe.splits:
        _write_text(output_dir / f"{split}.jsonl", "\n".join(lines[split]) + "\n")
    _write_text(output_dir / CORPUS_FILE, json.dumps({"arguments": arguments, "finished": True}, indent=2))
    _warn_of_missing_texts(recipe, lines)
    return output_dir


def make_song(output_dir: Path, recipe: Recipe, job: tuple[str, int]) -> str:
    """Renders one song, unless its file is there, and gives its line of the manifest."""
    split, index = job
    song = draw_song(recipe.size, recipe.seed, split, index, recipe.structures)
    name = _audio_name(recipe, split, index)
    path = output_dir / name
    if not path.is_file():
        unfinished = _unfinished(path)
        soundfile.write(
            unfinished, play_song(song), SAMPLING_RATE, subtype="PCM_16", format=recipe.size.audio_format.upper()
        )
        os.replace(unfinished, path)
    return json.dumps(describe_song(song, name, recipe), ensure_ascii=False)


def _audio_name(recipe: Recipe, split: str, index: int) -> str:
    return f"audio/{split}/{index:05d}.{recipe.size.audio_format}"


def _files(recipe: Recipe, jobs: list[tuple[str, int]]) -> Iterator[str]:
    yield from (f"{split}.jsonl" for split in recipe.splits)
    yield from (_audio_name(recipe, *job) for job in jobs)


def _warn_of_missing_texts(recipe: Recipe, lines: dict[str, list[str]]) -> None:
    """Says which songs lack columns for which no text is stored."""
    missing = []
    for split, of_split in lines.items():
        columns = ["text_paraphrase"] if recipe.test_columns and split != "train" else []
        columns += ["texts_german" if split == "train" else "text_german"] if recipe.german else []
        for column in columns:
            count = sum(column not in json.loads(line) for line in of_split)
            missing += [f"{column} of {count} of {len(of_split)} songs of {split}"] if count else []
    if missing:
        warnings.warn(f"No texts are stored for {', '.join(missing)}: see {TEXTS / 'README.md'}", stacklevel=3)


def _read_record(output_dir: Path, arguments: dict) -> dict:
    path = output_dir / CORPUS_FILE
    if not path.is_file():
        return {}
    record = json.loads(path.read_text(encoding="utf-8"))
    before = record["arguments"]
    changed = [name for name in {**arguments, **before} if before.get(name) != arguments.get(name)]
    if changed:
        raise ValueError(
            f"`output_dir` {output_dir} holds a corpus with other arguments: "
            + "; ".join(f"{name} was {before.get(name)}, now {arguments.get(name)}" for name in changed)
            + ". Take another folder, or delete this one."
        )
    return record


def _unfinished(path: Path) -> Path:
    """Where a file is written before it gets its name, so that a file with its name is always whole."""
    return path.with_name(f"{path.name}.{os.getpid()}.unfinished")


def _leave_with_parent() -> None:
    """Ends this worker when its parent is gone: the workers of a killed build would wait forever."""

    def watch() -> None:
        parent_process().join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write_text(path: Path, text: str) -> None:
    unfinished = _unfinished(path)
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)
